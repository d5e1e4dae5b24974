/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/*
 * How a sandbox gets into a user namespace, for filters that judge calls only there.
 *
 * Much of the kernel asks for privilege that everybody has in a user namespace of
 * his own, and is reached by attackers through nothing else. Of the calls that
 * lead into one, unshare, clone and setns say so in a register. clone3 says it in
 * memory: filters answer it with ENOSYS, as kernels before 5.3 do, and libraries
 * go on with clone.
 */
#ifndef PORTCULLIS_USERNS_H
#define PORTCULLIS_USERNS_H

#include "portcullis.h"

#define CLONE_NEWUSER 0x10000000U

/* Whether a call may put its caller or its child into a user namespace; setns
 * with no type joins whatever its descriptor stands for. */
static __always_inline bool enters_userns(const struct seccomp_data *ctx)
{
	if (ctx->nr == __NR_unshare || ctx->nr == __NR_clone)
		return (__u32)ctx->args[0] & CLONE_NEWUSER;
	if (ctx->nr == __NR_setns)
		return !(__u32)ctx->args[1] || (__u32)ctx->args[1] & CLONE_NEWUSER;
	return false;
}

/* Whether the sandbox starts in a user namespace already. */
const volatile bool inside = false;

static volatile bool entered;

/* Whether a task of the sandbox may be in a user namespace by now. */
static __always_inline bool in_userns(void)
{
	return inside || entered;
}

/* Says what becomes of calls that lead into one, and of those of other tables: a
 * verdict, or 0 for a call that is left to be judged. */
static __always_inline int watch_userns(const struct seccomp_data *ctx)
{
	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (ctx->nr == __NR_clone3)
		PORTCULLIS_DENY(ENOSYS);
	if (inside || !enters_userns(ctx))
		return 0;
	entered = true;
	return SECCOMP_RET_ALLOW;
}

#endif /* PORTCULLIS_USERNS_H */
