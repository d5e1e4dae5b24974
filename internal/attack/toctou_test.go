//go:build linux && amd64

package attack

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis"
	"portcullis/internal/engine/target"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// pinned is the object of the filters that these attacks have to get around.
//
//go:embed testdata/filters/pinned.o
var pinned []byte

// assault is an attack between check and use: a function of the attacker that makes
// attempts to have a call executed with bytes that the policy denies.
type assault struct {
	name   string
	policy string // a key of policies
	weight int    // its share of all attempts: few where one takes long
	passes int    // how many have to pass at least, so that not all are denied
}

// policies are the stacks behind the names that the losing defender knows.
func policies() map[string]string {
	return map[string]string{
		"paths":      "pinned:paths",
		"lax":        "pinned:paths lax=true",
		"structures": "pinned:structures",
	}
}

// The weights: calls alone; calls of tasks that come and go; tasks that make one.
const (
	calls = 1000
	lives = 100
	tasks = 20
)

func assaults() []assault {
	return []assault{
		{"thread", "paths", calls, 1},
		{"mapped-file", "paths", calls, 1},
		{"aio", "paths", calls, 1},
		{"alias", "paths", calls, 1},
		{"sharer", "paths", calls, 1},
		{"vm-write", "paths", calls, 1},
		{"forced-write", "paths", calls, 1},
		{"own-forced-write", "paths", calls, 1},
		{"fault", "paths", calls, 1},
		{"late-map", "lax", calls, 0},
		{"long-path", "lax", calls, 0},
		{"map-over", "paths", calls, 1},
		{"unmap", "paths", calls, 1},
		{"move", "paths", calls, 1},
		{"file-pages", "paths", calls, 1},
		{"segment", "paths", calls, 1},
		{"protect", "paths", calls, 1},
		{"advice", "paths", calls, 1},
		{"heap", "paths", calls, 1},
		{"borrow", "paths", calls, 1},
		{"edge", "lax", calls, 1},
		{"jump", "paths", calls, 1},
		{"inherit", "paths", lives, 1},
		{"premap", "paths", lives, 1},
		{"swap", "paths", lives, 1},
		{"ring", "paths", calls, 0},
		{"forged-trace", "paths", lives, 1},
		{"nested-filter", "paths", lives, 1},
		{"sabotage", "paths", lives, 1},
		{"tracer", "paths", lives, 1},
		{"rewritten-code", "paths", tasks, 1},
		{"handler", "paths", calls, 1},
		{"interruption", "paths", calls, 0}, // every call may be interrupted
		{"traps", "paths", calls, 1},
		{"single-step", "paths", lives, 1},
		{"fork", "paths", calls, 1},
		{"vfork", "paths", calls, 1},
		{"clone", "paths", lives, 1},
		{"crowd", "paths", tasks, 1},
		{"short-lives", "paths", lives, 1},
		{"daemon", "paths", calls, 1},
		{"leader-end", "paths", calls, 1},
		{"hiding", "paths", calls, 0},
		{"exec", "paths", lives, 1},
		{"stops", "paths", calls, 1},
		{"kills", "paths", lives, 0},
		{"waiters", "paths", calls, 1},
		{"no-descriptor", "paths", lives, 0},
		{"no-memory", "paths", lives, 0},
		{"port", "structures", calls, 1},
		{"buffer", "structures", calls, 1},
		{"message", "structures", calls, 1},
		{"vector", "structures", calls, 1},
		{"overlap", "structures", calls, 1},
		{"open-flags", "structures", calls, 1},
		{"program", "structures", tasks, 1},
		{"thread-program", "structures", tasks, 1},
	}
}

// attempts is how many are made in all.
func attempts(t *testing.T) int {
	t.Helper()
	switch {
	case *asked == "" && kit.Wide():
		return 100000
	case *asked == "":
		return 40000
	}
	n, err := strconv.Atoi(*asked)
	if err != nil {
		t.Fatalf("PORTCULLIS_ATTEMPTS, or -attempts: %v: expected a number", err)
	}
	return n
}

// share is how many of n attempts in all are of this attack.
func (a *assault) share(n int) int {
	sum := 0
	for _, other := range assaults() {
		sum += other.weight
	}
	return max(n*a.weight/sum, min(a.weight*5/2, 250), 100) // in fewer, who changes memory may sleep all along
}

// score is what came of an attack. A call that passed is one that was made, with bytes
// that were allowed or, where it won, that were not.
type score struct{ attempts, passed, won int }

