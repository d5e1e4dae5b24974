package record

import (
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
)

// TestTransitions names phases, and refuses what cannot be the name of one, or of two, in one line.
func TestTransitions(t *testing.T) {
	for _, c := range []struct{ texts, want string }{
		{"accept", ""},
		{"accept accept", ""},
		{"accept=serve epoll_wait", ""},
		{"accept=a.b-c_D9 epoll_wait=" + strings.Repeat("x", 64), ""},
		{"nothing", `"nothing": expected CALL or CALL=NAME`},
		{"=serve", `"=serve": expected CALL or CALL=NAME`},
		{"accept=", "expected behind = a name of 1 to 64 letters, digits, dots, - and _"},
		{"accept=a:b", "expected behind = a name"},
		{"accept=a=b", "expected behind = a name"},
		{"accept=\x1b[2J", `"accept=\x1b[2J": expected behind = a name`},
		{"accept=" + strings.Repeat("x", 65), "expected behind = a name"},
		{"accept=start", "expected another name than that of the first phase"},
		{"accept=a accept=b", "accept=b: expected each call once"},
		{"accept accept=a", "accept=a: expected each call once"},
		{"accept=a epoll_wait=a", "accept and epoll_wait lead to a: name one otherwise"},
		{"accept epoll_wait=serve-accept", "accept and epoll_wait lead to serve-accept"},
	} {
		err := CheckTransitions(strings.Fields(c.texts))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("%q: %v: expected %q", c.texts, err, c.want)
		}
	}
}

// TestManyTransitions takes as many as a policy has room for.
func TestManyTransitions(t *testing.T) {
	var all []string
	r := New()
	for i, call := range syscalls.All()[:maxTransitions+1] {
		e := parse(t, []string{"1", "x", call.Name})
		r.Add(&e)
		if i < maxTransitions {
			all = append(all, call.Name)
		}
	}
	if text := made(t, r, Options{Mode: Phases, Transitions: all}); !strings.Contains(text, "phases:") {
		t.Errorf("got %s", text)
	}
	all = append(all, syscalls.All()[maxTransitions].Name)
	if err := CheckTransitions(all); err == nil || !strings.Contains(err.Error(), "at most 31 calls, found 32") {
		t.Errorf("%v: expected a refusal", err)
	}
}
