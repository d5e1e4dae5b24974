package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"portcullis/internal/abi"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// levelFile is the sysctl that says who may load filters.
const levelFile = "/proc/sys/kernel/seccomp/ebpf"

// scopeFile is Yama's, which says who may trace: at 2 and 3 installing a filter takes
// the same.
const scopeFile = "/proc/sys/kernel/yama/ptrace_scope"

// confined runs f on a thread of its own that has given up gaining privileges,
// the price at which kernel.seccomp.ebpf=3 lets everybody load filters. That
// cannot be taken back, so the thread ends with f: the goroutine does not unlock it.
func confined[T any](f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread()
		var o outcome
		if o.err = sys.NoNewPrivs(); o.err == nil {
			o.value, o.err = f()
		}
		done <- o
	}()
	o := <-done
	return o.value, o.err
}

// Probe tells whether the running kernel has the engine and this process may
// use it; the error is an *UnavailableError.
func Probe() error {
	// No attributes: EFAULT where the flag is known, or EACCES without no_new_privs.
	if _, err := sys.InstallExtended(nil, 0); err == syscall.EINVAL || err == syscall.ENOSYS {
		return &UnavailableError{
			Reason: "this kernel does not know SECCOMP_FILTER_FLAG_EXTENDED",
			Remedy: "boot the kernel that linux/build makes, or use the agent engine",
		}
	}
	// r0 = ALLOW; exit
	insns := prog.Encode([]prog.Insn{
		{Op: prog.ClassALU | prog.OpMov | prog.SrcK, Imm: int32(abi.Allow)},
		{Op: prog.OpExitInsn},
	})
	_, err := confined(func() (struct{}, error) {
		fd, err := sys.ProgLoad(sys.ProgAttr{Type: sys.ProgTypeSeccomp, Insns: insns, License: "GPL", Name: "probe"})
		if err != nil {
			return struct{}{}, err
		}
		defer syscall.Close(fd)
		// A bitmap that is nowhere is looked for when everybody has agreed. Nothing is
		// installed: the kernel would be slower for ever, and Go may park the thread.
		attr := sys.NewExtendedAttr(fd, 0)
		attr.NativeBits = 8
		if _, err := sys.InstallExtended(&attr, 0); err != syscall.EFAULT && err != syscall.E2BIG {
			return struct{}{}, notInstalled(err)
		}
		return struct{}{}, nil
	})
	var u *UnavailableError
	if err != nil && !errors.As(err, &u) {
		return unavailable(err)
	}
	return err
}

// notInstalled explains why a trivial filter that is loaded is not installed.
func notInstalled(err error) error {
	u := &UnavailableError{Reason: "a trivial filter is not installed", Remedy: "use the agent engine", Cause: err}
	scope, _ := os.ReadFile(scopeFile)
	if s := strings.TrimSpace(string(scope)); err == syscall.EPERM && s >= "2" {
		u.Reason = "this process may not install filters (kernel.yama.ptrace_scope is " + s + ")"
		u.Remedy = "CAP_SYS_PTRACE lets it where the scope is 2, a scope below 2 every user, or use the agent engine"
	}
	return u
}

// unavailable explains why a trivial filter is not loaded.
func unavailable(err error) error {
	level, unread := os.ReadFile(levelFile)
	switch {
	case errors.Is(err, syscall.EPERM) && unread != nil:
		return &UnavailableError{
			Reason: "bpf(2) is denied, and there is no sysctl kernel.seccomp.ebpf that would allow it",
			Remedy: "leave the outer sandbox, boot the kernel that linux/build makes, or use the agent engine",
			Cause:  err,
		}
	case errors.Is(err, syscall.EPERM):
		return &UnavailableError{
			Reason: "this process may not load filters (kernel.seccomp.ebpf is " + strings.TrimSpace(string(level)) + ")",
			Remedy: "sysctl kernel.seccomp.ebpf=3 lets every user, or use the agent engine",
			Cause:  err,
		}
	case errors.Is(err, syscall.EINVAL):
		return &UnavailableError{
			Reason: "this kernel does not know BPF_PROG_TYPE_SECCOMP",
			Remedy: "boot the kernel that linux/build makes, or use the agent engine",
			Cause:  err,
		}
	}
	return &UnavailableError{Reason: "a trivial filter is not loaded", Remedy: "use the agent engine", Cause: err}
}

