// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * The measured policy as filters: list lets the 200 calls through whatever their
 * arguments, rules asks 16 of them for their arguments. All else is EPERM.
 */
#include "portcullis.h"
#include "../policy.h"

#define IN_0(call) PORTCULLIS_IN(0, call)
#define IN_1(call) PORTCULLIS_IN(1, call)
#define IN_2(call) PORTCULLIS_IN(2, call)
#define IN_3(call) PORTCULLIS_IN(3, call)
#define IN_4(call) PORTCULLIS_IN(4, call)
#define IN_5(call) PORTCULLIS_IN(5, call)
#define IN_6(call) PORTCULLIS_IN(6, call)
#define IN_7(call) PORTCULLIS_IN(7, call)

#define PLAIN(X) FIRST_CALLS(X) OTHER_CALLS(X)
#define ALL(X) PLAIN(X) RULED_CALLS(X)
#define SET(list) { .bits = { \
	0 list(IN_0), 0 list(IN_1), 0 list(IN_2), 0 list(IN_3), \
	0 list(IN_4), 0 list(IN_5), 0 list(IN_6), 0 list(IN_7) \
} }

/* Every call of the list. */
const volatile portcullis_callset all = SET(ALL);

/* Those of them that have no rule. */
const volatile portcullis_callset plain = SET(PLAIN);

SEC("seccomp/list")
int list(const struct seccomp_data *ctx)
{
	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (portcullis_has(&all, ctx->nr))
		return SECCOMP_RET_ALLOW;
	return PORTCULLIS_ERRNO(EPERM);
}

#define EQUAL(call, arg, value) \
	if (nr == __NR_##call && ctx->args[arg] == (value)) \
		return SECCOMP_RET_ALLOW;
#define MASKED(call, arg, mask, value) \
	if (nr == __NR_##call && (ctx->args[arg] & (mask)) == (value)) \
		return SECCOMP_RET_ALLOW;

SEC("seccomp/rules")
int rules(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (portcullis_has(&plain, nr))
		return SECCOMP_RET_ALLOW;
	RULES(EQUAL, MASKED)
	return PORTCULLIS_ERRNO(EPERM);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
