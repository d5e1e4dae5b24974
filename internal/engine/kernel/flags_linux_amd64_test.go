package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/guest"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// Flags of seccomp(2) that these tests alone use.
const (
	tsync      = 1
	logged     = 1 << 1
	tsyncESRCH = 1 << 4
)

// nth counts getppid in a map and answers one call, counted from 0, with a verdict; getpgrp with
// another always. A call in a notification may be interrupted and count once more: then it answers
// those that follow, too.
func nth(m *prog.Map, n int32, v, others abi.Verdict) *prog.Program {
	before := uint8(prog.OpJne)
	if v.Action() == abi.UserNotif {
		before = prog.OpJlt
	}
	a := newAssembler().load32(6, 1, abi.OffNr).jump(prog.OpJeq, 6, getpgrp, "other").jump(prog.OpJne, 6, getppid, "allow")
	a.store64(prog.R10, -8, 0)
	if m.Type == prog.TaskStorage {
		a.storage(m, 0)
	} else {
		a.mapTo(1, prog.PseudoMapFD, m).copy(2, prog.R10).add(2, -8).call(1) // bpf_map_lookup_elem
	}
	a.jump(prog.OpJeq, 0, 0, "broken").mov(1, 1).fetchAdd(0).jump(before, 1, n, "allow")
	a.answer(v)
	a.label("other").answer(others)
	a.label("broken").answer(abi.Errno(eio))
	return a.label("allow").answer(abi.Allow).program("nth")
}

// eachCounter has a test done with either kind of state.
func eachCounter(t *testing.T, f func(t *testing.T, m *prog.Map)) {
	t.Helper()
	inGuest(t)
	t.Run("map", func(t *testing.T) { f(t, counter(prog.Array)) })
	t.Run("storage", func(t *testing.T) { f(t, counter(prog.TaskStorage)) })
}

// auditLog is a socket that hears what audit records.
func auditLog(t *testing.T) int {
	t.Helper()
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who alone hears audit records")
	}
	const netlinkAudit, readLog = 9, 1
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkAudit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: readLog}); err != nil {
		t.Fatal(err)
	}
	limit := syscall.NsecToTimeval(int64(guest.Patience(10 * time.Second)))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	return fd
}

// record is the next record of a type.
func record(t *testing.T, fd int, typ uint16) string {
	t.Helper()
	buf := make([]byte, 16<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			t.Fatalf("a record of type %d: %v", typ, err)
		}
		if n > 16 && binary.NativeEndian.Uint16(buf[4:]) == typ {
			return string(buf[16:n])
		}
	}
}

// recordsOf are the records of getppid by a process, each "signal code arch", until there is one of
// getpgrp by this process.
func recordsOf(t *testing.T, fd, pid int) string {
	t.Helper()
	const seccompRecord = 1326
	var list []string
	for {
		text := record(t, fd, seccompRecord)
		who, nr := auditField(text, "pid"), auditField(text, "syscall")
		if who == fmt.Sprint(os.Getpid()) && nr == fmt.Sprint(getpgrp) {
			return strings.Join(list, ",")
		}
		if who == fmt.Sprint(pid) && nr == fmt.Sprint(getppid) {
			list = append(list, auditField(text, "sig")+" "+auditField(text, "code")+" "+auditField(text, "arch"))
		}
	}
}

// auditField is the value of a field of a record.
func auditField(text, name string) string {
	_, rest, _ := strings.Cut(" "+text, " "+name+"=")
	value, _, _ := strings.Cut(rest, " ")
	return strings.TrimRight(value, "\x00\n")
}

