package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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

// The kernel's own tests of seccomp pass on the patched kernel, or end there as on one
// without the patches: what fails on both is the configuration's, or emulation's. Their
// source is unpacked from a large archive, and a second kernel may have to be built, so
// that this is for make selftests.
func TestSelftests(t *testing.T) {
	if os.Getenv(selftestsEnv) == "" {
		t.Skip("runs where " + selftestsEnv + " is set")
	}
	dir := t.TempDir()
	cfg := guest.Config{Share: []string{dir}}
	program := selftests(t, dir)
	with := outcomes(t, cfg, program)
	failed := failing(with)
	t.Logf("%d tests, of which %d do not pass: %q", len(with), len(failed), failed)
	if len(with) < 50 {
		t.Fatalf("%d tests ended: more than 50 expected", len(with))
	}
	if len(failed) == 0 {
		return
	}
	cfg.Kernel = unpatched(t)
	without := outcomes(t, cfg, program)
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

// selftests builds the kernel's tests of seccomp in dir.
func selftests(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(kernelSource); err != nil {
		t.Skip("needs " + kernelSource + ": apt-get install linux-source-6.12")
	}
	const below = "linux-source-6.12/tools/testing/selftests/"
	out := filepath.Join(dir, "seccomp_bpf")
	run(t, "tar", "-C", dir, "-xf", kernelSource, below+"seccomp", below+"clone3", below+"kselftest.h", below+"kselftest_harness.h")
	shim, err := filepath.Abs("testdata/selftests")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, below, "seccomp")
	run(t, "gcc", "-static", "-O2", "-w", "-D_GNU_SOURCE=", "-I", shim, "-I", filepath.Dir(source), "-o", out,
		filepath.Join(source, "seccomp_bpf.c"), "-lpthread")
	return out
}

// unpatched builds the kernel of linux/ without its patches, by its own script, and
// returns its image. The script wants a patch; it gets one that changes nothing.
func unpatched(t *testing.T) string {
	t.Helper()
	const linux = "../../../linux/"
	dir := t.TempDir()
	config, err := os.ReadFile(linux + "config")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(linux + "build")
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.Replace(config, []byte("CONFIG_SECCOMP_FILTER_EXTENDED=y\n"), nil, 1)
	const patch = "--- /dev/null\n+++ b/Documentation/unpatched\n@@ -0,0 +1 @@\n+Built without patches.\n"
	for name, text := range map[string][]byte{"config": config, "build": script, "patches/0001-unpatched.patch": []byte(patch)} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(run(t, filepath.Join(dir, "build"))), "\n")
	return lines[len(lines)-1]
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

// outcomes runs the tests as root in a guest; they are what TAP says of each.
func outcomes(t *testing.T, cfg guest.Config, program string) map[string]string {
	t.Helper()
	cfg.CPUs, cfg.Timeout = 2, time.Hour
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
	return parseTAP(out)
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
