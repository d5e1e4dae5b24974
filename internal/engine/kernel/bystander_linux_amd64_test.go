package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/guest"
)

// One user who is held for ever in a call that has a filter, or installs filters for ever,
// and what others do meanwhile.

const villainUser, otherUser = 1000, 1001

// villains are what such a user does, and how many lines say that it has begun.
var villains = []struct {
	name  string
	lines int
}{
	{"fault", 1}, {"load", 1}, {"install", 1}, {"file", 1}, {"turn", 1}, {"storm", gales},
}

// bystanders are tests that others run beside each villain.
var bystanders = []struct {
	name string
	uid  uint32
	run  string
}{
	{"filters", otherUser, "^TestGuest(MapCounts|PinnedPath|Tsync)$"},
	{"waits", otherUser, "^TestGuestWaitTogether$"},
	{"forks", otherUser, "^TestGuestMapOverForkAndExec$"},
	{"machine-code", 0, "^TestGuestShareOfMachineCode$"},
	{"frees", 0, "^TestBystanderFrees$"},
	{"barriers", otherUser, "^TestBystanderHasBarriers$"},
	{"processor", 0, "^TestBystanderStopsAProcessor$"},
	{"looks", 0, "^TestBystanderLooks$"},
}

// Whatever holds up a user holds up nobody else, and he can be killed.
func TestGuestBystanders(t *testing.T) {
	inGuest(t)
	mayHold(t)
	mayMount(t)
	for _, v := range villains {
		t.Run(v.name, func(t *testing.T) {
			held := begin(t, v.name, v.lines)
			for _, b := range bystanders {
				t.Run(b.name, func(t *testing.T) { beside(t, v.name, b.uid, b.run) })
			}
			t.Run("end", held.end)
		})
	}
}

// mayMount lets all users have file systems of their own, as distributions do.
func mayMount(t *testing.T) {
	t.Helper()
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		t.Fatal(err)
	}
}

// villain is a process, and what it starts, in a group of its own.
type villain struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

// begin starts a villain and waits until it says, so many times, that it is held.
func begin(t *testing.T, name string, lines int) *villain {
	t.Helper()
	v := &villain{cmd: as(villainUser, victim("villain", name))}
	v.cmd.SysProcAttr.Setpgid = true
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.kill)
	v.out = bufio.NewReader(out)
	for i := 0; i < lines; i++ {
		says(t, v.out, "held")
	}
	return v
}

func (v *villain) kill() { _ = syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL) }

// end kills all of it, which has been held until now.
func (v *villain) end(t *testing.T) {
	v.kill()
	rest := make(chan string, 1)
	go func() {
		said, err := io.ReadAll(v.out)
		rest <- fmt.Sprint(string(said), err)
		_ = v.cmd.Wait()
	}()
	select {
	case said := <-rest:
		if said != "<nil>" {
			t.Errorf("it went on meanwhile: %s", said)
		}
	case <-time.After(bound()):
		t.Fatal("it does not end")
	}
	nobodyIs(t, villainUser)
}

// bound is how long what nobody holds up may take.
func bound() time.Duration { return guest.Patience(5 * time.Second) }

// nobodyIs waits until a user has no process.
func nobodyIs(t *testing.T, uid uint32) {
	t.Helper()
	left := processesOf(uid)
	for deadline := time.Now().Add(bound()); len(left) > 0 && time.Now().Before(deadline); runtime.Gosched() {
		left = processesOf(uid)
	}
	if len(left) > 0 {
		t.Errorf("processes that are left: %q", left)
	}
}

func processesOf(uid uint32) (pids []string) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if info, err := os.Stat(dir); err == nil && info.Sys().(*syscall.Stat_t).Uid == uid {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

// besideEnv tells a bystander what it is beside.
const besideEnv = "PORTCULLIS_TEST_BESIDE"

// beside runs tests as a user: each has to pass, and in time.
func beside(t *testing.T, villain string, uid uint32, run string) {
	cmd := as(uid, exec.Command("/proc/self/exe", "-test.v", "-test.run="+run))
	cmd.Env = append(os.Environ(), besideEnv+"="+villain)
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // what is held may hold a pipe
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	verdict := inTime(cmd)
	text, err := os.ReadFile(out.Name())
	if verdict != nil || err != nil || !strings.Contains(string(text), "--- PASS") || strings.Contains(string(text), "--- SKIP") {
		t.Errorf("%v, %v:\n%s", verdict, err, text)
	}
	t.Logf("%v of %v", time.Since(begin).Round(time.Millisecond), bound())
}

// inTime is how cmd ends, or that it does not.
func inTime(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(bound()):
		_ = cmd.Process.Kill()
		return errors.New("it does not end")
	}
}

// besideWhom skips what runs beside villains alone.
func besideWhom(t *testing.T) string {
	t.Helper()
	name := os.Getenv(besideEnv)
	if name == "" {
		t.Skip("runs in the process that TestGuestBystanders starts")
	}
	return name
}

// Programs and maps that come and go meanwhile are freed, and so is their memory: grace periods pass.
func TestBystanderFrees(t *testing.T) {
	storm := besideWhom(t) == "storm"
	had, filters := taken(t), kinds(t)
	comeAndGo(t, filters, 2*len(filters), 2)
	before := taken(t)
	before["programs"], before["maps"] = had["programs"], had["maps"]
	if storm {
		before["programs"] = 2 * gales // of the storm, which may be between two
	}
	comeAndGo(t, filters, 2*len(filters), 2)
	before.returns(t)
}

// Barriers of memory ask all processors, and the global one waits for a grace period.
func TestBystanderHasBarriers(t *testing.T) {
	besideWhom(t)
	const membarrier = 324
	for _, cmd := range []uintptr{1 << 0, 1 << 2, 1 << 1, 1 << 4, 1 << 3, 1 << 6, 1 << 5} { // registered before
		if _, _, errno := syscall.Syscall(membarrier, cmd, 0, 0); errno != 0 {
			t.Errorf("membarrier %#x: %v", cmd, errno)
		}
	}
}

// A processor goes and comes back.
func TestBystanderStopsAProcessor(t *testing.T) {
	besideWhom(t)
	oneProcessor(t)
	for _, state := range []string{"0", "1"} {
		set(t, secondProcessor, state)
		if text, err := os.ReadFile(secondProcessor); err != nil || strings.TrimSpace(string(text)) != state {
			t.Errorf("%s: %q, %v, expected %s", secondProcessor, text, err, state)
		}
	}
}

const secondProcessor = "/sys/devices/system/cpu/cpu1/online"

// oneProcessor leaves one until the test ends.
func oneProcessor(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { set(t, secondProcessor, "1") })
	set(t, secondProcessor, "0")
}

// What is to be seen of the processes of others is seen.
func TestBystanderLooks(t *testing.T) {
	besideWhom(t)
	seen := 0
	for _, name := range []string{"status", "stat", "cmdline", "maps", "smaps", "syscall", "seccomp_cache"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + name)
		for _, file := range files {
			if _, err := os.ReadFile(file); err == nil { // it may end
				seen++
			}
		}
	}
	if seen == 0 {
		t.Error("nothing is seen")
	}
}
