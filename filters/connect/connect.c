// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets sockets reach, and be bound to, listed addresses only.
 *
 * An address that connect, sendto or sendmsg names has to be in the list allow, and one
 * that bind names in the list bind; otherwise the call fails with EACCES. Endpoints are
 * IPv4 and IPv6 addresses or networks, with a port, a range of ports or all of them,
 * and Unix sockets by name, which a * at its end makes a prefix:
 *
 *	--set connect.allow=10.0.0.0/8:80-90,[fd00::]/8:443,*:53,unix:/run/x,unix:@name*
 *	--set connect.allow=+93.184.216.34:443 --set connect.bind=0.0.0.0:8080
 *
 * By default a program reaches itself, this machine and whoever listens at a Unix
 * socket.
 *
 * IPv4 addresses in IPv6 clothes (::ffff:127.0.0.1) are IPv4. 0.0.0.0 and [::], which
 * reach this machine too, have to be listed. An address that is too short fails as it
 * would in the kernel, with EINVAL. connect to no address (AF_UNSPEC) ends a connection
 * and is let through; where sending and binding take that for IPv4, so does this
 * filter. What is sent without an address, on a socket that is connected, is let
 * through.
 *
 * Sockets are of the families in the list families alone, those of TCP/IP streams and
 * datagrams of TCP, UDP, ICMP and MPTCP: others let who has one choose packets himself.
 * Addresses of other listed families are not looked at: netlink, which is listed, reaches
 * the kernel and whoever listens there. What sends packets by way of another address
 * (IP_OPTIONS, IPV6_RTHDR, IPV6_FLOWLABEL_MGR, as option or in a control message) is
 * refused with EPERM, and so is a message of more than 8 control messages. The
 * addresses of sendmmsg cannot be pinned, as the kernel writes among them: it fails
 * with ENOSYS unless sendmmsg=true, which lets anybody send datagrams anywhere. glibc
 * asks name servers by it, for both families at once, unless RES_OPTIONS has
 * single-request.
 *
 * The name of a Unix socket is compared as it is written: relative ones, and those with
 * ".." in them, are for unix:* alone, and links are followed. Sending is about the
 * call, not about who listens: a name service that is reached resolves any name, and a
 * proxy reaches anybody. Nor is it about the way: SO_BINDTODEVICE and the scope of an
 * address choose the network in which it is, and who has CAP_NET_ADMIN there sends packets
 * to it anywhere, by routes, marks, policies and tunnels. A peer of MPTCP may name more
 * addresses of its own where the machine is set to accept them. Sockets that were
 * inherited or received, and those of another process that pidfd_getfd takes, are
 * connected to what they are; one of SCTP or a raw one, which cannot be made here, reaches
 * anybody. A socket that listens without having been bound gets a port from the kernel.
 * Calls of other tables than x86-64's, which reach the filter only where a guard was
 * lifted, end the process.
 */
#include "portcullis.h"

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16

#define FAMILIES 16

/* The addresses that may be reached. */
const volatile portcullis_endpoints allow = { .endpoint = {
	{ .family = AF_UNIX, .high = 65535 },
	{ .family = AF_INET, .bits = 8, .high = 65535, .addr = { 127 } },
	{ .family = AF_INET6, .bits = 128, .high = 65535, .addr = { 0, 1ULL << 56 } },
} };

/* The addresses that sockets may be bound to. */
const volatile portcullis_endpoints bind = { .endpoint = {
	{ .family = AF_UNIX, .high = 65535 },
	{ .family = AF_INET, .bits = 8, .high = 65535, .addr = { 127 } },
	{ .family = AF_INET6, .bits = 128, .high = 65535, .addr = { 0, 1ULL << 56 } },
} };

/* The families of sockets that there may be: 1 is Unix, 2 IPv4, 10 IPv6, 16 netlink, 40 vsock. */
const volatile __u32 families[FAMILIES] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };

/* How long the list families is. */
const volatile __u32 families_len = 4;

/* Whether sendmmsg is let through, whose addresses cannot be looked at. */
const volatile bool sendmmsg = false;

/* IS tells whether this is such a call: see filters/paths/paths.c. */
#define IS(call) (*(const volatile __s32 *)&ctx->nr == __NR_##call)

/* An address as lists have it: the bytes that are compared, and its port. */
struct address {
	__u64 bytes[14];
	__u32 family, port;
};

static __always_inline bool known(__u32 family)
{
	const volatile __u32 *f = families;

	for (__u32 i = 0; i < FAMILIES && i < families_len; i++, PORTCULLIS_STEP(f, sizeof(*f))) {
		if (*f == family)
			return true;
	}
	return false;
}

