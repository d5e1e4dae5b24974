package kernel

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// tracing is what a tracer does with a victim from the first word on.
type tracing struct {
	options sys.TraceOption
	resume  func(tid int, sig syscall.Signal) error
	see     func(tid int, stop sys.Stop) syscall.Signal // which it goes on with
}

// of runs a victim under filters, and returns the words it prints.
func (tr tracing) of(t *testing.T, filters []filter, words string) (string, *loaded) {
	t.Helper()
	l, err := load(filters)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(l.close)
	cmd := victim(append([]string{"announce"}, strings.Fields(words)...)...)
	cmd.Dir = t.TempDir()
	in, noIn := cmd.StdinPipe()
	out, noOut := cmd.StdoutPipe()
	if err := errors.Join(noIn, noOut, l.launch(cbpf.Program{}, cmd)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	var tid int
	if _, err := fmt.Fscanln(lines, &tid); err != nil {
		t.Fatal(err)
	}
	tr.follow(t, tid, in)
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // its end has been taken
	return strings.TrimSpace(string(rest)), l
}

// follow is the tracer of a thread to its end, from when it is told to go on.
func (tr tracing) follow(t *testing.T, tid int, begin io.Closer) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	seized := sys.TraceSeize(tid, tr.options|sys.TraceSysGood|sys.TraceExitKill)
	if err := errors.Join(seized, sys.TraceInterrupt(tid)); err != nil {
		t.Fatal(err)
	}
	for {
		stop, err := sys.Wait(-1)
		if err != nil {
			t.Fatal(err)
		}
		if begin != nil {
			begin.Close()
			begin = nil
		}
		if stop.Kind == sys.Ended || stop.Kind == sys.Killed {
			if stop.Tid == tid {
				return
			}
			continue
		}
		if err := tr.resume(stop.Tid, tr.see(stop.Tid, stop)); err != nil && err != syscall.ESRCH {
			t.Fatal(err)
		}
	}
}

// passing is the signal of a stop, if it is at one.
func passing(stop sys.Stop) syscall.Signal {
	if stop.Kind == sys.SignalStop {
		return syscall.Signal(stop.Value)
	}
	return 0
}

// announce says what thread it is, and waits for the end of input.
func announce() {
	fmt.Println(syscall.Gettid())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// openPath is what comes of opening a path.
func openPath(path string) string {
	fd, errno := open(named(path), syscall.O_RDONLY)
	if errno == 0 {
		syscall.Close(fd)
	}
	return outcome(errno)
}

// watched is a tracer that notes what it sees of openat.
type watched struct {
	t               *testing.T
	atEntry, atExit []uint64 // the path's address
	results         []int64
	entered         func(tid int, path uint64)
}

// see is called at every stop.
func (w *watched) see(tid int, stop sys.Stop) syscall.Signal {
	if stop.Kind != sys.CallStop {
		return passing(stop)
	}
	var regs sys.Regs
	info, err := sys.TraceCallInfo(tid)
	if err := errors.Join(err, sys.TraceRegs(tid, &regs)); err != nil {
		w.t.Error(err)
	}
	if regs.OrigRax != syscall.SYS_OPENAT {
		return 0
	}
	if info.Op == sys.CallExit {
		w.atExit, w.results = append(w.atExit, regs.Rsi), append(w.results, info.Value)
		return 0
	}
	if info.Args[1] != regs.Rsi {
		w.t.Errorf("PTRACE_GET_SYSCALL_INFO tells of %#x, the registers of %#x", info.Args[1], regs.Rsi)
	}
	w.atEntry = append(w.atEntry, regs.Rsi)
	if w.entered != nil {
		w.entered(tid, regs.Rsi)
		w.entered = nil
	}
	return 0
}

// used is the address of the path that a thread's sleeping openat uses, when it is another than its
// caller passed.
func used(tid int, passed uint64) (path uint64) {
	var nr, dir uint64
	deadline := time.Now().Add(guest.Patience(10 * time.Second))
	for ; time.Now().Before(deadline) && (nr != syscall.SYS_OPENAT || path == passed); runtime.Gosched() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", tid))
		_, _ = fmt.Sscanf(string(text), "%d 0x%x 0x%x", &nr, &dir, &path)
	}
	return path
}