// What a filter does is recorded where its flag asks for it, and LOG always.
func TestGuestLogFlag(t *testing.T) {
	fd := auditLog(t)
	for _, c := range []struct {
		name, want, seen string
		verdict          abi.Verdict
		flags            uint
	}{
		{"ERRNO", "", "ok EDOM ok ok", abi.Errno(edom), 0},
		{"ERRNO with the flag", "0 0x50000 c000003e", "ok EDOM ok ok", abi.Errno(edom), logged},
		{"TRACE", "", "ok errno38 ok ok", abi.Trace, 0},
		{"TRACE with the flag", "0 0x7ff00000 c000003e", "ok errno38 ok ok", abi.Trace, logged},
		{"LOG", "0 0x7ffc0000 c000003e", "ok ok ok ok", abi.Log, 0},
		{"LOG with the flag", "0 0x7ffc0000 c000003e", "ok ok ok ok", abi.Log, logged},
		{"ALLOW with the flag", "", "ok ok ok ok", abi.Allow, logged},
	} {
		eachCounter(t, func(t *testing.T, m *prog.Map) {
			seen := filtered(t, func() []string {
				defer install(t, nth(m, 1, c.verdict, abi.Log), 0, c.flags).close()
				return perform([]string{"ppid", "ppid", "ppid", "pgrp"})
			})
			if got := strings.Join(seen, " "); got != c.seen {
				t.Errorf("%s: saw %s, expected %s", c.name, got, c.seen)
			}
			if got := recordsOf(t, fd, os.Getpid()); got != c.want {
				t.Errorf("%s: recorded %q, expected %q", c.name, got, c.want)
			}
		})
	}
}

// A process that is killed for its third call is recorded, whatever the flags.
func TestGuestKillIsRecorded(t *testing.T) {
	fd := auditLog(t)
	eachCounter(t, func(t *testing.T, m *prog.Map) {
		cmd, err := launchedAs(t, plain(nth(m, 2, abi.KillProcess, abi.Log)), "ppid ppid ppid ppid")
		if state, ok := err.(*exec.ExitError); !ok || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSYS {
			t.Fatalf("the victim ended with %v: SIGSYS expected", err)
		}
		filtered(t, func() []string { // the record after which there is none of the victim's
			defer install(t, nth(counter(prog.Array), 0, abi.Allow, abi.Log), 0, 0).close()
			return perform([]string{"pgrp"})
		})
		if got := recordsOf(t, fd, cmd.Process.Pid); got != "31 0x80000000 c000003e" {
			t.Errorf("recorded %q", got)
		}
	})
}

// launchedAs runs a victim under filters to its end.
func launchedAs(t *testing.T, filters []filter, words string) (*exec.Cmd, error) {
	t.Helper()
	cmd := victim(strings.Fields(words)...)
	if err := start(filters, cbpf.Program{}, cmd); err != nil {
		t.Fatal(err)
	}
	return cmd, cmd.Wait()
}

// A process is killed for its third call.
func TestGuestKillsProcessForTheThirdCall(t *testing.T) {
	eachCounter(t, func(t *testing.T, m *prog.Map) {
		for words, killed := range map[string]bool{"ppid ppid": false, "ppid ppid ppid": true, "thread ppid ppid ppid": true} {
			_, err := launchedAs(t, plain(nth(m, 2, abi.KillProcess, abi.Allow)), words)
			state, ok := err.(*exec.ExitError)
			if was := ok && state.Sys().(syscall.WaitStatus).Signal() == syscall.SIGSYS; was != killed || (err != nil && !was) {
				t.Errorf("%s: ended with %v", words, err)
			}
		}
	})
}

// A thread is killed for the third call of its process, and the others live on.
func TestGuestKillsThreadForTheThirdCall(t *testing.T) {
	eachCounter(t, func(t *testing.T, m *prog.Map) {
		expect(t, "ok ok gone ok", plain(nth(m, 2, abi.KillThread, abi.Allow)), "ppid ppid perish ppid")
	})
}

// perish is a thread that makes a call that it does not return from.
func perish() string {
	tid, back := make(chan int), make(chan string, 1)
	go func() {
		runtime.LockOSThread()
		tid <- syscall.Gettid()
		back <- blocking(getppid, 0, 0, 0)
		select {}
	}()
	task := fmt.Sprintf("/proc/self/task/%d", <-tid)
	for deadline := time.Now().Add(guest.Patience(time.Minute)); time.Now().Before(deadline); runtime.Gosched() {
		if len(back) > 0 {
			return "returned:" + <-back
		}
		if _, err := os.Stat(task); err != nil {
			return "gone"
		}
	}
	return "stays"
}

// sigsys is the siginfo of a SIGSYS.
type sigsys struct {
	signo, errno, code, _ int32
	addr                  uint64
	nr                    int32
	arch                  uint32
	_                     [96]byte
}

func sigsysOf(t *testing.T, tid int) (info sigsys) {
	t.Helper()
	const getSiginfo = 0x4202
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, getSiginfo, uintptr(tid), 0, uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		t.Error(errno)
	}
	return info
}

