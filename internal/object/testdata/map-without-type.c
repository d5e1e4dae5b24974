// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": m: has no type
#include "portcullis.h"

struct {
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} m SEC(".maps");

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return bpf_map_lookup_elem(&m, &ctx->nr) != 0;
}
