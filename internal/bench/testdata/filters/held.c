// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * The measured decisions for which a call is held: pin reads a path that the call
 * then consumes, order lets a call wait for others.
 */
#include "portcullis.h"
#include "../held.h"

static const char forbidden[] = FORBIDDEN;

static __always_inline bool is_forbidden(const char *path)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < sizeof(forbidden) - 1; i++)
		if (path[i] != forbidden[i])
			return false;
	return true;
}

/* The policy of the floors, for openat alone. */
SEC("seccomp/pin")
int pin(const struct seccomp_data *ctx)
{
	char path[PATH_SIZE];

	if (ctx->nr != __NR_openat)
		return SECCOMP_RET_ALLOW;
	if (bpf_safe_read_user_str(path, sizeof(path), ctx->args[1]) < 0 || is_forbidden(path))
		return PORTCULLIS_ERRNO(EACCES);
	return SECCOMP_RET_ALLOW;
}

/* getpgid and getsid never run at the same time. */
SEC("seccomp/order")
int order(const struct seccomp_data *ctx)
{
	if (ctx->nr == __NR_getpgid)
		bpf_wait_syscall(__NR_getpgid, __NR_getsid);
	if (ctx->nr == __NR_getsid)
		bpf_wait_syscall(__NR_getsid, __NR_getpgid);
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
