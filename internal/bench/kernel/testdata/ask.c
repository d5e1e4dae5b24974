// SPDX-License-Identifier: Apache-2.0
// Asks a server on 127.0.0.1 the same over one connection that is kept.
//
//   ask PORT http|redis N ROUNDS
//
// Prints what a request takes by the guest's time stamp counter, in the quickest of
// ROUNDS rounds of N. Waits until there is a server.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 20000 };

static void die(const char *what)
{
	fprintf(stderr, "ask: %s: %s\n", what, errno ? strerror(errno) : "not what was expected");
	exit(1);
}

static int reach(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timespec moment = { .tv_nsec = 5000000 };
	int one = 1;

	for (int i = 0; i < TRIES; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to))) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			return fd;
		}
		close(fd);
		nanosleep(&moment, NULL);
	}
	die("connect");
	return -1;
}

static const struct manner {
	const char *name, *question, *end;
} manners[] = {
	{ "http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "portcullis\n" },
	{ "redis", "*1\r\n$4\r\nPING\r\n", "+PONG\r\n" },
};

static void ask(int fd, const struct manner *m)
{
	static char answer[4096];
	size_t n = strlen(m->question), end = strlen(m->end), have = 0;

	if (write(fd, m->question, n) != (ssize_t)n)
		die("write");
	do {
		ssize_t got = read(fd, answer + have, sizeof(answer) - have);
		if (got <= 0)
			die("read");
		have += got;
	} while (have < end || memcmp(answer + have - end, m->end, end));
}

int main(int argc, char **argv)
{
	const struct manner *m = NULL;
	uint64_t best = UINT64_MAX;

	if (argc != 5) {
		fprintf(stderr, "usage: ask PORT http|redis N ROUNDS\n");
		return 2;
	}
	for (unsigned i = 0; i < sizeof(manners) / sizeof(manners[0]); i++)
		if (!strcmp(manners[i].name, argv[2]))
			m = &manners[i];
	long n = atol(argv[3]), rounds = atol(argv[4]);
	int fd = reach(atoi(argv[1]));
	errno = 0;
	if (!m || n < 1)
		die("arguments");
	for (long r = 0; r < rounds; r++) {
		uint64_t from = __builtin_ia32_rdtsc();
		for (long i = 0; i < n; i++)
			ask(fd, m);
		uint64_t took = __builtin_ia32_rdtsc() - from;
		if (took < best)
			best = took;
	}
	printf("%.1f\n", (double)best / n);
	return 0;
}
