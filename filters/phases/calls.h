/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What nginx and redis call: while they start, while they serve, and to go from the one to the other. */
#ifndef PHASES_CALLS_H
#define PHASES_CALLS_H

#include "portcullis.h"

#define SERVE(in, w) \
	in(w, read) in(w, write) in(w, readv) in(w, writev) in(w, pread64) in(w, pwrite64) \
	in(w, preadv) in(w, pwritev) in(w, preadv2) in(w, pwritev2) in(w, sendfile) \
	in(w, splice) in(w, tee) in(w, copy_file_range) in(w, lseek) in(w, open) in(w, openat) \
	in(w, openat2) in(w, creat) in(w, close) in(w, close_range) in(w, dup) in(w, dup2) \
	in(w, dup3) in(w, pipe) in(w, pipe2) in(w, fcntl) in(w, ioctl) in(w, stat) \
	in(w, fstat) in(w, lstat) in(w, newfstatat) in(w, statx) in(w, statfs) in(w, fstatfs) \
	in(w, access) in(w, faccessat) in(w, faccessat2) in(w, readlink) in(w, readlinkat) \
	in(w, getcwd) in(w, getdents) in(w, getdents64) in(w, umask) in(w, mkdir) \
	in(w, mkdirat) in(w, rmdir) in(w, rename) in(w, renameat) in(w, renameat2) in(w, link) \
	in(w, linkat) in(w, unlink) in(w, unlinkat) in(w, truncate) in(w, ftruncate) \
	in(w, fallocate) in(w, fsync) in(w, fdatasync) in(w, sync_file_range) in(w, fadvise64) \
	in(w, flock) in(w, chmod) in(w, fchmod) in(w, fchmodat) in(w, chown) in(w, fchown) \
	in(w, fchownat) in(w, lchown) in(w, utime) in(w, utimes) in(w, utimensat) \
	in(w, inotify_init1) in(w, inotify_add_watch) in(w, inotify_rm_watch) in(w, poll) \
	in(w, ppoll) in(w, select) in(w, pselect6) in(w, epoll_create) in(w, epoll_create1) \
	in(w, epoll_ctl) in(w, epoll_wait) in(w, epoll_pwait) in(w, epoll_pwait2) \
	in(w, eventfd) in(w, eventfd2) in(w, timerfd_create) in(w, timerfd_settime) \
	in(w, timerfd_gettime) in(w, socket) in(w, socketpair) in(w, connect) in(w, accept) \
	in(w, accept4) in(w, shutdown) in(w, sendto) in(w, sendmsg) in(w, sendmmsg) \
	in(w, recvfrom) in(w, recvmsg) in(w, recvmmsg) in(w, getsockname) in(w, getpeername) \
	in(w, getsockopt) in(w, setsockopt) in(w, brk) in(w, mmap) in(w, mprotect) \
	in(w, munmap) in(w, mremap) in(w, madvise) in(w, msync) in(w, mincore) in(w, mlock) \
	in(w, munlock) in(w, membarrier) in(w, clone) in(w, clone3) in(w, fork) in(w, vfork) \
	in(w, wait4) in(w, waitid) in(w, exit) in(w, exit_group) in(w, kill) in(w, tgkill) \
	in(w, futex) in(w, set_robust_list) in(w, rseq) in(w, sched_yield) \
	in(w, sched_getaffinity) in(w, getcpu) in(w, rt_sigaction) in(w, rt_sigprocmask) \
	in(w, rt_sigreturn) in(w, rt_sigsuspend) in(w, rt_sigtimedwait) in(w, rt_sigpending) \
	in(w, rt_sigqueueinfo) in(w, sigaltstack) in(w, restart_syscall) in(w, pause) \
	in(w, nanosleep) in(w, clock_nanosleep) in(w, clock_gettime) in(w, clock_getres) \
	in(w, gettimeofday) in(w, time) in(w, alarm) in(w, getitimer) in(w, setitimer) \
	in(w, times) in(w, prctl) in(w, getpid) in(w, gettid) in(w, getppid) in(w, getuid) \
	in(w, geteuid) in(w, getgid) in(w, getegid) in(w, getresuid) in(w, getresgid) \
	in(w, getgroups) in(w, getpgrp) in(w, getpgid) in(w, getsid) in(w, getpriority) \
	in(w, getrlimit) in(w, prlimit64) in(w, getrusage) in(w, uname) in(w, sysinfo) \
	in(w, getrandom) in(w, setuid) in(w, setgid) in(w, setgroups) in(w, setreuid) \
	in(w, setregid) in(w, setresuid) in(w, setresgid) in(w, setfsuid) in(w, setfsgid) \
	in(w, capset) in(w, setpriority) in(w, sched_setaffinity) in(w, io_setup) \
	in(w, io_submit) in(w, io_getevents) in(w, io_destroy) in(w, capget)

#define INIT(in, w) \
	SERVE(in, w) \
	in(w, execve) in(w, execveat) in(w, arch_prctl) in(w, set_tid_address) in(w, seccomp) \
	in(w, landlock_create_ruleset) in(w, landlock_add_rule) in(w, landlock_restrict_self) \
	in(w, bind) in(w, listen) in(w, chdir) in(w, fchdir) in(w, chroot) in(w, setsid) \
	in(w, setpgid) in(w, setrlimit) in(w, ioprio_set) in(w, mlockall) \
	in(w, sched_setscheduler) in(w, sched_getscheduler) in(w, sched_setparam) \
	in(w, sched_getparam) in(w, sched_get_priority_max) in(w, sched_get_priority_min) \
	in(w, memfd_create) in(w, shmget) in(w, shmat) in(w, shmdt) in(w, shmctl) \
	in(w, symlink) in(w, symlinkat) in(w, signalfd4)

#define SWITCH(in, w) in(w, accept) in(w, accept4)

#endif /* PHASES_CALLS_H */
