package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// kernelTree is the directory that kernelSource unpacks.
const kernelTree = "linux-source-6.12"

// selftestParts is what the programs are built of.
var selftestParts = []string{
	"tools/testing/selftests/seccomp", "tools/testing/selftests/clone3",
	"tools/testing/selftests/kselftest.h", "tools/testing/selftests/kselftest_harness.h",
	"tools/testing/selftests/bpf", "tools/lib", "tools/include", "tools/arch/x86/include",
	"tools/bpf/bpftool/json_writer.h", "kernel/bpf/disasm.h",
}

// leftOut are tests of maps that need a skeleton, which is generated from what clang makes
// of a program and the types of a kernel with BTF: one has an iterator read the counters
// of maps, one a program at the entry of a function look at the lock of task storage. For
// the same reason the tests of the verifier that belong to test_progs are not here
// (progs/verifier_*.c), and the tests of maps or sockets in maps end where they load
// their programs.
var leftOut = []string{"map_tests/map_percpu_stats.c", "map_tests/task_storage_map.c"}

// bpfHeaders has the headers of the tests of BPF, below their directory.
var bpfHeaders = []string{"bpf", "../../lib", "../../include", "../../include/uapi", "../../arch/x86/include"}

// bpfLibraries are those of libbpf, which is built with each program.
var bpfLibraries = []string{"libelf.a", "libz.a"}

var selftests = []selftest{
	{
		name: "seccomp_bpf", sources: []string{"seccomp/seccomp_bpf.c"},
		flags: []string{"-O2"}, least: 50, parse: parseTAP,
	},
	{
		name: "test_verifier", sources: []string{
			"testdata/selftests/bpf/verifier.c", "bpf/testing_helpers.c", "bpf/cap_helpers.c",
			"bpf/unpriv_helpers.c", "../../lib/bpf/*.c",
		},
		include: bpfHeaders, needs: bpfLibraries, least: 700, parse: parseVerifier,
	},
	{
		name: "test_maps", sources: []string{
			"testdata/selftests/bpf/maps.c", "bpf/testing_helpers.c", "bpf/map_tests/*.c",
			"../../lib/bpf/*.c",
		},
		include: bpfHeaders, needs: bpfLibraries, least: 40, parse: parseTAP,
	},
}

// unpackSelftests returns the directory of the kernel's own tests, unpacked in dir.
func unpackSelftests(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(kernelSource); err != nil {
		t.Skip("needs " + kernelSource + ": apt-get install linux-source-6.12")
	}
	args := []string{"-C", dir, "-xf", kernelSource}
	for _, name := range leftOut {
		args = append(args, "--exclude="+name)
	}
	for _, part := range selftestParts {
		args = append(args, kernelTree+"/"+part)
	}
	run(t, "tar", args...)
	tests := filepath.Join(dir, kernelTree, "tools/testing/selftests")
	list(t, filepath.Join(tests, "bpf/verifier"), verifierTests)
	list(t, filepath.Join(tests, "bpf/map_tests"), mapTests)
	return tests
}

// list writes tests.h, which names all tests of a directory.
func list(t *testing.T, dir string, tests func(name string, source []byte) string) {
	t.Helper()
	var header strings.Builder
	for _, path := range glob(t, filepath.Join(dir, "*.c")) {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		header.WriteString(tests(filepath.Base(path), source))
	}
	if err := os.WriteFile(filepath.Join(dir, "tests.h"), []byte(header.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func verifierTests(name string, _ []byte) string {
	return fmt.Sprintf("#ifdef FILL_ARRAY\n#include %q\n#endif\n", name)
}

var mapTest = regexp.MustCompile(`(?m)^void test_([a-z0-9_]+)\(`)

func mapTests(_ string, source []byte) string {
	var header strings.Builder
	for _, m := range mapTest.FindAllSubmatch(source, -1) {
		fmt.Fprintf(&header, "DEFINE_TEST(%s)\n", m[1])
	}
	return header.String()
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no such files: %v", pattern, err)
	}
	return paths
}

// build compiles the program, whose sources are below tests, to dir.
func (s selftest) build(t *testing.T, dir, tests string) string {
	t.Helper()
	requireLibraries(t, s.needs)
	out := filepath.Join(dir, s.name)
	args := append([]string{"-static", "-w", "-D_GNU_SOURCE=", "-o", out, "-I", "testdata/selftests"}, s.flags...)
	for _, headers := range s.include {
		args = append(args, "-I", filepath.Join(tests, headers))
	}
	args = append(args, s.files(t, tests)...)
	for _, library := range s.needs {
		args = append(args, "-l:"+library)
	}
	run(t, "gcc", append(args, "-lpthread")...)
	return out
}

// files are the paths of the sources.
func (s selftest) files(t *testing.T, tests string) []string {
	t.Helper()
	var paths []string
	for _, source := range s.sources {
		if !strings.HasPrefix(source, "testdata/") {
			source = filepath.Join(tests, source)
		}
		paths = append(paths, glob(t, source)...)
	}
	return paths
}

// requireLibraries skips where gcc finds one of them by its name alone, which is nowhere.
func requireLibraries(t *testing.T, libraries []string) {
	t.Helper()
	for _, library := range libraries {
		if path := run(t, "gcc", "-print-file-name="+library); !filepath.IsAbs(path) {
			t.Skip("needs " + library + ": apt-get install libelf-dev zlib1g-dev")
		}
	}
}

// verifierTest is what test_verifier says of a test; verifierEnd is its last line.
var verifierTest = regexp.MustCompile(`^(#\d+/[up] .*?)(?: (?:\d+ cases )?(?:OK|FAIL|SKIP)(?: .*)?)?$`)

const verifierEnd = "Summary: "

// parseVerifier takes "#12/u name OK" and "#12/p name SKIP (why)" apart; what became of a
// test may also be on a line that follows, after a complaint. What fails is said with the
// first line of its reasons.
func parseVerifier(text []byte) map[string]string {
	found := make(map[string]string)
	name := ""
	for _, line := range strings.Split(string(text), "\n") {
		m := verifierTest.FindStringSubmatch(line)
		if m != nil {
			name = m[1]
			found[name] = "not ok"
		}
		switch {
		case strings.HasPrefix(line, verifierEnd) || name == "":
			name = ""
		case line == "OK" || strings.HasSuffix(line, " OK"):
			found[name] = "ok"
		case strings.Contains(line, "SKIP"):
			found[name] = "skipped"
		case found[name] == "not ok" && m == nil:
			found[name] += ": " + line
		}
	}
	return found
}

func TestParseVerifier(t *testing.T) {
	const text = "start\n#0/u a: OK so OK\n#0/p a: OK so Did not run it OK\n#1/p b 2 cases OK\n#2/u c SKIP\n" +
		"#3/p d Failed to create it\nSKIP (unsupported map type 1)\n#4/p e FAIL\nUnexpected success to load!\nlog\n" +
		"#5/p f FAIL retval 1 != 0 (run 1/1) \nlog\nSummary: 3 PASSED, 2 SKIPPED, 2 FAILED\n"
	got := parseVerifier([]byte(text))
	if c, want := census(got), "7 tests, map[not ok:2 ok:3 skipped:2]"; c != want {
		t.Errorf("got %s: %s expected", c, want)
	}
	if got, want := got["#4/p e"], "not ok: Unexpected success to load!"; got != want {
		t.Errorf("got %s: %s expected", got, want)
	}
}
