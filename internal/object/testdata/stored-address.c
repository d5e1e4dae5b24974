// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".data": .text: its address is stored in a variable
#include "portcullis.h"

static __noinline int one(int x)
{
	return x * 3;
}

int (*table[2])(int) = { one, 0 };

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return one(ctx->nr) + (table[ctx->nr & 1] != 0);
}
