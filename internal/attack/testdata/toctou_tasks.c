// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use by threads and processes that come, go, and are
// interrupted, while the string changes.
#include "toctou.h"

#include <linux/sched.h>
#include <sys/stat.h>
#include <ucontext.h>

// Attempts of a process that then ends with its threads.
static void attempts(char *page)
{
	for (int i = 0; i < 20 && more(); i++)
		open_path(page);
}

// ---- signals --------------------------------------------------------------------------

static char *string;
static pthread_t caller;

// Changes the string under the call that it interrupts, and makes one itself.
static void change(int sig)
{
	int saved = errno;

	(void)sig;
	store(string, tally->turn++ & 1);
	if (pthread_equal(pthread_self(), caller) && more())
		open_path(string);
	errno = saved;
}

static void interrupt(char *unused)
{
	(void)unused;
	dawdle(100);
	raise(SIGUSR1);
	dawdle(100);
	raise(SIGUSR1);
	if (tally->turn % 16 < 2)
		pthread_kill(caller, SIGUSR1);
}

static void by_handler_and(int flags)
{
	struct sigaction sa = { .sa_handler = change, .sa_flags = flags };

	string = own_page();
	caller = pthread_self();
	sigaction(SIGUSR1, &sa, NULL);
	beside(interrupt, NULL);
	open_until_over(string);
}

// A handler that returns into a call that is restarted.
static void by_handler(void)
{
	by_handler_and(SA_RESTART);
}

// A handler that ends the call.
static void by_interruption(void)
{
	by_handler_and(0);
}

// ---- children -------------------------------------------------------------------------

static void change_and_call(char *page)
{
	flip(page);
	store(page, SECRET);
	if (more())
		open_path(page);
	store(page, SAFE);
}

static void fork_often(char *page)
{
	waitpid(child(change_and_call, page), NULL, 0);
}

// Forks while another thread is held.
static void by_fork(void)
{
	char *p = shared_page();

	beside(flip, p);
	beside(fork_often, p);
	open_until_over(p);
}

static void vfork_often(char *page)
{
	pid_t pid = vfork();

	if (pid == 0) {
		for (int i = 0; i < 5; i++)
			change_and_call(page);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

// A child that has the memory of its parent, of which other threads go on.
static void by_vfork(void)
{
	char *p = own_page();

	beside(flip, p);
	beside(vfork_often, p);
	open_until_over(p);
}

static const unsigned long slips[] = {
	CLONE_UNTRACED, CLONE_UNTRACED | CLONE_PARENT, CLONE_PARENT, CLONE_PTRACE, CLONE_FILES | CLONE_FS,
	CLONE_IO, CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWPID, CLONE_SYSVSEM, 0,
};

static void slip(unsigned long flags, char *page)
{
	pid_t pid = syscall(SYS_clone, flags | (flags & CLONE_PARENT ? 0 : SIGCHLD), 0, 0, 0, 0);

	if (pid == 0) {
		attempts(page);
		_exit(0);
	}
	if (pid > 0 && !(flags & CLONE_PARENT))
		waitpid(pid, NULL, __WALL);
}

static void slip3(unsigned long flags, char *page)
{
	struct clone_args args = { .flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD };
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		attempts(page);
		_exit(0);
	}
	if (pid > 0 && !(flags & CLONE_PARENT))
		waitpid(pid, NULL, __WALL);
}

// clone and clone3 with what could hide a child from a tracer.
static void by_clone(void)
{
	char *p = shared_page();

	beside(flip, p);
	while (more()) {
		for (size_t i = 0; i < sizeof(slips) / sizeof(*slips); i++) {
			slip(slips[i], p);
			slip3(slips[i], p);
		}
		attempts(p);
	}
}

// Doubles: the calls are the first thing that each does.
static void multiply(char *page)
{
	for (int i = 0; i < 4; i++) {
		fork();
		if (more())
			open_path(page);
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
	_exit(0);
}

// Children that have children, all of which call at once.
static void by_crowd(void)
{
	char *p = shared_page();

	beside(flip, p);
	while (more())
		waitpid(child(multiply, p), NULL, 0);
}

static void *short_life(void *page)
{
	open_path(page);
	return NULL;
}

// Threads and processes that make one call each, so that numbers are soon used again.
static void by_short_lives(void)
{
	char *p = shared_page();

	beside(flip, p);
	while (more()) {
		pthread_t threads[8];
		pid_t pid = child((void (*)(char *))open_path, p);

		for (int i = 0; i < 8; i++)
			must("pthread_create", pthread_create(&threads[i], NULL, short_life, p) ? -1 : 0);
		for (int i = 0; i < 8; i++)
			pthread_join(threads[i], NULL);
		waitpid(pid, NULL, 0);
	}
}

// ---- exec -----------------------------------------------------------------------------

static int held = -1; // the file of the tally

static void *held_thread(void *page)
{
	open_until_over(page);
	return NULL;
}

static void next_generation(void)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", held);
	execl("/proc/self/exe", "attacker", "generation", number, NULL);
	must("exec", -1);
}

static void *end_generation(void *unused)
{
	(void)unused;
	dawdle(3000);
	next_generation();
	return NULL;
}

// Executes from a thread while others are held.
static void generation(void)
{
	char *p = own_page();
	pthread_t thread;

	if (!more())
		return;
	beside(flip, p);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread, NULL, held_thread, p);
	if (++tally->turn & 1)
		pthread_create(&thread, NULL, end_generation, NULL);
	else
		end_generation(NULL);
	held_thread(p);
}

static void by_exec(void)
{
	long limit = tally->limit, enough = tally->enough;

	held = must("memfd_create", memfd_create("tally", 0));
	must("ftruncate", ftruncate(held, PAGE));
	share_tally(held);
	tally->limit = limit;
	tally->enough = enough;
	generation();
}

static int continued(char **args)
{
	held = atoi(args[0]);
	share_tally(held);
	generation();
	tally->over = 1;
	say_score("");
	_exit(0);
}

const struct mode generation_modes[] = {
	{ "generation", continued },
	{ NULL, NULL },
};

const struct attack task_attacks[] = {
	{ "handler", by_handler },
	{ "interruption", by_interruption },
	{ "fork", by_fork },
	{ "vfork", by_vfork },
	{ "clone", by_clone },
	{ "crowd", by_crowd },
	{ "short-lives", by_short_lives },
	{ "exec", by_exec },
	{ NULL, NULL },
};
