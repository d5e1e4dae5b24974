// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": array: a program at index 2 of 2
#include "portcullis.h"

int filter(const struct seccomp_data *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, int(const struct seccomp_data *));
} array SEC(".maps") = { .values = { [2] = filter } };

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	bpf_tail_call(ctx, &array, 1);
	return 0;
}
