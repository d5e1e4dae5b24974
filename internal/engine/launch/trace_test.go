//go:build linux && amd64

package launch

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// tracer is a thread that traces one target and lets it do as it likes.
type tracer struct {
	before func(pid int) // before it seizes
	within func(pid int) // after it, before admit
	look   func(stop sys.Stop)
	begin  chan func() error
	begun  chan error
	done   chan struct{} // closed when the target has ended, or is not traced
}

const traced = sys.TraceExitKill | sys.TraceSysGood | sys.TraceExec | sys.TraceSeccomp

func newTracer() *tracer {
	nothing := func(int) {}
	return &tracer{
		before: nothing, within: nothing, look: func(sys.Stop) {},
		begin: make(chan func() error), begun: make(chan error), done: make(chan struct{}),
	}
}

// start starts a target that is traced.
func (tr *tracer) start(cmd *exec.Cmd, cfg Config) (listener int, err error) {
	stage, err := Begin(cmd, cfg.files()...)
	if err != nil {
		return -1, err
	}
	go tr.run(cmd.Process.Pid)
	defer close(tr.begin)
	return stage.InstallTraced(cfg, tr.seize)
}

func (tr *tracer) seize(pid int, admit func() error) error {
	tr.before(pid)
	tr.begin <- func() error {
		if err := sys.TraceSeize(pid, traced); err != nil {
			return err
		}
		tr.within(pid)
		return admit()
	}
	return <-tr.begun
}

