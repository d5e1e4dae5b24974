package guest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// patience is by how much emulation slows a program down, generously.
const patience = 20

// slowness is by how much the kernel that checks itself is slower still.
const slowness = 10

// Patience returns d outside a guest, and a multiple of it inside one, where
// everything is emulated. For time limits of tests.
func Patience(d time.Duration) time.Duration {
	switch {
	case !Inside():
		return d
	case SelfChecking():
		return d * patience * slowness
	}
	return d * patience
}

// Main is the body of a TestMain: it lets the test binary be a guest's init, and
// runs the tests (m is a *testing.M).
func Main(m interface{ Run() int }) {
	MaybeInit()
	os.Exit(m.Run())
}

// TB is the part of testing.TB that Test needs; the package stays clear of the
// testing package, for programs import it too.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// CoverEnv names the environment variable with a directory that the guests of Test
// leave their coverage in, beside what this binary's own run covers. The binary is
// built with -cover, and its user in the guest may write there:
//
//	mkdir -m 777 /tmp/covered
//	PORTCULLIS_GUEST_COVER=/tmp/covered go test -cover -coverpkg=./... ./internal/engine/kernel
//	go tool covdata textfmt -i=/tmp/covered -o covered.txt
const CoverEnv = "PORTCULLIS_GUEST_COVER"

// SlowEnv names the environment variable that, where it is set, has the guests of Test run
// on the kernel that checks itself, and gives them the time that takes.
const SlowEnv = "PORTCULLIS_GUEST_DEBUG"

// SelfChecking tells whether this runs in a guest whose kernel checks itself.
func SelfChecking() bool { return Inside() && os.Getenv(SlowEnv) != "" }

// checked makes of cfg a machine with that kernel, if it is asked for, whose console is
// written to console as it comes: of a fault that kernel says more than its first line.
func checked(cfg Config, console io.Writer) Config {
	if os.Getenv(SlowEnv) == "" {
		return cfg
	}
	cfg.Flavour, cfg.Timeout = Debug, slowness*cfg.Timeout
	cfg.Console = console
	if cfg.Memory != 0 {
		cfg.Memory *= flavours[Debug].memory / flavours[Plain].memory
	}
	return cfg
}

// covered has cfg and args leave coverage where CoverEnv says.
func covered(cfg Config, args []string) (Config, []string) {
	dir := os.Getenv(CoverEnv)
	if dir == "" {
		return cfg, args
	}
	cfg.Share = append(append([]string(nil), cfg.Share...), dir)
	return cfg, append([]string{"-test.gocoverdir=" + dir}, args...)
}

// Test runs this test binary in a guest with args, such as "-test.run=^TestX$",
// once as root and once as nobody; see TestIn.
func Test(t TB, args ...string) {
	t.Helper()
	for _, uid := range []int{0, Nobody} {
		TestIn(t, Config{CPUs: 2}, uid, args...)
	}
}

// Suite is a machine for a suite of programs, which sees the directories of share.
// Programs lie at the same addresses whenever they are started: an emulator that has
// translated one need not do so again, which is what most of the time would go to.
func Suite(share ...string) Config {
	return Config{CPUs: 2, Memory: 1024, Share: share, Append: []string{"norandmaps"}}
}

// TestIn runs this test binary in a guest made from cfg, as uid, with args. What
// it prints is logged as it comes. The test fails when the guest's tests fail,
// when none of them ran to its end, when the machine failed and when the kernel
// complained; it is skipped where the host cannot boot a guest. The package's
// TestMain must call Main.
func TestIn(t TB, cfg Config, uid int, args ...string) {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Minute
	}
	log, console := &logWriter{t: t, prefix: user(uid)}, &logWriter{t: t, prefix: "console"}
	cfg, args = covered(checked(cfg, console), args)
	depends()
	cmd := Command(cfg, Self, append([]string{"-test.v"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/tmp", "GOTRACEBACK=all", SlowEnv + "=" + os.Getenv(SlowEnv)}
	cmd.UID = uid
	cmd.Stdout, cmd.Stderr = log, log
	err := cmd.Run()
	log.flush()
	console.flush()
	var need *NeedError
	switch {
	case errors.As(err, &need):
		t.Skipf("%v", need)
	case err != nil:
		t.Fatalf("%s: %+v", user(uid), err)
	case !log.passed:
		t.Fatalf("%s: no test of the guest passed: check the arguments %q", user(uid), args)
	case !log.ended:
		t.Fatalf("%s: the tests of the guest ended in their midst: did one of them execute something in its place?", user(uid))
	}
	for _, line := range cmd.Complaints() {
		t.Errorf("%s: the guest's kernel complained: %s", user(uid), line)
	}
}

// depends has go test see what the kernel is made from: it remembers that a test has passed for as
// long as the files that the test opens stay as they are, and linux/build opens them in its place.
func depends() {
	root, err := repository()
	if err != nil {
		return
	}
	for _, dir := range []string{"linux", "linux/patches"} {
		_, _ = os.ReadDir(filepath.Join(root, dir))
	}
}

// user names the two users of tests.
func user(uid int) string {
	switch uid {
	case 0:
		return "root"
	case Nobody:
		return "nobody"
	}
	return "user"
}

// logWriter logs whole lines, and notices that a test passed, and that the run came to its end.
type logWriter struct {
	t      TB
	prefix string

	mu      sync.Mutex
	partial []byte
	passed  bool
	ended   bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, p...)
	for {
		line, rest, found := bytes.Cut(w.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.log(string(line))
		w.partial = rest
	}
}

// log logs one line. Only a test at the top of the binary counts as passed.
func (w *logWriter) log(line string) {
	w.passed = w.passed || strings.HasPrefix(line, "--- PASS: ")
	w.ended = w.ended || line == "PASS"
	w.t.Logf("%s: %s", w.prefix, line)
}

// flush logs an unfinished last line.
func (w *logWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.log(string(w.partial))
		w.partial = nil
	}
}
