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

static const int sent[] = { SIGTRAP, SIGCHLD, SIGCONT, SIGURG, SIGSYS, SIGTSTP, SIGUSR2, SIGTTOU };

static void nothing(int sig)
{
	(void)sig;
}

static void send_any(char *unused)
{
	static _Thread_local unsigned next;

	(void)unused;
	pthread_kill(caller, sent[next++ % (sizeof(sent) / sizeof(*sent))]);
	dawdle(200);
}

// Signals that look like what a tracer is told by, while the string changes.
static void by_traps(void)
{
	char *p = own_page();

	for (size_t i = 0; i < sizeof(sent) / sizeof(*sent); i++)
		sigaction(sent[i], &(struct sigaction){ .sa_handler = nothing, .sa_flags = SA_RESTART }, NULL);
	caller = pthread_self();
	beside(flip, p);
	beside(send_any, NULL);
	open_until_over(p);
}

// A call whose instructions trap one by one.
static long single_step(const char *path)
{
	long result = SYS_openat;
	register long flags __asm__("rdx") = O_RDONLY | O_NONBLOCK | O_CLOEXEC;

	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
			 "syscall\n\t"
			 "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq"
			 : "+a"(result) : "D"((long)AT_FDCWD), "S"(path), "r"(flags) : "rcx", "r11", "memory", "cc");
	return result;
}

static void step_often(char *page)
{
	for (int i = 0; i < 20 && more(); i++) {
		tally->attempts++;
		judge(single_step(page));
	}
}

static void by_steps(void)
{
	char *p = shared_page();

	sigaction(SIGTRAP, &(struct sigaction){ .sa_handler = nothing }, NULL);
	beside(flip, p);
	while (more()) {
		step_often(p);
		waitpid(child(step_often, p), NULL, 0);
	}
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

// ---- ends -----------------------------------------------------------------------------

static void end_with_score(void)
{
	finish();
	say_score("");
	_exit(0);
}

// A daemon that outlives the command.
static void by_daemon(void)
{
	char *p = own_page();
	pid_t command = getpid();

	if (must("fork", fork()) != 0)
		_exit(0);
	while (getppid() == command)
		sched_yield();
	beside(flip, p);
	open_until_over(p);
	end_with_score();
}

static void *outlive(void *leader)
{
	char *p = own_page();

	pthread_join(*(pthread_t *)leader, NULL);
	beside(flip, p);
	open_until_over(p);
	end_with_score();
	return NULL;
}

// A process whose first thread has ended.
static void by_leader_end(void)
{
	static pthread_t leader;
	pthread_t thread;

	leader = pthread_self();
	must("pthread_create", pthread_create(&thread, NULL, outlive, &leader) ? -1 : 0);
	pthread_exit(NULL);
}

static void hide_and_show(char *unused)
{
	(void)unused;
	prctl(PR_SET_DUMPABLE, 0);
	dawdle(50);
	prctl(PR_SET_DUMPABLE, 1);
	dawdle(50);
}

// A process whose memory may be looked at now, and not then.
static void by_hiding(void)
{
	char *p = own_page();

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	beside(flip, p);
	beside(hide_and_show, NULL);
	open_until_over(p);
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
	{ "traps", by_traps },
	{ "single-step", by_steps },
	{ "fork", by_fork },
	{ "vfork", by_vfork },
	{ "clone", by_clone },
	{ "crowd", by_crowd },
	{ "short-lives", by_short_lives },
	{ "daemon", by_daemon },
	{ "leader-end", by_leader_end },
	{ "hiding", by_hiding },
	{ "exec", by_exec },
	{ NULL, NULL },
};
