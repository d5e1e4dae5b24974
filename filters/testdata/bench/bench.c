// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * The measured programs of the benchmarks, which judge getppid and let it
 * through; every other call is decided by the kernel alone.
 */
#include "portcullis.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline __u64 mix(__u64 h, __u64 x)
{
	h ^= x;
	h *= 0x9e3779b1;
	h ^= h >> 29;
	return h;
}

/* A decision of about a hundred instructions with two map operations: a hash of
 * the call's registers, a look-up in a hash and a count in an array. */
SEC("seccomp/hundred")
int hundred(const struct seccomp_data *ctx)
{
	__u64 h = 0, *n;
	__u32 slot;
	int i;

	if (ctx->nr != __NR_getppid)
		return SECCOMP_RET_ALLOW;
#pragma unroll
	for (i = 0; i < 6; i++)
		h = mix(h, ctx->args[i]);
#pragma unroll
	for (i = 0; i < 5; i++)
		h = mix(h, ctx->instruction_pointer + i);
	n = bpf_map_lookup_elem(&seen, &h);
	if (n && *n)
		return PORTCULLIS_ERRNO(EPERM);
	slot = h & 0xff;
	n = bpf_map_lookup_elem(&counts, &slot);
	if (n)
		__sync_fetch_and_add(n, 1);
	return SECCOMP_RET_ALLOW;
}

static __u64 count;

/* The smallest decision with state. */
SEC("seccomp/counter")
int counter(const struct seccomp_data *ctx)
{
	if (ctx->nr != __NR_getppid)
		return SECCOMP_RET_ALLOW;
	__sync_fetch_and_add(&count, 1);
	return SECCOMP_RET_ALLOW;
}

/* A decision the kernel takes by itself. */
SEC("seccomp/static")
int constant(const struct seccomp_data *ctx)
{
	if (ctx->nr == __NR_ptrace)
		return PORTCULLIS_ERRNO(EPERM);
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
