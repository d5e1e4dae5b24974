// SPDX-License-Identifier: Apache-2.0
// Starts a program under a classic program, or under a notifier.
//
//   start FILE CMD ARGS     installs the program in FILE, then executes CMD
//   start -all CMD ARGS     has every call of CMD notified; the listener goes out
//                           over fd 3
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "classic.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static atomic_int listener = -1;

// hand_over runs on a thread without a filter: the first call of the other
// waits for an answer, and nobody can answer yet. It spins, because being woken
// would be such a call.
static void *hand_over(void *unused)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd;

	while ((fd = listener) < 0)
		sched_yield();
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	if (sendmsg(3, &msg, 0) != 1)
		die("sendmsg");
	return unused;
}

static void notify_all(void)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF) };
	struct sock_fprog prog = { 1, code };
	pthread_t thread;

	if (fcntl(3, F_SETFD, FD_CLOEXEC))
		die("fd 3");
	if (pthread_create(&thread, NULL, hand_over, NULL))
		die("pthread_create");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs");
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			 SECCOMP_FILTER_FLAG_NEW_LISTENER |
			 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
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
