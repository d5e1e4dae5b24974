//go:build linux && amd64

package observe

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/record"
)

// observer is an Observer, for users who may have one.
func observer(t *testing.T) *Observer { return observerOf(t, most) }

// each runs a test with Observers that keep the memory of most tasks, and of one, in live.
func each(t *testing.T, test func(*testing.T, *Observer)) {
	for name, live := range map[string]uint32{"many": most, "one": 1} {
		live := live
		t.Run(name, func(t *testing.T) { test(t, observerOf(t, live)) })
	}
}

func observerOf(t *testing.T, live uint32) *Observer {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to load programs into the kernel")
	}
	o, err := observing(live)
	if errors.Is(err, syscall.EPERM) { // EACCES says that the kernel's verifier refuses a program
		t.Skipf("needs CAP_BPF and CAP_PERFMON: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// observed is what was seen of a command.
func observed(t *testing.T, o *Observer, argv ...string) *record.Observation {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := o.Start(cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return taken(t, o)
}

func taken(t *testing.T, o *Observer) *record.Observation {
	t.Helper()
	all, err := o.Take()
	if err != nil {
		t.Fatal(err)
	}
	if all.Lost != 0 {
		t.Errorf("%d lost", all.Lost)
	}
	return all
}

// count is how many calls were seen under a name, and who made them.
func count(all *record.Observation, comm, call string) (n uint64, by uint64) {
	for _, c := range all.Calls {
		if name, _ := syscalls.Name(c.Nr); name == call && c.Comm == comm {
			n, by = n+c.Count, c.Task
		}
	}
	return n, by
}

func task(all *record.Observation, serial uint64) record.Task {
	for _, t := range all.Tasks {
		if t.Serial == serial {
			return t
		}
	}
	return record.Task{}
}

// TestTree follows a command to what it starts, and to nothing else. The second of two
// commands starts from nothing.
func TestTree(t *testing.T) { each(t, tree) }

func tree(t *testing.T, o *Observer) {
	for i := 0; i < 2; i++ {
		all := observed(t, o, "/bin/sh", "-c", "(cat /dev/null); mkdir /dev/null/no; exit 0")
		reads, cat := count(all, "cat", "read")
		made, mkdir := count(all, "mkdir", "mkdir")
		waits, sh := count(all, "sh", "wait4")
		if reads == 0 || made != 1 || waits < 2 {
			t.Errorf("cat read %d times, mkdir made %d directories, sh waited %d times", reads, made, waits)
		}
		if task(all, cat).Pid == task(all, sh).Pid || task(all, cat).Parent < sh || task(all, mkdir).Parent != sh {
			t.Errorf("cat is %v, mkdir %v, sh %v", task(all, cat), task(all, mkdir), task(all, sh))
		}
		if starts, _ := count(all, "sh", "execve"); starts != 2 {
			t.Errorf("sh executed %d times, expected that its own launch is not counted and 2 others are", starts)
		}
		if ends, _ := count(all, "sh", "exit_group"); ends != 0 {
			t.Error("exit_group is counted, which no agent observes")
		}
	}
}

// piped starts a command under an observer, with pipes to it and from it.
func piped(t *testing.T, o *Observer, cmd *exec.Cmd) (in io.WriteCloser, out io.Reader) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := o.Start(cmd.Start); err != nil {
		t.Fatal(err)
	}
	return in, out
}

// TestStrangers sees nothing of what others do while a command runs.
func TestStrangers(t *testing.T) {
	o := observer(t)
	cmd := exec.Command("/bin/cat")
	in, out := piped(t, o, cmd)
	if _, err := in.Write([]byte("ready\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("/bin/mkdir", "/dev/null/no").Run(); err == nil {
		t.Fatal("a directory was made below a device")
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	all := taken(t, o)
	for _, c := range all.Calls {
		if c.Comm != "cat" {
			t.Errorf("%+v: expected cat's calls alone", c)
		}
	}
	if n, _ := count(all, "cat", "read"); n < 2 {
		t.Errorf("cat read %d times", n)
	}
}

// python runs a program of one line.
func python(t *testing.T, o *Observer, program string) *record.Observation {
	t.Helper()
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("needs " + python)
	}
	return observed(t, o, python, "-S", "-c", program)
}

// TestThreads follows a thread that executes another program: it takes the number of its
// process's first, which is followed no longer then.
func TestThreads(t *testing.T) { each(t, threads) }

func threads(t *testing.T, o *Observer) {
	all := python(t, o, `import os, threading, time
t = threading.Thread(target=lambda: os.execv("/bin/cat", ["cat", "/dev/null"]))
t.start(); t.join()`)
	n, cat := count(all, "cat", "read")
	_, first := count(all, "python3", "brk")
	if n == 0 || task(all, cat).Parent != first || task(all, cat).Pid != task(all, first).Pid {
		t.Errorf("cat read %d times, is %v and python3 %v: expected its thread", n, task(all, cat), task(all, first))
	}
}

// TestCounts counts calls exactly that take each other's slot, of a thread that ends and of a
// process that is killed while its slots are in use.
func TestCounts(t *testing.T) { each(t, counts) }

func counts(t *testing.T, o *Observer) {
	if a, b := slotOf("getuid"), slotOf("getresuid"); a != b {
		t.Fatalf("getuid has slot %d and getresuid slot %d: expected calls of one slot", a, b)
	}
	const program = `import ctypes, os, signal, threading
c = ctypes.CDLL(None); at = (ctypes.c_uint * 3)()
refs = [ctypes.byref(at, 4 * i) for i in range(3)]
def calls(name):
    c.prctl(15, name, 0, 0, 0)
    for i in range(1000): c.syscall(102); c.syscall(118, *refs)
    for i in range(500): c.syscall(102)
    for i in range(2000): c.fcntl(i % 3, i % 2 * 2 + 1)
t = threading.Thread(target=calls, args=(b"thread",)); t.start(); t.join()
if os.fork(): os.wait()
else: calls(b"killed"); os.kill(os.getpid(), signal.SIGKILL)`
	all := python(t, o, program)
	for _, name := range []string{"thread", "killed"} {
		for call, want := range map[string]uint64{"getuid": 1500, "getresuid": 1000, "fcntl": 2000} {
			if n, _ := count(all, name, call); n != want {
				t.Errorf("%s made %s %d times, expected %d", name, call, n, want)
			}
		}
		if a, b := span(all, name, "getresuid"), span(all, name, "getuid"); a.First > b.Last || b.Last < a.Last {
			t.Errorf("%s: getresuid %v, getuid %v: expected the last to be a getuid", name, a, b)
		}
	}
}

func slotOf(call string) uint32 {
	nr, _ := syscalls.Number(call)
	return slotBits()[nr] >> bitsSlot
}

// span is what was counted of a call that has no arguments.
func span(all *record.Observation, comm, call string) record.Counted {
	for _, c := range all.Calls {
		if name, _ := syscalls.Name(c.Nr); name == call && c.Comm == comm {
			return c
		}
	}
	return record.Counted{}
}

// TestAlive takes what a task that has not ended has counted for lost.
func TestAlive(t *testing.T) {
	o := observer(t)
	cmd := exec.Command("/bin/cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Start(cmd.Start); err != nil {
		t.Fatal(err)
	}
	all, err := o.Take()
	if err != nil || all.Lost != 1 {
		t.Errorf("%d lost (%v), expected the one that runs", all.Lost, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	// Its end is of no later run.
	again := observed(t, o, "/bin/true")
	if n, _ := count(again, "cat", "read"); n != 0 || len(again.Tasks) != 1 {
		t.Errorf("cat read %d times, and there are tasks %v: expected true alone", n, again.Tasks)
	}
}

// TestAliveForks has a task that was taken for lost make another one in the next run.
func TestAliveForks(t *testing.T) {
	o := observer(t)
	cmd := exec.Command("/bin/sh", "-c", "echo ready; read line; (cat /dev/null); mkdir /dev/null/no; exit 0")
	in, out := piped(t, o, cmd)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if all, err := o.Take(); err != nil || all.Lost != 1 {
		t.Errorf("%d lost (%v), expected the one that waits", all.Lost, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	again := observed(t, o, "/bin/true")
	for _, c := range again.Calls {
		if c.Comm != "true" && c.Comm != "observe.test" {
			t.Errorf("%+v: expected true's calls alone", c)
		}
	}
	if len(again.Calls) == 0 || len(again.Tasks) != 1 {
		t.Errorf("%d kinds of calls of tasks %v: expected those of true", len(again.Calls), again.Tasks)
	}
}

// TestTakeBuckets reads a map of which more elements are in a bucket than are read at once.
func TestTakeBuckets(t *testing.T) {
	observer(t) // for who may
	const most = 512
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: most})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for i := uint32(0); i < most; i++ {
		if err := m.Put(i, uint64(i)+1); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[uint32]uint64{}
	if err := take(m, 1, func(k uint32, v uint64) { seen[k] = v }); err != nil {
		t.Fatal(err)
	}
	for i := uint32(0); i < most; i++ {
		if seen[i] != uint64(i)+1 {
			t.Fatalf("element %d is %d: expected %d", i, seen[i], i+1)
		}
	}
}

// TestForeign counts calls of another table apart, and arguments as far as they tell much.
func TestForeign(t *testing.T) {
	all := python(t, observer(t), `import ctypes, socket
ctypes.CDLL(None).syscall(0x40000000 + 39)
socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)`)
	if all.Foreign != 1 {
		t.Errorf("%d foreign calls, expected 1", all.Foreign)
	}
	nr, _ := syscalls.Number("socket")
	for _, c := range all.Calls {
		if c.Nr == nr && (c.Args != [2]uint64{1, 1} || c.First == 0 || c.Last < c.First) {
			t.Errorf("%+v: expected AF_UNIX, and SOCK_STREAM without flags", c)
		}
	}
	if n, _ := count(all, "python3", "socket"); n != 1 {
		t.Errorf("%d sockets", n)
	}
}

// TestSteps notes which call followed which in a thread.
func TestSteps(t *testing.T) {
	all := observed(t, observer(t), "/bin/sh", "-c", "cat /dev/null; exec true")
	var steps []string
	for _, s := range all.Steps {
		from, _ := syscalls.Name(s[0])
		to, _ := syscalls.Name(s[1])
		steps = append(steps, from+">"+to)
	}
	text := strings.Join(steps, " ")
	if !strings.Contains(text, "fork>execve") || !strings.Contains(" "+text+" ", " >execve ") {
		t.Errorf("steps %s: expected sh to fork and execute, and cat to have been executed", text)
	}
}

// TestFailure gives back what the start of a command failed with.
func TestFailure(t *testing.T) {
	o := observer(t)
	if err := o.Start(exec.Command("/no/such/program").Start); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v: expected that there is no such file", err)
	}
	if all := taken(t, o); len(all.Calls) != 0 {
		t.Errorf("%+v: expected nothing", all.Calls)
	}
}
