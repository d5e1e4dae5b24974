/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/*
 * Who is inside which call, for filters that keep calls apart.
 *
 * bpf_wait_syscall does two things: the call waits for others, and from then on
 * others can wait for it. Some calls have to do the second without the first. A
 * call that could not be noted must not be made: nobody would wait for it.
 */
#ifndef PORTCULLIS_ORDER_H
#define PORTCULLIS_ORDER_H

#include "portcullis.h"

/* A number between those of x86-64's table and the common ones: no call has it, so
 * that nobody is ever inside. */
#define NOBODY 350

/* Lets others wait for a call; 0, or an error. */
static __always_inline long be_seen(const struct seccomp_data *ctx)
{
	return bpf_wait_syscall(ctx->nr, NOBODY);
}

#endif /* PORTCULLIS_ORDER_H */
