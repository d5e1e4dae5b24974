package cli

import (
	"fmt"
	"strings"
	"testing"

	"portcullis"
)

// ruled is a branch that answers with verdict where test holds.
func ruled(test, verdict string, otherwise *portcullis.Branch) *portcullis.Branch {
	return &portcullis.Branch{If: test, Then: answer(verdict), Else: otherwise}
}

func answer(verdict string) *portcullis.Branch {
	return &portcullis.Branch{Outcome: portcullis.Outcome{Leaf: "static", Verdict: verdict}}
}

// A filter of 400 rules, four of each tree, stays readable: what is decided alike
// comes once, and its names are wrapped.
func TestManyRulesAreGrouped(t *testing.T) {
	var ds []portcullis.Decision
	for i := 0; i < 100; i++ {
		b := answer("ALLOW")
		for k := 0; k < 4; k++ {
			b = ruled(fmt.Sprintf("args[%d] == %d", k, i/10), "ERRNO(1)", b)
		}
		ds = append(ds, portcullis.Decision{Call: fmt.Sprintf("call_number_%d", i), Outcome: portcullis.Outcome{Leaf: "static"}, Arguments: b})
	}
	for i := 0; i < 50; i++ {
		ds = append(ds, portcullis.Decision{Call: "other", Outcome: answer("ALLOW").Outcome})
	}
	var out strings.Builder
	printDecisions(&out, ds, false)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if want := 10*(2+5) + 2; len(lines) > want {
		t.Errorf("%d lines, expected at most %d:\n%s", len(lines), want, out.String())
	}
	for _, l := range lines {
		if len(l) > lineWidth {
			t.Errorf("a line of %d characters: %s", len(l), l)
		}
	}
	const head = "call_number_0, call_number_1, call_number_2, call_number_3, call_number_4,\n" +
		"call_number_5, call_number_6, call_number_7, call_number_8, call_number_9\n" +
		"    if args[3] == 0: static  ERRNO(1)\n" +
		"    else if args[2] == 0: static  ERRNO(1)\n"
	if !strings.HasPrefix(out.String(), head) {
		t.Errorf("found\n%s\nexpected it to begin with\n%s", out.String(), head)
	}
	if last := lines[len(lines)-2]; last != "the other 50             static  ALLOW" {
		t.Errorf("the last line of calls is %q", last)
	}
}

// Tests inside of tests are indented.
func TestNestedTests(t *testing.T) {
	b := &portcullis.Branch{If: "args[0] == 1", Then: ruled("args[1] > 2", "KILL_PROCESS", answer("ALLOW")), Else: answer("LOG")}
	var out strings.Builder
	printDecisions(&out, []portcullis.Decision{{Call: "ioctl", Arguments: b}}, true)
	const want = `ioctl
    if args[0] == 1:
        if args[1] > 2: static  KILL_PROCESS
        else: static  ALLOW
    else: static  LOG
`
	if out.String() != want {
		t.Errorf("found\n%sexpected\n%s", out.String(), want)
	}
}
