// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: expected a section "seccomp" or "seccomp/NAME", found "xdp"
#include "portcullis.h"

SEC("xdp")
int filter(const struct seccomp_data *ctx __attribute__((unused)))
{
	return SECCOMP_RET_ALLOW;
}
