// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * A filter of 400 rules, four to each of a hundred calls, that differ in
 * argument, comparison and answer.
 */
#include "portcullis.h"
#include "../policy.h"

#define FOUR(call) \
	if (nr == __NR_##call) { \
		if (ctx->args[0] == __NR_##call + 1000ULL) \
			return PORTCULLIS_ERRNO(EACCES); \
		if ((ctx->args[1] & (0xff00ULL + __NR_##call)) == 0x100) \
			return PORTCULLIS_ERRNO(EINVAL); \
		if (ctx->args[2] > 0x100000000ULL + __NR_##call) \
			return PORTCULLIS_ERRNO(E2BIG); \
		if ((__s32)ctx->args[3] < -(__NR_##call + 1)) \
			return PORTCULLIS_ERRNO(EBADF); \
		return SECCOMP_RET_ALLOW; \
	}

SEC("seccomp/rules400")
int rules400(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	FIRST_CALLS(FOUR)
	return PORTCULLIS_ERRNO(EPERM);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
