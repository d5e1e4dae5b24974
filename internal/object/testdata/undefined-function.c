// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "seccomp": missing: not defined in the object
#include "portcullis.h"

int missing(int nr);

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return missing(ctx->nr);
}
