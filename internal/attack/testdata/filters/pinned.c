// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * What the attacks on pinned reads have to get around: "safe" is allowed, also as
 * the first bytes of what is written, and "secret" is denied.
 */
#include "portcullis.h"

/* A filter that lets through what it could not read: still nothing may be won. */
const volatile bool lax = false;

#define SAFE 0x65666173 /* "safe", and four zeroes */
#define FIFO 0x6f666966 /* "fifo", as above */

static __always_inline __u32 unreadable(void)
{
	return lax ? SECCOMP_RET_ALLOW : PORTCULLIS_ERRNO(EACCES);
}

static __always_inline __u32 judge(int allowed)
{
	return allowed ? SECCOMP_RET_ALLOW : PORTCULLIS_ERRNO(EACCES);
}

static __always_inline __u32 path(__u64 address)
{
	__u64 words[2] = { 0, 0 };

	if (bpf_safe_read_user_str(words, sizeof(words), address) < 0)
		return unreadable();
	return judge((words[0] == SAFE || words[0] == FIFO) && words[1] == 0);
}

static __always_inline __u32 word(__u64 address, __u64 allowed)
{
	__u64 found = 0;

	if (bpf_safe_read_user(&found, sizeof(found), address) < 0)
		return unreadable();
	return judge(found == allowed);
}

/* Paths: access is pinned too, and may name what it likes. */
SEC("seccomp/paths")
int paths(const struct seccomp_data *ctx)
{
	__u64 first = 0;

	switch (ctx->nr) {
	case __NR_openat:
		return path(ctx->args[1]);
	case __NR_stat:
		return path(ctx->args[0]);
	case __NR_access:
		bpf_safe_read_user_str(&first, sizeof(first), ctx->args[0]);
		return SECCOMP_RET_ALLOW;
	}
	return SECCOMP_RET_ALLOW;
}

struct message {
	__u64 name, name_length, vector, buffers, control, control_length, flags;
};

struct vector {
	__u64 base, length;
};

static __always_inline __u32 message(__u64 address)
{
	struct message m = {};
	struct vector v = {};

	if (bpf_safe_read_user(&m, sizeof(m), address) < 0 ||
	    bpf_safe_read_user(&v, sizeof(v), m.vector) < 0)
		return unreadable();
	return word(v.base, SAFE);
}

/* AF_INET, port 7001 and 127.0.0.1 in the order of the network. */
#define ADDRESS 0x0100007f591b0002

/* What is not a path, or a structure around one. */
SEC("seccomp/structures")
int structures(const struct seccomp_data *ctx)
{
	switch (ctx->nr) {
	case __NR_execve:
		return path(ctx->args[0]);
	case __NR_connect:
		return word(ctx->args[1], ADDRESS);
	case __NR_pwrite64:
		return word(ctx->args[1], SAFE);
	case __NR_openat2:
		return word(ctx->args[2], 0); /* read only */
	case __NR_sendmsg:
		return message(ctx->args[1]);
	}
	return SECCOMP_RET_ALLOW;
}