// TestPinnedReads attacks the promise that a call consumes the bytes that the filter
// saw, whoever changes memory, mappings, tasks or the supervisor's means meanwhile.
// Each attack wins against a defender that looks at memory and lets the call go on.
func TestPinnedReads(t *testing.T) {
	attacker(t)
	n, check := attempts(t), noneLeft(t)
	var all score
	for _, a := range assaults() {
		t.Run(a.name, func(t *testing.T) {
			got := a.both(t, a.share(n))
			all.attempts, all.passed, all.won = all.attempts+got.attempts, all.passed+got.passed, all.won+got.won
		})
	}
	if all.passed == 0 {
		t.Error("no call passed in any attack: expected some, with what is allowed")
	}
	t.Logf("all attacks: pinned won %s of %s", grouped(all.won), grouped(all.attempts))
	check()
}

// enough is how often an attack has to win against the defender that loses.
const enough = 10

// both attacks the one defender and then the other.
func (a *assault) both(t *testing.T, n int) score {
	dir := arena(t)
	loser := a.plain(t, dir)
	if loser.won < enough && !guest.SelfChecking() {
		t.Errorf("it did not win against the plain defender in %s attempts: so its failure against pinned reads says nothing", grouped(loser.attempts))
	}
	got := a.pinned(t, dir, n)
	t.Logf("attack %s: plain won %s of %s; pinned won %s of %s, of which %s passed", a.name,
		grouped(loser.won), grouped(loser.attempts), grouped(got.won), grouped(got.attempts), grouped(got.passed))
	if got.won != 0 || got.attempts < n {
		t.Errorf("pinned won %d of %d: expected none of %d", got.won, got.attempts, n)
	}
	if got.passed < a.passes && *engine == "agent" { // a guest's threads sleep for long, and nobody answers a TRACE there
		t.Errorf("%d calls passed: expected at least %d, with what is allowed", got.passed, a.passes)
	}
	return got
}

// plain attacks the defender that loses. What it has not got, nobody has here. A kernel that
// checks itself is there to complain, and takes minutes to lose: it shows that alone.
func (a *assault) plain(t *testing.T, dir string) score {
	t.Helper()
	most := "2000000"
	if guest.SelfChecking() {
		most = "1"
	}
	w := newWatch(t)
	defer w.close()
	cmd := exec.CommandContext(w.ctx, attacker(t), "plain", a.policy, a.name, most, strconv.Itoa(enough))
	cmd.Dir, cmd.Stdout, cmd.WaitDelay = dir, w, patience()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whatever it left
	_ = cmd.Wait()                                        // some kill it
	got := w.score()
	for _, line := range w.rest {
		if lack, ok := strings.CutPrefix(line, "attacker: "); ok {
			t.Skipf("needs %s", lack)
		}
		t.Errorf("plain: %q: expected a score", line)
	}
	return got
}

// pinned attacks ours, whose supervisor is this process.
func (a *assault) pinned(t *testing.T, dir string, n int) score {
	t.Helper()
	w := newWatch(t)
	defer w.close()
	before := descriptorNames(t)
	cmd := commandUntil(w.ctx, t, policies()[a.policy], attacker(t), "toctou", a.name, strconv.Itoa(n), strconv.Itoa(n))
	cmd.Dir, cmd.Stdout = dir, w
	if err := w.run(cmd); err != nil {
		t.Errorf("%v: expected the attack to end well", err)
	}
	nobodyLeft(t, cmd.Process.Pid)
	// One more is the command's own pidfd, which os closes when it collects the Process.
	if after := descriptorNames(t); len(after) > len(before)+1 {
		t.Errorf("descriptors before: %q, after: %q: expected none to be left", before, after)
	}
	for _, line := range w.rest {
		t.Errorf("pinned: %q: expected a score", line)
	}
	return w.score()
}

// descriptorNames says what this process has open.
func descriptorNames(t *testing.T) (names []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if name, err := os.Readlink(fd); err == nil { // that of the directory is closed
			names = append(names, filepath.Base(fd)+" "+name)
		}
	}
	return names
}

// nobodyLeft wants no process of a group to run on.
func nobodyLeft(t *testing.T, group int) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		words, err := kit.Stat(pid) // it may end
		if err == nil && words[kit.StatGroup] == strconv.Itoa(group) && words[kit.StatState] != "Z" {
			t.Errorf("process %d %q: expected nobody of the group to be left", pid, words)
		}
	}
}