// A tracer sees the caller's address where a call is entered and where it is left, however it ends,
// and only the call itself uses another.
func TestGuestTracerSeesCallersRegisters(t *testing.T) {
	inGuest(t)
	fifo := filepath.Join(t.TempDir(), "held")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	inCall := make(chan uint64, 1)
	w := &watched{t: t}
	w.entered = func(tid int, passed uint64) {
		go func() {
			inCall <- used(tid, passed)
			if fd, err := syscall.Open(fifo, syscall.O_WRONLY, 0); err == nil {
				syscall.Close(fd)
			}
		}()
	}
	tr := tracing{resume: sys.TraceCall, see: w.see}
	got, _ := tr.of(t, plain(pathFilter()), "open-"+fifo+" open-/missing open-d")
	if got != "ok ENOENT EIO" || len(w.atEntry) != len(w.atExit) {
		t.Fatalf("saw %s, %d entries, %d exits", got, len(w.atEntry), len(w.atExit))
	}
	var ends []int64
	for i, at := range w.atEntry {
		if w.atExit[i] != at || at == 0 {
			t.Errorf("call %d: %#x at the exit, %#x at the entry", i, w.atExit[i], at)
		}
		if w.results[i] != -512 { // ERESTARTSYS: a signal came, and it begins anew
			ends = append(ends, w.results[i])
		}
	}
	if at := <-inCall; at == 0 || at == w.atEntry[0] {
		t.Errorf("the call uses %#x, its caller passed %#x: a copy expected", at, w.atEntry[0])
	}
	if len(ends) != 3 || ends[0] < 0 || ends[1] != -int64(syscall.ENOENT) || ends[2] != -eio {
		t.Errorf("results %v", w.results)
	}
}

// A tracer that a filter asks sees the caller's address, too, and what it writes there is read anew.
func TestGuestTracerChangesWhatIsPinned(t *testing.T) {
	inGuest(t)
	const data = 9
	stops := 0
	tr := tracing{sys.TraceSeccomp, sys.TraceCont, func(tid int, stop sys.Stop) syscall.Signal {
		if stop.Kind != sys.SeccompStop {
			return passing(stop)
		}
		stops++
		info, err := sys.TraceCallInfo(tid)
		if err != nil || info.Op != sys.CallSeccomp || info.Data != data {
			t.Errorf("%+v, %v", info, err)
		}
		text := make([]byte, 6)
		if _, err := sys.ReadProcess(tid, text, info.Args[1]); err != nil || string(text) != "trace\x00" {
			t.Errorf("at the caller's address: %q, %v", text, err)
		}
		if _, err := syscall.PtracePokeData(tid, uintptr(info.Args[1]), []byte("d")); err != nil {
			t.Error(err)
		}
		return 0
	}}
	tracesAnother := plain(pathFilter(), firstByte('t', abi.Trace|data))
	if got, _ := tr.of(t, tracesAnother, "open-trace open-missing"); got != "EIO ENOENT" || stops != 1 {
		t.Errorf("saw %s, %d stops", got, stops)
	}
}

// firstByte answers v to an openat of a path that begins with a byte.
func firstByte(c int32, v abi.Verdict) *prog.Program {
	a := newAssembler().unless(syscall.SYS_OPENAT, "allow").load64(3, 1, abi.OffArgs+8).store64(10, -8, 0)
	a.copy(1, 10).add(1, -8).mov(2, 1).call(helper.SafeReadUser).jump(prog.OpJne, 0, 0, "allow")
	a.load64(2, 10, -8).jump(prog.OpJne, 2, c, "allow").answer(v)
	return a.label("allow").answer(abi.Allow).program("first_byte")
}

// cloneArgs is struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize, cgroup uint64
}

// readsClone reads the struct of clone3: what is not read is EDOM, and what is not as it should be EIO.
func readsClone() *prog.Program {
	const clone3 = 435
	a := newAssembler().unless(clone3, "allow").copy(6, 1).load64(3, 1, abi.OffArgs)
	a.copy(1, 10).add(1, -40).mov(2, 40).call(helper.SafeReadUser).jump(prog.OpJne, 0, 0, "unread")
	a.load64(2, 10, -8).jump(prog.OpJne, 2, int32(syscall.SIGCHLD), "wrong")
	a.label("allow").answer(abi.Allow)
	a.label("unread").answer(abi.Errno(edom))
	return a.label("wrong").answer(abi.Errno(eio)).program("reads_clone")
}

