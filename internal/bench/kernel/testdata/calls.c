// SPDX-License-Identifier: Apache-2.0
// The measured program of the kernel engine's cost, and its classic rivals.
//
//   calls CLOCK RIVAL CALL N ROUNDS
//
// Makes N calls in each of ROUNDS rounds and prints what a call takes in the quickest
// of them. CLOCK is counted, where the guest's time stamp counter counts instructions,
// or real, for nanoseconds. RIVAL is what this process is put under before:
//
//   none      nothing
//   allow     a program that always allows, which the kernel's bitmap answers for
//   brief     a program that looks at one argument
//   notifier  a notifier that counts, in a process of its own
//   FILE      the program in FILE
//
// CALL is getppid, getpgid or openat; of openat the descriptor is closed out of time.
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

#include "notifier.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

enum { DENIED = 7, MOST = 500 };

/* ---- rivals ---------------------------------------------------------------- */

static struct sock_filter allow_code[] = {
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static struct sock_filter brief_code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 2),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DENIED, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
};

static struct sock_filter notify_code[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void put_under(struct sock_filter *code, unsigned len)
{
	struct sock_fprog prog = { len, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		die("seccomp");
}

static volatile uint64_t count;

static void answer(int fd)
{
	struct seccomp_notif req;

	ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
	for (;;) {
		memset(&req, 0, sizeof(req));
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req))
			continue; // until it is killed
		count++;
		struct seccomp_notif_resp resp = { .id = req.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

static pid_t supervisor;

static void notify(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || (supervisor = fork()) < 0)
		die("supervisor");
	if (!supervisor)
		answer(receive_fd(pair[1]));
	int fd = listen_by(notify_code, LEN(notify_code));
	if (fd < 0)
		die("seccomp");
	send_fd(pair[0], fd);
	close(fd);
}

static void enter(const char *rival)
{
	if (!strcmp(rival, "allow"))
		put_under(allow_code, LEN(allow_code));
	else if (!strcmp(rival, "brief"))
		put_under(brief_code, LEN(brief_code));
	else if (!strcmp(rival, "notifier"))
		notify();
	else if (strcmp(rival, "none"))
		install(rival);
}

/* ---- calls ----------------------------------------------------------------- */

// No function of the C library, whose instructions would be counted too.
static inline long make(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

static int counted;

static inline uint64_t now(void)
{
	struct timespec t;

	if (counted)
		return __builtin_ia32_rdtsc();
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t plain(long nr, long n)
{
	uint64_t from = now();

	for (long i = 0; i < n; i++)
		make(nr, 0, 0, 0);
	return now() - from;
}

static const char file[] = "/tmp/measured";
static int opened[MOST];

static uint64_t open_all(long nr, long n)
{
	uint64_t from = now();

	for (long i = 0; i < n; i++)
		opened[i] = make(nr, AT_FDCWD, (long)file, O_RDONLY);
	uint64_t took = now() - from;
	for (long i = 0; i < n; i++)
		if (opened[i] < 0 || close(opened[i]))
			die(file);
	return took;
}

static const struct call {
	const char *name;
	long nr;
	uint64_t (*round)(long nr, long n);
} calls[] = {
	{ "getppid", SYS_getppid, plain },
	{ "getpgid", SYS_getpgid, plain },
	{ "openat", SYS_openat, open_all },
};

static const struct call *choose(const char *name)
{
	for (unsigned i = 0; i < LEN(calls); i++)
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	fprintf(stderr, "calls: no call %s\n", name);
	exit(2);
}

static double quickest(const struct call *c, long n, long rounds)
{
	uint64_t best = UINT64_MAX;

	for (long i = 0; i < rounds; i++) {
		uint64_t took = c->round(c->nr, n);
		if (took < best)
			best = took;
	}
	return (double)best / n;
}

int main(int argc, char **argv)
{
	long n = argc > 5 ? atol(argv[4]) : 0, rounds = argc > 5 ? atol(argv[5]) : 0;

	if (n < 1 || rounds < 1) {
		fprintf(stderr, "usage: calls CLOCK RIVAL CALL N ROUNDS\n");
		return 2;
	}
	counted = !strcmp(argv[1], "counted");
	const struct call *c = choose(argv[3]);
	if (c->round == open_all) {
		close(open(file, O_CREAT | O_WRONLY, 0644));
		n = n < MOST ? n : MOST;
	}
	enter(argv[2]);
	printf("%.2f\n", quickest(c, n, rounds));
	fflush(stdout);
	if (supervisor) {
		kill(supervisor, SIGKILL);
		waitpid(supervisor, NULL, 0);
	}
	return 0;
}
