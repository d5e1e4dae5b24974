package guest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCPIO(t *testing.T) {
	var out bytes.Buffer
	err := writeCPIO(&out, []entry{{name: "init", mode: 0o755, data: []byte("hello")}, {name: "dev", mode: os.ModeDir | 0o755}})
	if err != nil {
		t.Fatal(err)
	}
	zeros := func(n int) string { return strings.Repeat("00000000", n) }
	want := "070701" + "00000001" + "000041ED" + zeros(2) + "00000002" + zeros(6) + "00000004" + zeros(1) + "dev\x00\x00\x00" +
		"070701" + "00000002" + "000081ED" + zeros(2) + "00000001" + zeros(1) + "00000005" + zeros(4) + "00000005" + zeros(1) + "init\x00\x00" + "hello\x00\x00\x00" +
		"070701" + zeros(4) + "00000001" + zeros(6) + "0000000B" + zeros(1) + "TRAILER!!!\x00\x00\x00\x00"
	if out.String() != want {
		t.Errorf("archive\n%q, expected\n%q", out.String(), want)
	}
}

func TestFrames(t *testing.T) {
	var wire bytes.Buffer
	f := &frameWriter{w: &wire}
	big := bytes.Repeat([]byte("x"), maxFrame+3)
	for _, p := range [][]byte{nil, []byte("one"), big} {
		if err := f.send(frameStdout, p); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(&wire)
	for i, want := range []int{0, 3, maxFrame, 3} {
		kind, p, err := readFrame(r)
		if kind != frameStdout || len(p) != want || err != nil {
			t.Fatalf("frame %d: kind %q, %d bytes, %v: %d bytes expected", i, kind, len(p), err, want)
		}
	}
	if _, _, err := readFrame(r); err != io.EOF {
		t.Errorf("after the last frame: %v", err)
	}
}

func TestBrokenFrames(t *testing.T) {
	for name, wire := range map[string]string{
		"cut payload": "o\x05\x00\x00\x00abc",
		"cut head":    "o\x05",
		"too long":    "o\xff\xff\xff\xff",
	} {
		if _, _, err := readFrame(bufio.NewReader(strings.NewReader(wire))); err == nil || err == io.EOF {
			t.Errorf("%s: %v: an error other than EOF expected", name, err)
		}
	}
}

func TestConsole(t *testing.T) {
	c := newConsole(nil)
	text := "[    0.1] Linux version 6.12\r\n" +
		"[    1.000001][    T1] WARNING: CPU: 0 PID: 1 at kernel/seccomp.c:1\r\n" +
		"a program says WARNING: \n" +
		"[    2.5] watchdog: BUG: soft lockup - CPU#0 stuck\n" +
		"[    3.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200\n" +
		strings.Repeat("line\n", tailLines) + "unfinished"
	for _, b := range []byte(text) { // in the smallest pieces
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.complaints(); len(got) != 1 || !strings.HasPrefix(got[0], "WARNING: CPU: 0") {
		t.Errorf("complaints %q: the kernel's warning alone expected", got)
	}
	if got := c.panicked(); got != "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200" {
		t.Errorf("panic %q", got)
	}
	if got := c.tail(); len(got) != tailLines+1 || got[0] != "line" || got[tailLines] != "unfinished" {
		t.Errorf("tail of %d lines, from %q to %q", len(got), got[0], got[len(got)-1])
	}
}

func TestComplaints(t *testing.T) {
	for line, want := range map[string]int{
		"BUG: KASAN: slab-use-after-free in seccomp_turn_give": 1, "BUG kmalloc-64 (Not tainted): Poison overwritten": 1,
		"BUG: sleeping function called from invalid context": 1, "BUG: scheduling while atomic: x/1/0x00000002": 1,
		"kernel BUG at mm/slub.c:500!": 1, "Oops: int3: 0000 [#1] SMP": 1, "refcount_t: underflow; use-after-free.": 1,
		"kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)": 1, "list_del corruption, x": 1,
		"INFO: trying to register non-static key.": 1, "ODEBUG: free active (active state 0)": 1,
		"BUG: KASAN: slab-use-after-free in _install_special_mapping": 1,
		"[ BUG: Invalid wait context ]":                               1, "[ BUG: x, that a later kernel says ]": 1, "[ BUG ]": 0, "a [ BUG: x ]": 0,
		"BUG: workqueue lockup - pool cpus=0": 0, "rcu: INFO: rcu_sched self-detected stall on CPU": 0,
		"kmemleak: Kernel memory leak detector initialized": 0, "audit: type=1326": 0, "DEBUG: x": 0,
	} {
		c := newConsole(nil)
		fmt.Fprintf(c, "[    1.0] %s\n", line)
		if got := c.complaints(); len(got) != want {
			t.Errorf("%q: complaints %q, %d expected", line, got, want)
		}
	}
}

// What a detector of stalls says is no fault of a guest that ends, and explains one that does not.
func TestStalled(t *testing.T) {
	const first = "rcu: INFO: rcu_sched self-detected stall on CPU"
	for text, want := range map[string]string{
		"[   25.0] " + first + "\nBUG: workqueue lockup - pool cpus=0\nlast\n": "in time: " + first + ": limit of 1ns",
		"last\n": "in time: last line of the console: last: limit of 1ns",
	} {
		m := newMachine(context.Background(), Config{Timeout: time.Nanosecond}, &job{}, nil)
		<-m.ctx.Done()
		fmt.Fprint(m.console, text)
		if err := m.fault(); !strings.HasSuffix(err.Error(), want) || len(m.console.complaints()) != 0 {
			t.Errorf("%v, complaints %q: expected none, and an error that ends in %q", err, m.console.complaints(), want)
		}
		m.cancel()
	}
}

func TestQEMUArgs(t *testing.T) {
	args := strings.Join(qemuArgs(Config{Kernel: "k", Clock: Counted, CPUs: 2, Append: []string{"a=b"}}, []string{"/x,y"}), " ")
	for _, want := range []string{
		"-smp 2", "-m 512", "-icount shift=0", " a=b -icount",
		"id=root,mount_tag=root,path=/,security_model=none,multidevs=remap,readonly=on",
		"mount_tag=share0,path=/x,,y,security_model=none,multidevs=remap",
	} {
		if !strings.Contains(args, want) {
			t.Errorf("%q is not in %s", want, args)
		}
	}
	if strings.Contains(args, "share0") && strings.Contains(args[strings.Index(args, "share0"):], "readonly") {
		t.Error("a share is read-only")
	}
}

// Each flavour gets the machine it takes, unless told otherwise.
func TestMachineOfFlavours(t *testing.T) {
	for want, cfg := range map[string]Config{
		"-m 512": {}, "-m 2048": {Flavour: Debug}, "-m 600": {Flavour: Debug, Memory: 600},
		"-accel tcg": {}, "-accel tcg,thread=single": {Flavour: Measure},
	} {
		if args := strings.Join(qemuArgs(cfg, nil), " "); !strings.Contains(args, want+" ") {
			t.Errorf("%q is not in %s", want, args)
		}
	}
}

// Coverage comes back by a shared directory, where that is asked for.
func TestChecked(t *testing.T) {
	cfg := Config{Memory: 1024, Timeout: time.Minute}
	t.Setenv(SlowEnv, "")
	if got := checked(cfg, nil); got.Flavour != Plain || got.Memory != cfg.Memory || got.Timeout != cfg.Timeout {
		t.Errorf("%+v: expected nothing else", got)
	}
	t.Setenv(SlowEnv, "1")
	console := new(bytes.Buffer)
	if got := checked(cfg, console); got.Flavour != Debug || got.Console != io.Writer(console) || got.Memory < 2*cfg.Memory || got.Timeout < 2*cfg.Timeout {
		t.Errorf("%+v: expected the kernel that checks itself, with more memory and time", got)
	}
}

func TestCovered(t *testing.T) {
	t.Setenv(CoverEnv, "")
	if cfg, args := covered(Config{}, []string{"-x"}); len(cfg.Share) != 0 || len(args) != 1 {
		t.Errorf("%q, %q: nothing else expected", cfg.Share, args)
	}
	t.Setenv(CoverEnv, "/to")
	cfg, args := covered(Config{Share: []string{"/mine"}}, []string{"-x"})
	if got := strings.Join(append(cfg.Share, args...), " "); got != "/mine /to -test.gocoverdir=/to -x" {
		t.Errorf("got %s", got)
	}
}

// Each flavour's image is what its variable names, or what its build has made.
func TestImages(t *testing.T) {
	for f, env := range map[Flavour]string{Plain: KernelEnv, Debug: DebugKernelEnv, Measure: MeasureKernelEnv, Unpatched: UnpatchedKernelEnv} {
		t.Setenv(env, os.Args[0])
		if path, err := f.Image(); path != os.Args[0] || err != nil {
			t.Errorf("%s: %q, %v: the file it names expected", env, path, err)
		}
		t.Setenv(env, "/nowhere/at/all")
		var need *NeedError
		if _, err := f.Image(); !errors.As(err, &need) || !strings.Contains(err.Error(), env) {
			t.Errorf("%s: %v: a NeedError that names it expected", env, err)
		}
	}
	fake := t.TempDir()
	writeScript(t, fake, "echo built for ${1-nothing}; echo /image$1; [ $# = 2 ]")
	if path, err := Debug.built(fake); path != "/image--debug" || err != nil {
		t.Errorf("%q, %v: the last line of a build with --debug --path expected", path, err)
	}
	if _, err := Plain.built(fake); err == nil || err.Error() != "/image--path is not built" {
		t.Errorf("%v: not built expected", err)
	}
}

// writeScript makes a build script below root.
func writeScript(t *testing.T, root, body string) {
	t.Helper()
	dir := filepath.Join(root, "linux")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "build"), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestIsDynamic(t *testing.T) {
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skip("needs /bin/sh")
	}
	if dynamic, err := isDynamic(shell); !dynamic || err != nil {
		t.Errorf("/bin/sh: dynamic %v, %v", dynamic, err)
	}
	if _, err := isDynamic([]byte("#!/bin/sh\n")); err == nil {
		t.Error("a script passes for ELF")
	}
}

// What stands in for a dynamic executable is static.
func TestBuildInit(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go in PATH")
	}
	init, err := buildInit()
	if err != nil {
		t.Fatal(err)
	}
	if dynamic, err := isDynamic(init); dynamic || err != nil {
		t.Errorf("init: dynamic %v, %v", dynamic, err)
	}
}

