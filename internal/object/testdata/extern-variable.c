// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "seccomp": elsewhere: an extern
#include "portcullis.h"

extern int elsewhere;

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return ctx->nr + elsewhere;
}
