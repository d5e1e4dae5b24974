//go:build linux && amd64

package attack

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"portcullis"
	"portcullis/internal/prefilter"
)

// TestFalseName attacks the promise that an event is one line of what was
// decided: the caller's name is chosen to be more than that, for a log, a
// terminal and a reader of JSON.
func TestFalseName(t *testing.T) {
	var events []portcullis.Event
	cmd := command(t, "global-count limit=0", attacker(t), "false-name")
	cmd.Observe, cmd.Events = portcullis.ObserveDenials, func(e portcullis.Event) { events = append(events, e) }
	compare(t, "global-count", "false-name", run(t, cmd).out, []string{"named: EPERM EPERM"})
	if len(events) != 2 {
		t.Fatalf("%d events: expected 2", len(events))
	}
	for i := range events {
		plain(t, &events[i])
	}
}

func plain(t *testing.T, e *portcullis.Event) {
	t.Helper()
	raw, err := json.Marshal(e)
	var back portcullis.Event
	if err == nil {
		err = json.Unmarshal(raw, &back)
	}
	if err != nil || back.Program != e.Program || back.Pid != e.Pid || back.Verdict != e.Verdict {
		t.Errorf("%s: %v, read as %+v, expected %+v", raw, err, back, e)
	}
	for _, text := range []string{string(raw), e.String()} {
		if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q: expected nothing but printable characters", text)
		}
	}
}

// TestSlowReader attacks the promise that who reads events cannot hold up
// decisions: the reader does not return before the attack is over, and what it
// missed is counted.
func TestSlowReader(t *testing.T) {
	over, lost := make(chan struct{}), uint64(0)
	cmd := command(t, "global-count limit=0", attacker(t), "calls", "slow", "2000")
	cmd.Observe = portcullis.ObserveAll
	cmd.Events = func(e portcullis.Event) {
		<-over
		lost += e.Lost
	}
	out, err := cmd.Output()
	close(over)
	await(t, cmd.Done())
	if err != nil || strings.Count(string(out), "EPERM") != 2000 {
		t.Errorf("%v: %.80s: expected 2000 denials", err, out)
	}
	if lost == 0 {
		t.Error("no event was lost: expected thousands not to fit the queue, and to be counted")
	}
}

// TestObservedGuards attacks the promise that observation, which puts the
// supervisor where the kernel would have decided, opens nothing: guards hold
// under every kind of it, also where denials are only reported, and under a stack
// that had no supervisor before.
func TestObservedGuards(t *testing.T) {
	for _, c := range []struct {
		observe         portcullis.Observe
		counted, static string
	}{
		{portcullis.ObserveDenials, "EBUSY", "EPERM"},
		{portcullis.ObserveAll, "EBUSY", "EPERM"},
		{prefilter.ObservePermissive, "ok", "ENOSYS"}, // there is no call 600
	} {
		observed := func(args ...string) result {
			cmd := command(t, "deny-getppid; static-verdicts", attacker(t), args...)
			cmd.Observe, cmd.Events = c.observe, func(portcullis.Event) {}
			return run(t, cmd)
		}
		want := "now: counted " + c.counted + ", static " + c.static + ", io_uring ENOSYS, listener EBUSY, upper half EBUSY"
		compare(t, "observed", "guards", observed("guards").out, []string{want})
		compare(t, "observed", "own-listener", observed("own-listener").out, []string{"no listener"})
		for _, door := range []string{"int80", "number 0x4000006e"} {
			if got := observed(strings.Fields(door)...); got != (result{"", sigsys}) {
				t.Errorf("%s: %+v, expected SIGSYS", door, got)
			}
		}
	}
}
