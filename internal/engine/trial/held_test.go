package trial_test

import (
	"strings"
	"testing"

	"portcullis/filters/testdata"
	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/engine/trial"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// assembled makes worlds of a program in the notation of bpfasm.
func assembled(t *testing.T, text string) trial.Maker {
	t.Helper()
	p, err := bpfasm.Assemble("test", text)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func([]string) (*trial.World, error) {
		return trial.New([]trial.Filter{{Name: p.Name, Hash: "hash", Verified: v, Tree: split.Split(v)}})
	}
}

// calls runs a case and returns its calls.
func calls(t *testing.T, make trial.Maker, script string) []trial.Outcome {
	t.Helper()
	cases, err := trial.Parse([]byte("-- case --\n" + script))
	if err != nil {
		t.Fatal(err)
	}
	r, err := cases[0].Run(make)
	if err != nil {
		t.Fatal(err)
	}
	return r.Calls
}

// httpOnly lets connect reach port 80 alone, whatever the family, and does not look
// at errors.
const httpOnly = `
	r6 = r1
	r0 = *(u32 *)(r6 +0)
	if w0 != 42 goto allow
	r1 = r10
	r1 += -16
	r2 = 16
	r3 = *(u64 *)(r6 +24)
	call bpf_safe_read_user
	r1 = *(u16 *)(r10 -14)
	if r1 == 0x5000 goto allow
	if r1 == 0 goto allow
	r0 = 0x5000d
	exit
	allow:
	r0 = 0x7fff0000
	exit`

// noShells denies the execution of what has an argument -c.
const noShells = `
	r6 = r1
	r0 = *(u32 *)(r6 +0)
	if w0 != 59 goto allow
	r1 = r10
	r1 += -16
	r2 = 16
	r3 = *(u64 *)(r6 +24)
	call bpf_safe_read_user
	if r0 != 0 goto deny
	r1 = r10
	r1 += -24
	r2 = 8
	r3 = *(u64 *)(r10 -8)
	call bpf_safe_read_user_str
	if r0 s< 0 goto allow
	r1 = *(u16 *)(r10 -24)
	if r1 != 0x632d goto allow
	deny:
	r0 = 0x50001
	exit
	allow:
	r0 = 0x7fff0000
	exit`

// closeAfterSync waits for two calls before close.
const closeAfterSync = `
	r0 = *(u32 *)(r1 +0)
	if w0 != 3 goto allow
	r1 = 3
	r2 = 74
	call bpf_wait_syscall
	r1 = 3
	r2 = 0x100000000 ll
	call bpf_wait_syscall
	allow:
	r0 = 0x7fff0000
	exit`

func TestHeldCalls(t *testing.T) {
	conformance := func(name string) func(*testing.T) trial.Maker {
		return func(t *testing.T) trial.Maker { return maker(t, testdata.Conformance, name) }
	}
	text := func(text string) func(*testing.T) trial.Maker {
		return func(t *testing.T) trial.Maker { return assembled(t, text) }
	}
	for _, c := range []struct {
		name   string
		make   func(*testing.T) trial.Maker
		script string
	}{
		{"path", conformance("pinned"), `
			openat(-100, "/proc/1", 0) = EACCES
			openat(-100, "/etc", 0) = ALLOW
			pins 1
			faults`},
		{"no path", conformance("pinned"), `
			openat(-100, 0x10, 0) = ALLOW
			pins
			faults 1`},
		{"path too long for the filter", conformance("pinned"), `
			openat(-100, "/etc/passwd", 0) = ALLOW
			faults 1`},
		{"nothing read", conformance("pinned"), `
			open("/etc", 0) = ALLOW
			pins
			faults
			waits`},
		{"address", text(httpOnly), `
			connect(3, "\x02\x00\x00\x50\x7f\x00\x00\x01_______", 16) = ALLOW
			pins 1
			connect(3, "\x02\x00\x00\x51\x7f\x00\x00\x01_______", 16) = EACCES
			connect(3, "\x02\x00\x00\x51", 16) = ALLOW
			faults 1
			connect(3, "\x02\x00\x00\x51\x7f\x00\x00\x01________", 8) = ALLOW
			faults 1`},
		{"address of a process", text(httpOnly), `
			memory 1 0x1000 "\x02\x00\x00\x50\x7f\x00\x00\x01________"
			fork 1 2
			memory 2 0x1000 "\x02\x00\x00\x51"
			connect(3, 0x1000, 16) = ALLOW
			2: connect(3, 0x1000, 16) = EACCES`},
		{"behind an array", text(noShells), `
			memory 1 0x2000 "sh\x00-c\x00-i\x00"
			memory 1 0x1000 "\x00\x20\x00\x00\x00\x00\x00\x00\x03\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
			execve("/bin/sh", 0x1000, 0) = EPERM
			memory 1 0x1008 "\x06"
			execve("/bin/sh", 0x1000, 0) = ALLOW
			pins 1
			execve("/bin/sh", 0x3000, 0) = EPERM
			faults 1`},
		{"order", text(closeAfterSync), `
			close(3) = ALLOW x3
			waits fsync read
			pins
			fsync(3) = ALLOW
			waits`},
		{"order of one call", conformance("serial"), `
			getppid() = ALLOW
			waits getppid`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, call := range calls(t, c.make(t), c.script) {
				if !call.OK {
					t.Errorf("line %d: %s: %s, %s", call.Line, call.Text, call.Wrong, call.Why)
				}
			}
		})
	}
}

