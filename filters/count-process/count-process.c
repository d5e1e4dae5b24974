// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets each process make only so many calls of a kind, those of its parents counted.
 *
 * The calls of the set calls are counted together for every process, over all of its
 * threads; beyond max of them they fail with EPERM. A child starts with the count that
 * its parent has at the moment of the fork, and counts by itself from then on: no fork
 * gives back what was used, and no child takes from its parent. So every line of
 * descent has max calls, and a process with children more than that with them; the
 * filter count is for the tree as a whole. By default those are the calls that start a
 * process or a thread: then no descendant has more than max generations before it.
 *
 *	--set count-process.calls=socket,connect --set count-process.max=10
 *
 * A call counts whether or not it succeeds, and one that starts a child counts for
 * both. An exec changes nothing. No child runs without its count. Calls of other tables
 * than x86-64's, which reach the filter only where a guard was lifted, end the process:
 * their numbers mean something else.
 */
#include "portcullis.h"

#define FORKS(in, w) in(w, clone) in(w, clone3) in(w, fork) in(w, vfork)

/* The calls to count. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(FORKS);

/* How many of them each process may make, with those its parents made before it. */
const volatile __u64 max = 64;

/* 64 bits, so that denied attempts cannot wrap it around. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u64);
} made SEC(".maps");

SEC("seccomp/count-process")
int count_process(const struct seccomp_data *ctx)
{
	__u64 *count;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (!portcullis_has(&calls, ctx->nr))
		return SECCOMP_RET_ALLOW;
	count = bpf_task_storage_get(&made, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!count)
		PORTCULLIS_DENY(ENOMEM);
	if (__sync_fetch_and_add(count, 1) < max)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM); /* beyond max */
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
