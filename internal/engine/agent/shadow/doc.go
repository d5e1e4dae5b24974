// Package shadow puts memory into a traced process that the process can read and
// never change: the slots to which the pointers of a decided call are redirected.
//
// # What the memory is
//
// Memory is a memfd that the supervisor maps for writing and then seals, so that
// this mapping is the only writable one there will ever be (F_SEAL_FUTURE_WRITE;
// SHRINK, GROW and SEAL keep size and seals). The target is lent a descriptor that
// is open for reading, and maps it: such a mapping lacks VM_MAYWRITE, so it cannot
// be made writable, is not copied when written by force (ptrace, /proc/PID/mem), and
// takes no userfaultfd. The mapping is one page longer than the file: that page is
// beyond the end of a file that cannot grow, and faults for ever, in the kernel with
// EFAULT. MADV_DONTFORK keeps it from children, mseal(2) keeps it where it is.
// Every address space has its own; threads, and a child of vfork, share one.
//
// # How it gets there
//
// By system calls that the target's thread makes at a stop, injected by its tracer:
//
//	request   the supervisor lends the descriptor
//	mmap      MAP_SHARED|MAP_FIXED_NOREPLACE: what is at the address stays
//	close
//	madvise   MADV_DONTFORK
//	mseal     from Linux 6.10 on; before, see Sealing
//
// At a stop before a call (seccomp, entry) the kernel goes on with what number and
// arguments the registers hold when the tracer resumes; so the first injected call
// takes the place of the one that is asked about. Its exit is a stop too. There the
// registers are set to those from before the call and the instruction pointer to the
// syscall instruction, two bytes back: user mode executes that one instruction again
// and stops at the entry of the same call, which the next injected call replaces. At
// the end the registers are left so: the original call is made again, in full, and
// asked about again. At a stop after a call (exit, the first stop of a new child) it
// is the same from the second call on, and in the end the registers are as they were.
//
// In user mode the thread has never other registers than those of its own call:
// where another thread overwrites the instruction, what runs is the target's own
// code with its own registers. Arguments are only set while it is in the kernel.
//
// All signals are blocked meanwhile, for a handler would run between two calls.
// SIGSTOP cannot be: the thread runs on through a stop of its process, and is
// interrupted in the end so that its tracer sees the stop again.
//
// Mapping is a state machine, driven by the stops of its thread, because no step may
// be waited for: a call can sleep on a lock that another thread holds in a file
// system of the target's own, and code that was overwritten may never come back to the
// kernel. Whoever drives it sets a limit and kills.
//
// # What seccomp sees of it
//
// Injected calls pass the filters as all do, and the instruction pointer says which
// ones are injected: abi.CallSite is no address of user mode, so no instruction there can
// make a call; only a tracer can pretend it, and the target has one already. What
// a prefilter must do with such calls: notify abi.RequestCall and allow mmap, munmap,
// close, madvise and mseal. It can test the pointer where a leaf of those numbers is
// not constant: for all other calls the kernel's bitmap stays.
//
// # How the descriptor gets there
//
// abi.RequestCall, made at abi.CallSite, is notified, and whoever serves the listener lends
// the descriptor by SECCOMP_IOCTL_NOTIF_ADDFD, which puts it into the caller's table
// and answers with its number as the result of the call. That takes nothing from the
// target but one free descriptor, in every process under the filter, after fork and
// exec alike. Not taken:
//
//   - opening /proc/SUPERVISOR/fd/N: the supervisor is not dumpable, and the target
//     may have no /proc, another one, or another pid namespace;
//   - SCM_RIGHTS: needs a socket in the target, memory there for the message, which
//     other threads can rewrite, and pidfd_getfd or a name to reach the other end;
//   - a descriptor kept from the launch: exec closes it, or the target keeps a
//     number which it can close and reuse;
//   - memfd_create in the target, fetched from there: its other threads could map it
//     for writing before it is sealed;
//   - no descriptor, but private memory written by force: the target can do that too,
//     through /proc/self/mem;
//   - System V shared memory: any process of the user may attach it for writing.
//
// # What is believed
//
// Nothing that an injected call returns. Another thread can put another file at the
// number before it is mapped, or another mapping at the address before it is sealed;
// a filter that the target stacked can answer a call with success that was never
// made. So a mapping counts once /proc/TID/smaps, read after the last call, shows one
// area of exactly these addresses, not writable and not to become so, not inherited,
// sealed, of this very file: device, inode, and a name of 128 random bits, since
// inode numbers alone wrap. Sealed, it stays what it was seen to be. Only that makes
// Slots.
//
// # What a target can do
//
// It can make the calls fail: no free descriptor, no memory, a mapping in the way, a
// filter of its own. That is an error here, and a denial there. A filter of its own
// that answers an injected call with TRAP or KILL ends it. It can be non-dumpable,
// which only a privileged supervisor can verify. It can lend its own read access on:
// MADV_DOFORK is not refused by mseal, and a descriptor can be caught before it is
// closed. Both are copies for reading, of what the target may read.
package shadow
