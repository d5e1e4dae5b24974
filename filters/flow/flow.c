// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets each thread make the calls that matter only in the order given.
 *
 * The calls of the set calls are judged by the one of them that the same thread
 * made last: the call to[i] may follow the call from[i], and what no pair names
 * fails with EPERM. -1 in from stands for a thread that has made none yet. Calls
 * outside the set neither are judged nor come in between. The pairs are the edges
 * of a graph, given as two lists of which as much counts as both have:
 *
 *	--set flow.calls=connect,execve,execveat
 *	--set flow.from=-1,-1,execve,execve,connect
 *	--set flow.to=execve,connect,execve,connect,connect
 *
 * lets a program connect, and none that has start another in its place.
 *
 * The defaults keep a hole in a server from becoming a shell: a thread that has
 * called bind, listen, accept or accept4 executes no program any more, and none
 * calls ptrace or process_vm_writev. connect is not among them, for shells ask a
 * name service about the user and may then execute in place.
 *
 * The last call is the thread's. It survives execve: the new program goes on
 * where the old one stopped, which after execve by another thread than the first
 * is the last call of that one with the kernel engine, of the first with the
 * agent. A new thread starts with none, and so does a child, be it of fork, vfork
 * or clone. Where that is too much freedom, put these into calls as well: then a
 * thread can only start another from where an edge leads there. A denied call
 * does not count as made, a failed one does. The launch of the sandboxed command
 * does not count. Calls of other tables than x86-64's, which reach the filter
 * only where a guard was lifted, end the process.
 */
#include "portcullis.h"

#define EDGES 128
#define START -1

#define TRACKED(in, w) \
	in(w, bind) in(w, listen) in(w, accept) in(w, accept4) in(w, execve) in(w, execveat) \
	in(w, ptrace) in(w, process_vm_writev)

#define SIX(nr) nr, nr, nr, nr, nr, nr
#define FOUR(nr) nr, nr, nr, nr
#define SERVE __NR_bind, __NR_listen, __NR_accept, __NR_accept4

/* The calls that are judged. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(TRACKED);

/* The call that to may follow, -1 for none: a list as long as to. */
const volatile __s32 from[EDGES] = {
	SIX(START), SIX(__NR_execve), SIX(__NR_execveat),
	FOUR(__NR_bind), FOUR(__NR_listen), FOUR(__NR_accept), FOUR(__NR_accept4),
};

/* How long the list from is. */
const volatile __u32 from_len = 34;

/* The call that may follow from: a list as long as from. */
const volatile __s32 to[EDGES] = {
	__NR_execve, __NR_execveat, SERVE, __NR_execve, __NR_execveat, SERVE, __NR_execve, __NR_execveat, SERVE,
	SERVE, SERVE, SERVE, SERVE,
};

/* How long the list to is. */
const volatile __u32 to_len = 34;

/* The call a thread made last, as its number plus one, for storage starts zeroed. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} last SEC(".maps");

/* follows tells whether an edge leads from one call to another. */
static __always_inline bool follows(__s32 before, __s32 nr)
{
	__u32 n = from_len < to_len ? from_len : to_len;
	__s32 differs;

	for (__u32 i = 0; i < EDGES && i < n; i++) {
		differs = from[i] ^ before;
		/* One branch an edge: two are twice the paths to prove. */
		__asm__ volatile("" : "+r"(differs));
		if (!(differs | (to[i] ^ nr)))
			return true;
	}
	return false;
}

SEC("seccomp/flow")
int flow(const struct seccomp_data *ctx)
{
	__s32 nr = ctx->nr;
	__u32 *made;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (!portcullis_has(&calls, nr))
		return SECCOMP_RET_ALLOW;
	made = bpf_task_storage_get(&last, NULL, NULL,
				    BPF_LOCAL_STORAGE_GET_F_CREATE | PORTCULLIS_F_THREAD);
	if (!made)
		PORTCULLIS_DENY(ENOMEM);
	if (!follows((__s32)(*made - 1), nr))
		PORTCULLIS_DENY(EPERM); /* no edge */
	*made = nr + 1;
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
