// SPDX-License-Identifier: Apache-2.0
// Attacks by concurrency: what the filter counts must stay exact.
#include "attacker.h"

#include <linux/sched.h>

// Tallies in memory that all processes of an attack share.
static struct tally {
	atomic_long allowed, denied, interrupted, other;
} *tally;

static void share(int fd)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;

	tally = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, fd, 0);
	must("mmap", tally == MAP_FAILED ? -1 : 0);
}

static void call(long n)
{
	for (; n; n--) {
		if (syscall(SYS_getppid) != -1)
			tally->allowed++;
		else if (errno == EPERM)
			tally->denied++;
		else if (errno == EINTR)
			tally->interrupted++;
		else
			tally->other++;
	}
}

static int result(void)
{
	say("allowed %ld denied %ld other %ld\n", tally->allowed, tally->denied, tally->other);
	return 0;
}

// The calls that lost their caller between verdict and tally are missing from
// it; none may be too many, and the count must be used up.
static int bounded(long limit)
{
	while (syscall(SYS_getppid) != -1)
		tally->allowed++;
	say("%s, %s\n", tally->allowed <= limit ? "within the limit" : "over the limit", attempt());
	return 0;
}

// ---- all at once ------------------------------------------------------------------------

static atomic_int *gate;

static void pass_gate(void)
{
	while (!*gate)
		sched_yield();
}

static void *calling_thread(void *n)
{
	pass_gate();
	call((long)n);
	return NULL;
}

static void calling_threads(int count, long n)
{
	pthread_t t[count];

	for (int i = 0; i < count; i++)
		must("pthread_create", pthread_create(&t[i], NULL, calling_thread, (void *)n) ? -1 : 0);
	for (int i = 0; i < count; i++)
		pthread_join(t[i], NULL);
}

static int calling_child(void *n)
{
	pass_gate();
	call((long)n);
	_exit(0);
}

// A child that shares memory and files, but is a process of its own.
static void vm_child(long n)
{
	enum { size = 64 << 10 };
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must("clone", clone(calling_child, stack + size, CLONE_VM | CLONE_FILES | SIGCHLD, (void *)n));
}

// Threads, processes, and processes that share memory, all at the limit.
static int crowd(char **args)
{
	int count = atoi(args[0]), n = atoi(args[1]);

	share(-1);
	gate = (atomic_int *)(tally + 1);
	for (int i = 0; i < count; i++) {
		if (must("fork", fork()) == 0) {
			calling_threads(2, n);
			_exit(0);
		}
		vm_child(n);
	}
	*gate = 1;
	calling_threads(4, n);
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < count; i++) {
		pid_t child = vfork();

		if (child == 0) {
			call(1);
			_exit(0);
		}
		reap(child);
	}
	return result();
}

// ---- signals --------------------------------------------------------------------------------

static void handler(int sig)
{
	(void)sig;
}

static void calling_handler(int sig)
{
	int saved = errno;

	(void)sig;
	call(1);
	errno = saved;
}

static int alarms(char **args)
{
	struct itimerval often = { { 0, 100 }, { 0, 100 } };
	int restart = strcmp(args[0], "restart") == 0, nested = strcmp(args[0], "nested") == 0;
	struct sigaction sa = { .sa_handler = nested ? calling_handler : handler,
				.sa_flags = restart ? SA_RESTART : 0 };
	long limit = atol(args[1]);

	share(-1);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (tally->denied < 200)
		call(1);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	say("%s\n", tally->allowed == limit ? "exactly the limit" : "not the limit");
	if (tally->allowed != limit)
		result();
	return 0;
}

// Stops and continues a caller as fast as it goes.
static int stop_storm(char **args)
{
	long limit = atol(args[0]), stops = 0;
	pid_t child;

	share(-1);
	child = must("fork", fork());
	if (child == 0) {
		while (tally->denied < 200)
			call(1);
		_exit(0);
	}
	while (waitpid(child, NULL, WNOHANG) == 0) {
		kill(child, SIGSTOP);
		kill(child, SIGCONT);
		stops++;
	}
	say("%s, %s\n", tally->allowed == limit ? "exactly the limit" : "not the limit", stops > 100 ? "stopped often" : "hardly stopped");
	if (tally->allowed != limit)
		result();
	return 0;
}

static int kill_storm(char **args)
{
	int count = atoi(args[0]);

	share(-1);
	srand(7);
	for (int i = 0; i < count; i++) {
		pid_t child = must("fork", fork());

		if (child == 0) {
			if (i & 1)
				fork();
			call(1 << 30);
		}
		for (volatile int spin = rand() % 200000; spin; spin--)
			;
		kill(child, SIGKILL);
		reap(child);
	}
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM); // the children of children
	return bounded(atol(args[1]));
}

// ---- threads that end, leaders that end, exec ---------------------------------------------------

static void *endless(void *arg)
{
	(void)arg;
	call(1L << 40);
	return NULL;
}

// Each generation executes the next while its other threads wait for decisions.
static int exec_storm(char **args)
{
	int generations = atoi(args[0]), fd = args[2] ? atoi(args[2]) : memfd_create("tally", 0);
	char left[16], number[16];
	pthread_t thread;

	must("ftruncate", ftruncate(fd, 4096));
	share(fd);
	if (generations == 0)
		return bounded(atol(args[1]));
	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, endless, NULL);
	call(5);
	snprintf(left, sizeof(left), "%d", generations - 1);
	snprintf(number, sizeof(number), "%d", fd);
	return must("exec", execl("/proc/self/exe", "attacker", "exec-storm", left, args[1], number, NULL));
}

static void *short_thread(void *wrong)
{
	const char *got[4] = { attempt(), attempt(), attempt(), attempt() };

	if (strcmp(got[2], "ok") || strcmp(got[3], "EPERM"))
		(*(atomic_int *)wrong)++;
	return NULL;
}

// Threads come and go, each with a count of its own.
static int short_threads(char **args)
{
	atomic_int wrong = 0;

	for (int n = atoi(args[0]); n > 0; n -= 8) {
		pthread_t t[8];

		for (int i = 0; i < 8; i++)
			must("pthread_create", pthread_create(&t[i], NULL, short_thread, &wrong) ? -1 : 0);
		for (int i = 0; i < 8; i++)
			pthread_join(t[i], NULL);
	}
	say("wrong %d\n", wrong);
	return 0;
}

// Processes come and go, each with a count of its own.
static int short_processes(char **args)
{
	int count = atoi(args[0]), wrong = 0, other = 0;

	for (int i = 0; i < count; i++) {
		pid_t child = must("fork", fork());

		if (child == 0) {
			const char *third = (attempt(), attempt(), attempt()), *fourth = attempt();

			if (strcmp(fourth, "ok") == 0)
				_exit(1);
			_exit(strcmp(third, "ok") ? 2 : 0);
		}
		switch (reap(child)) {
		case 0:
			break;
		case 1:
			wrong++;
			break;
		default:
			other++;
		}
	}
	say("over the limit %d, stopped short %d\n", wrong, other);
	return 0;
}

const struct mode race_modes[] = {
	{ "crowd", crowd },
	{ "alarms", alarms },
	{ "stop-storm", stop_storm },
	{ "kill-storm", kill_storm },
	{ "exec-storm", exec_storm },
	{ "short-threads", short_threads },
	{ "short-processes", short_processes },
	{ NULL, NULL },
};
