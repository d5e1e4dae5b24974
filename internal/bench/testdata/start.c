// SPDX-License-Identifier: Apache-2.0
// Starts a program under a classic program, or under a notifier.
//
//   start FILE CMD ARGS     installs the program in FILE, then executes CMD
//   start -all CMD ARGS     has every call of CMD notified; the listener goes out
//                           over fd 3
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "notifier.h"

static atomic_int listener = -1;

// hand_over runs on a thread without a filter: the first call of the other
// waits for an answer, and nobody can answer yet. It spins, because being woken
// would be such a call.
static void *hand_over(void *unused)
{
	int fd;

	while ((fd = listener) < 0)
		sched_yield();
	send_fd(3, fd);
	return unused;
}

static void notify_all(void)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF) };
	pthread_t thread;

	if (fcntl(3, F_SETFD, FD_CLOEXEC))
		die("fd 3");
	if (pthread_create(&thread, NULL, hand_over, NULL))
		die("pthread_create");
	int fd = listen_by(code, 1);
	if (fd < 0)
		_exit(2); // the thread has nothing to send, and nobody would read a message
	listener = fd;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: start FILE|-all CMD ARGS\n");
		return 2;
	}
	if (strcmp(argv[1], "-all"))
		install(argv[1]);
	else
		notify_all();
	execv(argv[2], argv + 2);
	die(argv[2]);
}
