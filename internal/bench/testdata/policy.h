// SPDX-License-Identifier: Apache-2.0
/*
 * The measured policy, once: filters/allow.c compiles it to a filter and
 * seccomp.c to libseccomp's rules, so that both are about the same calls.
 *
 * It lets servers such as nginx and redis start and serve: 184 calls whatever their
 * arguments, and 16 by a choice of rules. A rule is EQUAL(call, argument, value)
 * or MASKED(call, argument, mask, value); all 64 bits count. What cost.c measures
 * as denied stands in none of the lists.
 */
#ifndef POLICY_H
#define POLICY_H

#define FIRST_CALLS(X) \
	X(read) X(write) X(open) X(close) X(stat) X(fstat) X(lstat) X(poll) X(lseek) \
	X(munmap) X(brk) X(rt_sigaction) X(rt_sigprocmask) X(rt_sigreturn) X(pread64) \
	X(pwrite64) X(readv) X(writev) X(access) X(pipe) X(select) X(sched_yield) \
	X(mremap) X(msync) X(mincore) X(dup) X(dup2) X(pause) X(nanosleep) \
	X(getitimer) X(setitimer) X(getpid) X(sendfile) X(connect) X(accept) X(sendto) \
	X(sendmsg) X(recvmsg) X(shutdown) X(bind) X(listen) X(getsockname) \
	X(getpeername) X(socketpair) X(getsockopt) X(fork) X(vfork) X(execve) X(exit) \
	X(wait4) X(uname) X(flock) X(fsync) X(fdatasync) X(truncate) X(ftruncate) \
	X(getdents) X(getcwd) X(chdir) X(fchdir) X(rename) X(mkdir) X(rmdir) X(creat) \
	X(link) X(unlink) X(symlink) X(readlink) X(chmod) X(fchmod) X(chown) X(fchown) \
	X(lchown) X(umask) X(gettimeofday) X(getrlimit) X(getrusage) X(sysinfo) \
	X(times) X(getuid) X(getgid) X(setuid) X(setgid) X(geteuid) X(getegid) \
	X(setpgid) X(getppid) X(setsid) X(setreuid) X(setregid) X(getgroups) \
	X(setgroups) X(setresuid) X(getresuid) X(setresgid) X(getresgid) X(getpgid) \
	X(getsid) X(capget) X(capset)

#define OTHER_CALLS(X) \
	X(rt_sigpending) X(rt_sigtimedwait) X(rt_sigqueueinfo) X(rt_sigsuspend) \
	X(sigaltstack) X(utime) X(statfs) X(fstatfs) X(getpriority) X(setpriority) \
	X(mlock) X(munlock) X(arch_prctl) X(setrlimit) X(chroot) X(gettid) X(time) \
	X(sched_setaffinity) X(sched_getaffinity) X(io_setup) X(io_destroy) \
	X(io_getevents) X(io_submit) X(epoll_create) X(getdents64) X(set_tid_address) \
	X(restart_syscall) X(fadvise64) X(clock_gettime) X(clock_getres) \
	X(clock_nanosleep) X(exit_group) X(epoll_wait) X(tgkill) X(utimes) X(waitid) \
	X(inotify_add_watch) X(mkdirat) X(fchownat) X(newfstatat) \
	X(unlinkat) X(renameat) X(linkat) X(readlinkat) X(fchmodat) X(faccessat) \
	X(pselect6) X(ppoll) X(set_robust_list) X(splice) X(tee) X(sync_file_range) \
	X(utimensat) X(epoll_pwait) X(timerfd_create) X(eventfd) X(fallocate) \
	X(timerfd_settime) X(timerfd_gettime) X(eventfd2) X(epoll_create1) X(dup3) \
	X(pipe2) X(inotify_init1) X(preadv) X(pwritev) X(recvmmsg) X(prlimit64) \
	X(sendmmsg) X(renameat2) X(getrandom) X(memfd_create) X(execveat) \
	X(membarrier) X(copy_file_range) X(preadv2) X(pwritev2) X(statx) X(rseq) X(clone3) \
	X(close_range) X(openat2) X(faccessat2) X(epoll_pwait2)

