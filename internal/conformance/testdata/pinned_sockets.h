// SPDX-License-Identifier: Apache-2.0
// The cases of calls on sockets, for pinned.c.

// ---- sockets ----------------------------------------------------------------------------

static int peer = -1; // which receives

static void show_received(void)
{
	static char got[64 << 10];
	char control[64];
	struct iovec v = { got, sizeof(got) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;

	while (peer >= 0 && (n = recvmsg(peer, &m, MSG_DONTWAIT)) > 0) {
		say(" received %zd ", n);
		show_hex(got, n);
		if (m.msg_controllen)
			say(" with %zu", m.msg_controllen);
		m.msg_controllen = sizeof(control);
	}
}

static int pair(int kind)
{
	int fd[2];

	MUST(socketpair(AF_UNIX, kind, 0, fd));
	peer = fd[1];
	return fd[0];
}

static int new_socket(int family, int kind)
{
	return MUST(socket(family, kind, 0));
}

static struct sockaddr_un local(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, name);
	return a;
}

static int listening(const char *name)
{
	struct sockaddr_un a = local(name);
	int fd = new_socket(AF_UNIX, SOCK_STREAM);

	MUST(bind(fd, (void *)&a, sizeof(a)));
	MUST(listen(fd, 5));
	return fd;
}

static int receiving(const char *name)
{
	struct sockaddr_un a = local(name);

	peer = new_socket(AF_UNIX, SOCK_DGRAM);
	MUST(bind(peer, (void *)&a, sizeof(a)));
	return new_socket(AF_UNIX, SOCK_DGRAM);
}

static long address(const char *name)
{
	struct sockaddr_un a = local(name);

	return bytes(&a, 2 + strlen(name) + 1);
}

// A name that no other process has.
static long abstract(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path + 1, 13, "pid%09d", getpid());
	return bytes(&a, 15);
}

static int full_socket(void)
{
	static char block[page];
	int fd = pair(SOCK_STREAM);

	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	peer = -1;
	return fd;
}

#define INET(port) ARRAY(unsigned char, AF_INET, 0, (port) >> 8, (port)&255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
#define MESSAGE(...) THE(struct msghdr, __VA_ARGS__)

static long rights(int fd)
{
	struct {
		struct cmsghdr h;
		int fd;
	} c = { { 20, SOL_SOCKET, SCM_RIGHTS }, fd };

	return bytes(&c, 24);
}

static void messages(void)
{
	CASE(sendmsg, "a pair", pair(SOCK_DGRAM), MESSAGE(.msg_iov = (void *)IOV(vec("some"), vec("thing")), .msg_iovlen = 2), 0);
	CASE(sendmsg, "a name", receiving("to"),
	     MESSAGE(.msg_name = (void *)address("to"), .msg_namelen = 5, .msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), 0);
	CASE(sendmsg, "a long name", receiving("to"),
	     MESSAGE(.msg_name = (void *)address("to"), .msg_namelen = 500, .msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1),
	     0);
	CASE(sendmsg, "a bad name", receiving("to"),
	     MESSAGE(.msg_name = (void *)UNMAPPED, .msg_namelen = 5, .msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), 0);
	CASE(sendmsg, "no name, badly", pair(SOCK_DGRAM),
	     MESSAGE(.msg_name = (void *)UNMAPPED, .msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), 0);
	CASE(sendmsg, "a negative name", receiving("to"),
	     MESSAGE(.msg_name = (void *)address("to"), .msg_namelen = -1, .msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1),
	     0);
	CASE(sendmsg, "a descriptor", pair(SOCK_STREAM),
	     MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1, .msg_control = (void *)rights(1), .msg_controllen = 24),
	     0);
	CASE(sendmsg, "no descriptor", pair(SOCK_STREAM),
	     MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1, .msg_control = (void *)rights(99), .msg_controllen = 24),
	     0);
	CASE(sendmsg, "control nowhere", pair(SOCK_STREAM),
	     MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1, .msg_control = (void *)UNMAPPED, .msg_controllen = 24),
	     0);
	CASE(sendmsg, "no control, nowhere", pair(SOCK_STREAM),
	     MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1, .msg_control = (void *)UNMAPPED), 0);
	CASE(sendmsg, "buffers nowhere", pair(SOCK_STREAM), MESSAGE(.msg_iov = (void *)UNMAPPED, .msg_iovlen = 1), 0);
	CASE(sendmsg, "no buffers, nowhere", pair(SOCK_DGRAM), MESSAGE(.msg_iov = (void *)UNMAPPED), 0);
	CASE(sendmsg, "too many buffers", pair(SOCK_DGRAM), MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1025), 0);
	CASE(sendmsg, "nothing between", pair(SOCK_DGRAM),
	     MESSAGE(.msg_iov = (void *)IOV(vec("some"), { (void *)UNMAPPED, 0 }, { 0, 0 }, vec("thing")), .msg_iovlen = 4), 0);
	CASE(sendmsg, "data nowhere", pair(SOCK_DGRAM),
	     MESSAGE(.msg_iov = (void *)IOV(vec("some"), { (void *)UNMAPPED, 4 }), .msg_iovlen = 2), 0);
	CASE(sendmsg, "much", pair(SOCK_STREAM), MESSAGE(.msg_iov = (void *)IOV({ (void *)letters(50000), 50000 }), .msg_iovlen = 1),
	     0);
	CASE(sendmsg, "without a copy", pair(SOCK_STREAM), MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), 0x4000000);
	CASE(sendmsg, "a full socket", full_socket(), MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), MSG_DONTWAIT);
	CASE(sendmsg, "no socket", 77, MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), 0);
	CASE(sendmsg, "a file", seen(O_RDWR), MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1), 0);
}