// cloned has children, by clone3, clone3 as vfork, and clone.
func cloned() []string {
	const clone3 = 435
	var seen []string
	for _, flags := range []uint64{0, syscall.CLONE_VFORK} {
		args := &cloneArgs{flags: flags, exitSignal: uint64(syscall.SIGCHLD)}
		seen = append(seen, bears(clone3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args)))
	}
	return append(seen, bears(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0))
}

// bears makes a child that ends at once, and waits for it.
func bears(nr, a, b uintptr) string {
	pid, _, errno := syscall.RawSyscall6(nr, a, b, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 7, 0, 0)
	}
	if errno != 0 {
		return outcome(errno)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(int(pid), &status, 0, nil); err != nil {
		return err.Error()
	}
	return fmt.Sprint(status.ExitStatus())
}

// birth is the first argument of a call that makes a child, wherever a tracer sees it.
type birth struct{ nr, entry, event, child, exit uint64 }

// births notes those of a thread.
type births struct {
	t      *testing.T
	parent int
	seen   []birth
}

func (b *births) see(tid int, stop sys.Stop) syscall.Signal {
	const clone3 = 435
	if b.parent == 0 {
		b.parent = tid
	}
	var regs sys.Regs
	if err := sys.TraceRegs(tid, &regs); err != nil {
		b.t.Error(err)
	}
	if stop.Kind != sys.SignalStop && (regs.OrigRax == clone3 || regs.OrigRax == syscall.SYS_CLONE) {
		b.note(tid, stop, &regs)
	}
	return passing(stop)
}

func (b *births) note(tid int, stop sys.Stop, regs *sys.Regs) {
	info, err := sys.TraceCallInfo(tid)
	if err != nil {
		b.t.Error(err)
	}
	last := len(b.seen) - 1
	switch {
	case tid == b.parent && info.Op == sys.CallEntry:
		b.seen = append(b.seen, birth{nr: regs.OrigRax, entry: regs.Rdi})
	case last < 0:
		b.t.Errorf("%v before the first call", stop)
	case tid != b.parent:
		b.seen[last].child = regs.Rdi
	case stop.Kind != sys.CallStop:
		b.seen[last].event = regs.Rdi
	case b.seen[last].event == 0: // a signal came first, and the call begins anew
		if regs.Rdi != b.seen[last].entry {
			b.t.Errorf("a call of %#x begins anew with %#x", b.seen[last].entry, regs.Rdi)
		}
		b.seen = b.seen[:last]
	default:
		b.seen[last].exit = regs.Rdi
	}
}

// A child begins with the registers of its parent's caller, and so does the parent go on.
func TestGuestChildHasCallersRegisters(t *testing.T) {
	inGuest(t)
	b := &births{t: t}
	tr := tracing{sys.TraceFork | sys.TraceVfork | sys.TraceClone, sys.TraceCall, b.see}
	if got, _ := tr.of(t, plain(readsClone()), "cloned"); got != "7 7 7" {
		t.Errorf("saw %s", got)
	}
	if len(b.seen) != 3 {
		t.Fatalf("%d calls: %+v", len(b.seen), b.seen)
	}
	for _, f := range b.seen {
		if f.entry == 0 || f != (birth{f.nr, f.entry, f.entry, f.entry, f.entry}) {
			t.Errorf("rdi of call %d is %#x, %#x at the event, %#x in the child, %#x at the exit", f.nr, f.entry, f.event, f.child, f.exit)
		}
	}
}

// A filter that comes by TSYNC while a thread sleeps in the copy of an argument decides about
// its call, which it may read itself.
func TestGuestTsyncWhileArgumentsAreCopied(t *testing.T) {
	inGuest(t)
	mayHold(t)
	filters := plain(firstByte('x', abi.Errno(1)))
	expect(t, "ENOENT EDOM", filters, "synced-not synced-deny")
	expect(t, "ENOENT EIO EDOM", filters, "synced-not synced-read synced-deny")
}

