// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets the sandbox make calls of a kind only so fast.
 *
 * The calls of the set calls share a bucket that holds burst tokens and gains
 * per_second of them in a second. Each call takes one; where none is left, the
 * call fails with the errno error. By default those are the calls that start a
 * process or a thread, and EAGAIN is what they answer at other limits too: a
 * shell waits and tries again, a fork bomb goes on slowly.
 *
 *	--set rate.calls=connect --set rate.burst=10 --set rate.per_second=2
 *
 * There is one bucket for the whole process tree, so that no fork gains
 * anything, or one for each process with --set rate.per_process=true: then a
 * child starts with a full one, while execve and new threads change nothing.
 *
 * A call that is denied takes no token. A call that is let through takes one
 * whether or not it succeeds, and one more if a signal restarts it. With
 * per_second=0 the burst is all there is. Calls of other tables than x86-64's,
 * which reach the filter only where a guard was lifted, end the process.
 */
#include "portcullis.h"

#define FORKS(in, w) in(w, clone) in(w, clone3) in(w, fork) in(w, vfork)

/* What a call costs: tokens are counted in billionths, so that those gained in
 * some nanoseconds are a whole number. */
#define TOKEN 1000000000ULL

/* PORTCULLIS_DENY for an error that the compiler does not know. The instruction
 * that does nothing is what messages about the denial name the line of. */
#define DENY_WITH(e)						\
	do {							\
		__s64 ____verdict = PORTCULLIS_ERRNO(e);	\
		__asm__ volatile("%0 = %0" : "+r"(____verdict)); \
		return ____verdict;				\
	} while (0)

/* The calls to limit. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(FORKS);

/* How many of them may follow each other at once. */
const volatile __u32 burst = 64;

/* How many of them are let through in a second in the long run. */
const volatile __u32 per_second = 32;

/* Whether each process has a bucket of its own. */
const volatile bool per_process = false;

/* The number of the error that calls beyond the limit fail with, at most 4095. */
const volatile __u16 error = EAGAIN;

/* Zeroed, a bucket is full. */
struct bucket {
	__u64 taken; /* billionths of a token, at most burst * TOKEN < 2^62 */
	__u64 seen;  /* when taken was right, in nanoseconds */
	struct bpf_spin_lock lock;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bucket);
} of_tree SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct bucket);
} of_process SEC(".maps");

/* take takes a token; false where there is none. Clock and division come before
 * the lock, which is held for some twenty instructions. */
static __always_inline bool take(struct bucket *b)
{
	__u64 full = burst * TOKEN, gain = per_second;
	/* From here on a bucket has filled up; up to here gain * elapsed cannot
	 * overflow, for it is at most full. */
	__u64 enough = gain ? full / gain : -1ULL;
	__u64 now = bpf_ktime_get_ns(), elapsed;
	bool taken = false;

	bpf_spin_lock(&b->lock);
	if (now > b->seen) { /* else a later call came here first */
		elapsed = now - b->seen;
		b->seen = now;
		if (elapsed > enough || elapsed * gain >= b->taken)
			b->taken = 0;
		else
			b->taken -= elapsed * gain;
	}
	if (b->taken + TOKEN <= full) {
		b->taken += TOKEN;
		taken = true;
	}
	bpf_spin_unlock(&b->lock);
	return taken;
}

SEC("seccomp/rate")
int rate(const struct seccomp_data *ctx)
{
	struct bucket *b;
	__u32 only = 0;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (!portcullis_has(&calls, ctx->nr))
		return SECCOMP_RET_ALLOW;
	if (per_process)
		b = bpf_task_storage_get(&of_process, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	else
		b = bpf_map_lookup_elem(&of_tree, &only);
	if (!b)
		PORTCULLIS_DENY(ENOMEM);
	if (take(b))
		return SECCOMP_RET_ALLOW;
	DENY_WITH(error);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
