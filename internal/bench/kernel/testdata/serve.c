// SPDX-License-Identifier: Apache-2.0
// Starts a server under a classic program, or under a notifier.
//
//   serve FILE CMD ARGS      installs the program in FILE, then executes CMD
//   serve notifier CMD ARGS  has every call of CMD notified, and let go on: all but
//                            sendmsg, by which the listener goes to who answers
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "notifier.h"

static struct sock_filter code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

/* answer returns when nobody is left under the program. */
static void answer(int fd)
{
	struct pollfd p = { fd, POLLIN };
	struct seccomp_notif req;

	ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
	for (;;) {
		memset(&req, 0, sizeof(req));
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req)) {
			if (poll(&p, 1, 0) == 1 && p.revents & POLLHUP)
				return;
			continue;
		}
		struct seccomp_notif_resp resp = { .id = req.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

/* notify leaves a supervisor that is no child of the server's. */
static void notify(void)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) || (pid = fork()) < 0)
		die("supervisor");
	if (!pid) {
		if (fork())
			_exit(0);
		answer(receive_fd(pair[1]));
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	int fd = listen_by(code, sizeof(code) / sizeof(code[0]));
	if (fd < 0)
		die("seccomp");
	send_fd(pair[0], fd);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: serve FILE|notifier CMD ARGS\n");
		return 2;
	}
	if (strcmp(argv[1], "notifier"))
		install(argv[1]);
	else
		notify();
	execv(argv[2], argv + 2);
	die(argv[2]);
}
