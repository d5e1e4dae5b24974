/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Pins all that can be pinned of every call, and lets every call go on. What a
 * program can tell of that is a mistake of the engine.
 *
 * A failed read is redirected to where the call fails; so a filter that is not to
 * change a call reads what the kernel would: nothing at 0, nothing of an array without
 * elements, and no more than can be pinned.
 */
#define PORTCULLIS_ARGS_TABLE
#include "portcullis.h"
#include "portcullis_args.h"

PORTCULLIS_LICENSE("Dual BSD/GPL");

#define MAX_ROWS 48	/* of one call in the table */
#define MAX_STRINGS 64	/* of argv and envp, each */
#define MAX_BUFFERS 32	/* of an iovec */
#define MAX_STRING 4096

/* What there is to be read of a call. */
struct plan {
	__u64 args[6];
	struct part {
		__u64 addr;
		__u64 size; /* in front, of what lies behind */
		__u32 shape;
		__u32 data;
	} part[6];
	__u32 row, end; /* in the table */
	__u64 left; /* bytes that may still be pinned */
	__u64 word[7];
	char text[MAX_STRING];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

/* How many reads there were, and how many of them failed: the errors of calls that
 * nobody else makes. */
enum { ASK_READS = 600, ASK_FAILURES = 601, MAX_ERRNO = 4095 };
__u64 reads, failures;

static __always_inline long count(long result)
{
	__sync_fetch_and_add(&reads, 1);
	if (result < 0)
		__sync_fetch_and_add(&failures, 1);
	return result;
}

static __always_inline bool holds(const struct plan *p, const struct portcullis_when *w)
{
	return !w->mask || (w->arg < 6 && (p->args[w->arg] & w->mask) == w->value);
}

/* How long the table says that an argument is. */
static __always_inline __u64 length(const struct plan *p, const struct portcullis_arg *a)
{
	__u64 n = 0, max = a->max;

	if (a->count_bytes && a->count_arg < 6)
		n = p->args[a->count_arg];
	if (a->count_bytes == 4)
		n = (__u32)n;
	if (a->shape == PORTCULLIS_SHAPE_NODES)
		n = (n - 1) / 64 + ((n - 1) % 64 + 63) / 64;
	if (a->shape == PORTCULLIS_SHAPE_STRING || a->shape == PORTCULLIS_SHAPE_STRINGS)
		return 1;
	if (a->shape == PORTCULLIS_SHAPE_SIZED || a->shape == PORTCULLIS_SHAPE_READABLE)
		return max;
	if (n > PORTCULLIS_PIN_MAX)
		n = PORTCULLIS_PIN_MAX + 1;
	n = a->size + n * (a->shape == PORTCULLIS_SHAPE_NODES ? 8 : a->unit);
	return max && n > max ? max : n;
}

/* Of each argument the first row counts whose tests hold. */
static __always_inline void plan(struct plan *p)
{
	const struct portcullis_arg *a;
	__u32 row = p->row, end = p->end, seen = 0, i;
	__u64 at;

	for (i = 0; i < MAX_ROWS && row < end; i++, row++) {
		at = row;
		__asm__ volatile("" : "+r"(at)); /* the compiler is to test what is used */
		if (at >= sizeof(portcullis_args) / sizeof(portcullis_args[0]))
			break;
		a = &portcullis_args[at];
		if (a->arg >= 6 || seen >> a->arg & 1)
			continue;
		if (!holds(p, &a->when[0]) || !holds(p, &a->when[1]))
			continue;
		seen |= 1U << a->arg;
		if (a->dir != PORTCULLIS_DIR_IN || (a->null && !p->args[a->arg]))
			continue;
		p->part[a->arg].size = length(p, a);
		p->part[a->arg].addr = p->args[a->arg];
		p->part[a->arg].data = a->data;
		p->part[a->arg].shape = a->shape;
	}
}

/* Pins an array or a structure, if there is room. */
static __always_inline bool pin(struct plan *p, __u64 addr, __u64 size)
{
	char byte;

	if (!size || size > p->left)
		return false;
	p->left -= size;
	return count(bpf_safe_read_user(&byte, 1, addr)) == 0;
}

/* Pins the buffers behind an iovec that was pinned. */
static __always_inline void buffers(struct plan *p, __u64 addr, __u64 size)
{
	__u64 buffer[2];
	__u32 i;

	for (i = 0; i < MAX_BUFFERS && 16 * i + 16 <= size; i++) {
		if (count(bpf_safe_read_user(buffer, sizeof(buffer), addr + 16 * i)))
			return;
		pin(p, buffer[0], buffer[1]);
	}
}

/* Pins what a struct msghdr that was pinned points at. */
static __always_inline void message(struct plan *p, __u64 addr, __u32 data)
{
	__u64 *h = p->word, n;

	if (count(bpf_safe_read_user(h, sizeof(p->word), addr)))
		return;
	n = (__u32)h[1];
	if (h[0])
		pin(p, h[0], n > 128 ? 128 : n);
	pin(p, h[4], h[5]);
	n = h[3] > 1024 ? 1024 : h[3];
	if (pin(p, h[2], 16 * n) && data == PORTCULLIS_DIR_IN)
		buffers(p, h[2], 16 * n);
}

/* Whether argv is short: more than that is not pinned. */
static __always_inline bool few(__u64 addr)
{
	__u64 text;
	__u32 i;

	for (i = 0; i < MAX_STRINGS; i++)
		if (bpf_probe_read_user(&text, sizeof(text), addr + 8 * i) || !text)
			return true;
	return false;
}

/* Pins argv, and the strings in it as far as they find room: how long they are is
 * seen before. */
static __always_inline void strings(struct plan *p, __u64 addr)
{
	__u64 text;
	long n;
	__u32 i;

	if (!few(addr))
		return;
	for (i = 0; i < MAX_STRINGS; i++) {
		if (p->left < sizeof(text))
			return;
		p->left -= sizeof(text);
		if (count(bpf_safe_read_user(&text, sizeof(text), addr + 8 * i)) || !text)
			return;
		n = bpf_probe_read_user_str(p->text, sizeof(p->text), text);
		if (n > 0 && n < MAX_STRING && (__u64)n <= p->left) {
			p->left -= n;
			count(bpf_safe_read_user_str(p->text, sizeof(p->text), text));
		}
	}
}

/* Pins what a register points at. */
static __always_inline void front(struct plan *p, __u32 i)
{
	struct part *part = &p->part[i];

	switch (part->shape) {
	case PORTCULLIS_SHAPE_NONE:
	case PORTCULLIS_SHAPE_STRINGS:
		return;
	case PORTCULLIS_SHAPE_STRING:
		if (part->addr)
			count(bpf_safe_read_user_str(p->text, sizeof(p->text), part->addr));
		return;
	}
	if (!part->addr || !pin(p, part->addr, part->size))
		part->shape = PORTCULLIS_SHAPE_NONE;
}

/* Pins what lies behind that. */
static __always_inline void behind(struct plan *p, __u32 i)
{
	struct part *part = &p->part[i];

	if (part->shape == PORTCULLIS_SHAPE_STRINGS)
		strings(p, part->addr);
	else if (part->shape == PORTCULLIS_SHAPE_MSGHDR)
		message(p, part->addr, part->data);
	else if (part->shape == PORTCULLIS_SHAPE_IOVEC && part->data == PORTCULLIS_DIR_IN)
		buffers(p, part->addr, part->size);
}

SEC("seccomp/pins")
int pins(const struct seccomp_data *ctx)
{
	__u32 zero = 0, i;
	struct plan *p = bpf_map_lookup_elem(&plans, &zero);

	if (!p)
		return SECCOMP_RET_KILL_PROCESS;
	p->args[0] = ctx->args[0];
	p->args[1] = ctx->args[1];
	p->args[2] = ctx->args[2];
	p->args[3] = ctx->args[3];
	p->args[4] = ctx->args[4];
	p->args[5] = ctx->args[5];
	p->left = PORTCULLIS_PIN_MAX;
	for (i = 0; i < 6; i++)
		p->part[i].shape = PORTCULLIS_SHAPE_NONE;
	plan(p);
	for (i = 0; i < 6; i++)
		front(p, i);
	behind(p, 1); /* no other arguments are of such shapes */
	behind(p, 2);
	behind(p, 3);
	return SECCOMP_RET_ALLOW;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, int(const struct seccomp_data *));
} parts SEC(".maps") = { .values = { pins } };

