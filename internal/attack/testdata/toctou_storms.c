// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use while tasks are stopped and killed, and while what the
// defender needs runs out.
#include "toctou.h"

static void call_and_flip(char *page)
{
	beside(flip, page);
	open_until_over(page);
	_exit(0);
}

// Stops and continues the caller and what changes its string.
static void stops(void)
{
	char *p = own_page();
	pid_t pid = child(call_and_flip, p);

	while (waitpid(pid, NULL, WNOHANG) == 0) {
		dawdle(200);
		kill(pid, SIGSTOP);
		dawdle(50);
		kill(pid, SIGCONT);
		more();
	}
}

// Kills callers at any moment.
static void kills(void)
{
	char *p = own_page();

	while (more()) {
		pid_t pid = child(call_and_flip, p);

		dawdle(3000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

// ---- slots ------------------------------------------------------------------------------

static void *wait_for_writer(void *path)
{
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return NULL;
}

// A writer for those that wait, until each has come back.
static void release(char *unused)
{
	int fd = syscall(SYS_open, "fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	(void)unused;
	if (fd >= 0)
		close(fd);
	sched_yield();
}

enum { WAITING = 200 };

static pthread_t waiting[WAITING];

// Threads that all wait inside a call, while others call.
static void waiters(void)
{
	static char fifo[8] = "fifo";
	char *p = own_page();
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (int i = 0; i < WAITING; i++)
		must("pthread_create", pthread_create(&waiting[i], &small, wait_for_writer, fifo) ? -1 : 0);
	beside(flip, p);
	open_until_over(p);
	finish();
	tally->over = 0;
	beside(release, NULL);
	for (int i = 0; i < WAITING; i++)
		pthread_join(waiting[i], NULL);
}

// ---- limits -------------------------------------------------------------------------------

static void stat_often(char *page)
{
	for (int i = 0; i < 50 && more(); i++)
		stat_path(page);
}

static void limit(int resource, rlim_t value)
{
	struct rlimit l;

	must("getrlimit", getrlimit(resource, &l));
	l.rlim_cur = value;
	must("setrlimit", setrlimit(resource, &l));
}

static int next; // the first descriptor that is free, and from which on none may be used

// The defender may not take one of those either.
static void stat_and_look(char *page)
{
	stat_often(page);
	for (int fd = 0; fd < next; fd++)
		if (fcntl(fd, F_GETFD) == -1)
			say("descriptor %d was closed\n", fd);
}

static void without_descriptors(char *page)
{
	next = dup(1);
	close(next);
	limit(RLIMIT_NOFILE, next);
	for (int i = 0; i < 10 && more(); i++)
		waitpid(child(stat_and_look, page), NULL, 0);
	stat_and_look(page);
}

static void without_memory(char *page)
{
	char buf[64] = "";
	int fd = must("statm", syscall(SYS_open, "/proc/self/statm", O_RDONLY | O_CLOEXEC));

	must("read", read(fd, buf, sizeof(buf) - 1));
	close(fd);
	limit(RLIMIT_AS, (atol(buf) + 2) * PAGE);
	for (int i = 0; i < 10 && more(); i++)
		waitpid(child(stat_often, page), NULL, 0);
	stat_often(page);
}

static void starving(void (*work)(char *))
{
	char *p = shared_page();

	apart(flip, p);
	while (more())
		waitpid(child(work, p), NULL, 0);
}

// No descriptor is free.
static void no_descriptor(void)
{
	starving(without_descriptors);
}

// No memory may be mapped.
static void no_memory(void)
{
	starving(without_memory);
}

const struct attack storm_attacks[] = {
	{ "stops", stops },
	{ "kills", kills },
	{ "waiters", waiters },
	{ "no-descriptor", no_descriptor },
	{ "no-memory", no_memory },
	{ NULL, NULL },
};