// TestOwnListenerAfterDeath attacks the promise that nothing is let through once the
// supervisor is dead: the target kills it and puts a listener of its own in its place,
// which lets everything go on.
func TestOwnListenerAfterDeath(t *testing.T) {
	dir := arena(t)
	a := assault{"own-listener", "paths", tasks, 0}
	loser := a.plain(t, dir)
	if loser.won == 0 {
		t.Error("it did not win against the plain defender: so its failure against ours says nothing")
	}
	var all score
	for i := 0; i < 10; i++ {
		got := a.orphaned(t, dir, 50)
		all.attempts, all.won = all.attempts+got.attempts, all.won+got.won
	}
	t.Logf("attack %s: plain won %d of %d; pinned won %d of %d", a.name, loser.won, loser.attempts, all.won, all.attempts)
	if all.attempts < 10 || all.won != 0 {
		t.Errorf("%+v: expected attempts, and none to win", all)
	}
}

// TestStoppedSupervisorPins attacks pinned reads by stopping and continuing the
// supervisor while it reads and decides.
func TestStoppedSupervisorPins(t *testing.T) {
	dir := arena(t)
	a := assault{"stopped-supervisor", "paths", calls, 1}
	loser, got := a.plain(t, dir), a.orphaned(t, dir, 1000)
	t.Logf("attack %s: plain won %d of %d; pinned won %d of %d", a.name, loser.won, loser.attempts, got.won, got.attempts)
	if loser.won == 0 || got.won != 0 || got.attempts < 1000 || got.passed < a.passes {
		t.Errorf("plain %+v, pinned %+v: expected wins there, and here 1000 attempts of which some pass and none wins", loser, got)
	}
}

// TestHeldUpTracer attacks the promise that a target cannot hold up its supervisor for
// good: the thread that answers the faults of what is to be pinned waits for the tracer,
// which waits for that answer. They are killed after a while, and the supervision ends.
func TestHeldUpTracer(t *testing.T) {
	dir := arena(t)
	a := assault{"early-fault", "paths", tasks, 0}
	loser := a.plain(t, dir)
	w := newWatch(t)
	defer w.close()
	cmd := commandUntil(w.ctx, t, policies()[a.policy], attacker(t), "toctou", a.name, "100", "100")
	cmd.Dir, cmd.Stdout = dir, w
	err := w.run(cmd)
	nobodyLeft(t, cmd.Process.Pid)
	got := w.score()
	t.Logf("attack %s: plain won %d of %d; pinned won %d of %d: %v", a.name, loser.won, loser.attempts, got.won, got.attempts, err)
	killed := target.ExitStatus(cmd.ProcessState) == 128+int(syscall.SIGKILL)
	if loser.won == 0 || got.won != 0 || !killed && (err != nil || got.attempts < 100) { // who is fast holds nobody up
		t.Errorf("%v, plain %+v, pinned %+v: expected wins there, and here none and an end", err, loser, got)
	}
}

// TestStarvedSupervisorPins attacks pinned reads while the supervisor has hardly a
// descriptor left: what it cannot pin is denied, and who cannot be watched dies.
func TestStarvedSupervisorPins(t *testing.T) {
	dir, free, starved, fed := arena(t), lowestFree(t), 0, 0
	for _, spare := range []int{1, 3, 5, 8, 30} {
		for _, name := range []string{"crowd", "short-lives", "exec", "premap"} {
			a := assault{name, "paths", tasks, 0}
			got, killed := a.starved(t, dir, uint64(free+spare))
			t.Logf("attack %s with %d descriptors: pinned won %d of %d, of which %d passed, killed %v",
				name, spare, got.won, got.attempts, got.passed, killed)
			if got.won != 0 || got.attempts == 0 && !killed {
				t.Errorf("%+v: expected attempts, and none to win", got)
			}
			if got.passed > 0 {
				fed++
			} else {
				starved++
			}
		}
	}
	if starved == 0 || fed == 0 {
		t.Errorf("in %d attacks nothing passed, in %d something: expected the limit to matter to some", starved, fed)
	}
}

// lowestFree is the number that a next descriptor would get.
func lowestFree(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	return fd
}

// starved attacks ours under a limit of open files that only this process has, and tells
// whether the target was killed.
func (a *assault) starved(t *testing.T, dir string, limit uint64) (got score, killed bool) {
	t.Helper()
	w := newWatch(t)
	defer w.close()
	cmd := commandUntil(w.ctx, t, policies()[a.policy], attacker(t), "toctou", a.name, "200", "200")
	cmd.Dir, cmd.Stdout = dir, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitStarved(t, cmd, limit)
	nobodyLeft(t, cmd.Process.Pid)
	return w.score(), target.ExitStatus(cmd.ProcessState) == 128+int(syscall.SIGKILL)
}

func waitStarved(t *testing.T, cmd *portcullis.Cmd, limit uint64) {
	t.Helper()
	defer lower(t, syscall.RLIMIT_NOFILE, limit)()
	_ = cmd.Wait() // it may have been killed
	await(t, cmd.Done())
}

