package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/cbpf"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// Calls of the tests of waits, which nothing else makes.
const (
	readv     = 19
	getpgrp   = 111
	uselib    = 134 // nobody is ever inside
	waitAny   = 1 << 32
	timedOut  = "errno110"
	einval    = ^uint32(0) - 21 // -EINVAL
	lastOrder = 471
)

func needWaits(t *testing.T) {
	t.Helper()
	inGuest(t)
	if known, err := confined(func() (bool, error) { return knows(sys.JoinWaits), nil }); err != nil || !known {
		t.Skip("needs a kernel whose filters order calls")
	}
}

// order is that a call counts, and waits for others first.
type order struct {
	curr    int32
	targets []uint64
}

// ordering is a filter that orders calls, and fails with EIO where it cannot.
func ordering(name string, orders ...order) filter {
	a := newAssembler().load32(6, 1, abi.OffNr)
	for i, o := range orders {
		next := fmt.Sprint("next", i)
		a.jump(prog.OpJne, 6, o.curr, next)
		for _, target := range o.targets {
			a.mov(1, o.curr).const64(2, target).call(helper.WaitSyscall).jump(prog.OpJne, 0, 0, "broken")
		}
		a.label(next)
	}
	p := a.answer(abi.Allow).label("broken").answer(abi.Errno(uint16(syscall.EIO))).program(name)
	return filter{program: p, waits: true}
}

// const64 sets a register to 64 bits.
func (a *assembler) const64(dst uint8, v uint64) *assembler {
	return a.op(prog.Insn{Op: prog.OpLoadImm64, Dst: dst, Imm: int32(uint32(v))}, prog.Insn{Imm: int32(v >> 32)})
}

// ordered runs a victim as launched does, with a limit for waits.
func ordered(t *testing.T, limit time.Duration, want string, filters []filter, words string) {
	t.Helper()
	l, err := load(filters)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer l.close()
	l.options.WaitLimit = limit
	cmd := victim(strings.Fields(words)...)
	out := new(strings.Builder)
	cmd.Stdout = out
	if err := l.launch(cbpf.Program{}, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("victim %q: %v", words, err)
	}
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("victim %q saw\n%s, expected\n%s", words, got, want)
	}
}

// ppidAfterReadv is that getppid waits until nobody is inside readv.
func ppidAfterReadv() filter {
	return ordering("ppid_after_readv", order{readv, []uint64{uselib}}, order{getppid, []uint64{readv | waitAny}})
}

const long = 5 * time.Minute

// However the other's call ends, who waits goes on.
func TestGuestWaitEnds(t *testing.T) {
	needWaits(t)
	for _, how := range []string{"write", "kill", "exit", "exec", "signal"} {
		ordered(t, long, "waits ok", []filter{ppidAfterReadv()}, "await-"+how)
	}
}

// Nobody waits for longer than the limit, and who does not wait is not held up.
func TestGuestWaitLimit(t *testing.T) {
	needWaits(t)
	ordered(t, 50*time.Millisecond, "waits "+timedOut, []filter{ppidAfterReadv()}, "await-nothing")
	ordered(t, 50*time.Millisecond, "ok ok", []filter{ppidAfterReadv()}, "ppid ppid")
}

// Who waits can be killed.
func TestGuestWaitIsKilled(t *testing.T) {
	needWaits(t)
	ordered(t, long, "waits killed", []filter{ppidAfterReadv()}, "await-end")
}

// Filters of one launch count together, whichever of them counts and whichever waits.
func TestGuestWaitTogether(t *testing.T) {
	needWaits(t)
	count := ordering("count", order{readv, []uint64{uselib}})
	wait := ordering("wait", order{getppid, []uint64{readv | waitAny}})
	between := plain(constant("between", abi.Errno(edom), uselib))[0]
	ordered(t, long, "waits ok", []filter{count, between, wait}, "await-write")
	ordered(t, long, "waits ok", []filter{wait, count}, "await-write")
	ordered(t, long, "waits ok", []filter{between, count, wait}, "await-write")
}

// A filter of the target's own counts for itself: it cannot join.
func TestGuestWaitIsNotJoined(t *testing.T) {
	needWaits(t)
	ordered(t, long, "errno22 ok", []filter{ppidAfterReadv()}, "join ppid")
	got := filtered(t, func() []string {
		l, err := load([]filter{ppidAfterReadv()})
		if err != nil {
			t.Error(err)
			return nil
		}
		defer l.close()
		_, err = l.put(sys.JoinWaits, 0)
		return []string{outcome(err.(syscall.Errno))}
	})
	if s := strings.Join(got, " "); s != "errno22" {
		t.Errorf("without a filter below: %s, EINVAL expected", s)
	}
}

