package conformance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/internal/abi/args"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// The suite of what is pinned: programs run bare, then under a filter that pins all
// that can be pinned of every call and allows every call. Nothing that they can
// tell of that is to differ.

const pinFilter = "pinned.o:pin_all"

// needPinning skips where nothing can be pinned, or not in the time there is.
func needPinning(t *testing.T) {
	t.Helper()
	switch {
	case runtime.GOARCH != "amd64":
		t.Skip("needs amd64")
	case testing.Short() && *engine == "agent":
		t.Skip("needs a long run")
	}
}

// numbers is a header with the number of every call: those of the system's lack the
// newest.
func numbers() string {
	var b strings.Builder
	for _, c := range args.All() {
		fmt.Fprintf(&b, "#define NR_%s %d\n", c.Name, c.Nr)
	}
	return b.String()
}

// pinned makes of a command one under the filter.
func pinned(t *testing.T, bare *exec.Cmd) *portcullis.Cmd {
	t.Helper()
	f, err := portcullis.Load(made.File(pinFilter))
	if err != nil {
		t.Fatal(err)
	}
	cmd := portcullis.Command(bare.Path)
	cmd.Args = bare.Args
	cmd.Engine = portcullis.Engine(*engine)
	cmd.Env, cmd.Dir, cmd.Filters = bare.Env, bare.Dir, []*portcullis.Filter{f}
	cmd.Log = testLog{t}
	return cmd
}

// testLog has what the engine logs fail the test.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Errorf("the engine says: %s", bytes.TrimSpace(b))
	return len(b), nil
}

// runBoth runs a command bare, and one pinned beside it.
func runBoth(t *testing.T, bare, other *exec.Cmd) (want, got result) {
	t.Helper()
	var out bytes.Buffer
	bare.Stdout, bare.Stderr = &out, &out
	if err := bare.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bare.Wait() // its status says how it ended
		want = result{strings.TrimRight(out.String(), "\n"), status(bare.ProcessState)}
	}()
	return want, run(t, pinned(t, other))
}

// TestPinnedFilter sees that the filter pins, of all calls of which anything can be, and
// that nothing of that fails.
func TestPinnedFilter(t *testing.T) {
	needPinning(t)
	need(t, python)
	cmd := pinned(t, exec.Command(python, "-c", `import ctypes, os
for _ in range(100): os.stat("/")
def ask(nr): ctypes.set_errno(0); ctypes.CDLL(None, use_errno=True).syscall(nr); return ctypes.get_errno()
print(100 <= ask(600) <= 4095, ask(601))`))
	if *engine == "agent" { // the leaves are the same on both, and slow to find in a guest
		tracesAllPinnable(t, cmd.Filters[0])
	}
	if got := run(t, cmd); got.out != "True 0" {
		t.Errorf("the filter counted %q, expected reads and no failures", got.out)
	}
}

// tracesAllPinnable sees that f has a trace leaf for each call of which anything can be
// pinned, and no other.
func tracesAllPinnable(t *testing.T, f *portcullis.Filter) {
	t.Helper()
	decisions, err := f.Explain()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		c, _ := args.Of(d.Nr)
		guarded := d.Leaf == "static" && d.Guard != ""
		if traced := d.Leaf == "trace"; traced != pinnable(c) && !guarded {
			t.Errorf("%s has a leaf of kind %s, can be pinned %v: expected those to be traced that can", d.Call, d.Leaf, pinnable(c))
		}
	}
}

// TestPinnedCalls makes all calls with something to be pinned, in some thousand ways.
func TestPinnedCalls(t *testing.T) {
	needPinning(t)
	t.Parallel()
	mode := "calls"
	if os.Getuid() != 0 {
		mode = "few"
	}
	cases := comparePinned(t, mode)
	covered := map[string]bool{}
	for _, c := range cases {
		call, _, _ := strings.Cut(c.name, ",")
		covered[call] = true
	}
	for _, c := range args.All() {
		if want := pinnable(c); covered[c.Name] != want {
			t.Errorf("%s: made %v, can be pinned %v: expected a case of every call that can be", c.Name, covered[c.Name], want)
		}
	}
}

func pinnable(c args.Call) bool {
	for i := range c.Args {
		if _, ok := c.Pinnable(i); ok {
			return true
		}
	}
	return false
}

// TestPinnedSleepers disturbs calls that sleep.
func TestPinnedSleepers(t *testing.T) {
	needPinning(t)
	t.Parallel()
	comparePinned(t, "sleep")
}

