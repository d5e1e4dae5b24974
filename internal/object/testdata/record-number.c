// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section ".maps": events: the records of a ring buffer: expected a struct
#include "portcullis.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, __u64);
} events SEC(".maps");

SEC("seccomp")
int filter(const struct seccomp_data *ctx)
{
	bpf_ringbuf_output(&events, &(__u64){ctx->nr}, 8, 0);
	return SECCOMP_RET_ALLOW;
}
