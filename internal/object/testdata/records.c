// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: ok
#include "portcullis.h"

enum what { OPENED = 1, CLOSED = 2 };

struct place {
	__u32 dev;
	__u64 ino;
};

struct opened {
	__u64 time;
	enum what what;
	bool first;
	signed char level;
	struct place place;
	union {
		__u32 flags;
		__u16 halves[2];
	};
	__u32 low : 4, high : 4;
	__u8 digest[4];
	struct place others[2];
	char comm[16];
	char path[];
};

struct {
	__uint(max_entries, 4096);
	__type(value, struct opened);
	__uint(type, BPF_MAP_TYPE_RINGBUF);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8192);
} untyped SEC(".maps");

SEC("seccomp")
int records(const struct seccomp_data *ctx)
{
	struct opened *o = bpf_ringbuf_reserve(&typed, sizeof(*o), 0);

	bpf_ringbuf_output(&untyped, &(__u32){ctx->nr}, 4, 0);
	if (!o)
		return SECCOMP_RET_ALLOW;
	o->time = bpf_ktime_get_ns();
	bpf_ringbuf_submit(o, 0);
	return SECCOMP_RET_ALLOW;
}
