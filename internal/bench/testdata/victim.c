// SPDX-License-Identifier: Apache-2.0
// The measured program and the C floor of the benchmarks.
//
//   victim call N      calls getppid N times, prints nanoseconds per call
//   victim share N     the same under a notifier whose listener goes out over fd 3
//   victim floor N     the same, answered by the smallest possible C notifier
//   victim many P N    P processes call once, wait for the end of standard
//                      input, then call N times each; prints calls per second
//   victim crowd P N   the same, answered by the C notifier, which wakes more
//                      than one process on any processor, as is faster
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

#include "notifier.h"

static void call(long n)
{
	struct timespec a, b;

	for (long i = 0; i < n / 10; i++)
		syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (long i = 0; i < n; i++)
		syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.1f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n);
}

static int listener(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	int fd = listen_by(code, sizeof(code) / sizeof(code[0]));

	if (fd < 0)
		die("seccomp");
	return fd;
}

static void share(long n, int sock)
{
	int fd = listener();

	send_fd(sock, fd);
	close(fd);
	close(sock);
	call(n);
}

static void answer(int fd)
{
	struct seccomp_notif req;
	struct seccomp_notif_resp resp;

	for (;;) {
		memset(&req, 0, sizeof(req));
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req)) {
			if (errno == EINTR || errno == ENOENT)
				continue;
			return;
		}
		memset(&resp, 0, sizeof(resp));
		resp.id = req.id;
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

/* supervised starts the C notifier and puts this process under it. */
static pid_t supervised(unsigned long wake_up)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		die("socketpair");
	pid_t supervisor = fork();
	if (supervisor < 0)
		die("fork");
	if (supervisor == 0) {
		close(pair[0]);
		int fd = receive_fd(pair[1]);
		ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, wake_up);
		answer(fd);
		_exit(0);
	}
	int fd = listener();
	send_fd(pair[0], fd);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	return supervisor;
}

static void end(pid_t supervisor)
{
	fflush(stdout);
	kill(supervisor, 9);
	waitpid(supervisor, NULL, 0);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void many(int processes, long n)
{
	int ready[2], go[2];
	char byte = 0;

	if (pipe(ready) || pipe(go))
		die("pipe");
	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid)
			continue;
		close(go[1]);
		syscall(SYS_getppid);
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		while (read(go[0], &byte, 1) > 0)
			;
		for (long k = 0; k < n; k++)
			syscall(SYS_getppid);
		_exit(0);
	}
	for (int i = 0; i < processes; i++)
		if (read(ready[0], &byte, 1) != 1)
			die("read");
	printf("ready\n");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	double from = seconds();
	close(go[1]);
	for (int i = 0; i < processes; i++)
		wait(NULL);
	printf("%.1f\n", processes * n / (seconds() - from));
}

int main(int argc, char **argv)
{
	long n = argc > 2 ? atol(argv[2]) : 0;

	if (n <= 0) {
		fprintf(stderr, "usage: victim call|share|floor N or many|crowd P N\n");
		return 2;
	}
	if (!strcmp(argv[1], "call"))
		call(n);
	else if (!strcmp(argv[1], "share"))
		share(n, 3);
	else if (!strcmp(argv[1], "floor")) {
		pid_t supervisor = supervised(SYNC_WAKE_UP);
		call(n);
		end(supervisor);
	} else if (!strcmp(argv[1], "many") && argc > 3)
		many(n, atol(argv[3]));
	else if (!strcmp(argv[1], "crowd") && argc > 3) {
		pid_t supervisor = supervised(n > 1 ? 0 : SYNC_WAKE_UP);
		many(n, atol(argv[3]));
		end(supervisor);
	} else
		return 2;
	return 0;
}