typedef typeof(allow.endpoint[0]) endpoint;

/* among tells whether an address has the first bits of an endpoint, counted as they are sent. */
static __always_inline bool among(const volatile endpoint *e, const struct address *a)
{
	const volatile __u64 *want = e->addr;
	const __u64 *have = a->bytes;
	__u64 differs = 0, mask;

#pragma clang loop unroll(disable)
	for (__s32 left = e->bits; left > 0; left -= 64, PORTCULLIS_STEP(want, 8), PORTCULLIS_STEP(have, 8)) {
		mask = left < 64 ? __builtin_bswap64(~0ULL << (64 - left)) : ~0ULL;
		differs |= (*want ^ *have) & mask;
	}
	return !differs;
}

/* listed tells whether a list takes an address. */
static __always_inline bool listed(const volatile portcullis_endpoints *list, const struct address *a)
{
	const volatile endpoint *e = list->endpoint;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < PORTCULLIS_ENDPOINTS && e->family; i++, PORTCULLIS_STEP(e, sizeof(*e))) {
		if (e->family == a->family && a->port >= e->low && a->port <= e->high && among(e, a))
			return true;
	}
	return false;
}

/* everyone tells whether a list takes every Unix socket. */
static __always_inline bool everyone(const volatile portcullis_endpoints *list)
{
	const volatile endpoint *e = list->endpoint;

	for (__u32 i = 0; i < PORTCULLIS_ENDPOINTS && e->family; i++, PORTCULLIS_STEP(e, sizeof(*e))) {
		if (e->family == AF_UNIX && !e->bits)
			return true;
	}
	return false;
}

/* up tells whether a path has a component that begins with "..": it may be elsewhere. */
static __always_inline bool up(const struct address *a)
{
	const __u8 *path = (const __u8 *)a->bytes;
	__u32 found = 0;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 106; i++, PORTCULLIS_STEP(path, 1)) /* only 0 - 1 has the highest bit */
		found |= ((path[0] ^ '/') | (path[1] ^ '.') | (path[2] ^ '.')) - 1u;
	return found >> 31;
}

/* A sockaddr_in and a sockaddr_in6, as far as they matter. */
struct inet {
	__u16 family, port;
	__u32 addr;
};

/* MAPPED are the middle four bytes of ::ffff:0.0.0.0. */
#define MAPPED 0xffff0000U

/* inet6 reads the rest of an IPv6 address, which may be an IPv4 one. */
static __always_inline long inet6(struct address *a, __u64 from)
{
	long e = bpf_safe_read_user(a->bytes, 16, from + 8);

	if (a->bytes[0] || (__u32)a->bytes[1] != MAPPED)
		return e;
	a->family = AF_INET;
	a->bytes[0] = a->bytes[1] >> 32;
	a->bytes[1] = 0;
	return e;
}

/* read reads an address of n bytes; it fails as the kernel would. */
static __always_inline long read(struct address *a, __u64 from, __u32 n)
{
	struct inet in = {};
	long e;

	if (a->family == AF_UNIX) {
		a->port = n;
		return n > 110 ? -EINVAL : bpf_safe_read_user(a->bytes, n - 2, from + 2);
	}
	if (n < (a->family == AF_INET ? 16 : 24))
		return -EINVAL;
	e = bpf_safe_read_user(&in, sizeof(in), from);
	if (e)
		return e;
	a->port = __builtin_bswap16(in.port);
	a->bytes[0] = in.addr;
	return a->family == AF_INET ? 0 : inet6(a, from);
}

/* What no address (AF_UNSPEC) is taken for. */
enum { NOTHING, IPV4 };

/* judge is the verdict on an address of n bytes. */
static __noinline long judge(const volatile portcullis_endpoints *list, __u64 from, __u32 n, int unspecified)
{
	struct address a = {};
	__u16 family = 0;
	long e;

	if (n < 2 || n > 128)
		PORTCULLIS_DENY(EINVAL);
	if (bpf_safe_read_user(&family, sizeof(family), from))
		PORTCULLIS_DENY(EFAULT);
	if (family == AF_UNSPEC && unspecified == NOTHING)
		return SECCOMP_RET_ALLOW;
	a.family = family == AF_UNSPEC ? AF_INET : family;
	if (a.family != AF_INET && a.family != AF_INET6 && a.family != AF_UNIX) {
		if (known(a.family))
			return SECCOMP_RET_ALLOW;
		PORTCULLIS_DENY(EAFNOSUPPORT); /* of another family */
	}
	e = read(&a, from, n);
	if (e == -EINVAL)
		PORTCULLIS_DENY(EINVAL); /* too short */
	if (e)
		PORTCULLIS_DENY(EFAULT);
	if (a.family == AF_UNIX && (__u8)a.bytes[0] && up(&a) && !everyone(list))
		PORTCULLIS_DENY(EACCES); /* ".." */
	if (listed(list, &a))
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EACCES); /* not listed */
}