// The second call is trapped, with the data and the call in the signal.
func TestGuestTrapsTheSecondCall(t *testing.T) {
	eachCounter(t, func(t *testing.T, m *prog.Map) {
		const data, sysSeccomp = 77, 1
		traps := 0
		tr := tracing{resume: sys.TraceCont, see: func(tid int, stop sys.Stop) syscall.Signal {
			if stop.Kind != sys.SignalStop || stop.Value != int(syscall.SIGSYS) {
				return passing(stop)
			}
			traps++
			var regs sys.Regs
			if err := sys.TraceRegs(tid, &regs); err != nil {
				t.Error(err)
			}
			want := sigsys{signo: 31, errno: data, code: sysSeccomp, addr: regs.Rip, nr: getppid, arch: uint32(abi.ArchX86_64)}
			if info := sigsysOf(t, tid); info != want || regs.Rax != getppid {
				t.Errorf("%+v, expected %+v; rax %d", info, want, regs.Rax)
			}
			return 0
		}}
		if got, _ := tr.of(t, plain(nth(m, 1, abi.Trap|data, abi.Allow)), "ppid ppid ppid"); got != "ok ok ok" || traps != 1 {
			t.Errorf("saw %s, %d traps", got, traps)
		}
	})
}

// Without a tracer that asked for it, TRACE is ENOSYS.
func TestGuestTraceWithoutTracer(t *testing.T) {
	eachCounter(t, func(t *testing.T, m *prog.Map) {
		p := plain(nth(m, 1, abi.Trace|7, abi.Allow))
		expect(t, "ok errno38 ok", p, "ppid ppid ppid")
		tr := tracing{resume: sys.TraceCont, see: func(_ int, stop sys.Stop) syscall.Signal { return passing(stop) }}
		if got, _ := tr.of(t, p, "ppid ppid ppid"); got != "ok errno38 ok" {
			t.Errorf("with a tracer of something else: saw %s", got)
		}
	})
}

// A tracer is told the data, and may let the call be, keep it from being made, or make it
// another. The filters are asked again then.
func TestGuestTracesTheSecondCall(t *testing.T) {
	const data = 0x1234
	for _, c := range []struct {
		name, want string
		asked      uint64
		change     func(r *sys.Regs)
	}{
		{"nothing", "ok ok ok", 4, func(*sys.Regs) {}},
		{"no call", "ok EDOM ok", 3, func(r *sys.Regs) { r.OrigRax, r.Rax = sys.NoCall, ^uint64(edom-1) }},
		{"a denied call", "ok EPERM ok", 3, func(r *sys.Regs) { r.OrigRax = getpgrp }},
		{"an allowed call", "ok errno9 ok", 3, func(r *sys.Regs) { r.OrigRax, r.Rdi = syscall.SYS_CLOSE, 1<<20 }},
	} {
		eachCounter(t, func(t *testing.T, m *prog.Map) {
			stops := 0
			tr := tracing{sys.TraceSeccomp, sys.TraceCont, func(tid int, stop sys.Stop) syscall.Signal {
				if stop.Kind == sys.SeccompStop {
					stops++
					changed(t, tid, data, c.change)
				}
				return passing(stop)
			}}
			got, l := tr.of(t, plain(nth(m, 1, abi.Trace|data, abi.Errno(1))), "ppid ppid ppid")
			if got != c.want || stops != 1 {
				t.Errorf("%s: saw %s, %d stops, expected %s", c.name, got, stops, c.want)
			}
			if m.Type == prog.Array && count(t, l, m, 0) != c.asked {
				t.Errorf("%s: asked %d times, expected %d", c.name, count(t, l, m, 0), c.asked)
			}
		})
	}
}

// changed changes the registers of a call that a filter has traced with data.
func changed(t *testing.T, tid int, data uint64, change func(r *sys.Regs)) {
	t.Helper()
	message, err := sys.TraceMessage(tid)
	if err != nil || message != data {
		t.Errorf("the event's message is %#x, %v, expected %#x", message, err, data)
	}
	info, err := sys.TraceCallInfo(tid)
	if err != nil || info.Op != sys.CallSeccomp || info.Value != getppid || uint64(info.Data) != data {
		t.Errorf("PTRACE_GET_SYSCALL_INFO: %+v, %v", info, err)
	}
	var regs sys.Regs
	if err := sys.TraceRegs(tid, &regs); err != nil {
		t.Error(err)
	}
	change(&regs)
	if err := sys.TraceSetRegs(tid, &regs); err != nil {
		t.Error(err)
	}
}

