// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Keeps calls of two lists from being made at the same time.
 *
 * A call of the list first waits until no task of the sandbox is inside a call of the
 * list second, and the other way round. A call of both lists also waits for others of
 * its own. Calls of one list are made beside each other. By default no file gets
 * another name while its owner or mode is changed by name: who checks a name and then
 * changes what it leads to is not given another file meanwhile.
 *
 *	--set serialize.first=mremap --set serialize.second=munmap,madvise,ftruncate
 *
 * So a filter closes a race in the kernel, or in a program that was not written for
 * company, without taking either call away. Each list has at most 8 calls, and both
 * together where a call is in both. What a call is about does not matter: whoever makes
 * it waits.
 *
 * A wait that takes longer than the engine's limit, 10 seconds by default, fails with
 * ETIMEDOUT. A signal ends it with EINTR, and a task that waits keeps nobody else.
 * Where a call of a list may go on until the one who waits does something, as reading
 * from a pipe does until something is written, a wait is likely to end by that limit.
 * Such calls are refused when the filter is loaded, unless it is told to take them by
 * any=true.
 *
 * It is about calls, and not about what they begin: what the kernel does later, or in
 * an io_uring whose guard was lifted, is no call. Calls of other tables than x86-64's,
 * which reach the filter only where a guard was lifted, end the process.
 */
#include "portcullis.h"

#define CALLS 8

/* Calls that are not made while one of second is. */
const volatile __u32 first[CALLS] = { __NR_rename, __NR_renameat, __NR_renameat2 };

/* How long the list first is. */
const volatile __u32 first_len = 3;

/* Calls that are not made while one of first is. */
const volatile __u32 second[CALLS] = { __NR_chmod, __NR_fchmodat, __NR_fchmodat2, __NR_chown, __NR_lchown, __NR_fchownat };

/* How long the list second is. */
const volatile __u32 second_len = 6;

/* Whether calls are taken whose end may depend on who waits for it. */
const volatile bool any = false;

static __always_inline bool holds(const volatile __u32 *list, __u32 len, __u32 nr)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CALLS && i < len; i++) {
		if (list[i] == nr)
			return true;
	}
	return false;
}

/* await has the call wait for those of a list: 0, or an error. */
static __always_inline long await(__u32 nr, const volatile __u32 *list, __u32 len)
{
	long e = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < CALLS && i < len; i++)
		e |= bpf_wait_syscall(nr, any ? list[i] | PORTCULLIS_WAIT_ANY : list[i]);
	return e;
}

SEC("seccomp/serialize")
int serialize(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;
	long e = 0;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (holds(first, first_len, nr))
		e |= await(nr, second, second_len);
	if (holds(second, second_len, nr))
		e |= await(nr, first, first_len);
	if (!e)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM); /* cannot be waited for */
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
