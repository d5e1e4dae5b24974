// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "seccomp/b": a: a second program of this name
#include "portcullis.h"

SEC("seccomp/a")
int first(const struct seccomp_data *ctx)
{
	return ctx->nr;
}

SEC("seccomp/b")
int a(const struct seccomp_data *ctx)
{
	return ctx->nr;
}

SEC("seccomp/b")
int b(const struct seccomp_data *ctx)
{
	return ctx->nr;
}
