package abi

// CallSite is the instruction pointer at which a tracer injects calls into a target.
// No address of user mode has the uppermost bit, but for the vsyscall page's, whose
// upper half is all ones; no other address has this upper half. So no instruction of
// a target can make a call there, and only its tracer can pretend one.
const CallSite uint64 = 0x8000_0000 << 32

// RequestCall is the number of the call that is answered with a descriptor, made at
// CallSite: vserver, which Linux reserves, never had, and fails with ENOSYS.
const RequestCall = 236

// Numbers by which a tracer makes the kernel itself end or trap a caller: it puts
// one of them in the place of the call, and the prefilter answers with the action.
// They lie where x86-64 has no call and will have none: 387 to 423 are left out, so
// that newer calls have the same number everywhere (syscall_64.tbl).
const (
	KillProcessCall = 400
	KillThreadCall  = 401
	TrapCall        = 402
)

// TraceData is the data of a prefilter's TRACE. A stop with other data was asked for
// by a filter of the target's own as well.
const TraceData = 0x5043
