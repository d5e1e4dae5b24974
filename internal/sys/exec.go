//go:build linux && amd64

package sys

import (
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launch is a prepared "install a filter, then execute": everything the filtered
// thread needs is laid out beforehand, because between the two steps it may make
// no system call at all, and so may neither allocate nor meet the scheduler.
type Launch struct {
	prog  filterProg
	flags uintptr
	path  *byte
	argv  []*byte
	env   []*byte
	token uintptr

	// What follows is shared by the filtered thread and another one.
	installed uint32 // set once listener is valid
	listener  int32
	//lint:ignore U1000 the assembly reads and sets it
	gate   uint32 // set to let the filtered thread execute
	failed uint32 // errno of either call
}

// NewLaunch prepares to execute path with argv and env under the filter insns.
// The token goes into execveat's sixth argument, which the kernel ignores and
// the filter may recognise. It fails with EINVAL for strings with a NUL.
func NewLaunch(insns []FilterInsn, flags uint, path string, argv, env []string, token uint64) (*Launch, error) {
	l := &Launch{
		prog:  filterProg{len: uint16(len(insns)), filter: &insns[0]},
		flags: uintptr(flags), token: uintptr(token),
	}
	var err error
	if l.path, err = syscall.BytePtrFromString(path); err != nil {
		return nil, err
	}
	if l.argv, err = syscall.SlicePtrFromStrings(argv); err != nil {
		return nil, err
	}
	l.env, err = syscall.SlicePtrFromStrings(env)
	return l, err
}

// Run installs the filter on the calling thread, waits for Open, and executes.
// It returns only if the filter could not be installed. When executing fails
// the thread stays in Run, since a filtered thread can do nothing that is sure
// to be allowed. The caller has locked its thread and reset all signal handlers:
// a handler's return is a system call too.
func (l *Launch) Run() {
	runLaunch(l)
	runtime.KeepAlive(l)
}

//go:noescape
func runLaunch(l *Launch)

// atFdCwd is AT_FDCWD (-100) as a register holds it.
const atFdCwd = ^uintptr(99)

// Installed tells whether the filter is in place, and what the listener is; that
// is -1 without FlagNewListener. The errno is why it could not be put in place.
func (l *Launch) Installed() (listener int, ok bool, errno syscall.Errno) {
	switch {
	case atomic.LoadUint32(&l.installed) == 0:
		return -1, false, syscall.Errno(atomic.LoadUint32(&l.failed))
	case l.flags&FlagNewListener == 0: // what the kernel returned is no descriptor
		return -1, true, 0
	}
	return int(atomic.LoadInt32(&l.listener)), true, 0
}

// Open lets Run execute, and returns only if that fails.
//
// While a thread executes, the kernel lets no other thread of its process make
// a new one (copy_fs in kernel/fork.c), and the Go runtime ends the process over
// that. A new thread takes a processor of the runtime. So there must be two
// (GOMAXPROCS): Run holds one, and Open the other, without giving it up.
func (l *Launch) Open() syscall.Errno {
	pause := unix.NsecToTimespec(200_000)
	openLaunch(l, &pause)
	return syscall.Errno(atomic.LoadUint32(&l.failed))
}

//go:noescape
func openLaunch(l *Launch, pause *unix.Timespec)
