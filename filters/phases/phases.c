// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Gives a server one set of calls while it starts and a smaller one while it serves.
 *
 * The sandbox starts in its first phase, in which the calls of init_allow are
 * let through. With the first call of the set switch_call, anywhere in the
 * process tree, the whole tree enters its second phase, in which only the calls
 * of serve_allow are. There is no way back. Every other call fails with EPERM.
 *
 * The defaults let nginx and redis run. The switch is the first connection they
 * accept, and not the first wait for events: nginx starts its workers one after
 * another, and the first waits before the last has started. From then on no
 * program is started, no port opened and no root changed. What a worker that
 * starts late needs stays allowed, dropping privileges among it. A reload of nginx needs --set phases.serve_allow=+bind,+listen.
 *
 * Calls that both sets hold, or neither, are decided by the kernel alone. A call
 * made while another task switches may still be judged by the first phase.
 * Calls of other tables than x86-64's, which reach the filter only where a guard
 * was lifted, end the process.
 */
#include "calls.h"

/* The calls of the first phase. */
const volatile portcullis_callset init_allow = PORTCULLIS_CALLSET(INIT);

/* The calls of the second phase. */
const volatile portcullis_callset serve_allow = PORTCULLIS_CALLSET(SERVE);

/* The calls that lead from the first phase to the second; always let through. */
const volatile portcullis_callset switch_call = PORTCULLIS_CALLSET(SWITCH);

static volatile bool serving;

SEC("seccomp/phases")
int phases(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;
	bool in_init, in_serve;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (nr == -1U)
		return SECCOMP_RET_ALLOW;
	if (portcullis_has(&switch_call, nr)) {
		serving = true;
		return SECCOMP_RET_ALLOW;
	}
	in_init = portcullis_has(&init_allow, nr);
	in_serve = portcullis_has(&serve_allow, nr);
	if (in_init && in_serve)
		return SECCOMP_RET_ALLOW;
	if (!in_init && !in_serve)
		PORTCULLIS_DENY(EPERM); /* in neither set */
	if (serving == in_serve)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM); /* not in this phase */
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