// run is the thread, and ends with the target.
func (tr *tracer) run(pid int) {
	defer close(tr.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	seize, ok := <-tr.begin
	if !ok {
		return
	}
	err := seize()
	if err == nil {
		tr.look(sys.Stop{Tid: pid, Kind: sys.ExecStop})
		err = sys.TraceCont(pid, 0)
	}
	tr.begun <- err
	for err == nil {
		err = tr.step(pid)
	}
}

func (tr *tracer) step(pid int) error {
	stop, err := sys.WaitLeaving(pid)
	if err != nil {
		return err
	}
	tr.look(stop)
	switch stop.Kind {
	case sys.Ended, sys.Killed:
		return syscall.ESRCH
	case sys.JobStop:
		return sys.TraceListen(stop.Tid)
	case sys.SignalStop:
		return sys.TraceCont(stop.Tid, syscall.Signal(stop.Value))
	}
	return sys.TraceCont(stop.Tid, 0)
}

// tracing has every call traced but the launch, which is exempt, and the end.
func tracing() Config {
	cfg := static()
	cfg.Filter = filter(abi.Trace | 7)
	cfg.Filter[2] = sys.FilterInsn{Code: 0x15, Jt: 5, Jf: 4, K: syscall.SYS_EXIT_GROUP}
	return cfg
}

// program is a static one of these instructions.
func program(t *testing.T, code ...byte) string {
	t.Helper()
	const at, headers = 0x400000, 64 + 56
	var b bytes.Buffer
	for _, v := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Entry: at + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: at,
			Filesz: headers + uint64(len(code)), Memsz: headers + uint64(len(code)), Align: 4096,
		},
		code,
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// The tracer sees a target before its first instruction, and its first call.
func TestTracedFromTheStart(t *testing.T) {
	path := program(t,
		0xb8, 102, 0, 0, 0, 0x0f, 0x05, // getuid
		0xbf, 9, 0, 0, 0, 0xb8, 231, 0, 0, 0, 0x0f, 0x05, // exit_group(9)
	)
	for _, l := range []Listen{ListenNone, ListenProbe} {
		var seen []string
		var entry uint64
		tr := newTracer()
		tr.look = func(stop sys.Stop) {
			info, _ := sys.TraceCallInfo(stop.Tid)
			if stop.Kind == sys.ExecStop {
				var r sys.Regs
				_ = sys.TraceRegs(stop.Tid, &r)
				entry = r.Rip
			}
			said := stop.Kind.String()
			if stop.Kind == sys.SeccompStop {
				said = fmt.Sprintf("call %d with %d after %d bytes", info.Value, info.Data, info.IP-entry)
			}
			seen = append(seen, said)
		}
		cmd := &exec.Cmd{Path: path}
		cfg := tracing()
		cfg.Listen = l
		fd, err := tr.start(cmd, cfg)
		if err != nil || (fd >= 0) != (l == ListenProbe) {
			t.Fatalf("listen %v: listener %d, %v", l, fd, err)
		}
		closeListener(fd)
		<-tr.done
		if err := cmd.Wait(); err == nil || err.Error() != "exit status 9" {
			t.Errorf("listen %v: %v, expected exit status 9", l, err)
		}
		if got, want := strings.Join(seen, ", "), "exec, call 102 with 7 after 7 bytes, ended"; got != want {
			t.Errorf("listen %v: %s, expected %s", l, got, want)
		}
	}
}

// A trapped call and a listener work as without a tracer.
func TestTracedTrapAndNotification(t *testing.T) {
	cfg := static()
	cfg.Listen = ListenProbe
	cfg.Filter = []sys.FilterInsn{
		{Code: 0x20, K: abi.OffNr},
		{Code: 0x15, Jf: 1, K: syscall.SYS_GETUID},
		{Code: 0x06, K: uint32(abi.UserNotif)},
		{Code: 0x15, Jf: 1, K: syscall.SYS_GETGID},
		{Code: 0x06, K: uint32(abi.Trap) | 5},
		{Code: 0x06, K: uint32(abi.Allow)},
	}
	cmd := &exec.Cmd{Path: program(t, 0xb8, 102, 0, 0, 0, 0x0f, 0x05, 0xb8, 104, 0, 0, 0, 0x0f, 0x05)}
	var info sys.Siginfo
	tr := newTracer()
	tr.look = func(stop sys.Stop) {
		if stop.Kind == sys.SignalStop {
			_ = sys.TraceSiginfo(stop.Tid, &info)
		}
	}
	fd, err := tr.start(cmd, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	var n sys.Notif
	if err := sys.NotifRecv(fd, &n); err != nil || int(n.Pid) != cmd.Process.Pid {
		t.Errorf("%+v, %v: expected a notification by %d", n, err, cmd.Process.Pid)
	}
	if err := sys.NotifSend(fd, &sys.NotifResp{ID: n.ID}); err != nil {
		t.Error(err)
	}
	<-tr.done
	if err := cmd.Wait(); err == nil || !strings.HasPrefix(err.Error(), "signal: bad system call") {
		t.Errorf("%v, expected SIGSYS", err)
	}
	if info.Signo != int32(syscall.SIGSYS) || info.Code != 1 || info.Errno != 5 || info.Syscall != syscall.SYS_GETGID || abi.Arch(info.Arch) != abi.ArchX86_64 {
		t.Errorf("%+v: expected SIGSYS for getgid with 5", info)
	}
}

// nothingLeft compares open descriptors and children with what was before. A child
// that was traced by others is reaped when they let it go, by a goroutine.
func nothingLeft(t *testing.T) func() {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	count() // the first file has the runtime open two descriptors, for good
	before := count()
	return func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
			_, err := sys.EndedChild()
			after := count()
			switch {
			case err == syscall.ECHILD && after == before:
				return
			case time.Now().After(end):
				t.Errorf("a child is left (%v), or descriptors: %d, expected %d", err, after, before)
				return
			}
		}
	}
}

// mark is a command that leaves a mark, if it is executed.
func mark(t *testing.T) (cmd *exec.Cmd, unmarked func()) {
	name := filepath.Join(t.TempDir(), "mark")
	return exec.Command("/bin/sh", "-c", ">"+name), func() {
		t.Helper()
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("the target ran: %v", err)
		}
	}
}