/* The calls with rules, for the policy that lets them through as they are. */
#define RULED_CALLS(X) \
	X(mmap) X(mprotect) X(ioctl) X(madvise) X(socket) X(recvfrom) X(setsockopt) \
	X(clone) X(kill) X(fcntl) X(personality) X(prctl) X(futex) X(epoll_ctl) \
	X(openat) X(accept4)

/* No memory that is written and executed, no new namespaces but by clone3, no file
 * without a name, and of the multiplexers what servers use. */
#define RULES(EQUAL, MASKED) \
	MASKED(mmap, 2, 6, 0) MASKED(mmap, 2, 6, 2) MASKED(mmap, 2, 6, 4) \
	MASKED(mprotect, 2, 4, 0) \
	EQUAL(ioctl, 1, 0x5401) EQUAL(ioctl, 1, 0x5413) EQUAL(ioctl, 1, 0x541b) \
	EQUAL(ioctl, 1, 0x5421) EQUAL(ioctl, 1, 0x5450) EQUAL(ioctl, 1, 0x5451) \
	EQUAL(ioctl, 1, 0x5452) \
	EQUAL(madvise, 2, 0) EQUAL(madvise, 2, 3) EQUAL(madvise, 2, 4) \
	EQUAL(madvise, 2, 8) EQUAL(madvise, 2, 14) \
	EQUAL(socket, 0, 1) EQUAL(socket, 0, 2) EQUAL(socket, 0, 10) EQUAL(socket, 0, 16) \
	MASKED(recvfrom, 3, 0xfffffebd, 0) \
	EQUAL(setsockopt, 1, 0) EQUAL(setsockopt, 1, 1) EQUAL(setsockopt, 1, 6) \
	EQUAL(setsockopt, 1, 41) \
	MASKED(clone, 0, 0x7e020000, 0) \
	EQUAL(kill, 1, 0) EQUAL(kill, 1, 1) EQUAL(kill, 1, 3) EQUAL(kill, 1, 9) \
	EQUAL(kill, 1, 10) EQUAL(kill, 1, 12) EQUAL(kill, 1, 15) EQUAL(kill, 1, 17) \
	EQUAL(kill, 1, 28) \
	EQUAL(fcntl, 1, 0) EQUAL(fcntl, 1, 1) EQUAL(fcntl, 1, 2) EQUAL(fcntl, 1, 3) \
	EQUAL(fcntl, 1, 4) EQUAL(fcntl, 1, 5) EQUAL(fcntl, 1, 6) EQUAL(fcntl, 1, 7) \
	EQUAL(fcntl, 1, 8) EQUAL(fcntl, 1, 1030) \
	EQUAL(personality, 0, 0) EQUAL(personality, 0, 0x8) EQUAL(personality, 0, 0x20000) \
	EQUAL(personality, 0, 0x20008) EQUAL(personality, 0, 0xffffffff) \
	EQUAL(prctl, 0, 1) EQUAL(prctl, 0, 3) EQUAL(prctl, 0, 4) EQUAL(prctl, 0, 8) \
	EQUAL(prctl, 0, 15) EQUAL(prctl, 0, 16) EQUAL(prctl, 0, 38) \
	EQUAL(futex, 1, 0) EQUAL(futex, 1, 1) EQUAL(futex, 1, 9) EQUAL(futex, 1, 128) \
	EQUAL(futex, 1, 129) EQUAL(futex, 1, 137) EQUAL(futex, 1, 265) \
	EQUAL(futex, 1, 393) \
	EQUAL(epoll_ctl, 1, 1) EQUAL(epoll_ctl, 1, 2) EQUAL(epoll_ctl, 1, 3) \
	MASKED(openat, 2, 0x400000, 0) \
	MASKED(accept4, 3, 0xfff7f7ff, 0)

#endif
