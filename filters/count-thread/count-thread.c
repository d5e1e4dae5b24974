// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets each thread make only so many calls of a kind.
 *
 * The calls of the set calls are counted together for every thread; beyond max of them
 * they fail with EPERM, whatever other threads of its process have made. By default a
 * thread opens at most 64 sockets: so one that serves a client and has gone astray is
 * stopped and its neighbours are not.
 *
 *	--set count-thread.calls=openat,socket --set count-thread.max=10
 *
 * A count dies with its thread. It survives execve: the new program goes on where the
 * old one stopped, which after execve by another thread than the first is the count of
 * that one with the kernel engine, of the first with the agent. A new thread starts at
 * 0, and so does a child: this keeps a thread in bounds that starts no others. Where
 * they may, put the calls that do into calls, or count for the whole tree, with the
 * filter count.
 *
 * A call counts whether or not it succeeds. Calls of other tables than x86-64's, which
 * reach the filter only where a guard was lifted, end the process: their numbers mean
 * something else.
 */
#include "portcullis.h"

#define SOCKETS(in, w) in(w, socket)

/* The calls to count. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(SOCKETS);

/* How many of them each thread may make. */
const volatile __u64 max = 64;

/* 64 bits, so that denied attempts cannot wrap it around. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} made SEC(".maps");

SEC("seccomp/count-thread")
int count_thread(const struct seccomp_data *ctx)
{
	__u64 *count;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (!portcullis_has(&calls, ctx->nr))
		return SECCOMP_RET_ALLOW;
	count = bpf_task_storage_get(&made, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE | PORTCULLIS_F_THREAD);
	if (!count)
		PORTCULLIS_DENY(ENOMEM);
	if (++*count <= max)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM); /* beyond max */
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
