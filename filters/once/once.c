// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets some calls be made only before the first of others, or only after it.
 *
 * Once the sandbox has made a call of the set mark, the calls of the set calls
 * fail with EPERM. By default a server starts no more programs once it listens.
 * With --set once.after=true it is the other way round: until then the calls
 * fail. All other calls are let through.
 *
 *	--set once.calls=open,openat,openat2 --set once.mark=connect
 *	--set once.calls=connect --set once.mark=chroot,pivot_root --set once.after=true
 *
 * A call of both sets is let through and is the mark itself, so that a set given
 * twice may be called once:
 *
 *	--set once.calls=setns,unshare --set once.mark=setns,unshare
 *
 * With after=true nothing but the rest of mark opens the way for such a call.
 *
 * The mark is of the whole process tree: no fork and no exec undoes it, and one
 * that a child makes counts for its parent. It is made when the call begins,
 * whether or not it succeeds. A call that began before it may still be under way.
 * The launch of the sandboxed command is no mark and is not denied. Calls of
 * other tables than x86-64's, which reach the filter only where a guard was
 * lifted, end the process.
 */
#include "portcullis.h"

#define EXECS(in, w) in(w, execve) in(w, execveat)
#define LISTEN(in, w) in(w, listen)

/* The calls that are let through only before the mark, or only after it. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(EXECS);

/* The calls of which the first is the mark. */
const volatile portcullis_callset mark = PORTCULLIS_CALLSET(LISTEN);

/* Whether the calls are for after the mark. */
const volatile bool after = false;

static volatile __u64 marked;

SEC("seccomp/once")
int once(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;
	bool judged, marks;
	__u64 before;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	judged = portcullis_has(&calls, nr);
	marks = portcullis_has(&mark, nr);
	if (!judged && !marks)
		return SECCOMP_RET_ALLOW;
	if (judged && after) {
		if (marked)
			return SECCOMP_RET_ALLOW;
		PORTCULLIS_DENY(EPERM); /* before the mark */
	}
	/* Exchanged, so that of two calls of both sets at a time one is first. */
	before = marks ? __sync_lock_test_and_set(&marked, 1) : marked;
	if (!judged || !before)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EPERM); /* after the mark */
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
