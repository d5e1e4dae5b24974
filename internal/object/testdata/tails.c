// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: ok
#include "portcullis.h"

SEC("seccomp/first")
int first(const struct seccomp_data *ctx)
{
	return ctx->nr;
}

/* Two in one section, and the second of them is in the array. */
SEC("seccomp")
int zeroth(const struct seccomp_data *ctx)
{
	return ctx->nr + 1;
}

int filter(const struct seccomp_data *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, int(const struct seccomp_data *));
} array SEC(".maps") = { .values = { [5] = first, [2] = filter } };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
} empty SEC(".maps");

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	bpf_tail_call(ctx, &array, ctx->args[0]);
	bpf_tail_call(ctx, &empty, 0);
	return 0;
}
