package guest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"portcullis/internal/guest"
)

// onlyInside is a statement of Patience that no run outside a guest comes to.
const onlyInside = "return d * patience\n"

// TestCoverageComesBack has a covered binary run a test in guests, of each user, and looks for
// what was executed in there alone.
func TestCoverageComesBack(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: to build a covered binary")
	}
	if _, err := guest.Image(); err != nil {
		t.Skipf("%v", err)
	}
	t.Parallel()
	dir := t.TempDir()
	covered, data := filepath.Join(dir, "covered.test"), filepath.Join(dir, "data")
	goTool(t, "test", "-c", "-cover", "-o", covered, ".")
	if err := os.Mkdir(data, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(data, 0o777); err != nil { // whatever the umask
		t.Fatal(err)
	}
	inGuests(t, covered, data)
	profile := filepath.Join(dir, "profile")
	goTool(t, "tool", "covdata", "textfmt", "-i="+data, "-o="+profile)
	if !executed(t, profile, "testing.go", lineOf(t, "testing.go", onlyInside)) {
		t.Errorf("the profile does not show %q of testing.go as executed", strings.TrimSpace(onlyInside))
	}
}

// inGuests runs TestTest of a binary, which leaves a file of counters for each of two users.
func inGuests(t *testing.T, covered, data string) {
	t.Helper()
	cmd := exec.Command(covered, "-test.v", "-test.run=^TestTest$")
	cmd.Env = append(os.Environ(), guest.CoverEnv+"="+data, guest.SlowEnv+"=")
	out, err := cmd.CombinedOutput()
	if _, need, found := strings.Cut(string(out), ": needs "); found {
		t.Skip("needs " + need)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for pattern, want := range map[string]int{"covmeta.*": 1, "covcounters.*": 2} {
		if files, _ := filepath.Glob(filepath.Join(data, pattern)); len(files) != want {
			t.Errorf("%s: found %q, expected %d\n%s", pattern, files, want, out)
		}
	}
}

func goTool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// lineOf is the number of the one line of a file that ends in text.
func lineOf(t *testing.T, file, text string) string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil || strings.Count(string(source), "\t"+text) != 1 {
		t.Fatalf("%s: %v: expected one line %q", file, err, text)
	}
	before, _, _ := strings.Cut(string(source), "\t"+text)
	return strconv.Itoa(1 + strings.Count(before, "\n"))
}

// executed tells whether a block that begins in that line has a count above 0.
func executed(t *testing.T, profile, file, line string) bool {
	t.Helper()
	text, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)/` + regexp.QuoteMeta(file) + `:` + line + `\.\d+,\S+ \d+ [1-9]`).Match(text)
}