static __always_inline int answer(__u64 n)
{
	return PORTCULLIS_ERRNO(n > MAX_ERRNO ? MAX_ERRNO : n);
}

/* The calls of which anything can be pinned; the kernel alone allows all others. */
#define CALLS(in) \
	in(write) in(open) in(stat) in(lstat) in(rt_sigaction) in(rt_sigprocmask) \
	in(ioctl) in(pwrite64) in(readv) in(writev) in(access) in(shmctl) in(nanosleep) \
	in(setitimer) in(connect) in(sendto) in(sendmsg) in(bind) in(setsockopt) \
	in(execve) in(semop) in(semctl) in(msgsnd) in(msgctl) in(fcntl) in(truncate) \
	in(chdir) in(rename) in(mkdir) in(rmdir) in(creat) in(link) in(unlink) in(symlink) \
	in(readlink) in(chmod) in(chown) in(lchown) in(ptrace) in(setgroups) \
	in(rt_sigtimedwait) in(rt_sigqueueinfo) in(rt_sigsuspend) in(sigaltstack) \
	in(utime) in(mknod) in(statfs) in(sysfs) in(sched_setparam) in(sched_setscheduler) \
	in(modify_ldt) in(pivot_root) in(prctl) in(setrlimit) in(chroot) in(acct) \
	in(settimeofday) in(mount) in(umount2) in(swapon) in(swapoff) in(reboot) \
	in(sethostname) in(setdomainname) in(init_module) in(delete_module) in(quotactl) \
	in(setxattr) in(lsetxattr) in(fsetxattr) in(getxattr) in(lgetxattr) in(fgetxattr) \
	in(listxattr) in(llistxattr) in(removexattr) in(lremovexattr) in(fremovexattr) \
	in(futex) in(sched_setaffinity) in(io_getevents) in(io_submit) in(semtimedop) \
	in(timer_create) in(timer_settime) in(clock_settime) in(clock_nanosleep) \
	in(epoll_ctl) in(utimes) in(mbind) in(set_mempolicy) in(mq_open) in(mq_unlink) \
	in(mq_timedsend) in(mq_timedreceive) in(mq_notify) in(mq_getsetattr) \
	in(kexec_load) in(add_key) in(request_key) in(keyctl) in(inotify_add_watch) \
	in(migrate_pages) in(openat) in(mkdirat) in(mknodat) in(fchownat) in(futimesat) \
	in(newfstatat) in(unlinkat) in(renameat) in(linkat) in(symlinkat) in(readlinkat) \
	in(fchmodat) in(faccessat) in(pselect6) in(ppoll) in(vmsplice) in(move_pages) \
	in(utimensat) in(epoll_pwait) in(signalfd) in(timerfd_settime) in(signalfd4) \
	in(preadv) in(pwritev) in(rt_tgsigqueueinfo) in(fanotify_mark) in(prlimit64) \
	in(name_to_handle_at) in(open_by_handle_at) in(process_vm_readv) \
	in(process_vm_writev) in(kcmp) in(finit_module) in(renameat2) in(seccomp) \
	in(memfd_create) in(kexec_file_load) in(execveat) in(preadv2) in(pwritev2) \
	in(statx) in(io_pgetevents) in(pidfd_send_signal) in(io_uring_enter) in(open_tree) \
	in(move_mount) in(fsopen) in(fsconfig) in(fspick) in(clone3) in(openat2) \
	in(faccessat2) in(process_madvise) in(epoll_pwait2) in(mount_setattr) \
	in(quotactl_fd) in(landlock_create_ruleset) in(landlock_add_rule) in(futex_waitv) \
	in(cachestat) in(fchmodat2) in(futex_wait) in(futex_requeue) in(statmount) \
	in(listmount) in(lsm_set_self_attr) in(setxattrat) in(getxattrat) in(listxattrat) \
	in(removexattrat) in(open_tree_attr) in(file_getattr) in(file_setattr) in(listns)

/* One test a call, of which the splitter makes the most. */
#define TEST(call)				\
	__asm__ volatile("" : "+r"(nr));	\
	if (nr == __NR_##call)			\
		goto found;

SEC("seccomp/pin_all")
int pin_all(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr, zero = 0;
	struct plan *p;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_ALLOW;
	if (nr == ASK_READS)
		return answer(reads);
	if (nr == ASK_FAILURES)
		return answer(failures);
	CALLS(TEST)
	return SECCOMP_RET_ALLOW;
found:
	p = bpf_map_lookup_elem(&plans, &zero);
	if (!p || nr >= PORTCULLIS_ARGS_CALLS)
		return SECCOMP_RET_KILL_PROCESS;
	p->row = portcullis_args_at[nr];
	p->end = portcullis_args_at[nr + 1];
	bpf_tail_call(ctx, &parts, 0);
	return SECCOMP_RET_KILL_PROCESS;
}
