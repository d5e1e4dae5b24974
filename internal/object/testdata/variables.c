// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: ok

#include "portcullis.h"

enum level { NONE, SOME, ALL };

const volatile __u8 u8 = 1;
const volatile __u16 u16 = 2;
const volatile __u32 u32 = 3;
const volatile __u64 u64 = 4;
const volatile __s8 s8 = -1;
const volatile __s16 s16 = -2;
const volatile __s32 s32 = -3;
const volatile __s64 s64 = -4;
const volatile bool flag = true;
const volatile char letter = 'x';
const volatile enum level level = ALL;
const volatile char name[8] = "seven77";
const volatile __s32 list[4] = { 1, 2, -1 };
const volatile __u32 list_len = 3;
static const volatile __u16 local = 9;
const volatile portcullis_callset calls = { .bits = { 1, [15] = 1ULL << 63 } };
const volatile char texts[3][8] = { "one", "two" };
const volatile portcullis_paths paths = { .path = { "/usr", "/lib/" } };
const volatile portcullis_endpoints ends = { .endpoint = {
	{ .family = 2, .bits = 8, .low = 80, .high = 90, .addr = { 127 } },
} };
const volatile struct { int a, b; } pair = { 1, 2 };
const volatile __s32 grid[2][2] = { { 1 } };
__u32 initialised = 11;
__u64 zeroed;

SEC("seccomp/variables")
int filter(const struct seccomp_data *ctx)
{
	__u64 sum = u8 + u16 + u32 + u64 + s8 + s16 + s32 + s64 + flag + letter + level;

	sum += name[0] + list[1] + list_len + local + pair.b + grid[1][1];
	sum += portcullis_has(&calls, ctx->nr);
	sum += texts[1][0] + paths.path[1][0] + ends.endpoint[0].bits;
	initialised++;
	return sum + __sync_fetch_and_add(&zeroed, 1);
}
