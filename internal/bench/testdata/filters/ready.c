// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Ready policies as one would write them in C: policies/git.yaml, a list with conditions on
 * arguments; policies/memcached.yaml, a list and phases of processes; policies/few-programs.yaml, a
 * list of what is denied and a limit. What they mean is the policies', to the last call, and a
 * test holds the length of what policies become against theirs.
 */
#include "portcullis.h"

/* <linux/sched.h>, <asm/mman.h>, <sys/socket.h>, <linux/prctl.h>, <asm/ioctls.h>. */
#define NAMESPACES 0x7e020000U
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

#define GIT(in, w) \
	in(w, execve) in(w, vfork) in(w, fork) in(w, wait4) in(w, waitid) \
	in(w, kill) in(w, tgkill) in(w, getpid) in(w, getppid) in(w, getpgrp) in(w, getpgid) \
	in(w, getsid) in(w, setpgid) in(w, setsid) in(w, getrusage) in(w, prlimit64) \
	in(w, sched_getaffinity) in(w, connect) in(w, getsockname) in(w, getsockopt) \
	in(w, recvfrom) in(w, recvmsg) in(w, sendto) in(w, sendmsg) in(w, shutdown) in(w, poll) \
	in(w, ppoll) in(w, select) in(w, pselect6) in(w, pipe) in(w, pipe2) in(w, close) \
	in(w, dup) in(w, dup2) in(w, dup3) in(w, fcntl) in(w, lseek) in(w, pread64) \
	in(w, pwrite64) in(w, read) in(w, readv) in(w, write) in(w, writev) in(w, access) \
	in(w, faccessat) in(w, faccessat2) in(w, open) in(w, openat) in(w, newfstatat) \
	in(w, fstat) in(w, stat) in(w, lstat) in(w, statx) in(w, statfs) in(w, fstatfs) \
	in(w, chdir) in(w, fchdir) in(w, getcwd) in(w, getdents64) in(w, readlink) \
	in(w, readlinkat) in(w, umask) in(w, fadvise64) in(w, chmod) in(w, fchmod) in(w, link) \
	in(w, linkat) in(w, symlink) in(w, symlinkat) in(w, mkdir) in(w, rename) in(w, rmdir) \
	in(w, unlink) in(w, unlinkat) in(w, utime) in(w, utimensat) in(w, copy_file_range) \
	in(w, fallocate) in(w, fdatasync) in(w, fsync) in(w, ftruncate) in(w, sync_file_range) \
	in(w, getegid) in(w, geteuid) in(w, getgid) in(w, getgroups) in(w, getuid) \
	in(w, sysinfo) in(w, uname) in(w, alarm) in(w, setitimer) in(w, rt_sigaction) \
	in(w, rt_sigprocmask) in(w, rt_sigsuspend) in(w, sigaltstack) in(w, brk) in(w, madvise) \
	in(w, mremap) in(w, munmap) in(w, arch_prctl) \
	in(w, clock_getres) in(w, clock_gettime) in(w, clock_nanosleep) in(w, exit) \
	in(w, exit_group) in(w, futex) in(w, getcpu) in(w, getrandom) in(w, gettid) \
	in(w, gettimeofday) in(w, nanosleep) in(w, restart_syscall) in(w, rseq) \
	in(w, rt_sigreturn) in(w, sched_yield) in(w, set_robust_list) in(w, set_tid_address) \
	in(w, time)

/* What memcached may do at any time, and until it has accepted a connection. */
#define SERVE(in, w) \
	in(w, getpid) in(w, getrusage) in(w, accept) in(w, accept4) \
	in(w, getpeername) in(w, getsockname) in(w, recvfrom) in(w, recvmsg) in(w, sendmsg) \
	in(w, sendto) in(w, setsockopt) in(w, shutdown) in(w, epoll_ctl) in(w, epoll_wait) \
	in(w, epoll_pwait) in(w, poll) in(w, close) in(w, dup) in(w, lseek) in(w, pread64) \
	in(w, read) in(w, readv) in(w, write) in(w, writev) in(w, rt_sigprocmask) \
	in(w, sigaltstack) in(w, brk) in(w, madvise) in(w, mremap) \
	in(w, munmap) in(w, clock_getres) in(w, clock_gettime) \
	in(w, clock_nanosleep) in(w, exit) in(w, exit_group) in(w, futex) in(w, getcpu) \
	in(w, getrandom) in(w, gettid) in(w, gettimeofday) in(w, nanosleep) \
	in(w, restart_syscall) in(w, rseq) in(w, rt_sigreturn) in(w, sched_yield) \
	in(w, set_robust_list) in(w, time) \

#define SETUP(in, w) \
	in(w, access) in(w, arch_prctl) in(w, getegid) in(w, geteuid) in(w, getgid) \
	in(w, getgroups) in(w, getuid) in(w, prlimit64) in(w, rt_sigaction) \
	in(w, set_tid_address) in(w, setgid) in(w, setgroups) in(w, setuid) in(w, umask) \
	in(w, mlockall) in(w, openat) in(w, newfstatat) in(w, readlink) in(w, unlink) \
	in(w, chmod) in(w, fcntl) in(w, bind) in(w, connect) in(w, listen) in(w, getsockopt) \
	in(w, epoll_create1) in(w, eventfd2) in(w, pipe2)

#define DENIED(in, w) \
	in(w, lookup_dcookie) in(w, perf_event_open) in(w, pidfd_getfd) in(w, ptrace) \
	in(w, delete_module) in(w, finit_module) in(w, init_module)

