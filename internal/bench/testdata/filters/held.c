// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * The measured decision for which a call is held: over a path that the call then
 * consumes.
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

PORTCULLIS_LICENSE("Dual BSD/GPL");
