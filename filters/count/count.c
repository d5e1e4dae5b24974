// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets the sandbox make only so many calls of a kind.
 *
 * The calls of the set calls are counted together, over the whole process
 * tree; beyond max of them they fail with EPERM. By default those are the calls
 * that start a process or a thread: a fork bomb ends after max of them.
 *
 *	--set count.calls=socket,connect --set count.max=10
 *
 * A call counts whether or not it succeeds. Calls of other tables than
 * x86-64's, which reach the filter only where a guard was lifted, end the
 * process: their numbers mean something else.
 */
#include "portcullis.h"

#define FORKS(in, w) in(w, clone) in(w, clone3) in(w, fork) in(w, vfork)

/* The calls to count. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(FORKS);

/* How many of them the whole tree may make. */
const volatile __u64 max = 64;

/* 64 bits, so that denied attempts cannot wrap it around. */
static __u64 count;

SEC("seccomp/count")
int count_calls(const struct seccomp_data *ctx)
{
	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (!portcullis_has(&calls, ctx->nr))
		return SECCOMP_RET_ALLOW;
	if (__sync_fetch_and_add(&count, 1) < max)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
