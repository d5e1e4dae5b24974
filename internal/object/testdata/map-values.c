// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": a map with initial values
#include "portcullis.h"

SEC("seccomp")
int other(const struct seccomp_data *ctx)
{
	return ctx->nr;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, int(const struct seccomp_data *));
} m SEC(".maps") = { .values = { other } };

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	bpf_tail_call(ctx, &m, 0);
	return 0;
}
