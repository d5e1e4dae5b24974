//go:build linux && amd64

package notify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/task"
	"portcullis/internal/engine/launch"
	"portcullis/internal/sys"
)

// asked is the call the tests' filter notifies of; no program makes it by itself.
const asked = 600

// TestMain is also the target: it makes the call with each of its arguments and
// prints what came back.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "ask" {
		for _, arg := range os.Args[2:] {
			n, _ := strconv.ParseUint(arg, 10, 64)
			r, _, errno := syscall.RawSyscall(asked, uintptr(n), 0, 0)
			fmt.Println(int(r), int(errno))
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "signalled" {
		os.Exit(signalled())
	}
	if len(os.Args) > 1 && os.Args[1] == "crowd" {
		os.Exit(crowd())
	}
	os.Exit(m.Run())
}

const token = 1 << 40

func config() launch.Config {
	return launch.Config{
		Token: token, Listen: launch.ListenProbe,
		Filter: []sys.FilterInsn{
			{Code: 0x20, K: abi.OffNr},
			{Code: 0x15, Jf: 1, K: asked},
			{Code: 0x06, K: uint32(abi.UserNotif)},
			{Code: 0x06, K: uint32(abi.Allow)},
		},
	}
}

// decider decides by a function.
type decider func(*decide.Call) decide.Decision

func (f decider) Decide(c *decide.Call) decide.Decision { return f(c) }

type forgetful struct{}

func (forgetful) ForgetProcess(uint64) {}
func (forgetful) ForgetThread(uint64)  {}

// running is a target with the loop that serves it.
type running struct {
	*exec.Cmd
	out  bytes.Buffer
	loop *Loop
	ran  chan error
	mu   sync.Mutex
	log  []string
}

func start(t *testing.T, f decider, args ...string) *running {
	t.Helper()
	r := &running{Cmd: exec.Command("/proc/self/exe", args...), ran: make(chan error, 1)}
	r.Stdout = &r.out
	fd, err := launch.Start(r.Cmd, config())
	if err != nil {
		t.Fatal(err)
	}
	r.loop, err = New(fd, f, task.NewTable(forgetful{}, r.Process.Pid), r.logf)
	if err != nil {
		t.Fatal(err)
	}
	go func() { r.ran <- r.loop.Run() }()
	return r
}

func (r *running) logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// end waits for the target, and for the loop to notice.
func (r *running) end(t *testing.T) syscall.WaitStatus {
	t.Helper()
	_ = r.Wait()
	if err := <-r.ran; err != nil {
		t.Errorf("the loop: %v", err)
	}
	return r.ProcessState.Sys().(syscall.WaitStatus)
}

func TestDecisionsReachTheCaller(t *testing.T) {
	r := start(t, func(c *decide.Call) decide.Decision { return decide.Errno(uint16(c.Data.Args[0])) },
		"ask", "0", "1", "38", "512", "4094")
	r.end(t)
	if want := "0 0\n-1 1\n-1 38\n-1 512\n-1 4094\n"; strings.ReplaceAll(r.out.String(), "18446744073709551615", "-1") != want {
		t.Errorf("the target saw\n%swant\n%s", &r.out, want)
	}
}

func TestKillIsAnsweredByDeath(t *testing.T) {
	r := start(t, func(*decide.Call) decide.Decision { return decide.Kill() }, "ask", "0")
	if w := r.end(t); !w.Signaled() || w.Signal() != syscall.SIGKILL || r.out.Len() != 0 {
		t.Errorf("status %v, output %q: expected SIGKILL and nothing", w, &r.out)
	}
}

func TestContinueWithoutProofKills(t *testing.T) {
	r := start(t, func(*decide.Call) decide.Decision { return decide.Continue(decide.Proof{}) }, "ask", "0")
	if w := r.end(t); w.Signal() != syscall.SIGKILL {
		t.Errorf("status %v: expected SIGKILL", w)
	}
}

func TestPanicKills(t *testing.T) {
	r := start(t, func(*decide.Call) decide.Decision { panic("a mistake") }, "ask", "0")
	if w := r.end(t); w.Signal() != syscall.SIGKILL {
		t.Errorf("status %v: expected SIGKILL", w)
	}
	if len(r.log) != 1 || !strings.Contains(r.log[0], "a mistake") {
		t.Errorf("logged %q", r.log)
	}
}

// lenders are told of by the number of requests.
type lenders int

func (n *lenders) Lend(int, *sys.Notif) error { *n++; return nil }