const volatile portcullis_callset git_calls = PORTCULLIS_CALLSET(GIT);
const volatile portcullis_callset serve_calls = PORTCULLIS_CALLSET(SERVE);
const volatile portcullis_callset setup_calls = PORTCULLIS_CALLSET(SETUP);
const volatile portcullis_callset denied_calls = PORTCULLIS_CALLSET(DENIED);

/* Whether a call is of another table than x86-64's. No number of that is negative, but -1. */
static __always_inline bool foreign(const struct seccomp_data *ctx)
{
	return !portcullis_native(ctx) || ctx->nr < -1;
}

/* Whether a number has no name: it may mean anything. */
static __always_inline bool unknown(__u32 nr)
{
	return nr > PORTCULLIS_NEWEST || (nr > 336 && nr < 424);
}

SEC("seccomp/git")
int git(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (foreign(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (nr == -1U || portcullis_has(&git_calls, nr))
		return SECCOMP_RET_ALLOW;
	if (nr == __NR_clone3)
		return PORTCULLIS_ERRNO(ENOSYS);
	if (nr == __NR_mmap || nr == __NR_mprotect) {
		__u64 prot = ctx->args[2];

		if (!(prot & PROT_EXEC))
			return SECCOMP_RET_ALLOW;
		if (nr == __NR_mmap && (prot == (PROT_READ | PROT_EXEC) || prot == (PROT_READ | PROT_WRITE | PROT_EXEC)))
			return SECCOMP_RET_ALLOW;
	} else if (nr == __NR_clone) {
		if (!(ctx->args[0] & NAMESPACES))
			return SECCOMP_RET_ALLOW;
	} else if (nr == __NR_socket || nr == __NR_socketpair) {
		return (__u32)ctx->args[0] == AF_UNIX ? SECCOMP_RET_ALLOW : PORTCULLIS_ERRNO(EAFNOSUPPORT);
	} else if (nr == __NR_ioctl) {
		switch ((__u32)ctx->args[1]) {
		case 0x5401: /* TCGETS */
		case 0x5402: /* TCSETS */
		case 0x5403: /* TCSETSW */
		case 0x5404: /* TCSETSF */
		case 0x5413: /* TIOCGWINSZ */
		case 0x540f: /* TIOCGPGRP */
		case 0x5410: /* TIOCSPGRP */
		case 0x541b: /* FIONREAD */
			return SECCOMP_RET_ALLOW;
		}
	} else if (unknown(nr)) {
		return PORTCULLIS_ERRNO(ENOSYS);
	}
	return PORTCULLIS_ERRNO(EPERM);
}

/* Whether a process serves: a child has what its parent had. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u32);
} serving SEC(".maps");

/* A call of the setup, which ends with the first connection. */
static __always_inline int setup(void)
{
	volatile __u32 *serves = bpf_task_storage_get(&serving, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!serves)
		return PORTCULLIS_ERRNO(ENOMEM);
	return *serves ? PORTCULLIS_ERRNO(EPERM) : SECCOMP_RET_ALLOW;
}

SEC("seccomp/memcached")
int memcached(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;
	bool early = false;

	if (foreign(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (nr == __NR_accept || nr == __NR_accept4) {
		volatile __u32 *serves = bpf_task_storage_get(&serving, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

		if (!serves)
			return PORTCULLIS_ERRNO(ENOMEM);
		*serves = 1;
		return SECCOMP_RET_ALLOW;
	}
	if (nr == -1U || portcullis_has(&serve_calls, nr))
		return SECCOMP_RET_ALLOW;
	if (nr == __NR_clone3)
		return PORTCULLIS_ERRNO(ENOSYS);
	if (nr == __NR_mmap || nr == __NR_mprotect) {
		__u64 prot = ctx->args[2];

		if (!(prot & PROT_EXEC) || (nr == __NR_mmap && prot == (PROT_READ | PROT_EXEC)))
			return SECCOMP_RET_ALLOW;
	} else if (nr == __NR_clone) {
		early = !(ctx->args[0] & NAMESPACES);
	} else if (nr == __NR_prctl) {
		__u32 option = ctx->args[0];

		early = option == 23 || option == 15 || option == 4; /* CAPBSET_READ, SET_NAME, SET_DUMPABLE */
	} else if (nr == __NR_socket) {
		__u32 family = ctx->args[0], type = ctx->args[1] & 0xf;

		early = (family == AF_UNIX || family == AF_INET || family == AF_INET6) && (type == 1 || type == 2);
	} else {
		early = portcullis_has(&setup_calls, nr);
	}
	if (early)
		return setup();
	return unknown(nr) ? PORTCULLIS_ERRNO(ENOSYS) : PORTCULLIS_ERRNO(EPERM);
}

/* How many programs were started. */
__u32 programs;

SEC("seccomp/few-programs")
int few_programs(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (foreign(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (nr == -1U)
		return SECCOMP_RET_ALLOW;
	if (portcullis_has(&denied_calls, nr))
		PORTCULLIS_DENY(EPERM);
	if (nr == __NR_execve || nr == __NR_execveat) {
		if (__sync_fetch_and_add(&programs, 1) >= 5)
			PORTCULLIS_DENY(EPERM);
		return SECCOMP_RET_ALLOW;
	}
	return unknown(nr) ? PORTCULLIS_ERRNO(ENOSYS) : SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