// A listener decides about the second call, and not about the first.
func TestGuestNotifiesOfTheSecondCall(t *testing.T) {
	eachCounter(t, func(t *testing.T, m *prog.Map) {
		n := notifying(t, nth(m, 1, abi.UserNotif, abi.Allow), sys.FlagNewListener, "notified notified")
		answer(t, n.listener)
		if got := strings.Join(<-n.seen, " "); got != "ok EDOM" {
			t.Errorf("saw %s", got)
		}
	})
}

// notified is a thread that does words under a filter with a listener.
type notified struct {
	listener, tid int
	seen          chan []string
}

func notifying(t *testing.T, p *prog.Program, flags uint, words string) *notified {
	t.Helper()
	l, err := load(plain(p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	n := &notified{seen: make(chan []string, 1)}
	ready := make(chan error)
	go func() {
		n.seen <- filtered(t, func() []string {
			var err error
			n.tid = syscall.Gettid()
			n.listener, err = l.put(0, flags)
			ready <- err
			return perform(strings.Fields(words))
		})
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(n.listener) })
	return n
}

// receive is the next notification.
func receive(fd int) (n sys.Notif, err error) {
	for {
		if err = sys.NotifRecv(fd, &n); err != syscall.ENOENT && err != syscall.EINTR {
			return n, err
		}
	}
}

// A signal interrupts who is notified about, who then asks again; with WAIT_KILLABLE_RECV it
// waits until there is an answer.
func TestGuestWaitKillableRecv(t *testing.T) {
	inGuest(t)
	p := constant("notify", abi.UserNotif, getppid)
	n := notifying(t, p, sys.FlagNewListener, "notified")
	first, err := receive(n.listener)
	if err := errors.Join(err, poked(n.tid)); err != nil {
		t.Fatal(err)
	}
	answer(t, n.listener)
	if got := strings.Join(<-n.seen, " "); got != "EDOM" {
		t.Errorf("saw %s", got)
	}
	if err := sys.NotifSend(n.listener, &sys.NotifResp{ID: first.ID}); err != syscall.ENOENT {
		t.Errorf("the answer to who is interrupted: %v", err)
	}
	n = notifying(t, p, sys.FlagNewListener|sys.FlagWaitKillableRecv, "notified")
	first, err = receive(n.listener)
	if err := errors.Join(err, waitsKillable(n.tid)); err != nil {
		t.Fatal(err)
	}
	if err := sys.NotifSend(n.listener, &sys.NotifResp{ID: first.ID, Error: -edom}); err != nil {
		t.Errorf("the answer to who is not interrupted: %v", err)
	}
	if got := strings.Join(<-n.seen, " "); got != "EDOM" {
		t.Errorf("saw %s", got)
	}
}

// poked sends a thread of this process a signal that does nothing.
func poked(tid int) error {
	const tgkill = 234
	if _, _, errno := syscall.Syscall(tgkill, uintptr(os.Getpid()), uintptr(tid), uintptr(syscall.SIGURG)); errno != 0 {
		return errno
	}
	return nil
}

// waitsKillable pokes a thread and waits until it sleeps again, with the signal pending.
func waitsKillable(tid int) error {
	if err := poked(tid); err != nil {
		return err
	}
	var status []byte
	pending := fmt.Sprintf("SigPnd:\t%016x", 1<<(syscall.SIGURG-1))
	for deadline := time.Now().Add(guest.Patience(10 * time.Second)); time.Now().Before(deadline); runtime.Gosched() {
		status, _ = os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
		if strings.Contains(string(status), "State:\tD") && strings.Contains(string(status), pending) {
			return nil
		}
	}
	return fmt.Errorf("never D and %s: %q", pending, status)
}

// Nobody answers, and a signal that kills does.
func TestGuestWaitKillableRecvIsKilled(t *testing.T) {
	inGuest(t)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR2} {
		cmd := victim("unanswered")
		held(t, cmd)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		ends(t, fmt.Sprintf("who is sent %v", sig), cmd)
	}
}

