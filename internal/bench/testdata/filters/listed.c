// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * What the kernel engine's cost is measured with: the policy's 200 calls let through
 * whatever their arguments, but for getppid, which is asked for its first one.
 */
#include "portcullis.h"
#include "../policy.h"

#define CALLS(X) FIRST_CALLS(X) OTHER_CALLS(X) RULED_CALLS(X)

/* The argument that getppid is denied. */
#define DENIED 7

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} count SEC(".maps");

static __always_inline int tested(const struct seccomp_data *ctx, __u32 nr)
{
	if (nr == __NR_getppid && ctx->args[0] != DENIED)
		return SECCOMP_RET_ALLOW;
	return PORTCULLIS_ERRNO(EPERM);
}

#define ALLOWED(call) \
	if (__NR_##call != __NR_getppid && nr == __NR_##call) \
		return SECCOMP_RET_ALLOW;

/* One comparison a call, as written; the compiler makes a search of it. */
SEC("seccomp/listed")
int listed(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	CALLS(ALLOWED)
	return tested(ctx, nr);
}

#define IN_ORDER(call) \
	__asm__ volatile("" : "+r"(nr)); \
	ALLOWED(call)

/* The same comparisons, one after another as in a classic list. */
SEC("seccomp/chained")
int chained(const struct seccomp_data *ctx)
{
	__u64 nr = (__u32)ctx->nr;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	CALLS(IN_ORDER)
	return tested(ctx, nr);
}

#define IN(word, call) \
	| (__NR_##call != __NR_getppid && __NR_##call / 64 == (word) ? 1ULL << (__NR_##call % 64) : 0)
#define IN_0(call) IN(0, call)
#define IN_1(call) IN(1, call)
#define IN_2(call) IN(2, call)
#define IN_3(call) IN(3, call)
#define IN_4(call) IN(4, call)
#define IN_5(call) IN(5, call)
#define IN_6(call) IN(6, call)
#define IN_7(call) IN(7, call)

const volatile portcullis_callset constant = { .bits = {
	0 CALLS(IN_0), 0 CALLS(IN_1), 0 CALLS(IN_2), 0 CALLS(IN_3),
	0 CALLS(IN_4), 0 CALLS(IN_5), 0 CALLS(IN_6), 0 CALLS(IN_7)
} };

/* The same list as a set. */
SEC("seccomp/gathered")
int gathered(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (portcullis_has(&constant, nr))
		return SECCOMP_RET_ALLOW;
	return tested(ctx, nr);
}

/* The test of the argument alone. */
SEC("seccomp/brief")
int brief(const struct seccomp_data *ctx)
{
	if (ctx->nr == __NR_getppid && ctx->args[0] == DENIED)
		return PORTCULLIS_ERRNO(EPERM);
	return SECCOMP_RET_ALLOW;
}

/* The smallest decision with state in a map: a look-up and an addition. */
SEC("seccomp/counted")
int counted(const struct seccomp_data *ctx)
{
	__u32 first = 0;
	__u64 *n;

	if (ctx->nr != __NR_getppid)
		return SECCOMP_RET_ALLOW;
	n = bpf_map_lookup_elem(&count, &first);
	if (n)
		__sync_fetch_and_add(n, 1);
	return SECCOMP_RET_ALLOW;
}

/* A constant verdict for every call but one. */
SEC("seccomp/steady")
int steady(const struct seccomp_data *ctx)
{
	if (ctx->nr == __NR_ptrace)
		return PORTCULLIS_ERRNO(EPERM);
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