// synced opens a path that is not there in a page that comes late, after another thread has put
// a filter on all.
func synced(how string) string {
	page, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err.Error()
	}
	faults, err := faultsOf(page)
	if err != nil {
		return err.Error()
	}
	defer syscall.Close(faults)
	result := make(chan string, 1)
	go onThread(func() bool {
		_, errno := open(&page[0], syscall.O_RDONLY)
		result <- outcome(errno)
		return true
	})
	event := make([]byte, 32) // struct uffd_msg
	if _, err := syscall.Read(faults, event); err != nil {
		return err.Error()
	}
	if said := synchronizes(how); said != "" {
		return said
	}
	return given(faults, page, "dies/not") + <-result
}

// synchronizes puts a filter on all threads, or none.
func synchronizes(how string) string {
	p := pathFilter() // EIO for what begins with a d
	switch how {
	case "not":
		return ""
	case "more":
		p = firstByte('y', abi.Errno(1))
	case "deny":
		p = constant("deny_open", abi.Errno(edom), syscall.SYS_OPENAT)
	}
	l, err := load(plain(p))
	if err != nil {
		return err.Error()
	}
	return onThread(func() string {
		if n, err := l.put(0, tsync); n != 0 || err != nil {
			return fmt.Sprint(n, err)
		}
		return ""
	})
}

// given gives a page that is waited for, with a text.
func given(faults int, page []byte, text string) string {
	const ioctlCopy = 0xc028aa03
	from := make([]byte, len(page))
	copy(from, text)
	give := [5]uint64{uint64(uintptr(unsafe.Pointer(&page[0]))), uint64(uintptr(unsafe.Pointer(&from[0]))), uint64(len(page))}
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(faults), ioctlCopy, uintptr(unsafe.Pointer(&give)))
	runtime.KeepAlive(from)
	if errno != 0 {
		return "UFFDIO_COPY:" + errno.Error()
	}
	return ""
}

// tracefs is where events are traced. That changes the kernel's code, which an emulated
// processor does not always see that runs beside another: see docs/RATIONALE.md.
func tracefs(t *testing.T) string {
	t.Helper()
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who alone traces events")
	}
	const dir = "/sys/kernel/tracing"
	if _, err := os.Stat(dir + "/events"); err != nil {
		_ = syscall.Mount("tracefs", dir, "tracefs", 0, "")
	}
	if _, err := os.Stat(dir + "/events/raw_syscalls"); err != nil {
		t.Skip("needs a kernel that traces calls and probes")
	}
	oneProcessor(t)
	return dir
}

// event has an event traced until the test ends.
func event(t *testing.T, path string) {
	t.Helper()
	set(t, path+"/enable", "1")
	t.Cleanup(func() { set(t, path+"/enable", "0") })
}

