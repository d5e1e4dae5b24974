// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": m: value has 2 locks
#include "portcullis.h"

struct value {
	struct bpf_spin_lock a, b;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct value);
} m SEC(".maps");

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	return bpf_map_lookup_elem(&m, &ctx->nr) != 0;
}
