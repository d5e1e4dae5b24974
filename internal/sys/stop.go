//go:build linux && amd64

package sys

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// StopKind says why a tracee stopped, or how it ended.
type StopKind uint8

// The kinds. Ended and Killed are no stops: the task is reaped.
const (
	UnknownStop StopKind = iota // an event that no option here asks for
	Ended                       // by exit; Value is the status
	Killed                      // by signal Value
	CallStop                    // a call's entry or exit: TraceCallInfo tells
	SignalStop                  // before signal Value is delivered
	SeccompStop                 // SECCOMP_RET_TRACE; TraceMessage is its data
	ForkStop                    // in the parent; TraceMessage is the child's id
	VforkStop
	CloneStop
	ExecStop // the new program is in place, all other threads are gone
	ExitStop // before the task ends; TraceMessage is the status
	JobStop  // stopped with its process by job-control signal Value
	TrapStop // a new tracee's first stop, TraceInterrupt, or the end of a JobStop
)

// Stop is what Wait found out about one tracee.
type Stop struct {
	Tid   int
	Kind  StopKind
	Value int // a signal or an exit status; 0 for the kinds without
}

// Wait waits for the next stop or end of a tracee of the calling thread, any if
// tid is -1. What other threads trace is left alone, and so is what is only a child,
// of this thread too; an end of a tracee is reaped, from os.Process.Wait too if it is
// a child of this process. ECHILD: there is none. EINTR is retried.
func Wait(tid int) (Stop, error) {
	stop, _, err := WaitUsage(tid, nil)
	return stop, err
}

// tracees are options of a wait for what this thread traces, and nothing else: a child
// that is not traced has to have another exit signal than SIGCHLD for __WCLONE, and a
// tracee does not (eligible_child in kernel/exit.c). The runtime may have started any
// child on any thread.
const tracees = unix.WCLONE | unix.WNOTHREAD

// WaitUsage is Wait that also returns what wait4(2) does: the status and, unless
// usage is nil, what the tracee has used so far.
func WaitUsage(tid int, usage *syscall.Rusage) (Stop, syscall.WaitStatus, error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(tid, &status, tracees, usage)
		switch err {
		case nil:
			s := unix.WaitStatus(status)
			return Stop{got, stopKind(s), stopValue(s)}, status, nil
		case syscall.EINTR:
		default:
			return Stop{}, 0, err
		}
	}
}

// WaitLeaving is Wait that takes stops and leaves ends, which it finds again the
// next time, to os.Process.Wait. That must not be waiting before: as long as another
// thread of its own process traces the target, it would take stops for ends, and
// from the tracer.
func WaitLeaving(tid int) (Stop, error) {
	for {
		stop, err := waitTracee(tid, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT)
		if err != nil || stop.Kind == Ended || stop.Kind == Killed {
			return stop, err
		}
		// It may have been killed in its stop meanwhile.
		if stop, err = waitTracee(stop.Tid, unix.WSTOPPED|unix.WNOHANG); err != nil || stop.Tid != 0 {
			return stop, err
		}
	}
}

func waitTracee(tid, options int) (Stop, error) {
	kind, id := unix.P_PID, tid
	if tid < 0 {
		kind, id = unix.P_ALL, 0
	}
	for {
		info, err := waitid(kind, id, options|tracees)
		if err != syscall.EINTR {
			s := unix.WaitStatus(info.waitStatus())
			return Stop{int(info.pid), stopKind(s), stopValue(s)}, err
		}
	}
}

// IsTracee tells whether a number is that of a task which the calling thread traces,
// alive, or ended and not waited for.
func IsTracee(tid int) bool {
	_, err := waitid(unix.P_PID, tid, unix.WEXITED|unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT|tracees)
	return err == nil
}

// stopKind reads a status as ptrace(2) describes it: an event is in the bits
// above the signal, bit 7 of the signal marks a call with TraceSysGood.
func stopKind(s unix.WaitStatus) StopKind {
	const callSignal = unix.SIGTRAP | 0x80
	switch {
	case s.Exited():
		return Ended
	case s.Signaled():
		return Killed
	case s>>16 != 0:
		return eventKind(int(s>>16), s.StopSignal())
	case s.StopSignal() == callSignal:
		return CallStop
	}
	return SignalStop
}

func eventKind(event int, sig syscall.Signal) StopKind {
	if event == unix.PTRACE_EVENT_STOP {
		if sig == unix.SIGTRAP {
			return TrapStop
		}
		return JobStop
	}
	switch event {
	case unix.PTRACE_EVENT_FORK:
		return ForkStop
	case unix.PTRACE_EVENT_VFORK:
		return VforkStop
	case unix.PTRACE_EVENT_CLONE:
		return CloneStop
	case unix.PTRACE_EVENT_EXEC:
		return ExecStop
	case unix.PTRACE_EVENT_EXIT:
		return ExitStop
	case unix.PTRACE_EVENT_SECCOMP:
		return SeccompStop
	}
	return UnknownStop
}

func stopValue(s unix.WaitStatus) int {
	switch stopKind(s) {
	case Ended:
		return s.ExitStatus()
	case Killed:
		return int(s.Signal())
	case SignalStop, JobStop:
		return int(s.StopSignal())
	}
	return 0
}

// String names s for logs.
func (s Stop) String() string {
	return fmt.Sprintf("%v(%d) of %d", s.Kind, s.Value, s.Tid)
}

// String names k for logs.
func (k StopKind) String() string {
	names := [...]string{
		"unknown", "ended", "killed", "call", "signal", "seccomp", "fork", "vfork",
		"clone", "exec", "exit", "job", "trap",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("StopKind(%d)", uint8(k))
}
