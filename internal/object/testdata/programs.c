// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: ok

/* Several programs, functions and every kind of map definition. */
#include "portcullis.h"

struct value {
	__u64 n;
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100);
	__type(key, __u32);
	__type(value, struct value);
} typed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 7);
	__uint(key_size, 4);
	__uint(value_size, 24);
	__uint(map_flags, 0x80);
} sized SEC(".maps");

static struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u16);
} hidden SEC(".maps");

/* The compiler keeps the two elements that are used, under the type of three. */
static __u32 split[3];
volatile __u32 placed[3];

static __noinline int leaf(int x)
{
	return x * 3 + split[1];
}

__noinline int shared(int x)
{
	split[2]++;
	placed[2] = x;
	return leaf(x) + leaf(x + 1);
}

SEC("seccomp")
int plain(const struct seccomp_data *ctx)
{
	__u32 key = ctx->nr;

	return shared(key) + (bpf_map_lookup_elem(&typed, &key) != 0);
}

SEC("seccomp")
int second(const struct seccomp_data *ctx)
{
	__u32 key = ctx->nr;

	return bpf_map_lookup_elem(&sized, &key) == bpf_map_lookup_elem(&hidden, &key);
}

SEC("seccomp/named")
int third(const struct seccomp_data *ctx)
{
	__u32 key = ctx->nr;

	if (bpf_map_lookup_elem(&typed, &key))
		bpf_printk("call %d", key);
	return shared(key);
}

PORTCULLIS_LICENSE("GPL");