// Tracepoints tell of the caller's address.
func TestGuestTracepointsShowCallersArguments(t *testing.T) {
	dir := tracefs(t)
	w := &watched{t: t}
	begun := false
	tr := tracing{resume: sys.TraceCall, see: func(tid int, stop sys.Stop) syscall.Signal {
		if !begun {
			set(t, dir+"/trace", "")
			set(t, dir+"/set_event_pid", fmt.Sprint(tid))
			for _, name := range []string{"raw_syscalls/sys_enter", "raw_syscalls/sys_exit", "syscalls/sys_enter_openat"} {
				event(t, dir+"/events/"+name)
			}
			begun = true
		}
		return w.see(tid, stop)
	}}
	defer set(t, dir+"/set_event_pid", "")
	if got, _ := tr.of(t, plain(pathFilter()), "open-missing open-/missing"); got != "ENOENT ENOENT" || len(w.atEntry) != 2 {
		t.Fatalf("saw %s, %d entries", got, len(w.atEntry))
	}
	text, err := os.ReadFile(dir + "/trace")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range w.atEntry {
		for _, want := range []string{
			fmt.Sprintf("sys_enter: NR %d (ffffffffffffff9c, %x,", syscall.SYS_OPENAT, at),
			fmt.Sprintf("sys_openat(dfd: ffffffffffffff9c, filename: %x", at),
		} {
			if !strings.Contains(strings.ReplaceAll(string(text), "filename: 0x", "filename: "), want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	if n := strings.Count(string(text), fmt.Sprintf("sys_exit: NR %d = -2", syscall.SYS_OPENAT)); n != 2 {
		t.Errorf("%d calls fail with ENOENT in\n%s", n, text)
	}
}

// auditRule is struct audit_rule_data.
type auditRule struct {
	list, action, fields      uint32
	calls, field, value, flag [64]uint32
	size                      uint32
}

// auditTold sends audit a message, and waits for what comes of it.
func auditTold(fd int, typ uint16, payload unsafe.Pointer, size uintptr) error {
	const header, request, ack = syscall.SizeofNlMsghdr, 1, 4
	msg := make([]byte, header+int(size))
	*(*syscall.NlMsghdr)(unsafe.Pointer(&msg[0])) = syscall.NlMsghdr{Len: uint32(len(msg)), Type: typ, Flags: request | ack}
	copy(msg[header:], unsafe.Slice((*byte)(payload), size))
	if err := syscall.Sendto(fd, msg, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	for {
		buf := make([]byte, 16<<10)
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err != nil || n < header+4 {
			return fmt.Errorf("audit says %d bytes, %v", n, err)
		}
		if (*syscall.NlMsghdr)(unsafe.Pointer(&buf[0])).Type == syscall.NLMSG_ERROR {
			if errno := *(*int32)(unsafe.Pointer(&buf[header])); errno != 0 {
				return syscall.Errno(-errno)
			}
			return nil
		}
	}
}

// auditCalls has audit look at the calls of tasks that begin from now on, until the test ends.
func auditCalls(t *testing.T, control int) {
	t.Helper()
	const setStatus, addRule, delRule, tasks = 1001, 1011, 1012, 1
	never := auditRule{list: tasks}
	for i := range never.calls {
		never.calls[i] = ^uint32(0)
	}
	tell := func(enabled uint32, typ uint16) error {
		s := [10]uint32{1, enabled} // struct audit_status
		return errors.Join(auditTold(control, setStatus, unsafe.Pointer(&s), unsafe.Sizeof(s)),
			auditTold(control, typ, unsafe.Pointer(&never), unsafe.Sizeof(never)))
	}
	if err := tell(1, delRule); err != nil && !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tell(0, addRule); err != nil {
			t.Error(err)
		}
	})
}

// Audit records the caller's address.
func TestGuestAuditShowsCallersArguments(t *testing.T) {
	fd, control := auditLog(t), auditLog(t)
	auditCalls(t, control)
	const addRule, delRule, syscallRecord, atExit, always, equal = 1011, 1012, 1300, 4, 2, 0x40000000
	rule := auditRule{list: atExit, action: always, fields: 1} // of which the first is the process
	rule.calls[syscall.SYS_OPENAT/32], rule.flag[0] = 1<<(syscall.SYS_OPENAT%32), equal
	w := &watched{t: t}
	tr := tracing{resume: sys.TraceCall, see: func(tid int, stop sys.Stop) syscall.Signal {
		if rule.value[0] == 0 {
			rule.value[0] = uint32(processOf(t, tid))
			if err := auditTold(control, addRule, unsafe.Pointer(&rule), unsafe.Sizeof(rule)); err != nil {
				t.Error(err)
			}
		}
		return w.see(tid, stop)
	}}
	if got, _ := tr.of(t, plain(pathFilter()), "open-missing open-/missing"); got != "ENOENT ENOENT" || len(w.atEntry) != 2 {
		t.Errorf("saw %s, %d entries", got, len(w.atEntry))
	}
	if err := auditTold(control, delRule, unsafe.Pointer(&rule), unsafe.Sizeof(rule)); err != nil {
		t.Error(err)
	}
	for _, at := range w.atEntry {
		text := ""
		for auditField(text, "pid") != fmt.Sprint(rule.value[0]) { // this process may make records, too
			text = record(t, fd, syscallRecord)
		}
		got := auditField(text, "syscall") + " " + auditField(text, "exit") + " " + auditField(text, "a1")
		if want := fmt.Sprintf("%d -2 %x", syscall.SYS_OPENAT, at); got != want {
			t.Errorf("recorded %s, expected %s: %s", got, want, text)
		}
	}
}

// processOf is the process that a thread is of.
func processOf(t *testing.T, tid int) (pid int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	_, rest, _ := strings.Cut(string(text), "Tgid:")
	if _, unread := fmt.Sscan(rest, &pid); unread != nil {
		t.Fatal(err, unread)
	}
	return pid
}

// answered is what a probe is put on the return of.
//
//go:noinline
//go:nosplit
func answered() int { return 42 }

// fileOffset is where code is in this program's file.
func fileOffset(t *testing.T, code uintptr) uint64 {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if at := uint64(code); p.Type == elf.PT_LOAD && p.Vaddr <= at && at < p.Vaddr+p.Filesz {
			return at - p.Vaddr + p.Off
		}
	}
	t.Fatalf("%#x is in no segment", code)
	return 0
}

// A function that a probe waits for the return of returns by a call that no filter decides about.
func TestGuestUretprobeReturns(t *testing.T) {
	dir := tracefs(t)
	const uretprobe, uprobe = 335, 336
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	at := fileOffset(t, reflect.ValueOf(answered).Pointer())
	set(t, dir+"/uprobe_events", fmt.Sprintf("r:portcullis/answered %s:%#x", exe, at))
	t.Cleanup(func() { set(t, dir+"/uprobe_events", "") })
	event(t, dir+"/events/portcullis/answered")
	calls := 0
	tr := tracing{resume: sys.TraceCall, see: func(tid int, stop sys.Stop) syscall.Signal {
		var regs sys.Regs
		if err := sys.TraceRegs(tid, &regs); stop.Kind == sys.CallStop && err == nil && regs.OrigRax == uretprobe {
			calls++
		}
		return passing(stop)
	}}
	kills := plain(constant("kill", abi.KillProcess, uretprobe, uprobe), limitByMap(counter(prog.Hash), 1))
	if got, _ := tr.of(t, kills, "answered ppid ppid"); got != "42 ok EDOM" {
		t.Errorf("saw %s", got)
	}
	if calls == 0 {
		t.Error("the function returned without the call")
	}
}

// form is what a tracer is told of a filter of a tracee, counted from the oldest: its
// instructions, and its flags.
func form(tid int, i uintptr) string {
	const getFilter, getMetadata = 0x420c, 0x420d
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, getFilter, uintptr(tid), i, 0, 0, 0)
	said := fmt.Sprint(n)
	if errno != 0 {
		said = errno.Error()
	}
	metadata := [2]uint64{uint64(i)}
	_, _, errno = syscall.RawSyscall6(syscall.SYS_PTRACE, getMetadata, uintptr(tid), unsafe.Sizeof(metadata), uintptr(unsafe.Pointer(&metadata)), 0, 0)
	if errno != 0 {
		return said + ", " + errno.Error()
	}
	return fmt.Sprintf("%s, flags %#x", said, metadata[1])
}

