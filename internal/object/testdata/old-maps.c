// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "maps": map definitions in the old form
#include "portcullis.h"

struct {
	__u32 type;
} m SEC("maps") = { 1 };

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return bpf_map_lookup_elem(&m, &ctx->nr) != 0;
}