// TestTracedFails has the launch fail at the points at which it can.
func TestTracedFails(t *testing.T) {
	kill := func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
	terminate := func(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) }
	killed := "installing the filter: tracing the stage: it was killed before it executed the target"
	for name, c := range map[string]struct {
		before, within func(pid int)
		want           string
	}{
		"killed under its tracer":     {within: kill, want: killed},
		"terminated under its tracer": {within: terminate, want: killed},
		"killed": {before: func(pid int) {
			kill(pid)
			fd, err := sys.PidfdProcess(pid)
			if err != nil {
				t.Fatal(err)
			}
			defer sys.Close(fd)
			_, _, _ = sys.Poll(fd, -1, -1)
		}, want: "installing the filter: ptrace(PTRACE_SEIZE): operation not permitted: another tracer"},
		// It may also die of an instruction that is half the old and half the new one.
		"its code is changed":                   {before: func(pid int) { overwrite(t, pid) }, want: "installing the filter: "},
		"its code is changed under its tracer":  {within: func(pid int) { overwrite(t, pid) }, want: "installing the filter: tracing the stage: "},
		"another thread of this process traces": {before: seizeForGood, want: "installing the filter: ptrace(PTRACE_SEIZE): operation not permitted: another tracer"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, l := range []Listen{ListenNone, ListenProbe} {
				if _, err := Resolve(); err != nil {
					t.Fatal(err)
				}
				left := nothingLeft(t)
				cmd, unmarked := mark(t)
				tr := newTracer()
				if c.before != nil {
					tr.before = c.before
				}
				if c.within != nil {
					tr.within = c.within
				}
				cfg := allowing()
				cfg.Listen = l
				_, err := tr.start(cmd, cfg)
				var ie *InstallError
				if !errors.As(err, &ie) || !strings.HasPrefix(err.Error(), c.want) {
					t.Errorf("listen %v: %v, expected %s", l, err, c.want)
				}
				<-tr.done
				unmarked()
				left()
			}
		})
	}
}

// seizeForGood has a thread trace that ends with what it traces.
func seizeForGood(pid int) {
	seized := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_ = sys.TraceSeize(pid, 0)
		close(seized)
		_, _ = sys.WaitLeaving(pid)
	}()
	<-seized
}

// overwrite has a stage do something else than it was made for: getpid, for ever.
func overwrite(t *testing.T, pid int) {
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	payload := []byte{0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}
	const text, size = 0x400000, 4096
	code := append(bytes.Repeat([]byte{0x90}, size-len(payload)), payload...)
	if _, err := mem.WriteAt(code, text); err != nil {
		t.Fatal(err)
	}
}

// A process of the same user cannot trace a stage before it can be reached, and the
// launch fails where it traces it then.
func TestAttackerTracesFirst(t *testing.T) {
	if arg := os.Getenv("TRACE"); arg != "" {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread()
		err = sys.TraceSeize(pid, 0)
		_ = sys.TraceInterrupt(pid)
		fmt.Println(err)
		_, _ = os.Stdin.Read(make([]byte, 1))
		return
	}
	attack := func(pid int) (said string, end func()) { return attacked(t, pid) }
	if _, err := Resolve(); err != nil {
		t.Fatal(err)
	}
	left := nothingLeft(t)
	cmd, unmarked := mark(t)
	stage, err := Begin(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // who may trace what is not dumpable
		said, end := attack(cmd.Process.Pid)
		if end(); said != syscall.EPERM.Error() {
			t.Errorf("a stage that waits for its order: %s, expected EPERM", said)
		}
	}
	var end func()
	tr := newTracer()
	tr.before = func(pid int) {
		said := ""
		if said, end = attack(pid); said != "<nil>" {
			t.Skipf("needs to trace processes of the same user: %s", said)
		}
	}
	go tr.run(cmd.Process.Pid)
	cfg := allowing()
	cfg.Listen = ListenProbe
	_, err = stage.InstallTraced(cfg, tr.seize)
	close(tr.begin)
	var ie *InstallError
	if !errors.As(err, &ie) || ie.Err != syscall.EPERM || !strings.Contains(err.Error(), "another tracer was there first") || !strings.Contains(err.Error(), "kernel.yama.ptrace_scope") {
		t.Errorf("%v: expected EPERM, explained", err)
	}
	end()
	<-tr.done
	unmarked()
	left()
}