static void sockets(void)
{
	CASE(connect, "a listener", (listening("to"), new_socket(AF_UNIX, SOCK_STREAM)), address("to"), 5);
	CASE(connect, "a whole structure", (listening("to"), new_socket(AF_UNIX, SOCK_STREAM)),
	     ({
		     struct sockaddr_un a = local("to");
		     bytes(&a, sizeof(a));
	     }), sizeof(struct sockaddr_un));
	CASE(connect, "nobody", new_socket(AF_UNIX, SOCK_STREAM), address("none"), 7);
	CASE(connect, "a file", new_socket(AF_UNIX, SOCK_STREAM), address(file("file")), 7);
	CASE(connect, "a closed port", new_socket(AF_INET, SOCK_STREAM), INET(9), 16);
	CASE(connect, "by datagrams", new_socket(AF_INET, SOCK_DGRAM), INET(9), 16);
	CASE(connect, "another family", new_socket(AF_INET, SOCK_STREAM), address("none"), 16);
	CASE(connect, "no socket", 77, INET(9), 16);
	CASE(bind, "a name", new_socket(AF_UNIX, SOCK_STREAM), address("new"), 6);
	CASE(bind, "a name that is taken", new_socket(AF_UNIX, SOCK_STREAM), address(file("file")), 7);
	CASE(bind, "an abstract name", new_socket(AF_UNIX, SOCK_STREAM), abstract(), 15);
	CASE_AS(NOVALUE, bind, "no name", new_socket(AF_UNIX, SOCK_STREAM), ARRAY(char, AF_UNIX, 0), 2);
	CASE(bind, "any port", new_socket(AF_INET, SOCK_STREAM), INET(0), 16);
	CASE(bind, "an address of others", new_socket(AF_INET, SOCK_STREAM), ARRAY(char, AF_INET, 0, 0, 0, 8, 8, 8, 8), 16);
	CASE(setsockopt, "a number", new_socket(AF_INET, SOCK_STREAM), SOL_SOCKET, SO_REUSEADDR, THE(int, 1), 4);
	CASE(setsockopt, "a time", new_socket(AF_INET, SOCK_STREAM), SOL_SOCKET, SO_RCVTIMEO, ARRAY(long, 1, 5), 16);
	CASE(setsockopt, "lingering", new_socket(AF_INET, SOCK_STREAM), SOL_SOCKET, SO_LINGER, ARRAY(int, 1, 5), 8);
	CASE(setsockopt, "congestion", new_socket(AF_INET, SOCK_STREAM), 6, 13, text("cubic"), 5);
	CASE(setsockopt, "no congestion", new_socket(AF_INET, SOCK_STREAM), 6, 13, text("none at all"), 11);
	CASE(setsockopt, "a byte", new_socket(AF_INET, SOCK_STREAM), 0, 2, text("a"), 1);
	CASE(setsockopt, "a filter", new_socket(AF_INET, SOCK_DGRAM), SOL_SOCKET, 26,
	     ARRAY(long, 1, ARRAY(short, 6, 0, -1, 0)), 16);
	CASE(setsockopt, "unknown", new_socket(AF_INET, SOCK_STREAM), SOL_SOCKET, 9999, THE(int, 1), 4);
	CASE(setsockopt, "an interface", new_socket(AF_INET, SOCK_STREAM), SOL_SOCKET, 25, text("lo"), 3);
	CASE(setsockopt, "no socket", 77, SOL_SOCKET, SO_REUSEADDR, THE(int, 1), 4);
	also = show_received;
	CASE(sendto, "a pair", pair(SOCK_STREAM), text("text"), 4, MSG_DONTWAIT, 0, 0);
	CASE(sendto, "a name", receiving("to"), text("text"), 4, 0, address("to"), 5);
	CASE(sendto, "an address", new_socket(AF_INET, SOCK_DGRAM), text("text"), 4, 0, INET(9), 16);
	CASE(sendto, "nobody", new_socket(AF_UNIX, SOCK_DGRAM), text("text"), 4, 0, address("none"), 7);
	CASE(sendto, "without a copy", pair(SOCK_STREAM), text("text"), 4, 0x4000000, 0, 0);
	CASE(sendto, "a full socket", full_socket(), text("text"), 4, MSG_DONTWAIT, 0, 0);
	CASE(sendto, "not connected", new_socket(AF_UNIX, SOCK_STREAM), text("text"), 4, MSG_NOSIGNAL, 0, 0);
	CASE(sendto, "60000 bytes", pair(SOCK_DGRAM), letters(60000), 60000, 0, 0, 0);
	messages();
	also = NULL;
}
