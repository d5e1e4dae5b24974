// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets calls through by a long list of arguments, and remembers what it let through.
 *
 * The calls of the set calls are let through where an entry of the list names
 * them: entry i is the call call[i] with the first three arguments arg0[i],
 * arg1[i] and arg2[i], but for the bits that ignore0[i], ignore1[i] and
 * ignore2[i] name. Elements that are not given are 0. What no entry names fails
 * with EPERM. By default that is socket, and the list has what most programs ask
 * for: Unix, TCP and UDP sockets, and netlink's routes.
 *
 *	--set cache.calls=prctl,personality --set cache.call=prctl,prctl,personality
 *	--set cache.arg0=15,38,0xffffffff --set cache.arg1=0,1
 *	--set cache.ignore0=0 --set cache.ignore1=0xffffffffffffffff
 *	--set cache.ignore2=0xffffffffffffffff,0,0xffffffffffffffff
 *
 * Setting call without the six other lists leaves their defaults in place.
 *
 * The whole list is searched for each call, but a call that was let through is
 * remembered with its arguments, and let through after one look the next time.
 * The latest 1024 are. The list is constant and asks for nothing but the call and
 * its arguments, so what is remembered cannot become wrong: the verdict is the
 * same in every process and thread, after every fork and exec, and when another
 * call takes its place. Denials are not remembered: who is denied could
 * drive out what others use. --set cache.remember=false searches every time.
 *
 * Arguments are compared as 64 bits, though a call may use fewer: one with
 * others set is denied unless they are ignored. Calls of other tables than
 * x86-64's, which reach the filter only where a guard was lifted, end the process.
 */
#include "portcullis.h"

#define ENTRIES 256
#define REMEMBERED 1024

/* Numbers of <linux/socket.h> and <linux/net.h>. */
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define SOCK_FLAGS 02004000 /* SOCK_CLOEXEC | SOCK_NONBLOCK */
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#define SOCKET(in, w) in(w, socket)

/* The calls that are let through by the list alone. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(SOCKET);

/* The call of each entry; its length is that of the list. */
const volatile __u32 call[ENTRIES] = { [0 ... 12] = __NR_socket };

/* How many entries the list has. */
const volatile __u32 call_len = 13;

/* The first argument of each entry. */
const volatile __u64 arg0[ENTRIES] = {
	AF_UNIX, AF_UNIX, AF_UNIX, AF_INET, AF_INET, AF_INET, AF_INET,
	AF_INET6, AF_INET6, AF_INET6, AF_INET6, AF_NETLINK, AF_NETLINK,
};

/* The second argument of each entry. */
const volatile __u64 arg1[ENTRIES] = {
	SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_DGRAM,
	SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_DGRAM, SOCK_RAW, SOCK_DGRAM,
};

/* The third argument of each entry. */
const volatile __u64 arg2[ENTRIES] = {
	0, 0, 0, 0, IPPROTO_TCP, 0, IPPROTO_UDP, 0, IPPROTO_TCP, 0, IPPROTO_UDP, 0, 0,
};

/* The bits of the first argument that do not matter. */
const volatile __u64 ignore0[ENTRIES] = {};

/* The bits of the second argument that do not matter. */
const volatile __u64 ignore1[ENTRIES] = { [0 ... 12] = SOCK_FLAGS };

/* The bits of the third argument that do not matter. */
const volatile __u64 ignore2[ENTRIES] = {};

/* Whether what was let through is remembered. */
const volatile bool remember = true;

struct question {
	__u64 nr, arg0, arg1, arg2;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, REMEMBERED);
	__type(key, struct question);
	__type(value, __u8);
} answered SEC(".maps");

/* listed searches the list. One branch an entry, and not one for each argument:
 * that is less to prove, and as fast. */
static __always_inline bool listed(const struct question *q)
{
	__u32 n = call_len;

	for (__u32 i = 0; i < ENTRIES && i < n; i++)
		if (!((call[i] ^ q->nr) | ((arg0[i] ^ q->arg0) & ~ignore0[i]) |
		      ((arg1[i] ^ q->arg1) & ~ignore1[i]) | ((arg2[i] ^ q->arg2) & ~ignore2[i])))
			return true;
	return false;
}

SEC("seccomp/cache")
int cache(const struct seccomp_data *ctx)
{
	struct question q = { (__u32)ctx->nr, ctx->args[0], ctx->args[1], ctx->args[2] };
	__u8 yes = 1;

	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (!portcullis_has(&calls, ctx->nr))
		return SECCOMP_RET_ALLOW;
	if (remember && bpf_map_lookup_elem(&answered, &q))
		return SECCOMP_RET_ALLOW;
	if (!listed(&q))
		PORTCULLIS_DENY(EPERM); /* not listed */
	if (remember)
		bpf_map_update_elem(&answered, &q, &yes, BPF_ANY); /* a failure costs time alone */
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