// While a stage can be reached, there is nothing in it that a target would not be
// given, and no thread without a filter.
func TestReachableStageHasNothing(t *testing.T) {
	cfg := static()
	cfg.Token, cfg.Listen = 0x9e3779b97f4a7c15, ListenProbe
	for i, in := range cfg.Filter {
		switch in.K {
		case token & 0xffffffff:
			cfg.Filter[i].K = uint32(cfg.Token & 0xffffffff)
		case token >> 32:
			cfg.Filter[i].K = uint32(cfg.Token >> 32)
		}
	}
	const argument = "which the stage passes on"
	cmd := exec.Command("/bin/true", argument)
	tr := newTracer()
	tr.before = func(pid int) {
		checkFiles(t, pid)
		checkThreads(t, pid)
		memory := readable(t, pid)
		if !bytes.Contains(memory, []byte(argument)) {
			t.Error("its memory has not been read: the target's argument is not there")
		}
		var le [8]byte
		binary.LittleEndian.PutUint64(le[:], cfg.Token)
		if bytes.Contains(memory, le[:4]) || bytes.Contains(memory, le[4:]) {
			t.Error("the token is in its memory")
		}
	}
	fd, err := tr.start(cmd, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(fd)
	<-tr.done
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func checkFiles(t *testing.T, pid int) {
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink(dir + e.Name()); strings.Contains(to, "seccomp") {
			t.Errorf("its descriptor %s is %s", e.Name(), to)
		}
	}
}

func checkThreads(t *testing.T, pid int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if len(files) != 2 {
		t.Errorf("threads %v: expected two", files)
	}
	for _, name := range files {
		status, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(status, []byte("\nSeccomp:\t2\n")) || !bytes.Contains(status, []byte("\nNoNewPrivs:\t1\n")) {
			t.Errorf("%s, %v: expected no new privileges, and a filter:\n%s", name, err, status)
		}
	}
}

// readable is all memory that can be read.
func readable(t *testing.T, pid int) []byte {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, line := range strings.Split(string(maps), "\n") {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x", &from, &to); n != 2 || strings.Contains(line, "[v") { // the kernel's
			continue
		}
		part := make([]byte, to-from)
		if n, err := sys.ReadProcess(pid, part, from); err != nil || n != len(part) {
			t.Errorf("%d bytes of %s: %v", n, line, err)
		}
		all = append(all, part...)
	}
	return all
}

// A stage that is stopped by job control stays so until it is continued, and signals
// that nobody handles are lost on it.
func TestTracedStageStops(t *testing.T) {
	for name, stop := range map[string]func(tr *tracer, f func(int)){
		"before": func(tr *tracer, f func(int)) { tr.before = func(pid int) { f(pid); _ = sys.WaitStopped(pid) } },
		"within": func(tr *tracer, f func(int)) { tr.within = f },
	} {
		cmd := exec.Command("/bin/true")
		tr := newTracer()
		stop(tr, func(pid int) {
			_ = syscall.Kill(pid, syscall.SIGWINCH)
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		})
		seized := tr.within
		tr.within = func(pid int) {
			seized(pid)
			go func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
		}
		if _, err := tr.start(cmd, allowing()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		<-tr.done
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// attacked has another process trace a thread, and stop it, until end.
func attacked(t *testing.T, tid int) (said string, end func()) {
	t.Helper()
	cmd := exec.Command(self, "-test.run=^TestAttackerTracesFirst$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("TRACE=%d", tid))
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line [256]byte
	n, _ := out.Read(line[:])
	said, _, _ = strings.Cut(string(line[:n]), "\n")
	return said, func() { in.Close(); _ = cmd.Wait() }
}

// TestAttackerTracesTheOtherThread: the stage has two, and a tracer of one can keep the
// other one from executing and from ending.
func TestAttackerTracesTheOtherThread(t *testing.T) {
	if _, err := Resolve(); err != nil {
		t.Fatal(err)
	}
	cmd, unmarked := mark(t)
	stage, err := Begin(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var end func()
	tr := newTracer()
	tr.before = func(pid int) {
		said := ""
		if said, end = attacked(t, otherThread(t, pid)); said != "<nil>" {
			t.Skipf("needs to trace processes of the same user: %s", said)
		}
	}
	go tr.run(cmd.Process.Pid)
	cfg := allowing()
	cfg.Listen, cfg.Patience = ListenProbe, 300*time.Millisecond
	_, err = stage.InstallTraced(cfg, tr.seize)
	if err == nil || !strings.Contains(err.Error(), "somebody else stops or traces it") {
		t.Errorf("%v: expected that it does not go on", err)
	}
	end()
	close(tr.begin)
	<-tr.done
	unmarked()
}

// otherThread is the thread of process pid that is not its first.
func otherThread(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || len(tasks) != 2 {
		t.Fatalf("%d threads, %v: expected two", len(tasks), err)
	}
	for _, task := range tasks {
		if tid, _ := strconv.Atoi(task.Name()); tid != pid {
			return tid
		}
	}
	return 0
}
