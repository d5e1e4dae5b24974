/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/*
 * Arguments of calls, for filters that choose one by the call's number.
 */
#ifndef PORTCULLIS_ARGUMENT_H
#define PORTCULLIS_ARGUMENT_H

#include "portcullis.h"

/* An argument, read where it is named. A compiler that is free to chooses the address
 * first and reads once, and at an address that was computed nothing may be read; it
 * does not move the empty instruction. */
#define ARGUMENT(ctx, n)				\
	({						\
		__u64 ____arg = (ctx)->args[n];		\
		__asm__ volatile("" : "+r"(____arg));	\
		____arg;				\
	})

#endif /* PORTCULLIS_ARGUMENT_H */
