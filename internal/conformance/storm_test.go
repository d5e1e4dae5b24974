package conformance

import (
	"testing"

	"portcullis"
)

// storm is a program whose handlers, installed without SA_RESTART, are interrupted all
// the time, and which exits in the midst of it.
const storm = `
import os, signal
handled, target, storm = 0, os.getpid(), (signal.SIGUSR1, signal.SIGUSR2)
def handler(*_):
    global handled
    handled += 1
for s in storm:
    signal.signal(s, handler)
go, begin = os.pipe() # a fork in the storm may be interrupted, which it says
for s in storm:
    if os.fork() == 0:
        os.read(go, 1)
        try:
            while True:
                os.kill(target, s)
        except ProcessLookupError:
            os._exit(0)
os.write(begin, b"ok")
while handled < 20:
    pass
os._exit(7)
`

// TestHandlersReturn: neither the return of a signal handler nor an exit fails when
// another signal comes before they are decided.
func TestHandlersReturn(t *testing.T) {
	for _, calls := range []string{"rt_sigreturn", "exit_group", "rt_sigreturn,exit_group"} {
		cmd := command(t, []string{"count calls=" + calls + " max=100000000"}, python, "-ISc", storm)
		if got := run(t, cmd); got.status != 7 {
			t.Errorf("%s counted: status %d, expected 7: %s", calls, got.status, got.out)
		}
	}
}

// TestHandlersReturnObserved is the same where every call is reported.
func TestHandlersReturnObserved(t *testing.T) {
	if *engine != "agent" {
		t.Skip("needs the agent engine: the kernel's reports nothing")
	}
	cmd := command(t, one("audit"), python, "-ISc", storm)
	var seen tally
	cmd.Observe, cmd.Events = portcullis.ObserveAll, seen.event
	if got := run(t, cmd); got.status != 7 {
		t.Errorf("status %d, expected 7: %s", got.status, got.out)
	}
	seen.check(t)
}
