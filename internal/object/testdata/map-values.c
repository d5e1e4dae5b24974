// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": a map with initial values that are no programs
#include "portcullis.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct inner);
} m SEC(".maps") = { .values = { &inner } };

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	__u32 zero = 0;

	bpf_map_delete_elem(&m, &zero);
	return ctx->nr;
}
