// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "seccomp/hidden": holds no global function
#include "portcullis.h"

SEC("seccomp/hidden")
static int filter(const struct seccomp_data *ctx)
{
	return ctx->nr;
}
