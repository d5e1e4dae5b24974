// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Gives each process of a server one set of calls until it serves and a smaller one
 * then.
 *
 * This is the filter phases with a phase for every process: a process is in its first
 * phase, in which the calls of init_allow are let through, until one of its threads
 * makes a call of the set switch_call. From then on only the calls of serve_allow are.
 * There is no way back, not by exec either. A child begins in the phase that its parent
 * is in at the moment of the fork, by itself from then on. Every other call fails with
 * EPERM.
 *
 * So a master that accepts no connections can go on to start workers, open ports and
 * reload, while workers that do cannot: the defaults, those of phases, are for nginx,
 * whose workers enter the second phase with the first connection that they accept, each
 * its own. What a worker in its second phase starts is in its second phase, so that
 * serve_allow without execve is for all that come of it. A process in its first phase
 * starts others in theirs: a worker that has been taken over before it accepted a
 * connection was not in its second.
 *
 *	--set phases-process.switch_call=accept,accept4,recvfrom
 *
 * Calls that both sets hold, or neither, need no state to be decided, and no child runs
 * before it has its phase. A call made while another thread of the process switches may
 * still be judged by the first phase. Calls of other tables than x86-64's, which reach
 * the filter only where a guard was lifted, end the process.
 */
#include "../phases/calls.h"

/* The calls of the first phase. */
const volatile portcullis_callset init_allow = PORTCULLIS_CALLSET(INIT);

/* The calls of the second phase. */
const volatile portcullis_callset serve_allow = PORTCULLIS_CALLSET(SERVE);

/* The calls that lead from the first phase to the second; always let through. */
const volatile portcullis_callset switch_call = PORTCULLIS_CALLSET(SWITCH);

/* Whether a process serves: a child has what its parent had. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u32);
} serving SEC(".maps");

SEC("seccomp/phases-process")
int phases_process(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;
	bool in_init, in_serve, switches;
	volatile __u32 *serves;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (nr == -1U)
		return SECCOMP_RET_ALLOW;
	switches = portcullis_has(&switch_call, nr);
	in_init = portcullis_has(&init_allow, nr);
	in_serve = portcullis_has(&serve_allow, nr);
	if (!switches && in_init && in_serve)
		return SECCOMP_RET_ALLOW;
	if (!switches && !in_init && !in_serve)
		PORTCULLIS_DENY(EPERM); /* in neither set */
	serves = bpf_task_storage_get(&serving, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!serves)
		PORTCULLIS_DENY(ENOMEM);
	if (switches) {
		*serves = true;
		return SECCOMP_RET_ALLOW;
	}
	if (*serves == in_serve)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM); /* not in this phase */
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
