/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the tests of the tracer decide by. */
#include "portcullis.h"

PORTCULLIS_LICENSE("Dual BSD/GPL");

#define ONLY(number)						\
	do {							\
		if (!portcullis_native(ctx) || ctx->nr != (number)) \
			return SECCOMP_RET_ALLOW;		\
	} while (0)

struct path {
	char text[4096];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct path);
} paths SEC(".maps");

/* How often the filters were asked. */
__u64 asked;

static __always_inline int secret(const char *text, long len)
{
	long i;

	for (i = 0; i < 64 && i + 6 < len; i++)
		if (text[i] == 's' && text[i + 1] == 'e' && text[i + 2] == 'c' &&
		    text[i + 3] == 'r' && text[i + 4] == 'e' && text[i + 5] == 't')
			return 1;
	return 0;
}

static __always_inline int check(__u64 path)
{
	struct path *p;
	__u32 zero = 0;
	long n;

	__sync_fetch_and_add(&asked, 1);
	p = bpf_map_lookup_elem(&paths, &zero);
	if (!p)
		return SECCOMP_RET_KILL_PROCESS;
	n = bpf_safe_read_user_str(p->text, sizeof(p->text), path);
	if (n > 0 && secret(p->text, n))
		return PORTCULLIS_ERRNO(EACCES);
	return SECCOMP_RET_ALLOW;
}

/* openat of what has no "secret" in its first bytes. */
SEC("seccomp/open")
int open(const struct seccomp_data *ctx)
{
	ONLY(__NR_openat);
	return check(ctx->args[1]);
}

/* execve likewise. */
SEC("seccomp/exec")
int exec(const struct seccomp_data *ctx)
{
	ONLY(__NR_execve);
	return check(ctx->args[0]);
}

/* What a notification cannot carry out, from the second getppid on. */
#define SECOND(name, verdict)						\
	SEC("seccomp/" #name)						\
	int name(const struct seccomp_data *ctx)			\
	{								\
		ONLY(__NR_getppid);					\
		if (__sync_fetch_and_add(&asked, 1) == 0)		\
			return SECCOMP_RET_ALLOW;			\
		return (verdict);					\
	}

SECOND(trap, SECCOMP_RET_TRAP | 77)
SECOND(kill_thread, SECCOMP_RET_KILL_THREAD)
SECOND(trace, SECCOMP_RET_TRACE | 3)

/* A trace leaf that kills. */
SEC("seccomp/kill_process")
int kill_process(const struct seccomp_data *ctx)
{
	char byte;

	ONLY(__NR_openat);
	if (__sync_fetch_and_add(&asked, 1) < 2)
		return SECCOMP_RET_ALLOW;
	bpf_safe_read_user(&byte, 1, ctx->args[1]);
	return SECCOMP_RET_KILL_PROCESS;
}

/* fsync and fdatasync never run beside one another, nor beside themselves. */
SEC("seccomp/serial")
int serial(const struct seccomp_data *ctx)
{
	if (!portcullis_native(ctx) || (ctx->nr != __NR_fsync && ctx->nr != __NR_fdatasync))
		return SECCOMP_RET_ALLOW;
	__sync_fetch_and_add(&asked, 1);
	bpf_wait_syscall(ctx->nr, __NR_fsync);
	bpf_wait_syscall(ctx->nr, __NR_fdatasync);
	return SECCOMP_RET_ALLOW;
}

/* openat never runs beside openat: one that sleeps holds up all others. */
SEC("seccomp/hold")
int hold(const struct seccomp_data *ctx)
{
	ONLY(__NR_openat);
	__sync_fetch_and_add(&asked, 1);
	bpf_wait_syscall(__NR_openat, __NR_openat | PORTCULLIS_WAIT_ANY);
	return SECCOMP_RET_ALLOW;
}

/* A process and what it forks may call getppid three times on each way down. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u64);
} inherited SEC(".maps");

SEC("seccomp/inherit")
int inherit(const struct seccomp_data *ctx)
{
	__u64 *n;

	ONLY(__NR_getppid);
	n = bpf_task_storage_get(&inherited, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!n)
		return SECCOMP_RET_KILL_PROCESS;
	if (__sync_fetch_and_add(n, 1) < 3)
		return SECCOMP_RET_ALLOW;
	return PORTCULLIS_ERRNO(EPERM);
}
