package kernel

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/prog"
)

// What a guest is told about storms.
var (
	stormer = flag.String("storm", "", "the program that storms")
	gusts   = flag.Int("gusts", 10, "how often each kind of storm begins and ends what it does, on a processor")
)

// gustsEnv has TestSoakStorms do it so often.
const gustsEnv = "PORTCULLIS_GUSTS"

// Filters that begin and end at once, on both processors: installed, inherited by
// forks, kept over execs, given to other threads, and killed with those they are on.
func TestStorms(t *testing.T) { stormIn(t, guest.Config{CPUs: 2}, guest.Nobody, *gusts) }

// TestSoakStorms is that for long, as root too: for who may read what leaks.
func TestSoakStorms(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(gustsEnv))
	if err != nil {
		t.Skip("runs where " + gustsEnv + " says how often to storm")
	}
	cfg := guest.Config{CPUs: 2, Memory: 1024, Timeout: 12 * time.Hour}
	for _, uid := range []int{guest.Nobody, 0} {
		stormIn(t, cfg, uid, n)
	}
}

func stormIn(t *testing.T, cfg guest.Config, uid, gusts int) {
	if guest.Inside() {
		t.Skip("needs no guest: it boots one")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "storm")
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc")
	}
	if text, err := exec.Command("gcc", "-static", "-O2", "-Wall", "-Werror", "-o", path, "testdata/storm.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	cfg.Share = []string{dir}
	guest.TestIn(t, cfg, uid, "-test.run=^TestUnderStorm$", "-test.timeout=12h", "-storm="+path, "-gusts="+strconv.Itoa(gusts))
}

// TestUnderStorm compares what filters counted with what they had to, and the memory
// that is left with what there was.
func TestUnderStorm(t *testing.T) {
	if *stormer == "" {
		t.Skip("runs in the guest that TestStorms boots")
	}
	clones := counter(prog.TaskStorage)
	clones.Flags = prog.FlagClone
	counted := counter(prog.Array)
	const never = 1 << 30
	programs := []*prog.Program{
		limitByMap(counted, never), limitByStorage(clones, never, 0), limitByMap(counter(prog.LRUHash), never), constant("allow", abi.Allow),
	}
	l, err := load(plain(programs...))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer l.close()
	kinds := []string{"install", "fork", "exec", "tsync", "kill"}
	for _, kind := range kinds { // the caches of the kernel fill
		storming(t, l, counted, kind, 3)
	}
	before := available(t)
	for _, kind := range kinds {
		storming(t, l, counted, kind, *gusts)
	}
	returns(t, before)
	unreferenced(t)
}

// storming runs one kind of storm.
func storming(t *testing.T, l *loaded, counted *prog.Map, kind string, n int) {
	t.Helper()
	cmd := exec.Command(*stormer, kind, strconv.Itoa(n), "1")
	for i, fd := range l.progs {
		dup, err := syscall.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), l.names[i])
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	before := count(t, l, counted, 0)
	complaint := new(bytes.Buffer)
	cmd.Stderr = complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", kind, err, complaint)
	}
	want, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, l, counted, 0) - before; got != want {
		t.Errorf("%s: %d calls were counted: %d expected", kind, got, want)
	}
}

// available is MemAvailable of /proc/meminfo in KiB.
func available(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// returns waits until as much memory is available as before, or nearly: filters are
// freed after grace periods, and by a worker. A kernel that checks itself keeps of all memory
// a 32nd part that is free, to see who uses it still; what leaks there kmemleak finds.
func returns(t *testing.T, before int) {
	t.Helper()
	const periods = 500
	lack := 16 << 10
	if guest.SelfChecking() {
		lack += 64 << 10
	}
	now := available(t)
	for i := 0; i < periods && now < before-lack; i++ {
		gracePeriod(t)
		now = available(t)
	}
	t.Logf("%d KiB available, %d before", now, before)
	if now < before-lack {
		t.Errorf("%d KiB available: %d or nearly that expected", now, before)
	}
}