// unanswered is a thread in a notification that has been received. SIGUSR2 kills.
func unanswered() string {
	const sigaction, sigsetSize = 13, 8
	var byDefault [4]uintptr // struct sigaction
	if _, _, errno := syscall.RawSyscall6(sigaction, uintptr(syscall.SIGUSR2), uintptr(unsafe.Pointer(&byDefault)), 0, sigsetSize, 0, 0); errno != 0 {
		return errno.Error()
	}
	tid, listener := make(chan int, 1), make(chan int)
	go onThread(func() bool {
		tid <- syscall.Gettid()
		listener <- listening()
		blocking(getppid, 0, 0, 0)
		return true
	})
	_, err := receive(<-listener)
	if err := errors.Join(err, waitsKillable(<-tid)); err != nil {
		return err.Error()
	}
	fmt.Println("held")
	select {}
}

// listening puts a filter on the calling thread, and returns its listener.
func listening() int {
	l, err := load(plain(constant("notify", abi.UserNotif, getppid)))
	if err == nil {
		err = sys.NoNewPrivs()
	}
	fd := -1
	if err == nil {
		fd, err = l.put(0, sys.FlagNewListener|sys.FlagWaitKillableRecv)
	}
	if err != nil {
		fmt.Println(err)
	}
	return fd
}

// A thread with a filter of its own cannot follow: TSYNC says which, or fails with ESRCH.
func TestGuestTsyncThatDiverges(t *testing.T) {
	inGuest(t)
	for _, own := range []string{"classic", "extended"} {
		out, err := victim("diverge", own).Output()
		want := "tid errno3 errno3 errno22 []" // ESRCH, EINVAL
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("beside a %s filter: saw %s, %v, expected %s", own, got, err, want)
		}
	}
}

// diverge has a thread that has a filter of its own, and another synchronize.
func diverge(own string) []string {
	tid, end := make(chan int), make(chan bool)
	defer close(end)
	go onThread(func() bool {
		if err := ownFilter(own); err != nil {
			fmt.Println(err)
		}
		tid <- syscall.Gettid()
		return <-end
	})
	other := <-tid
	l, err := load(plain(constant("deny", abi.Errno(edom), getppid)))
	if err != nil {
		return []string{err.Error()}
	}
	seen := onThread(func() (seen []string) {
		_ = sys.NoNewPrivs()
		for _, flags := range []uint{tsync, tsync | tsyncESRCH, tsync | tsyncESRCH | sys.FlagNewListener, tsync | sys.FlagNewListener} {
			seen = append(seen, synchronized(l, flags, other))
		}
		return seen
	})
	l.close()
	return append(seen, descriptors())
}

func ownFilter(kind string) error {
	if err := sys.NoNewPrivs(); err != nil {
		return err
	}
	if kind == "extended" {
		return onTop(plain(constant("own", abi.Allow))[0])
	}
	_, err := sys.InstallFilter([]sys.FilterInsn{{Code: 0x06, K: uint32(abi.Allow)}}, 0)
	return err
}

// synchronized is what comes of putting a filter on all threads.
func synchronized(l *loaded, flags uint, other int) string {
	n, err := l.put(0, flags)
	if n == other {
		return "tid"
	}
	return outcomeOf(err)
}

// With TSYNC_ESRCH there may be a listener, which hears of all threads.
func TestGuestTsyncWithListener(t *testing.T) {
	inGuest(t)
	out, err := victim("listen").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != "EDOM true ok" {
		t.Errorf("saw %s, %v", got, err)
	}
}

// listen has a thread put a filter on another, which the former answers.
func listen() []string {
	tid, begin, seen := make(chan int), make(chan bool), make(chan string)
	go onThread(func() bool {
		tid <- syscall.Gettid()
		<-begin
		seen <- blocking(getppid, 0, 0, 0)
		return true
	})
	other := <-tid
	l, err := load(plain(constant("notify", abi.UserNotif, getppid)))
	if err != nil {
		return []string{err.Error()}
	}
	_ = sys.NoNewPrivs()
	fd, err := l.put(0, tsync|tsyncESRCH|sys.FlagNewListener|sys.FlagWaitKillableRecv)
	if err != nil {
		return []string{err.Error()}
	}
	close(begin)
	n, err := receive(fd)
	if err != nil {
		return []string{err.Error()}
	}
	sent := outcomeOf(sys.NotifSend(fd, &sys.NotifResp{ID: n.ID, Error: -edom}))
	return []string{<-seen, fmt.Sprint(int(n.Pid) == other), sent}
}

