package conformance

import (
	"strings"
	"testing"
)

// debuggers are what people put before a program to look at it, and what they say when
// that works.
var debuggers = []struct {
	name string
	args []string
	says string
}{
	{"strace", []string{"-f", "-e", "trace=execve", "sh", "-c", "/bin/true; /bin/echo ran"}, `execve("/bin/true"`},
	{"gdb", []string{
		"-nx", "-batch", "-ex", "set startup-with-shell off", "-ex", "set disable-randomization off",
		"-ex", "catch syscall exit_group", "-ex", "run", "-ex", "info registers rip", "-ex", "continue", "--args", "/bin/true",
	}, "exited normally"},
}

// TestDebuggersWork has them work under filters that decide statically and by state.
func TestDebuggersWork(t *testing.T) {
	all := debuggers
	if *engine != "agent" {
		all = all[:1] // in a guest the other one takes long to start
	}
	for _, d := range all {
		d := d
		t.Run(d.name, func(t *testing.T) {
			need(t, d.name)
			got := run(t, command(t, []string{"count calls=execve,openat max=1000000", "allow"}, d.name, d.args...))
			if got.status != 0 || !strings.Contains(got.out, d.says) {
				t.Errorf("%s: status %d: %s", d.name, got.status, got.out)
			}
		})
	}
}

// TestDebuggersAreRefused has a tracer of the engine's own: then there is no other one,
// and a debugger says so instead of running the program unseen.
func TestDebuggersAreRefused(t *testing.T) {
	for _, d := range debuggers {
		d := d
		t.Run(d.name, func(t *testing.T) {
			need(t, d.name)
			filters := []string{"count-process calls=getppid max=1000000"}
			if !needsTracer(t, filters[0]) {
				t.Fatal("expected a filter that takes a tracer")
			}
			if *engine == "kernel" {
				t.Skip("needs the agent engine: the kernel's traces nothing")
			}
			got := run(t, command(t, filters, d.name, d.args...))
			if strings.Contains(got.out, d.says) || !strings.Contains(got.out, "Operation not permitted") {
				t.Errorf("%s: status %d: %s", d.name, got.status, got.out)
			}
		})
	}
}

// needsTracer tells whether calls are held for a filter.
func needsTracer(t *testing.T, filter string) bool {
	t.Helper()
	words := strings.Fields(filter)
	r, err := load(t, words[0], words[1:]).Check()
	if err != nil {
		t.Fatal(err)
	}
	return r.Traced
}