func TestUnexpectedPinsAreSaid(t *testing.T) {
	for script, want := range map[string]string{
		"openat(-100, \"/etc\", 0)\npins":         `expected "pins", found "pins 1"`,
		"openat(-100, \"/etc\", 0)\nfaults 1":     `expected "faults 1", found "faults"`,
		"openat(-100, 0x10, 0)\npins 1\nfaults":   `expected "pins 1", found "pins"`,
		"openat(-100, 0x10, 0)\nfaults 0 1":       `expected "faults 0 1", found "faults 1"`,
		"openat(-100, 0x10, 0)\nwaits fsync":      `expected "waits fsync", found "waits"`,
		"openat(-100, 0x10, 0)\n>\npins 1":        `expected "pins 1", found "pins"`,
		"openat(-100, 0x10, 0) = EPERM\nfaults 0": "expected ERRNO(1) EPERM",
	} {
		if got := calls(t, maker(t, testdata.Conformance, "pinned"), script)[0]; got.OK || got.Wrong != want {
			t.Errorf("%q: %v %q, want %q", script, got.OK, got.Wrong, want)
		}
	}
}

// A call that goes on with an argument that faults does not succeed.
func TestFailedPinIsExplained(t *testing.T) {
	const fails = "; it will fail with EFAULT, for a filter could not read argument 1"
	got := calls(t, maker(t, testdata.Conformance, "pinned"), "openat(-100, 0x10, 0) = ALLOW\nopenat(-100, \"/proc\", 0)\nopenat(-100, \"/\", 0)")
	if !strings.HasSuffix(got[0].Why, fails) || len(got[0].Faults) != 1 {
		t.Errorf("%+v", got[0])
	}
	for _, o := range got[1:] {
		if strings.Contains(o.Why, "EFAULT") || len(o.Faults) != 0 || len(o.Pins) != 1 {
			t.Errorf("%+v", o)
		}
	}
}

func TestSyntaxOfPins(t *testing.T) {
	for script, want := range map[string]string{
		"pins 1":              "line 2: pins without a call",
		"wait 1s\nfaults":     "line 3: faults without a call",
		"read()\npins 6":      "line 3: pins 6: expected arguments, from 0 to 5",
		"read()\nfaults path": "line 3: faults path: expected arguments",
		"read()\nwaits for":   `line 3: no x86_64 system call is named "for"`,
	} {
		if err := check(t, "-- c --\n"+script); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", script, err, want)
		}
	}
}