func outcomeOf(err error) string {
	errno, _ := err.(syscall.Errno)
	return outcome(errno)
}

// Filters come by TSYNC to threads in calls that are copied and ordered: from when the last has come
// none of them gets past it.
func TestGuestTsyncStorm(t *testing.T) {
	needWaits(t)
	filters := append([]filter{ppidAfterReadv()}, plain(firstByte('x', abi.Errno(1)))...)
	ordered(t, long, "well well well", filters, "gusty")
}

// syncStorm has threads make calls while others synchronize.
func syncStorm() []string {
	const threads = 3
	begun, done, last := make(chan bool), make(chan string), new(atomic.Bool)
	for i := 0; i < threads; i++ {
		go onThread(func() bool {
			done <- syncGust(begun, last)
			return true
		})
	}
	for i := 0; i < threads; i++ {
		<-begun
	}
	for i := 0; i < 8; i++ {
		if said := synchronizes("more"); said != "" {
			return []string{said}
		}
	}
	if said := synchronizes("read"); said != "" {
		return []string{said}
	}
	last.Store(true)
	var seen []string
	for i := 0; i < threads; i++ {
		seen = append(seen, <-done)
	}
	return seen
}

// syncGust makes calls until a hundred have been denied, which all are after the last filter has come.
func syncGust(begun chan<- bool, last *atomic.Bool) string {
	path := named("dies/not")
	for n, denied := 0, 0; denied < 100; n++ {
		late := last.Load()
		_, errno := open(path, syscall.O_RDONLY)
		turn := blocking(getppid, 0, 0, 0)
		switch {
		case turn != "ok":
			return "turn:" + turn
		case errno == syscall.EIO:
			denied++
		case errno != syscall.ENOENT || denied > 0 || late:
			return fmt.Sprintf("call%d:%d:%d", n, errno, denied)
		}
		if n == 0 {
			begun <- true
		}
	}
	return "well"
}

// A 32-bit call that its bitmap allows is not asked about, and the bitmap speaks of no other call.
func TestGuestCompatBitmap(t *testing.T) {
	needBitmaps(t)
	const getppid32 = 64
	p := newAssembler().load32(2, 1, abi.OffArch).load32(3, 1, abi.OffNr).jump(prog.OpJeq, 2, int32(abi.ArchI386), "deny").
		jump(prog.OpJne, 3, getppid32, "others").label("deny").answer(abi.Errno(edom)).
		label("others").jump(prog.OpJeq, 3, getppid, "deny").answer(abi.Allow).program("deny_compat")
	for allowed, want := range map[int]string{getppid32: "ok EDOM", getppid: "EDOM EDOM", 20: "EDOM EDOM"} {
		f := filter{program: p}
		f.extension.Compat = make([]byte, tableSize/8)
		f.extension.Compat[allowed/8] |= 1 << (allowed % 8)
		expect(t, want, []filter{f}, "compat ppid")
		expect(t, "EDOM EDOM", append([]filter{f}, plain(p)...), "compat ppid")
	}
	expect(t, "EDOM EDOM", plain(p), "compat ppid")
	expect(t, "ok EDOM", plain(constant("native", abi.Errno(edom), getppid)), "compat ppid")
}

// compat makes the 32-bit getppid, with code of its own.
func compat() string {
	code := []byte{
		0x53,                         // push rbx
		0xb8, 0x40, 0x00, 0x00, 0x00, // mov eax, 64
		0xcd, 0x80, // int 0x80
		0x89, 0x07, // mov [rdi], eax
		0x5b, // pop rbx
		0xc3, // ret
	}
	const all = syscall.PROT_READ | syscall.PROT_WRITE | syscall.PROT_EXEC
	page, err := syscall.Mmap(-1, 0, os.Getpagesize(), all, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err.Error()
	}
	copy(page, code)
	result := new(int32)
	vsyscall(uintptr(unsafe.Pointer(&page[0])), uintptr(unsafe.Pointer(result)), 0)
	if *result > 0 {
		return "ok"
	}
	return outcome(syscall.Errno(-*result))
}
