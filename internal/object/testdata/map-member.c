// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": m: has a member "pinning"
#include "portcullis.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(pinning, 1);
} m SEC(".maps");

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return bpf_map_lookup_elem(&m, &ctx->nr) != 0;
}