// A call that a filter denies, or that is not made, is counted nowhere, and one
// that ends by exit, exec or fork is counted out.
func TestGuestWaitCountsOut(t *testing.T) {
	needWaits(t)
	var orders []order
	last := order{curr: getpgrp}
	for _, nr := range []int32{56, 57, 58, 59, 60, 231, 435, getppid} { // clone, fork, vfork, execve, exit, exit_group, clone3
		orders = append(orders, order{nr, []uint64{uselib}})
		last.targets = append(last.targets, uint64(nr)|waitAny)
	}
	filters := []filter{
		ordering("count", append(orders, last)...),
		plain(constant("deny", abi.Errno(edom), getppid))[0],
	}
	ordered(t, long, "EDOM map[EDOM:24] EDOM EDOM leader EDOM ok",
		filters, "ppid children thread ppid fork ppid exec ppid pgrp")
}

// A thread that calls over and over, beside one that does what must not be
// beside it: neither fails, and afterwards nobody is inside.
func TestGuestWaitStorm(t *testing.T) {
	needWaits(t)
	both := ordering("both",
		order{getppid, []uint64{getpgrp}},
		order{getpgrp, []uint64{getppid, getpgrp}},
	)
	ordered(t, long, "ok=1200 ok ok", []filter{both}, "orders pgrp ppid")
}

