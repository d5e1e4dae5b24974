//go:build linux && amd64

package sys

import (
	"runtime"
	"sync/atomic"
	"syscall"
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
	gate      uint32 // set to let the filtered thread execute
	failed    uint32 // errno of execveat
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
// to be allowed; Failed tells another thread. The caller has locked its thread
// and reset all signal handlers: a handler's return is a system call too.
func (l *Launch) Run() syscall.Errno {
	errno := runLaunch(l)
	runtime.KeepAlive(l)
	return syscall.Errno(errno)
}

//go:noescape
func runLaunch(l *Launch) (errno uintptr)

// atFdCwd is AT_FDCWD (-100) as a register holds it.
const atFdCwd = ^uintptr(99)

// Listener is what Run got from the kernel, and whether the filter is in place.
// Without FlagNewListener the listener is -1.
func (l *Launch) Listener() (fd int, installed bool) {
	if atomic.LoadUint32(&l.installed) == 0 {
		return -1, false
	}
	if l.flags&FlagNewListener == 0 { // what the kernel returned is no descriptor
		return -1, true
	}
	return int(atomic.LoadInt32(&l.listener)), true
}

// Open lets Run execute.
func (l *Launch) Open() { atomic.StoreUint32(&l.gate, 1) }

// Failed is the errno with which executing failed; 0 as long as it has not.
// Nobody is there to see success.
func (l *Launch) Failed() syscall.Errno {
	return syscall.Errno(atomic.LoadUint32(&l.failed))
}
