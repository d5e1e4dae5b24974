package abi

// WaitAny, set in the number of a target of wait_syscall, says that the filter
// knows that the target's end may depend on the task that waits for it.
const WaitAny uint64 = 1 << 32

// Dependent tells whether the end of x86-64 call nr can depend on a task that waits
// for it: on what it writes, reads, wakes, releases or ends. Such a wait ends only by
// its limit, so a filter has to ask for it with WaitAny.
//
// The table is about what calls do by themselves. Where a task serves files or memory
// to others, by FUSE or userfaultfd, every call that touches them may depend on it:
// against that there is the limit alone.
func Dependent(nr uint32) bool {
	switch nr {
	case 0, 1, 17, 18, 19, 20, 295, 296, 327, 328, // read, write and their kin, on pipes and sockets
		2, 85, 257, 437, // open, creat, openat, openat2, of a FIFO or a leased file
		76,              // truncate, of a leased file
		7, 23, 270, 271, // poll, select, pselect6, ppoll
		16,               // ioctl: the driver decides
		34, 35, 230, 219, // pause, nanosleep, clock_nanosleep, restart_syscall
		40, 275, 276, 278, 326, // sendfile, splice, tee, vmsplice, copy_file_range
		42, 43, 288, // connect, accept, accept4
		44, 46, 307, 45, 47, 299, // sendto, sendmsg, sendmmsg and their counterparts
		56, 58, 435, // clone, vfork, clone3: with CLONE_VFORK until the child executes or ends
		59, 322, // execve, execveat, which first end the other threads
		61, 247, // wait4, waitid
		65, 220, 69, 70, 242, 243, // semop, semtimedop, msgsnd, msgrcv, mq_timedsend, mq_timedreceive
		72, 73, // fcntl and flock, for a lock
		101,      // ptrace
		128, 130, // rt_sigtimedwait, rt_sigsuspend
		202, 449, 455, // futex, futex_waitv, futex_wait
		207, 208, 209, 333, 426, // io_destroy, io_getevents, io_submit, io_pgetevents, io_uring_enter
		215, 232, 281, 441: // epoll_wait_old, epoll_wait, epoll_pwait, epoll_pwait2
		return true
	}
	return false
}
