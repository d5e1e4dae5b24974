// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "seccomp": .text: the address of a function
#include "portcullis.h"

static __noinline int callback(int x)
{
	return x + 1;
}

static long (*const for_each)(void *f) = (void *)181;

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return for_each(callback) + ctx->nr;
}
