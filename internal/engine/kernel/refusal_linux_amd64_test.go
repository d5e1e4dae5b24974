package kernel

import (
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/guest"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

func TestGuestBadAttributes(t *testing.T) {
	inGuest(t)
	l, err := load(plain(constant("none", abi.Allow)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	good := sys.NewExtendedAttr(l.progs[0], 0)
	attr := func(change func(e *extended)) *extended {
		e := &extended{ExtendedAttr: good}
		change(e)
		return e
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd, err := confined(func() (int, error) { return createMap(counter(prog.Array)) })
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for _, c := range []struct {
		name  string
		attr  *extended
		flags uint
		want  syscall.Errno
	}{
		{"size 0", attr(func(e *extended) { e.Size = 0 }), 0, syscall.EINVAL},
		{"short size", attr(func(e *extended) { e.Size = 8 }), 0, syscall.EINVAL},
		{"huge size", attr(func(e *extended) { e.Size = 1 << 20 }), 0, syscall.E2BIG},
		{"unknown field", attr(func(e *extended) { e.Size += 16; e.tail[1] = 1 }), 0, syscall.E2BIG},
		{"unknown flag", attr(func(e *extended) { e.Flags = 1 << 3 }), 0, syscall.EINVAL},
		{"last flag", attr(func(e *extended) { e.Flags = 1 << 31 }), 0, syscall.EINVAL},
		{"reserved", attr(func(e *extended) { e.Reserved = 1 }), 0, syscall.EINVAL},
		{"second reserved", attr(func(e *extended) { e.Reserved2 = 1 }), 0, syscall.EINVAL},
		{"longest wait", attr(func(e *extended) { e.WaitMS = 86_400_000 }), 0, 0},
		{"longer wait", attr(func(e *extended) { e.WaitMS = 86_400_001 }), 0, syscall.EINVAL},
		{"third reserved", attr(func(e *extended) { e.Reserved3 = 1 }), 0, syscall.EINVAL},
		{"without pins", attr(func(e *extended) { e.Size = 48 }), 0, 0},
		{"without waits", attr(func(e *extended) { e.Size = 40 }), 0, 0},
		{"no descriptor", attr(func(e *extended) { e.ProgFD = 9999 }), 0, syscall.EBADF},
		{"a file", attr(func(e *extended) { e.ProgFD = uint32(null.Fd()) }), 0, syscall.EINVAL},
		{"a map", attr(func(e *extended) { e.ProgFD = uint32(fd) }), 0, syscall.EINVAL},
		{"unknown seccomp flag", attr(func(e *extended) {}), 1 << 17, syscall.EINVAL},
		{"zeroed unknown fields", attr(func(e *extended) { e.Size += 16 }), 0, 0},
	} {
		got := filtered(t, func() syscall.Errno {
			_, err := sys.InstallExtended(&c.attr.ExtendedAttr, c.flags)
			errno, _ := err.(syscall.Errno)
			return errno
		})
		if got != c.want {
			t.Errorf("%s: %v, expected %v", c.name, got, c.want)
		}
	}
	if errno := filtered(t, func() syscall.Errno {
		const seccomp, setModeFilter = 317, 1
		_, _, errno := syscall.RawSyscall(seccomp, setModeFilter, sys.FlagExtended, 0)
		return errno
	}); errno != syscall.EFAULT {
		t.Errorf("no attributes: %v, expected EFAULT", errno)
	}
}

// Without no_new_privs a filter is refused to those without CAP_SYS_ADMIN.
func TestGuestNeedsNoNewPrivs(t *testing.T) {
	inGuest(t)
	l, err := load(plain(constant("none", abi.Allow)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	got := onThread(func() error {
		_, err := l.put(0, 0)
		return err
	})
	switch {
	case os.Getuid() == 0 && got != nil:
		t.Errorf("root: %v", got)
	case os.Getuid() != 0 && got != syscall.EACCES:
		t.Errorf("%v: EACCES expected", got)
	}
}

// The listener works for a verdict of an eBPF filter as for another.
func TestGuestListener(t *testing.T) {
	inGuest(t)
	l, err := load(plain(constant("notify", abi.UserNotif, getppid)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	listener := make(chan int)
	seen := make(chan []string)
	go func() {
		seen <- filtered(t, func() []string {
			fd, err := l.put(0, sys.FlagNewListener)
			if err != nil {
				t.Error(err)
				fd = -1
			}
			listener <- fd
			return perform([]string{"ppid"})
		})
	}()
	fd := <-listener
	if fd < 0 {
		t.Fatal("no listener")
	}
	defer syscall.Close(fd)
	answer(t, fd)
	if s := strings.Join(<-seen, " "); s != "EDOM" {
		t.Errorf("saw %s", s)
	}
}

// answer fails one notified getppid with EDOM. The Go runtime's signals may make
// the caller ask again.
func answer(t *testing.T, fd int) {
	t.Helper()
	for {
		var n sys.Notif
		if err := sys.NotifRecv(fd, &n); err == syscall.ENOENT || err == syscall.EINTR {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if nr := binary.NativeEndian.Uint32(n.Data[:]); nr != getppid {
			t.Errorf("notified of call %d", nr)
		}
		err := sys.NotifSend(fd, &sys.NotifResp{ID: n.ID, Error: -edom})
		if err == nil {
			return
		}
		if err != syscall.ENOENT {
			t.Fatal(err)
		}
	}
}

// A pointer that leaves the kernel, or a write to the context, is refused to
// everybody; the error names the instruction.
func TestGuestVerifierRefuses(t *testing.T) {
	inGuest(t)
	for _, p := range []*prog.Program{
		newAssembler().store64(1, 0, 1).answer(abi.Allow).program("writes_context"),
		newAssembler().load64(2, 1, 0).answer(abi.Allow).program("reads_nr_and_arch"),
		newAssembler().load32(2, 1, abi.DataSize).answer(abi.Allow).program("reads_past_the_end"),
		newAssembler().load32(2, 1, 2).answer(abi.Allow).program("reads_askew"),
		newAssembler().op(prog.Insn{Op: prog.OpCallInsn, Imm: 4}).answer(abi.Allow).program("calls_probe_read"),
		newAssembler().label("x").jump(prog.OpJa, 0, 0, "x").program("loops_for_ever"),
	} {
		_, err := load(plain(p))
		var le *LoadError
		if !errors.As(err, &le) || le.Reason == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v: one line of LoadError with a reason expected", p.Name, err)
		}
	}
}

// The sysctl decides who may load: at 3 everybody, at 2 nobody without CAP_BPF,
// at 0 not even root.
func TestGuestSysctl(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who alone sets the sysctl")
	}
	defer set(t, levelFile, "3")
	for _, c := range []struct {
		level        string
		root, nobody bool
	}{{"0", false, false}, {"1", true, false}, {"2", true, false}, {"3", true, true}} {
		set(t, levelFile, c.level)
		whoMay(t, "level "+c.level, c.root, c.nobody)
	}
}

// Yama's scope decides who may install: at 2 nobody without CAP_SYS_PTRACE.
func TestGuestYama(t *testing.T) {
	inGuest(t)
	if os.Getuid() != 0 {
		t.Skip("runs as root, who alone sets the sysctl")
	}
	defer set(t, scopeFile, "1")
	for scope, nobody := range []bool{true, true, false} {
		set(t, scopeFile, strconv.Itoa(scope))
		whoMay(t, "scope "+strconv.Itoa(scope), true, nobody)
	}
}

// TestNoAttach has a guest of its own: a scope of 3 is for ever.
func TestNoAttach(t *testing.T) {
	guest.TestIn(t, guest.Config{}, 0, "-test.run=^TestInsideNoAttach$")
}

func TestInsideNoAttach(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs in the guest that TestNoAttach boots")
	}
	set(t, scopeFile, "3")
	whoMay(t, "scope 3", false, false)
	if err := Probe(); err == nil || !strings.Contains(err.Error(), "kernel.yama.ptrace_scope is 3") {
		t.Errorf("%v: the sysctl's name and value expected", err)
	}
	if _, err := load(plain(constant("allow", abi.Allow))); err != nil {
		t.Errorf("%v: loading is not installing", err)
	}
}

// whoMay checks whether root and nobody may use the engine.
func whoMay(t *testing.T, when string, root, nobody bool) {
	t.Helper()
	var u *UnavailableError
	if err := Probe(); (err == nil) != root || (err != nil && !errors.As(err, &u)) {
		t.Errorf("%s: root: %v", when, err)
	}
	cmd := victim("probe")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}}
	out, err := cmd.Output()
	if err != nil || strings.HasPrefix(string(out), "ok") != nobody {
		t.Errorf("%s: nobody: %s%v", when, out, err)
	}
}

// set writes a sysctl.
func set(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Error(err)
	}
}

// What is relaxed for filters is not for other programs.
func TestGuestOtherProgramsStayClosed(t *testing.T) {
	inGuest(t)
	if os.Getuid() == 0 {
		t.Skip("runs as nobody: root may load any")
	}
	const socketFilter = 1
	if err := os.WriteFile("/proc/sys/kernel/unprivileged_bpf_disabled", []byte("0"), 0); err == nil {
		t.Fatal("nobody set a sysctl")
	}
	closed, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sys.ProgLoad(sys.ProgAttr{Type: socketFilter, Insns: prog.Encode(newAssembler().answer(0).insns), License: "GPL"})
	if err == nil {
		syscall.Close(fd)
	}
	if refused := err == syscall.EPERM; refused != (strings.TrimSpace(string(closed)) != "0") {
		t.Errorf("a socket filter: %v, with unprivileged_bpf_disabled %s", err, closed)
	}
}
