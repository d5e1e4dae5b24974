//go:build linux && amd64

package attack

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestLimitedLaunch attacks the promise that a launch either is refused or
// enforces everything, whatever the supervisor runs out of on the way.
func TestLimitedLaunch(t *testing.T) {
	limits := strings.Split(by(
		"-f 0,-s 64,-v 900000,-v 1500000,-u 8,-t 0,-i 0,-n 4,-n 6,-n 8,-n 9,-n 10,-n 12,-n 20",
		"-f 0,-v 900000,-v 1500000,-u 8,-n 4,-n 9,-n 10,-n 20", // of what it needs
	), ",")
	refused, served := 0, 0
	for i, limit := range limits {
		stack := []string{"global-count limit=0", "deny-getppid"}[i%2]
		out := limited(t, limit, stack)
		switch {
		case strings.HasPrefix(out, "limited: E"):
			served++
		case out == "" || strings.HasPrefix(out, "refused: "):
			refused++
		default:
			t.Errorf("%s under %s: %q, expected a refusal or a denial", stack, limit, out)
		}
	}
	if refused == 0 || served == 0 {
		t.Errorf("%d launches refused, %d served: expected the limits to matter to some", refused, served)
	}
}

// limited is what comes out under a limit that bash's ulimit sets.
func limited(t *testing.T, limit, stack string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience())
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "ulimit "+limit+` && exec "$@"`, "bash",
		made.File("suite"), supervise, *engine, stack, attacker(t), "calls", "limited", "1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.Discard
	_ = cmd.Run() // whatever it is, it must not have been let through
	return strings.TrimSpace(out.String())
}

// TestLaunchLosesItsSupervisor attacks the promise that a target never runs
// without its filter: its supervisor is killed at any moment of the launch.
func TestLaunchLosesItsSupervisor(t *testing.T) {
	ran := map[string]int{}
	for i := 0; i < 12; i++ {
		stack := []string{"global-count limit=0", "deny-getppid"}[i%2]
		out := beheaded(t, stack, time.Duration(i)*1500*time.Microsecond)
		ran[out]++
		switch out {
		case "", "beheaded: EPERM", "beheaded: EBUSY", "beheaded: ENOSYS":
		default:
			t.Errorf("%s: %q, expected nothing or a denial", stack, out)
		}
	}
	if ran[""] == 0 {
		t.Errorf("%v: expected some launches to be cut off", ran)
	}
}

// beheaded is what the attacker wrote whose supervisor is killed after so long.
func beheaded(t *testing.T, stack string, after time.Duration) string {
	t.Helper()
	cmd := exec.Command(made.File("suite"), supervise, *engine, stack, attacker(t), "calls", "beheaded", "1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(after) // any moment will do
	_ = cmd.Process.Kill()
	text, _ := io.ReadAll(out) // to the end of all that can write
	_ = cmd.Wait()
	return strings.TrimSpace(string(text))
}