// What may be waited for is what the table of both engines says.
func TestGuestWaitRefuses(t *testing.T) {
	needWaits(t)
	if syscalls.Newest() != lastOrder {
		t.Errorf("the newest call is %d: %d expected, as in the kernel", syscalls.Newest(), lastOrder)
	}
	// r0 = bpf_wait_syscall(args[0], args[1])
	p := newAssembler().copy(6, 1).load64(1, 6, abi.OffArgs).load64(2, 6, abi.OffArgs+8).
		call(helper.WaitSyscall).exit().program("wait")
	l, err := load([]filter{{program: p, waits: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	ask := func(nr int32, arch abi.Arch, ip, curr, target uint64) uint32 {
		t.Helper()
		d := &abi.SeccompData{Nr: nr, Arch: arch, InstructionPointer: ip}
		d.Args[0], d.Args[1] = curr, target
		got, err := testRun(l.progs[0], d)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for nr := uint64(0); nr <= lastOrder; nr++ {
		want := uint32(0)
		if abi.Dependent(uint32(nr)) {
			want = einval
		}
		if got := ask(1, abi.ArchX86_64, 0, 1, nr); got != want {
			t.Errorf("call %d: %#x, expected %#x", nr, got, want)
		}
		if got := ask(1, abi.ArchX86_64, 0, 1, nr|waitAny); got != 0 {
			t.Errorf("call %d, whatever it is: %#x, expected 0", nr, got)
		}
	}
	for _, c := range []struct {
		name             string
		nr               int32
		arch             abi.Arch
		ip, curr, target uint64
	}{
		{"another call", 1, abi.ArchX86_64, 0, 2, 3},
		{"of i386", 1, abi.ArchI386, 0, 1, 3},
		{"of x32", 0x40000001, abi.ArchX86_64, 0, 0x40000001, 3},
		{"unknown", 472, abi.ArchX86_64, 0, 472, 3},
		{"negative", -1, abi.ArchX86_64, 0, 1<<32 - 1, 3},
		{"high bits", 1, abi.ArchX86_64, 0, 1<<32 | 1, 3},
		{"unknown target", 1, abi.ArchX86_64, 0, 1, 472 | waitAny},
		{"unknown flag", 1, abi.ArchX86_64, 0, 1, 3 | 1<<33},
		{"on the vsyscall page", 96, abi.ArchX86_64, 0xffffffffff600000, 96, 3},
	} {
		if got := ask(c.nr, c.arch, c.ip, c.curr, c.target); got != einval {
			t.Errorf("%s: %#x, expected EINVAL", c.name, got)
		}
	}
}

// A call has room for 32 targets of all filters together.
func TestGuestWaitTargets(t *testing.T) {
	needWaits(t)
	targets := make([]uint64, 32)
	for i := range targets {
		targets[i] = uint64(uselib)
	}
	full := ordering("full", order{getppid, targets})
	more := ordering("more", order{getppid, targets[:1]})
	ordered(t, long, "ok", []filter{full}, "ppid")
	ordered(t, long, "EIO", []filter{full, more}, "ppid")
}

// await is a thread of this process that waits for a child that is inside readv,
// which then ends in a way.
func await(how string) []string {
	r, w, err := os.Pipe()
	if err != nil {
		return []string{err.Error()}
	}
	child := victim("inside-" + how)
	child.Stdin = r
	if err := child.Start(); err != nil {
		return []string{err.Error()}
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	if err := until(child.Process.Pid, readv, nil); err != nil {
		return []string{err.Error()}
	}
	if how == "end" {
		return killed()
	}
	tid, result := make(chan int), make(chan string, 1)
	go onThread(func() bool {
		tid <- syscall.Gettid()
		result <- blocking(getppid, 0, 0, 0)
		return true
	})
	waiter := <-tid
	if how == "nothing" {
		return []string{"waits", <-result}
	}
	if err := until(os.Getpid(), getppid, result); err != nil {
		return []string{err.Error()}
	}
	end(how, child, w, waiter)
	return []string{"waits", <-result}
}

// end ends what the child is inside of.
func end(how string, child *exec.Cmd, w *os.File, waiter int) {
	switch how {
	case "kill":
		_ = child.Process.Kill()
	case "exit", "exec":
		_ = child.Process.Signal(syscall.SIGUSR1)
	case "signal": // the wait begins anew
		const tgkill = 234
		_, _, _ = syscall.Syscall(tgkill, uintptr(os.Getpid()), uintptr(waiter), uintptr(syscall.SIGURG))
		fallthrough
	case "write":
		_, _ = w.Write([]byte("x"))
	}
}

// killed is a child that waits, and is killed.
func killed() []string {
	child := victim("ppid")
	if err := child.Start(); err != nil {
		return []string{err.Error()}
	}
	if err := until(child.Process.Pid, getppid, nil); err != nil {
		return []string{err.Error()}
	}
	_ = child.Process.Kill()
	if err := child.Wait(); err == nil || err.Error() != "signal: killed" {
		return []string{fmt.Sprint("waits and ends with ", err)}
	}
	return []string{"waits", "killed"}
}

// until returns when a thread of a process sleeps in a call, or with an error once
// there is a result.
func until(pid int, nr int, result chan string) error {
	for deadline := time.Now().Add(guest.Patience(time.Minute)); time.Now().Before(deadline); runtime.Gosched() {
		if inCall(pid, nr) {
			return nil
		}
		if len(result) > 0 {
			return fmt.Errorf("early:%s", <-result)
		}
	}
	return fmt.Errorf("never-in-%d", nr)
}

// inCall tells whether a thread of a process sleeps in a call.
func inCall(pid, nr int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, file := range files {
		if text, _ := os.ReadFile(file); strings.HasPrefix(string(text), fmt.Sprint(nr, " ")) {
			return true
		}
	}
	return false
}

// inside is a process that is in readv until that ends, or until it is told to end.
func inside(how string) string {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	go func() {
		<-told
		if how == "exec" {
			_ = syscall.Exec("/proc/self/exe", []string{victimMark}, nil)
		}
		os.Exit(0)
	}()
	buf := make([]byte, 1)
	vec := syscall.Iovec{Base: &buf[0], Len: 1}
	return blocking(readv, 0, uintptr(unsafe.Pointer(&vec)), 1)
}

// blocking is call for what takes long: the Go runtime does without the thread.
func blocking(nr, a, b, c uintptr) string {
	_, _, errno := syscall.Syscall(nr, a, b, c)
	return outcome(errno)
}

// joined tries to count with the filters that this process was started under.
func joined() string {
	_, err := confined(func() (bool, error) {
		l, err := load([]filter{ppidAfterReadv()})
		if err != nil {
			return false, err
		}
		defer l.close()
		_, err = l.put(sys.JoinWaits, 0)
		return false, err
	})
	errno, ok := err.(syscall.Errno)
	if err != nil && !ok {
		return err.Error()
	}
	return outcome(errno)
}

// orders makes two calls from threads at once, and counts their outcomes.
func orders() []string {
	done := make(chan map[string]int)
	for i := 0; i < 4; i++ {
		nr := uintptr(getppid + i%2)
		go func() {
			own := map[string]int{}
			onThread(func() bool {
				for j := 0; j < 300; j++ {
					own[blocking(nr, 0, 0, 0)]++
				}
				return true
			})
			done <- own
		}()
	}
	total := map[string]int{}
	for i := 0; i < 4; i++ {
		for k, n := range <-done {
			total[k] += n
		}
	}
	var list []string
	for k, n := range total {
		list = append(list, fmt.Sprintf("%s=%d", k, n))
	}
	return list
}