// comparePinned runs the victim in a mode, bare and pinned, and returns its cases.
func comparePinned(t *testing.T, mode string) []pinnedCase {
	t.Helper()
	path := made.Compiled(t, "pinned")
	one := func() *exec.Cmd {
		cmd := exec.Command(path, mode, openDir(t))
		cmd.Env = []string{"LC_ALL=C"}
		return cmd
	}
	barely, andPinned := runBoth(t, one(), one())
	bare, got := parsePinned(t, barely), parsePinned(t, andPinned)
	if len(bare) != len(got) {
		t.Errorf("%d cases bare, %d pinned", len(bare), len(got))
	}
	other := map[string]string{}
	for _, c := range got {
		other[c.name] = c.outcome
	}
	seen := make([]bool, len(pinnedDifferences))
	for _, c := range bare {
		if have := other[c.name]; have != c.outcome && !excused(c.name, have, seen) {
			t.Errorf("%s: bare\n\t%s\npinned\n\t%s", c.name, c.outcome, have)
		}
	}
	for i, d := range pinnedDifferences {
		if d.mode == mode && !d.chance && !seen[i] && d.here() {
			t.Errorf("nothing differs any more where %s: take the row away", d.where)
		}
	}
	return bare
}

// pinnedCase is one call in one variant, and the lines about it.
type pinnedCase struct{ name, outcome string }

// parsePinned splits what the victim wrote: a case begins with its name, "call, label,
// variant: ", and lines without one belong to it.
func parsePinned(t *testing.T, r result) (cases []pinnedCase) {
	t.Helper()
	begin := regexp.MustCompile(`^([a-z][a-z0-9_]*, [^:]*, [^:]*): (.*)$`)
	ended := regexp.MustCompile(`^ended with `)
	for _, line := range strings.Split(r.out, "\n") {
		switch m := begin.FindStringSubmatch(line); {
		case strings.Contains(line, "cannot prepare"):
			t.Errorf("the victim: %s", line)
		case m != nil && (len(cases) == 0 || !ended.MatchString(m[2])):
			cases = append(cases, pinnedCase{m[1], m[2]})
		case len(cases) > 0:
			cases[len(cases)-1].outcome += "\n\t" + line
		default:
			t.Errorf("the victim: %s", line)
		}
	}
	if r.status != 0 || len(cases) == 0 {
		t.Errorf("the victim made %d cases and ended with %d", len(cases), r.status)
	}
	return cases
}

// pinnedDifference is a row of what pinning does change.
type pinnedDifference struct {
	mode    string
	where   string // a regular expression for the names of cases
	outcome string // how it begins where pinned
	why     string
	chance  bool // it depends on the processor
	agent   bool // it is so on the agent alone
}

// pinnedDifferences is to stay short.
var pinnedDifferences = []pinnedDifference{
	{"calls", `^clone3, `, "ENOSYS", "guard: its flags are in memory", false, true},
	{"calls", `^io_uring_enter, `, "ENOSYS", "guard: rings bypass filters", false, false},
	{"calls", `^ptrace, `, "EPERM", "guard: there is a tracer already", false, true},
	{"calls", `^p?write(64)?, .*, 1 (all but )?over the edge$`, "EFAULT", "what can be read in part is not pinned in part", false, false},
	{"calls", `^rt_(tg)?sigqueueinfo, .* over the edge$`, "EFAULT", "of the last bytes of a siginfo the kernel reads what the code needs", false, false},
	{"calls", `^pidfd_send_signal, .* over the edge$`, "EFAULT", "of the last bytes of a siginfo the kernel reads what the code needs", false, false},
	{"calls", `^open_by_handle_at, a bad handle, .* over the edge$`, "EFAULT", "without privilege the kernel refuses a handle before it reads all", false, true},
	{"calls", `^write, from the vvar page, `, "EFAULT", "nobody else can read mappings of that kind", true, true},
	{"calls", `^write, from secret memory, `, "EFAULT", "nobody else can read memory of that kind", true, true},
	{"calls", `^open, behind a key, `, "3", "the supervisor reads what a key keeps the process from reading", true, true},
}

// here tells whether the row is about the engine that the suite runs on.
func (d *pinnedDifference) here() bool { return !d.agent || *engine == "agent" }

func excused(name, outcome string, seen []bool) bool {
	for i, d := range pinnedDifferences {
		if d.here() && regexp.MustCompile(d.where).MatchString(name) && strings.HasPrefix(outcome, d.outcome) {
			seen[i] = true
			return true
		}
	}
	return false
}

// TestPinnedAsNobody runs the most telling half of this suite without privilege.
func TestPinnedAsNobody(t *testing.T) {
	needPinning(t)
	if os.Getuid() != 0 {
		t.Skip("needs root: to become nobody")
	}
	if !kit.Wide() {
		t.Skip("runs where PORTCULLIS_WIDE is set")
	}
	t.Parallel()
	cmd := exec.Command(made.File("suite"), "-test.v", made.Flag(),
		"-test.run=^TestPinned(Calls|Sleepers|Servers|Programs)$/^(bash|python|nginx|redis)$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}}
	cmd.Dir = made.Dir()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestPinnedCalls")) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}
