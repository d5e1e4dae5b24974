// SPDX-License-Identifier: Apache-2.0
// Attacks with the target's own filters, listeners and tracers.
#include "attacker.h"

#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/user.h>

// Whether the kernel made the attacked call, which tells the caller's parent.
static const char *made(pid_t real)
{
	long result = syscall(SYS_getppid);

	return result == real ? "made" : result == -1 ? strerrorname_np(errno) : "not made";
}

// A filter of the target's own on the attacked call, of every action.
static int own_filter(char **args)
{
	static const struct { const char *name; unsigned int action; } actions[] = {
		{ "ALLOW", SECCOMP_RET_ALLOW }, { "LOG", SECCOMP_RET_LOG },
		{ "TRACE", SECCOMP_RET_TRACE | 0x7e57 }, { "USER_NOTIF", SECCOMP_RET_USER_NOTIF },
		{ "ERRNO 0", SECCOMP_RET_ERRNO }, { "ERRNO", SECCOMP_RET_ERRNO | EXDEV },
	};
	pid_t me = getpid();

	(void)args;
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		pid_t child = must("fork", fork());

		if (child == 0) {
			must("install", install(0, SYS_getppid, actions[i].action));
			say("%s %s\n", actions[i].name, made(me));
			_exit(0);
		}
		reap(child);
	}
	return 0;
}

// ---- a listener of one's own ---------------------------------------------------------

static atomic_int listener = -2;
static const char *answer;

static void *listened(void *real)
{
	listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER, SYS_getppid, SECCOMP_RET_USER_NOTIF);
	if (listener >= 0)
		answer = made((pid_t)(intptr_t)real);
	return NULL;
}

// Over a stack without a supervisor the target may listen itself, and continues
// whatever it is asked about.
static int own_listener(char **args)
{
	pid_t real = parent();
	struct seccomp_notif_resp resp = { 0 };
	struct seccomp_notif notif = { 0 };
	pthread_t thread;
	int asked = 0;

	(void)args;
	pthread_create(&thread, NULL, listened, (void *)(intptr_t)real);
	while (listener == -2)
		sched_yield();
	if (listener < 0) {
		say("no listener\n");
		return 0;
	}
	while (!(asked = poll(&(struct pollfd){ listener, POLLIN, 0 }, 1, 10) > 0) && !answer)
		;
	if (asked && ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif) == 0) {
		resp.id = notif.id;
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
	pthread_join(thread, NULL);
	say("%s\n", answer);
	return 0;
}

// ---- a tracer of one's own -----------------------------------------------------------

// Each call of getpgrp that the child makes is turned into number to.
static int rewritten(int option, long to)
{
	int request = option ? PTRACE_CONT : PTRACE_SYSCALL, status;
	pid_t me = getpid(), child = must("fork", fork());

	if (child == 0) {
		must("traceme", ptrace(PTRACE_TRACEME, 0, 0, 0));
		raise(SIGSTOP);
		if (option)
			must("install", install(0, SYS_getpgrp, SECCOMP_RET_TRACE));
		_exit(syscall(SYS_getpgrp) == me ? 0 : errno ? errno : 99);
	}
	must("waitpid", waitpid(child, &status, 0));
	ptrace(PTRACE_SETOPTIONS, child, 0, option | PTRACE_O_EXITKILL);
	for (;;) {
		long nr;

		ptrace(request, child, 0, 0);
		must("waitpid", waitpid(child, &status, 0));
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		nr = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, regs.orig_rax), 0);
		if (nr == SYS_getpgrp)
			ptrace(PTRACE_POKEUSER, child, offsetof(struct user, regs.orig_rax), to);
	}
}

static void report(const char *when, int status)
{
	say("%s %s\n", when, status ? strerrorname_np(status) : "made");
}

static int rewrite(char **args)
{
	(void)args;
	report("at the entry", rewritten(0, SYS_getppid));
	report("after a filter", rewritten(PTRACE_O_TRACESECCOMP, SYS_getppid));
	say("at the entry to x32 %d\n", rewritten(0, 0x40000000 | SYS_getppid));
	say("after a filter to x32 %d\n", rewritten(PTRACE_O_TRACESECCOMP, 0x40000000 | SYS_getppid));
	return 0;
}

const struct mode forge_modes[] = {
	{ "own-filter", own_filter },
	{ "own-listener", own_listener },
	{ "rewrite", rewrite },
	{ NULL, NULL },
};