// lower sets a limit of this process and returns what sets it back.
func lower(t *testing.T, resource int, limit uint64) (restore func()) {
	t.Helper()
	var old syscall.Rlimit
	err := syscall.Getrlimit(resource, &old)
	if err == nil {
		err = syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: old.Max})
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(resource, &old); err != nil {
			t.Error(err)
		}
	}
}

// orphaned attacks ours under a supervisor that is a process of its own.
func (a *assault) orphaned(t *testing.T, dir string, n int) score {
	t.Helper()
	w := newWatch(t)
	defer w.close()
	cmd := exec.CommandContext(w.ctx, made.File("suite"),
		supervise, *engine, policies()[a.policy], attacker(t), "toctou", a.name, strconv.Itoa(n), strconv.Itoa(n))
	cmd.Dir, cmd.Stdout, cmd.WaitDelay = dir, w, patience()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Run(); errors.Is(err, exec.ErrWaitDelay) {
		t.Error("the target outlived its supervisor: expected it to end")
	}
	nobodyLeft(t, cmd.Process.Pid)
	for _, line := range w.rest {
		t.Errorf("pinned: %q: expected a score", line)
	}
	return w.score()
}

// ---- what an attack says --------------------------------------------------------

// watch takes an attack's output line by line and ends the attack when it makes no
// progress.
type watch struct {
	t     *testing.T
	ctx   context.Context
	end   context.CancelFunc
	alarm *time.Timer
	part  []byte
	last  score
	rest  []string // lines that are no score
	lines int
}

func newWatch(t *testing.T) *watch {
	w := &watch{t: t}
	w.ctx, w.end = context.WithCancel(context.Background())
	t.Cleanup(w.end) // behind what stops its consequences
	w.alarm = time.AfterFunc(patience(), w.end)
	return w
}

func (w *watch) close() { w.alarm.Stop() }

// run runs a command to the end of everything it started. A supervision that a killed
// target does not end is given up.
func (w *watch) run(cmd *portcullis.Cmd) error {
	w.t.Helper()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		<-cmd.Done()
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-w.ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(patience()):
		w.t.Fatalf("the supervision does not end %v after its target was killed", patience())
		return nil
	}
}

// score is the last one. It says whether the attack had to be ended.
func (w *watch) score() score {
	if w.ctx.Err() != nil {
		w.t.Errorf("no progress for %v after %d attempts: expected nothing to hang", patience(), w.last.attempts)
	}
	return w.last
}

// Write takes output.
func (w *watch) Write(b []byte) (int, error) {
	w.alarm.Reset(patience())
	w.part = append(w.part, b...)
	for {
		line, rest, ok := bytes.Cut(w.part, []byte{'\n'})
		if !ok {
			return len(b), nil
		}
		w.line(string(line))
		w.part = rest
	}
}

// progressEvery is how many lines of progress, one a second, one is shown of.
const progressEvery = 20

func (w *watch) line(line string) {
	text, running := strings.CutPrefix(line, "progress ")
	var s score
	if n, err := fmt.Sscanf(text, "attempts=%d passed=%d won=%d", &s.attempts, &s.passed, &s.won); n != 3 || err != nil {
		w.rest = append(w.rest, line)
		return
	}
	w.last = s
	if w.lines++; running && w.lines%progressEvery == 0 {
		w.t.Logf("%s attempts, %s won", grouped(s.attempts), grouped(s.won))
	}
}

// grouped writes a number with its thousands apart.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// ---- where it takes place -------------------------------------------------------

// arena makes a directory with what may be opened and what may not. Both are programs
// that end with a status of their own.
func arena(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, status := range map[string]uint32{"safe": 42, "secret": 43} {
		if err := os.WriteFile(filepath.Join(dir, name), program(status, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// program is an ELF file that exits with a status, and ends with a text.
func program(status uint32, text string) []byte {
	const base, start = 0x400000, 64 + 56
	var b bytes.Buffer
	code := append(binary.LittleEndian.AppendUint32([]byte{0xbf}, status), // mov $status, %edi
		0xb8, 60, 0, 0, 0, 0x0f, 0x05) // mov $exit, %eax; syscall
	size := uint64(start + len(code) + len(text))
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	for _, field := range []any{
		uint16(2), uint16(62), uint32(1), uint64(base + start), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0), // to here, the file's header
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(4096), // one segment
	} {
		_ = binary.Write(&b, binary.LittleEndian, field)
	}
	b.Write(code)
	b.WriteString(text)
	return b.Bytes()
}