// knowsBitmaps tells whether the kernel takes bitmaps of allowed calls. They
// are an optimisation: without them every filter sees every call.
func knowsBitmaps() bool {
	attr := sys.NewExtendedAttr(-1, 0)
	attr.Allow([]byte{0}, nil)
	_, err := sys.InstallExtended(&attr, 0)
	return err != syscall.E2BIG // EBADF, or EACCES without no_new_privs
}

// knows tells whether the kernel takes a flag: one that does has what the flag is about.
func knows(flag uint32) bool {
	attr := sys.NewExtendedAttr(-1, flag)
	_, err := sys.InstallExtended(&attr, 0)
	return err != syscall.EINVAL // EBADF, or EACCES without no_new_privs
}

// features are what the kernel takes with a filter.
type features struct{ bitmaps, waits, pins bool }

func kernelFeatures() features {
	return features{knowsBitmaps(), knows(sys.JoinWaits), knows(sys.NoPins)}
}

// check refuses a filter for which the kernel is too old.
func (k features) check(f *filter) error {
	for _, n := range []struct {
		lacks bool
		what  string
	}{
		{f.waits && !k.waits, "bpf_wait_syscall"},
		{f.reads && !k.pins, "bpf_safe_read_user and bpf_safe_read_user_str"},
	} {
		if n.lacks {
			return &UnsupportedError{
				What:   "program " + f.program.Name + ": " + n.what,
				Remedy: "boot the kernel that linux/build makes, or use the agent engine",
			}
		}
	}
	return nil
}

// extension is how a filter is installed there: what the kernel does not take makes it
// faster, and is left out.
func (k features) extension(f *filter) sys.Extension {
	x := f.extension
	if !k.bitmaps {
		x.Native, x.Compat = nil, nil
	}
	if !k.pins {
		x.Flags &^= sys.NoPins
	}
	return x
}

// loaded is a stack in the kernel: descriptors, all closed on exec.
type loaded struct {
	progs      []int
	names      []string        // of each of progs
	extensions []sys.Extension // likewise
	maps       map[*prog.Map]int
	tails      []int // programs that tail calls go on in
	waits      bool  // whether any of them orders calls
	options    Options
}

// load loads filters in their order. Maps are shared by their identity. On an
// error nothing stays open.
func load(filters []filter) (*loaded, error) {
	return confined(func() (*loaded, error) {
		l := &loaded{maps: make(map[*prog.Map]int)}
		k := kernelFeatures()
		for _, f := range filters {
			l.waits = l.waits || f.waits
			err := k.check(&f)
			if err == nil {
				err = l.addFilter(f)
			}
			if err != nil {
				l.close()
				return nil, err
			}
			l.names = append(l.names, f.program.Name)
			l.extensions = append(l.extensions, k.extension(&f))
		}
		return l, nil
	})
}

// close gives up the descriptors; what is installed lives on.
func (l *loaded) close() {
	closeAll(l.progs)
	closeAll(l.tails)
	for _, fd := range l.maps {
		syscall.Close(fd)
	}
	l.progs, l.tails, l.maps = nil, nil, nil
}

// add creates the maps of p that are not there yet, and loads p.
func (l *loaded) add(p *prog.Program) error {
	if err := l.createMaps(p); err != nil {
		return err
	}
	fd, err := l.loadProgram(p)
	if err != nil {
		return err
	}
	l.progs = append(l.progs, fd)
	return nil
}

