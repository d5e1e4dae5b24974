// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets the sandbox start only so many programs.
 *
 * The first max calls of execve and execveat anywhere in the process tree are
 * let through, every later one fails with EPERM. The launch of the sandboxed
 * command is not counted. A call counts whether or not it succeeds: a search
 * along PATH can take several.
 */
#include "portcullis.h"

/* How many calls of execve and execveat the whole tree may make. */
const volatile __u64 max = 5;

/* 64 bits, so that denied attempts cannot wrap it around. */
static __u64 count;

SEC("seccomp/count-exec")
int count_exec(const struct seccomp_data *ctx)
{
	if (!portcullis_is_exec(ctx))
		return SECCOMP_RET_ALLOW;
	if (__sync_fetch_and_add(&count, 1) < max)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
