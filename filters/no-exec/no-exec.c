// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets the sandbox start no other program.
 *
 * execve and execveat fail with EPERM. The launch of the sandboxed command is
 * exempt. Nothing is counted and nothing is remembered, so the kernel decides
 * every call by itself, and the sandbox needs no supervisor.
 */
#include "portcullis.h"

SEC("seccomp/no-exec")
int no_exec(const struct seccomp_data *ctx)
{
	if (portcullis_is_exec(ctx))
		PORTCULLIS_DENY(EPERM);
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