func TestLookPath(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
		ok   bool
	}{
		{"sh", []string{"PATH=/nowhere:/bin"}, true},
		{"sh", []string{"PATH=/nowhere"}, false},
		{"sh", nil, false},
		{"./any", nil, true},
		{"etc", []string{"PATH=/"}, false}, // a directory is no command
	} {
		if path, err := lookPath(c.name, c.env); (err == nil) != c.ok {
			t.Errorf("lookPath(%q, %q) = %q, %v", c.name, c.env, path, err)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{{"/tmp", "/tmp", true}, {"/tmp/x", "/tmp", true}, {"/tmpx", "/tmp", false}, {"/x", "/", true}} {
		if got := within(c.path, c.dir); got != c.want {
			t.Errorf("within(%q, %q) = %v", c.path, c.dir, got)
		}
	}
}

// A guest that says twice that it is up is broken: an error, and no panic.
func TestSecondHello(t *testing.T) {
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer ours.Close()
	m := newMachine(context.Background(), Config{}, &job{}, ours)
	defer m.cancel()
	for i := 0; i < 2; i++ {
		if err := (&frameWriter{w: theirs}).send(frameReady, nil); err != nil {
			t.Fatal(err)
		}
	}
	if end, err := m.serve(nil, io.Discard, io.Discard); end != nil || err == nil {
		t.Errorf("%+v, %v: expected an error", end, err)
	}
}
