package conformance

import (
	"strings"
	"testing"

	"portcullis"
	"portcullis/internal/event"
)

// TestLossesAddUp has a reader that takes nothing before the program has ended:
// the program is not held up, and what was delivered and what was lost are all
// there was, to the record.
func TestLossesAddUp(t *testing.T) {
	if *engine != "agent" {
		t.Skip("needs the agent engine: the kernel's reports nothing")
	}
	const calls = 20 * 300
	cmd := command(t, one("audit calls=getppid"), victim(t), "threads", "20", "300")
	ended := make(chan struct{})
	var delivered, lost uint64
	cmd.Events = func(e portcullis.Event) {
		<-ended
		switch e.Kind {
		case event.KindRecord:
			delivered++
		case event.KindLost:
			lost += e.Lost
		}
	}
	out, err := cmd.Output()
	close(ended)
	<-cmd.Done()
	if err != nil || strings.TrimSpace(string(out)) != "allowed 6000 denied 0" {
		t.Errorf("%v: printed %q", err, out)
	}
	if delivered+lost != calls || delivered < 1000 || lost < 1000 {
		t.Errorf("%d records were delivered and %d lost, of %d", delivered, lost, calls)
	}
}
