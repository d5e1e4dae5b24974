package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lackingEnv names the environment variable that has TestLogOfGuests print one.
const lackingEnv = "PORTCULLIS_TEST_LACKING"

// What the tests of guests print that is skipped there, by the user that they run as.
var skippedInside = []struct{ user, line string }{
	{"root", "    x_test.go:1: needs memory control groups"},
	{"nobody", "        x_test.go:2: needs memory control groups: mount them"},
	{"nobody", "    x_test.go:3: needs root: to mount"},
	{"nobody", "    x_test.go:4: needs the agent engine: the kernel's reports nothing"},
	{"nobody", "    x_test.go:5: needs go"},
	{"nobody", "    x_test.go:6: needs gofer: a program of that name"},
	{"root", "    x_test.go:7: runs as nobody"},
	{"root", "a program says x_test.go:8: needs nothing"},
}

// TestLogOfGuests prints what TestIn would of them, and lacks something itself.
func TestLogOfGuests(t *testing.T) {
	if os.Getenv(lackingEnv) == "" {
		t.Skip("runs in the process that TestSkipsInGuestsCount starts")
	}
	for _, s := range skippedInside {
		fmt.Fprintln(&logWriter{t: t, prefix: s.user}, s.line)
	}
	t.Skip("needs QEMU: here")
}

// TestSkipsInGuestsCount gives such a log to ./test, as far as it counts what tests lacked.
func TestSkipsInGuestsCount(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestLogOfGuests$")
	cmd.Env = append(os.Environ(), lackingEnv+"=1")
	log, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	nobody := "    y_test.go:1: needs bash\n"
	for name, text := range map[string]string{"log": string(log), "nobody": nobody} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := counted(t, dir), "needs memory control groups, needs gofer, needs bash, needs QEMU\n5\n"; !sameWords(got, want) {
		t.Errorf("./test says %q, expected %q, in any order, of\n%s", got, want, log)
	}
}

// counted runs the functions of ./test that look through the logs in dir.
func counted(t *testing.T, dir string) string {
	t.Helper()
	script, err := os.ReadFile("../../test")
	if err != nil {
		t.Fatal(err)
	}
	_, functions, found := strings.Cut(string(script), "\n# needs_lines ")
	functions, _, ended := strings.Cut(functions, "\ncount() ")
	if !found || !ended {
		t.Fatal("../../test: expected needs_lines and needs, and count behind them")
	}
	out, err := exec.Command("sh", "-uc", "tmp=$0\n# "+functions+"\nneeds; needs_lines | wc -l", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// sameWords tells whether two lists name the same, however often, in any order.
func sameWords(a, b string) bool {
	named := func(s string) map[string]bool {
		all := map[string]bool{}
		for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' }) {
			all[strings.TrimSpace(w)] = true
		}
		return all
	}
	return fmt.Sprint(named(a)) == fmt.Sprint(named(b))
}
