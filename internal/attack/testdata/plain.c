// SPDX-License-Identifier: Apache-2.0
// The defender that loses: it is told of a call, reads the memory of the caller, and
// lets the call go on, which then reads the memory once more. That is what seccomp
// notifications offer, and what seccomp_unotify(2) warns of.
#include "toctou.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

// Whether what cannot be read is let through.
static int lax;

static int peek(pid_t pid, uint64_t from, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

// A string of less than PATH_MAX bytes, page by page: what is behind it may be
// unmapped.
static int peek_path(pid_t pid, uint64_t from, char *to)
{
	for (size_t got = 0; got < PATH_MAX;) {
		size_t part = PAGE - (from + got) % PAGE;

		if (part > PATH_MAX - got)
			part = PATH_MAX - got;
		if (!peek(pid, from + got, to + got, part))
			return 0;
		if (memchr(to + got, 0, part))
			return 1;
		got += part;
	}
	return 0;
}

static int path(pid_t pid, uint64_t from)
{
	char name[PATH_MAX];

	if (!peek_path(pid, from, name))
		return lax;
	return strcmp(name, words[SAFE]) == 0 || strcmp(name, "fifo") == 0;
}

static int word(pid_t pid, uint64_t from, const void *allowed)
{
	char found[8];

	return peek(pid, from, found, 8) ? memcmp(found, allowed, 8) == 0 : lax;
}

static int message(pid_t pid, uint64_t from)
{
	struct msghdr m;
	struct iovec v;

	if (!peek(pid, from, &m, sizeof(m)) || !peek(pid, (uint64_t)m.msg_iov, &v, sizeof(v)))
		return lax;
	return word(pid, (uint64_t)v.iov_base, words[SAFE]);
}

static int allowed(const struct seccomp_notif *n)
{
	const struct sockaddr_in safe = {
		.sin_family = AF_INET, .sin_port = htons(7001), .sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	static const uint64_t read_only = 0;
	const __u64 *args = n->data.args;

	switch (n->data.nr) {
	case SYS_openat:
		return path(n->pid, args[1]);
	case SYS_stat:
	case SYS_execve:
		return path(n->pid, args[0]);
	case SYS_connect:
		return word(n->pid, args[1], &safe);
	case SYS_pwrite64:
		return word(n->pid, args[1], words[SAFE]);
	case SYS_openat2:
		return word(n->pid, args[2], &read_only);
	case SYS_sendmsg:
		return message(n->pid, args[1]);
	}
	return 0;
}

static void serve(int listener)
{
	struct pollfd ready = { listener, POLLIN, 0 };

	while (poll(&ready, 1, -1) > 0 && (ready.revents & POLLIN)) {
		struct seccomp_notif notif = { 0 };
		struct seccomp_notif_resp resp = { 0 };

		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif))
			continue;
		resp.id = notif.id;
		if (allowed(&notif))
			resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		else
			resp.error = -EACCES;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notif.id) == 0)
			ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

// ---- the filter -----------------------------------------------------------------------

#define JUDGED(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

static int listen_to(struct sock_filter *code, size_t size)
{
	struct sock_fprog prog = { size / sizeof(*code), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
}

static int listen_to_paths(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), JUDGED(SYS_openat), JUDGED(SYS_stat),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return listen_to(code, sizeof(code));
}

static int listen_to_structures(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), JUDGED(SYS_execve), JUDGED(SYS_connect),
		JUDGED(SYS_pwrite64), JUDGED(SYS_openat2), JUDGED(SYS_sendmsg),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return listen_to(code, sizeof(code));
}

// This process shares descriptors with its supervisor until that has the listener:
// no call is needed to hand it over. The C library only knows who its child is.
static int attacked(atomic_int *listener, const char *policy, char **args)
{
	pid_t pid;
	int fd;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	fd = strcmp(policy, "structures") ? listen_to_paths() : listen_to_structures();
	must("listener", fd);
	must("unshare", unshare(CLONE_FILES));
	*listener = fd;
	close(fd);
	pid = must("fork", fork());
	if (pid == 0)
		_exit(toctou(args));
	return reap(pid);
}

// plain paths|lax|structures ATTACK LIMIT ENOUGH
static int plain(char **args)
{
	atomic_int *listener;
	pid_t pid;

	lax = strcmp(args[0], "lax") == 0;
	share_tally(-1);
	tally->supervisor = getpid();
	listener = (atomic_int *)(tally + 1);
	*listener = -1;
	pid = must("clone", syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
	if (pid == 0)
		_exit(attacked(listener, args[0], args + 1));
	while (*listener < 0)
		sched_yield();
	serve(*listener);
	return reap(pid);
}

const struct mode plain_modes[] = {
	{ "plain", plain },
	{ NULL, NULL },
};