func (l *loaded) createMaps(p *prog.Program) error {
	for _, m := range p.Maps {
		if _, done := l.maps[m]; done {
			continue
		}
		fd, err := createMap(m)
		if err != nil {
			var me *MapError
			if errors.As(err, &me) {
				me.Program = p.Name
			}
			return err
		}
		l.maps[m] = fd
	}
	return nil
}

// createMap creates, fills and freezes one map.
func createMap(m *prog.Map) (int, error) {
	attr := sys.MapAttr{
		Type: uint32(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries,
		Flags: m.Flags, Name: objectName(m.Name),
	}
	adapt(&attr, m)
	if m.Type == prog.TaskStorage || m.SpinLock >= 0 {
		data, keyID, valueID := valueBTF(attr.KeySize, m.ValueSize, m.SpinLock)
		btf, err := sys.BTFLoad(data)
		if err != nil {
			return -1, &MapError{Map: m.Name, Step: "load type information", Cause: err}
		}
		defer syscall.Close(btf) // the map holds it
		attr.BTF, attr.BTFKey, attr.BTFValue = btf, keyID, valueID
	}
	fd, err := sys.MapCreate(attr)
	if err != nil {
		return -1, &MapError{Map: m.Name, Step: "create a " + m.Type.String(), Cause: err}
	}
	if err := fillMap(fd, m); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// adapt turns a map of the filter ABI into one of the kernel's.
func adapt(attr *sys.MapAttr, m *prog.Map) {
	switch {
	case m.Type == prog.TaskStorage:
		attr.KeySize, attr.MaxEntries = 4, 0
		attr.Flags |= prog.FlagNoPrealloc
	case m.Frozen:
		attr.Flags |= prog.FlagRdonlyProg // with it, frozen contents are constants to the verifier
	}
}

// fillMap sets the contents of a section of globals.
func fillMap(fd int, m *prog.Map) error {
	if m.Contents != nil {
		if err := sys.MapUpdate(fd, make([]byte, 4), m.Contents, 0); err != nil {
			return &MapError{Map: m.Name, Step: "fill", Cause: err}
		}
	}
	if m.Frozen {
		if err := sys.MapFreeze(fd); err != nil {
			return &MapError{Map: m.Name, Step: "freeze", Cause: err}
		}
	}
	return nil
}

// relocated returns p's instructions with descriptors in place of map indices.
func (l *loaded) relocated(p *prog.Program) []byte {
	insns := append([]prog.Insn(nil), p.Insns...)
	for i := 0; i < len(insns); i++ {
		in := &insns[i]
		if !in.IsLoadImm64() {
			continue
		}
		if in.Src == prog.PseudoMapFD || in.Src == prog.PseudoMapValue {
			in.Imm = int32(l.maps[p.Maps[in.Imm]])
		}
		i++ // the second slot is no instruction
	}
	return prog.Encode(insns)
}

// logSizes are the buffers tried for the verifier's log: none at first, since a
// log slows verification down, then up to the kernel's patience.
var logSizes = [...]int{1 << 18, 1 << 24}

// loadProgram loads one program whose maps are there.
func (l *loaded) loadProgram(p *prog.Program) (int, error) {
	attr := sys.ProgAttr{
		Type: sys.ProgTypeSeccomp, Insns: l.relocated(p), License: p.License, Name: objectName(p.Name),
	}
	fd, err := sys.ProgLoad(attr)
	switch err {
	case nil:
		return fd, nil
	case syscall.EDQUOT: // which the verifier has nothing to do with
		return -1, newLoadError(p, fmt.Errorf("the user's filters take all that one user may have of net.core.bpf_jit_limit, an eighth; end some of them: %w", err), "")
	}
	for _, size := range logSizes {
		attr.Log = make([]byte, size)
		var again error
		if fd, again = sys.ProgLoad(attr); again == nil {
			return fd, nil
		}
		if again != syscall.ENOSPC {
			break
		}
	}
	log, _, _ := bytes.Cut(attr.Log, []byte{0})
	return -1, newLoadError(p, err, string(log))
}
