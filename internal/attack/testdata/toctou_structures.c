// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use on calls whose memory is no path, or that are not
// made to open one.
#include "toctou.h"

#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/socket.h>

// Turns eight bytes into others and back.
static uint64_t good, bad;

static void flip_bytes(char *to)
{
	swing(to, bad, good);
}

// ---- addresses ------------------------------------------------------------------------

static struct sockaddr_in address(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port),
				     .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

// The port of a connect.
static void port(void)
{
	struct sockaddr_in safe = address(7001), secret = address(7002), peer;
	char *p = own_page();
	int fd = must("socket", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));

	memcpy(&good, &safe, 8);
	memcpy(&bad, &secret, 8);
	memcpy(p, &safe, sizeof(safe));
	beside(flip_bytes, p);
	while (more()) {
		socklen_t size = sizeof(peer);

		tally->attempts++;
		if (syscall(SYS_connect, fd, p, sizeof(safe)) == 0 &&
		    getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
			passed(peer.sin_port == secret.sin_port);
	}
}

// ---- buffers --------------------------------------------------------------------------

// What is written to a file.
static void buffer(void)
{
	char *p = own_page(), there[8];
	int fd = must("open", syscall(SYS_open, "written", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));

	beside(flip, p);
	while (more()) {
		tally->attempts++;
		if (syscall(SYS_pwrite64, fd, p, 8, 0) == 8 && pread(fd, there, 8, 0) == 8)
			passed(memcmp(there, words[SECRET], 8) == 0);
	}
}

static int pair[2];

static void send_and_look(struct msghdr *m)
{
	char there[8];

	tally->attempts++;
	if (syscall(SYS_sendmsg, pair[0], m, MSG_DONTWAIT) == 8 && read(pair[1], there, 8) == 8)
		passed(memcmp(there, words[SECRET], 8) == 0);
}

// The data of a message, two pointers away from the call.
static void message(void)
{
	char *p = own_page();
	struct iovec v = { p, 8 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	must("socketpair", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
	beside(flip, p);
	while (more())
		send_and_look(&m);
}

// The pointer to them.
static void vector(void)
{
	char *p = own_page(), *q = own_page();
	struct iovec *v = (struct iovec *)own_page();
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 1 };

	*v = (struct iovec){ p, 8 };
	store(q, SECRET);
	good = (uintptr_t)p;
	bad = (uintptr_t)q;
	must("socketpair", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
	beside(flip_bytes, (char *)&v->iov_base);
	while (more())
		send_and_look(&m);
}

// A vector that is its own data: its base, as bytes, is a word, and as a number the
// address of the vector of that base.
static void overlap(void)
{
	struct iovec *v[2];
	struct msghdr *m = (struct msghdr *)own_page();

	for (int word = SAFE; word <= SECRET; word++) {
		uintptr_t at;
		char *p;

		memcpy(&at, words[word], 8);
		p = mmap((void *)(at & -PAGE), 2 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		must("mmap", p == MAP_FAILED ? -1 : 0);
		v[word] = (struct iovec *)at;
		*v[word] = (struct iovec){ v[word], 8 };
	}
	good = (uintptr_t)v[SAFE];
	bad = (uintptr_t)v[SECRET];
	*m = (struct msghdr){ .msg_iov = v[SAFE], .msg_iovlen = 1 };
	must("socketpair", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
	beside(flip_bytes, (char *)&v[SAFE]->iov_base);
	while (more())
		send_and_look(m);
}

// ---- structures -------------------------------------------------------------------------

// The flags of openat2: read only is allowed.
static void flags(void)
{
	struct open_how *how = (struct open_how *)own_page();

	*how = (struct open_how){ 0 };
	good = 0;
	bad = O_RDWR;
	beside(flip_bytes, (char *)&how->flags);
	while (more()) {
		int fd;

		tally->attempts++;
		fd = syscall(SYS_openat2, AT_FDCWD, words[SAFE], how, sizeof(*how));
		if (fd >= 0)
			passed((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
		close(fd);
	}
}

// ---- programs ---------------------------------------------------------------------------

static char *const none[] = { NULL };

// What is executed: each file ends with its own status.
static void program(void)
{
	char *p = own_page();

	beside(flip, p);
	while (more()) {
		pid_t pid;
		int status;

		tally->attempts++;
		pid = must("vfork", vfork());
		if (pid == 0) {
			syscall(SYS_execve, p, none, none);
			_exit(1);
		}
		status = reap(pid);
		if (status == 42 || status == 43)
			passed(status == 43);
	}
}

static void *execute(void *path)
{
	syscall(SYS_execve, path, none, none);
	_exit(1);
}

static void execute_from_thread(char *path)
{
	pthread_t thread;

	beside(flip, path);
	pthread_create(&thread, NULL, execute, path);
	pthread_join(thread, NULL);
}

// The same from another thread than the first, while the first waits.
static void thread_program(void)
{
	char *p = own_page();

	while (more()) {
		int status;

		tally->attempts++;
		status = reap(child(execute_from_thread, p));
		if (status == 42 || status == 43)
			passed(status == 43);
	}
}

const struct attack structure_attacks[] = {
	{ "port", port },
	{ "buffer", buffer },
	{ "message", message },
	{ "vector", vector },
	{ "overlap", overlap },
	{ "open-flags", flags },
	{ "program", program },
	{ "thread-program", thread_program },
	{ NULL, NULL },
};