// Answers that are held for what comes next are sent before anything is waited for.
func TestHeldAnswersAreSent(t *testing.T) {
	var lent lenders
	l := &Loop{listener: -1, held: make([]sys.NotifResp, 1), lender: &lent}
	request := abi.SeccompData{Nr: abi.RequestCall, Arch: abi.ArchX86_64, InstructionPointer: abi.CallSite}
	l.notif.Data = request.Bytes()
	if err := l.serve(); !errors.Is(err, syscall.EBADF) || lent != 0 {
		t.Errorf("%v, %d requests answered: expected an answer to be tried first", err, lent)
	}
	l.held = make([]sys.NotifResp, 1)
	if _, err := l.await(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("%v: expected an answer to be tried before a wait", err)
	}
}

func TestCallerThatDiesWhileItWaits(t *testing.T) {
	var r *running
	ready := make(chan struct{})
	r = start(t, func(c *decide.Call) decide.Decision {
		<-ready
		r.Process.Kill()
		caller := c.Caller.(*task.Caller)
		for caller.Valid() {
			runtime.Gosched()
		}
		if pid := caller.Pid(); pid != 0 || !errors.Is(caller.Err(), task.ErrGone) {
			t.Errorf("a dead caller has process %d: %v", pid, caller.Err())
		}
		return decide.Kill()
	}, "ask", "0")
	close(ready)
	r.end(t)
	if len(r.log) != 0 {
		t.Errorf("logged %q: expected it to be routine", r.log)
	}
}

// signalled makes the call while another of its threads sends it signals, as
// the Go runtime does to preempt, and prints how often the handler ran.
func signalled() int {
	signals := make(chan os.Signal, 1000)
	signal.Notify(signals, syscall.SIGUSR1)
	tids, done := make(chan int), new(atomic.Bool)
	go func() {
		tid := <-tids
		for !done.Load() {
			_ = sys.ThreadSignal(tid, syscall.SIGUSR1)
		}
		close(tids)
	}()
	runtime.LockOSThread()
	tids <- sys.Gettid()
	for i := 0; i < 200 || len(signals) == 0 && i < 1_000_000; i++ {
		if _, _, errno := syscall.RawSyscall(asked, uintptr(i), 0, 0); errno != 7 {
			fmt.Println("call", i, "failed with", errno)
			return 1
		}
	}
	done.Store(true)
	<-tids
	fmt.Println("signals arrived:", len(signals) > 0)
	return 0
}

// crowd calls from many threads at once, each with numbers of its own, and says
// how many answers were not meant for the call that got them.
func crowd() int {
	const threads, calls = 60, 300
	runtime.GOMAXPROCS(threads + 1)
	var wrong atomic.Int64
	var all sync.WaitGroup
	for i := 0; i < threads; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			runtime.LockOSThread()
			for k := 0; k < calls; k++ {
				want := i*calls%4000 + k%90 + 1
				if _, _, errno := syscall.Syscall(asked, uintptr(want), 0, 0); int(errno) != want {
					wrong.Add(1)
				}
			}
		}(i)
	}
	all.Wait()
	fmt.Println("wrong answers:", wrong.Load())
	return 0
}

// disturb sends every thread of this process signals, as the Go runtime does to
// preempt, until the function it returns is called.
func disturb() func() {
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			tasks, _ := os.ReadDir("/proc/self/task")
			for _, task := range tasks {
				tid, _ := strconv.Atoi(task.Name())
				_ = sys.ThreadSignal(tid, syscall.SIGURG)
			}
		}
	}()
	return func() { over.Store(true); <-done }
}

// Answers to a crowd are held back and sent together.
func TestCrowd(t *testing.T) {
	most := 0
	var r *running
	ready := make(chan struct{})
	r = start(t, func(c *decide.Call) decide.Decision {
		<-ready
		most = max(most, len(r.loop.held))
		return decide.Errno(uint16(c.Data.Args[0]))
	}, "crowd")
	close(ready)
	over := disturb()
	defer over()
	if w := r.end(t); w.ExitStatus() != 0 || r.out.String() != "wrong answers: 0\n" {
		t.Errorf("status %v: %s", w, &r.out)
	}
	if most == 0 || most >= batch {
		t.Errorf("at most %d answers were held: expected some, and fewer than %d", most, batch)
	}
}

func TestSignalsDoNotDisturbWhatWasReceived(t *testing.T) {
	received := map[uint64]int{}
	r := start(t, func(c *decide.Call) decide.Decision {
		received[c.Data.Args[0]]++
		return decide.Errno(7)
	}, "signalled")
	if w := r.end(t); w.ExitStatus() != 0 || r.out.String() != "signals arrived: true\n" {
		t.Fatalf("status %v, %s", w, &r.out)
	}
	again := 0
	for _, n := range received {
		again += n - 1
	}
	// Kernels whose RECV and SEND race with the switch to the killable wait
	// may ask again now and then; without the flag it would be nearly always.
	if again > len(received)/2 {
		t.Errorf("%d calls were asked about %d times too many", len(received), again)
	}
	t.Logf("%d calls, %d asked again", len(received), again)
}
