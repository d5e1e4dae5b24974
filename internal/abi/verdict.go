package abi

import (
	"fmt"
	"strconv"
	"strings"
)

// Verdict is what a filter returns: a seccomp action in the upper 16 bits and
// its data in the lower 16.
type Verdict uint32

// The actions, SECCOMP_RET_* in include/uapi/linux/seccomp.h, from the most to
// the least restrictive.
const (
	KillProcess Verdict = 0x80000000
	KillThread  Verdict = 0x00000000
	Trap        Verdict = 0x00030000
	ErrnoAction Verdict = 0x00050000
	UserNotif   Verdict = 0x7fc00000
	Trace       Verdict = 0x7ff00000
	Log         Verdict = 0x7ffc0000
	Allow       Verdict = 0x7fff0000
)

// Masks of a verdict's two halves: SECCOMP_RET_ACTION_FULL, SECCOMP_RET_DATA.
const (
	ActionMask = 0xffff0000
	DataMask   = 0x0000ffff
)

// MaxErrno is the largest errno the kernel delivers; larger data is clamped
// (MAX_ERRNO in kernel/seccomp.c).
const MaxErrno = 4095

// Errno is the verdict that fails a call with e.
func Errno(e uint16) Verdict { return ErrnoAction | Verdict(e) }

// Action is v without its data.
func (v Verdict) Action() Verdict { return v & ActionMask }

// Data is the lower half of v.
func (v Verdict) Data() uint16 { return uint16(v & DataMask) }

// Known tells whether v's action is one the kernel has a name for.
func (v Verdict) Known() bool {
	switch v.Action() {
	case KillProcess, KillThread, Trap, ErrnoAction, UserNotif, Trace, Log, Allow:
		return true
	}
	return false
}

// Effective is what the kernel does with v: an unknown action kills the
// process, and an errno is clamped to MaxErrno.
func (v Verdict) Effective() Verdict {
	switch {
	case !v.Known():
		return KillProcess
	case v.Action() == ErrnoAction && v.Data() > MaxErrno:
		return Errno(MaxErrno)
	}
	return v
}

// Strictest combines the verdicts of two stacked filters as
// seccomp_run_filters does: the action that is smaller as a signed number wins,
// and between equal actions the one of newer, the filter installed later.
// Unknown actions take part by their number, as in the kernel.
func Strictest(newer, older Verdict) Verdict {
	if int32(older&ActionMask) < int32(newer&ActionMask) {
		return older
	}
	return newer
}

// names of the actions, as libseccomp and the OCI runtime spec abbreviate them.
var names = map[Verdict]string{
	KillProcess: "KILL_PROCESS", KillThread: "KILL_THREAD", Trap: "TRAP",
	ErrnoAction: "ERRNO", UserNotif: "USER_NOTIF", Trace: "TRACE", Log: "LOG",
	Allow: "ALLOW",
}

// String is the action's name, with its data where it has a meaning:
// "ALLOW", "ERRNO(1)", "TRAP(7)", "0x7fee0000".
func (v Verdict) String() string {
	name, ok := names[v.Action()]
	switch {
	case !ok:
		return fmt.Sprintf("%#08x", uint32(v))
	case v.Action() == ErrnoAction, v.Data() != 0:
		return name + "(" + strconv.Itoa(int(v.Data())) + ")"
	}
	return name
}

// ParseVerdict reads what String prints.
func ParseVerdict(s string) (Verdict, error) {
	name, data, hasData := strings.Cut(strings.TrimSuffix(s, ")"), "(")
	for v, n := range names {
		if n != name {
			continue
		}
		if !hasData {
			return v, nil
		}
		d, err := strconv.ParseUint(data, 10, 16)
		return v | Verdict(d), err
	}
	raw, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("verdict %q: expected an action such as ALLOW or ERRNO(1)", s)
	}
	return Verdict(raw), nil
}
