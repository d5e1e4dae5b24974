package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"testing"
	"time"

	"portcullis/internal/guest"
)

// selftestsEnv has TestSelftests run.
const selftestsEnv = "PORTCULLIS_SELFTESTS"

// kernelSource holds the kernel's own tests.
const kernelSource = "/usr/src/linux-source-6.12.tar.xz"

// selftest is a program of the kernel's own tests.
type selftest struct {
	name    string
	sources []string // below tools/testing/selftests, or of testdata/selftests
	include []string // directories
	flags   []string
	needs   []string // libraries
	least   int      // as many tests must end
	parse   func([]byte) map[string]string
}

// The kernel's own tests of seccomp and of BPF pass on the patched kernel, or end there
// as on one without the patches: what fails on both is the configuration's, or
// emulation's. Their source is unpacked from a large archive, and a second kernel may
// have to be built, so that this is for make selftests.
func TestSelftests(t *testing.T) {
	if os.Getenv(selftestsEnv) == "" {
		t.Skip("runs where " + selftestsEnv + " is set")
	}
	dir := t.TempDir()
	tests := unpackSelftests(t, dir)
	for _, s := range selftests {
		t.Run(s.name, func(t *testing.T) { compare(t, s, dir, s.build(t, dir, tests)) })
	}
}

// compare runs the program on the patched kernel, and where not all passes on the other.
func compare(t *testing.T, s selftest, dir, program string) {
	t.Helper()
	cfg := guest.Config{Share: []string{dir}}
	with := s.outcomes(t, cfg, program)
	t.Logf("patched: %s", census(with))
	if len(with) < s.least {
		t.Fatalf("%d tests ended: at least %d expected", len(with), s.least)
	}
	failed := failing(with)
	if len(failed) == 0 {
		return
	}
	t.Logf("these do not pass: %q", failed)
	without := s.outcomes(t, unpatched(t, cfg), program)
	t.Logf("unpatched: %s", census(without))
	differences(t, with, without)
}

// differences complains of what did not end alike.
func differences(t *testing.T, with, without map[string]string) {
	t.Helper()
	for name, want := range without {
		if got := with[name]; got != want {
			t.Errorf("%s: %q on the patched kernel: %q expected", name, got, want)
		}
	}
	for name, got := range with {
		if without[name] == "" {
			t.Errorf("%s: %q on the patched kernel alone", name, got)
		}
	}
}

// census counts what ended how, whatever the reasons.
func census(outcomes map[string]string) string {
	count := make(map[string]int)
	for _, o := range outcomes {
		state, _, _ := strings.Cut(o, ":")
		count[state]++
	}
	return fmt.Sprintf("%d tests, %v", len(outcomes), count)
}

// failing names what does not pass.
func failing(outcomes map[string]string) []string {
	var names []string
	for name, o := range outcomes {
		if o != "ok" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// unpatched is cfg with the kernel without the patches. That one has jump labels as well,
// on which no outcome depends.
func unpatched(t *testing.T, cfg guest.Config) guest.Config {
	t.Helper()
	run(t, "../../../linux/build", guest.Unpatched.BuildArgs()...)
	cfg.Flavour = guest.Unpatched
	return cfg
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, complaint.Bytes()[max(0, complaint.Len()-2000):])
	}
	return string(out)
}

// outcomes runs the tests as root in a guest; they are what became of each.
func (s selftest) outcomes(t *testing.T, cfg guest.Config, program string) map[string]string {
	t.Helper()
	cfg.CPUs, cfg.Memory, cfg.Timeout = 2, 2048, time.Hour
	cmd := guest.Command(cfg, program)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}
	out, err := cmd.CombinedOutput()
	var ended *guest.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%+v", err)
	}
	for _, line := range cmd.Complaints() {
		t.Errorf("the guest's kernel complained: %s", line)
	}
	return s.parse(out)
}

// parseTAP takes "ok 1 global.kcmp" and "not ok 2 TRACE.x # SKIP why" apart.
func parseTAP(text []byte) map[string]string {
	found := make(map[string]string)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line, state := lines.Text(), "ok"
		rest, failed := strings.CutPrefix(line, "not ok ")
		if failed {
			state = "not ok"
		} else if rest, failed = strings.CutPrefix(line, "ok "); !failed {
			continue
		}
		rest, remark, _ := strings.Cut(rest, " # ")
		if strings.HasPrefix(remark, "SKIP") {
			state = "skipped"
		}
		if f := strings.Fields(rest); len(f) == 2 {
			found[f[1]] = state
		}
	}
	return found
}

func TestParseTAP(t *testing.T) {
	got := parseTAP([]byte("TAP version 13\n#  RUN global.a ...\nok 1 global.a\nnot ok 2 b.c\nok 3 d # SKIP no such thing\n# Totals\n"))
	if len(got) != 3 || got["global.a"] != "ok" || got["b.c"] != "not ok" || got["d"] != "skipped" {
		t.Errorf("got %v", got)
	}
}