// An eBPF filter is one among others, which has no classic form and says what it is.
func TestGuestFormOfFilters(t *testing.T) {
	inGuest(t)
	const medium = "wrong medium type, flags "
	want := []string{medium + "0x10000", "1, flags 0x0", medium + "0x10002", "no such file or directory, no such file or directory"}
	if os.Getuid() != 0 {
		for i := range want {
			want[i] = "permission denied, permission denied"
		}
	}
	asked := false
	tr := tracing{resume: sys.TraceCall, see: func(tid int, stop sys.Stop) syscall.Signal {
		var regs sys.Regs
		if err := sys.TraceRegs(tid, &regs); err != nil || regs.OrigRax != getppid || asked {
			return passing(stop)
		}
		asked = true
		for i := range want {
			if got := form(tid, uintptr(i)); got != want[i] {
				t.Errorf("filter %d: %s, expected %s", i, got, want[i])
			}
		}
		return passing(stop)
	}}
	if got, _ := tr.of(t, plain(constant("first", abi.Allow)), "own ppid"); got != "<nil> <nil> ok" || !asked {
		t.Errorf("saw %s", got)
	}
}

// own puts a classic filter on the calling thread, and then one that logs.
func own() []string {
	first := ownFilter("classic")
	l, err := load(plain(constant("logs", abi.Allow)))
	if err == nil {
		_, err = l.put(0, logged)
		l.close()
	}
	return []string{fmt.Sprint(first), fmt.Sprint(err)}
}