struct msghdr {
	__u64 name;
	__u32 namelen, pad;
	__u64 iov, iovlen, control, controllen;
	__u32 flags, pad2;
};

struct cmsghdr {
	__u64 len;
	__u32 level, type;
};

#define SOL_IP 0
#define SOL_IPV6 41
#define IP_OPTIONS 4
#define IP_RETOPTS 7
#define IPV6_2292RTHDR 5
#define IPV6_2292PKTOPTIONS 6
#define IPV6_FLOWLABEL_MGR 32 /* whose labels have such headers */
#define IPV6_RTHDR 57

/* detours tells whether an option, or a control message, sends packets by way of others. */
static __always_inline bool detours(__u32 level, __u32 type)
{
	if (level == SOL_IP)
		return type == IP_OPTIONS || type == IP_RETOPTS;
	return level == SOL_IPV6 && (type == IPV6_2292RTHDR || type == IPV6_2292PKTOPTIONS || type == IPV6_RTHDR ||
				     type == IPV6_FLOWLABEL_MGR);
}

#define MESSAGES 8

/* controls is the verdict on control messages, 0 if there is nothing against them. */
static __always_inline long controls(const struct msghdr *m)
{
	struct cmsghdr c = {};
	__u64 at = 0;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < MESSAGES; i++) {
		if (at + sizeof(c) > m->controllen)
			return 0;
		if (bpf_safe_read_user(&c, sizeof(c), m->control + at))
			PORTCULLIS_DENY(EFAULT);
		if (detours(c.level, c.type))
			PORTCULLIS_DENY(EPERM); /* by way of another address */
		if (c.len < sizeof(c) || c.len > m->controllen - at)
			PORTCULLIS_DENY(EINVAL);
		at += (c.len + 7) & ~7ULL;
	}
	if (at + sizeof(c) > m->controllen)
		return 0;
	PORTCULLIS_DENY(EPERM); /* too many control messages */
}

static __always_inline long message(const struct seccomp_data *ctx)
{
	struct msghdr m = {};
	long e;

	if (bpf_safe_read_user(&m, sizeof(m), ctx->args[1]))
		PORTCULLIS_DENY(EFAULT);
	e = controls(&m);
	if (e)
		return e;
	if (!m.name || !m.namelen)
		return SECCOMP_RET_ALLOW;
	return judge(&allow, m.name, m.namelen > 128 ? 128 : m.namelen, IPV4);
}

#define SOCK_STREAM 1
#define SOCK_DGRAM 2

/* plain tells whether the kernel makes the packets of such a socket. */
static __always_inline bool plain(__u32 type, __u32 protocol)
{
	if ((type & 0xf) != SOCK_STREAM && (type & 0xf) != SOCK_DGRAM)
		return false;
	/* The default, ICMP, TCP, UDP, ICMPv6, UDP-Lite, MPTCP. */
	return !protocol || protocol == 1 || protocol == 6 || protocol == 17 || protocol == 58 || protocol == 136 ||
	       protocol == 262;
}

static __always_inline int sockets(const struct seccomp_data *ctx)
{
	__u32 family = ctx->args[0];

	if (!known(family))
		PORTCULLIS_DENY(EAFNOSUPPORT); /* of another family */
	if ((family == AF_INET || family == AF_INET6) && !plain(ctx->args[1], ctx->args[2]))
		PORTCULLIS_DENY(EPROTONOSUPPORT); /* chooses packets itself */
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/connect")
int connect(const struct seccomp_data *ctx)
{
	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (IS(connect))
		return judge(&allow, ctx->args[1], ctx->args[2], NOTHING);
	if (IS(sendto))
		return (__u32)ctx->args[5] ? judge(&allow, ctx->args[4], ctx->args[5], IPV4) : SECCOMP_RET_ALLOW;
	if (IS(sendmsg))
		return message(ctx);
	if (IS(bind))
		return judge(&bind, ctx->args[1], ctx->args[2], IPV4);
	if (IS(socket) || IS(socketpair))
		return sockets(ctx);
	if (IS(setsockopt) && detours(ctx->args[1], ctx->args[2]))
		PORTCULLIS_DENY(EPERM); /* by way of another address */
	if (IS(sendmmsg) && !sendmmsg)
		PORTCULLIS_DENY(ENOSYS); /* cannot be pinned */
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
