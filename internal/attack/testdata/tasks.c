// SPDX-License-Identifier: Apache-2.0
// Attacks on who is who: counts must stay with their process.
#include "attacker.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

static void attempts(const char *who, int n)
{
	say("%s:", who);
	while (n--)
		say(" %s", attempt());
	say("\n");
}

static int calls(char **args)
{
	attempts(args[0], atoi(args[1]));
	return 0;
}

// Enough other processes to make the supervisor look for dead ones.
static void crowd_out(int n)
{
	while (n--) {
		pid_t child = must("fork", fork());

		if (child == 0) {
			syscall(SYS_getppid);
			_exit(0);
		}
		reap(child);
	}
}

static pthread_t leader;

static void *survivor(void *arg)
{
	char buf[256];

	(void)arg;
	pthread_join(leader, NULL);
	while (*status_line(getpid(), "State:", buf, sizeof(buf)) != 'Z')
		sched_yield();
	attempts("leader gone", 1);
	crowd_out(300);
	attempts("after others", 2);
	must("exec", execl("/proc/thread-self/exe", "attacker", "calls", "executed", "1", NULL));
	return NULL;
}

// The first thread ends and leaves a zombie; its process lives on in another one.
static int leader_exit(char **args)
{
	pthread_t thread;

	(void)args;
	leader = pthread_self();
	attempts("leader", 2);
	pthread_create(&thread, NULL, survivor, NULL);
	pthread_exit(NULL);
}

// ---- reuse of numbers ------------------------------------------------------------------------

static void next_number(pid_t pid)
{
	char text[16];
	int fd = must("ns_last_pid", open("/proc/sys/kernel/ns_last_pid", O_WRONLY));

	snprintf(text, sizeof(text), "%d", pid - 1);
	must("ns_last_pid", write(fd, text, strlen(text)));
	close(fd);
}

// A child with the process id pid, which must be free.
static pid_t fork_as(pid_t pid)
{
	for (;;) {
		pid_t child;

		next_number(pid);
		child = must("fork", fork());
		if (child == 0 && getpid() != pid)
			_exit(0); // somebody else was faster
		if (child == 0 || child == pid)
			return child;
		reap(child);
	}
}

static pid_t wanted;
static atomic_int done;

static void *thread_as(void *arg)
{
	(void)arg;
	if (gettid() == wanted) {
		attempts("thread", 2);
		done = 1;
	}
	return NULL;
}

// One number is a process, another process, and then a thread of a third one.
static int reuse(char **args)
{
	pid_t pid = must("fork", fork()), child;

	(void)args;
	if (pid == 0) {
		attempts("first", 4);
		return 0;
	}
	reap(pid);
	child = fork_as(pid);
	if (child == 0) {
		attempts("second", 4);
		return 0;
	}
	reap(child);
	attempts("third", 3);
	for (wanted = pid; !done;) {
		pthread_t thread;

		next_number(pid);
		must("pthread_create", pthread_create(&thread, NULL, thread_as, NULL) ? -1 : 0);
		pthread_join(thread, NULL);
	}
	return 0;
}

// ---- hiding ------------------------------------------------------------------------------------

// Into namespaces of one's own, where every number is another.
static int namespaces(char **args)
{
	pid_t child, first = 0;

	(void)args;
	attempts("outside", 2);
	must("unshare", unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS));
	attempts("unshared", 2);
	for (int i = 0; i < 2; i++) {
		child = must("fork", fork());
		if (child == 0) {
			attempts(getpid() == 1 ? "inside as 1" : "inside", 4);
			if (getpid() == 1)
				pause();
			_exit(0);
		}
		if (i == 0)
			await_call(first = child, SYS_pause);
	}
	reap(child);
	kill(first, SIGKILL);
	return 0;
}

static void *pausing(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *doomed(void *arg)
{
	attempt();
	say("survived\n");
	return arg;
}

static void ignore_everything(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (int sig = 1; sig < 65; sig++)
		signal(sig, SIG_IGN);
}

// A call that is answered with death, from a thread among others, from a process
// that ignores all signals, from the first process of a namespace, from a vfork
// child, and from a process that its parent traces.
static int condemned(char **args)
{
	pthread_t thread;
	pid_t child;

	(void)args;
	child = must("fork", fork());
	if (child == 0) {
		for (int i = 0; i < 4; i++)
			pthread_create(&thread, NULL, pausing, NULL);
		pthread_create(&thread, NULL, doomed, NULL);
		pause();
	}
	say("thread %d\n", reap(child));
	child = must("fork", fork());
	if (child == 0) {
		ignore_everything();
		doomed(NULL);
	}
	say("ignoring %d\n", reap(child));
	child = vfork();
	if (child == 0) {
		syscall(SYS_getppid);
		_exit(0);
	}
	say("vfork %d\n", reap(child));
	child = must("fork", fork());
	if (child == 0) {
		must("traceme", ptrace(PTRACE_TRACEME, 0, 0, 0));
		syscall(SYS_getppid);
		_exit(0);
	}
	say("traced %d\n", reap(child));
	child = must("fork", fork());
	if (child == 0) {
		must("unshare", unshare(CLONE_NEWUSER | CLONE_NEWPID));
		child = must("fork", fork());
		if (child == 0) {
			ignore_everything();
			doomed(NULL);
		}
		_exit(reap(child));
	}
	say("first %d\n", reap(child));
	return 0;
}

static void *identified(void *nr)
{
	for (;;)
		syscall((long)nr);
	return NULL;
}

// Executes again and again while other threads are being identified.
static int exec_identified(char **args)
{
	int generations = atoi(args[0]);
	char left[16];
	pthread_t thread;

	if (generations == 0) {
		say("all generations lived\n");
		return 0;
	}
	for (long nr = 600; nr < 606; nr++)
		pthread_create(&thread, NULL, identified, (void *)nr);
	for (int i = 0; i < 5; i++)
		syscall(601);
	snprintf(left, sizeof(left), "%d", generations - 1);
	return must("exec", execl("/proc/self/exe", "attacker", "exec-identified", left, NULL));
}

// A name that would be lines of a log, colours of a terminal, or fields of JSON.
static int false_name(char **args)
{
	(void)args;
	prctl(PR_SET_NAME, "a\n\"b\033[1m\r\xff{\\");
	attempts("named", 2);
	return 0;
}

static int undumpable(char **args)
{
	(void)args;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	attempts("undumpable", 4);
	return 0;
}

// A write that a filter denies by what it begins with, from unreadable memory.
static int unreadable(char **args)
{
	char text[] = "deny"; // on the stack, which is there: the kernel engine does not wait for pages
	int null = open("/dev/null", O_WRONLY);
	pid_t child = must("fork", fork());

	(void)args;
	if (child == 0) {
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		dup2(null, 1);
		_exit(write(1, text, 4) == -1);
	}
	say("%d\n", reap(child));
	return 0;
}

// The supervisor reads memory that never comes; only the reader's caller ends that.
static int fault_handler(char **args)
{
	pid_t child;

	(void)args;
	child = must("fork", fork());
	if (child == 0) {
		int fd = must("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC));
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct uffdio_api api = { .api = UFFD_API };
		struct uffdio_register reg = { .range = { (uintptr_t)page, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };

		must("api", ioctl(fd, UFFDIO_API, &api));
		must("register", ioctl(fd, UFFDIO_REGISTER, &reg));
		_exit(write(1, page, 4) == -1);
	}
	await_call(child, SYS_write);
	kill(child, SIGKILL);
	say("killed %d\n", reap(child));
	say("%s\n", outcome(write(1, "deny", 4)));
	return 0;
}

// ---- too many -------------------------------------------------------------------------------------

// Many processes at once: more than the supervisor can hold. None may make more
// calls than the limit; those it cannot tell apart may make none.
static int many(char **args)
{
	int count = atoi(args[0]), limit = atoi(args[1]), over = 0, exact = 0, killed = 0, errors = 0;
	pid_t *children = calloc(count, sizeof(*children));
	int pipes[2], ready[2];
	char byte;

	must("pipe", pipe(pipes) | pipe(ready));
	for (int i = 0; i < count; i++) {
		children[i] = must("fork", fork());
		if (children[i] == 0) {
			int n = 0;

			close(pipes[1]);
			close(ready[0]);
			while (n <= limit && syscall(SYS_getppid) != -1)
				n++;
			close(ready[1]);
			if (read(pipes[0], &byte, 1) < 0) // stay alive until all have called
				_exit(99);
			_exit(n);
		}
	}
	close(ready[1]);
	must("read", read(ready[0], &byte, 1)); // all have called, or are dead
	close(pipes[1]);
	for (int i = 0; i < count; i++) {
		int status = reap(children[i]);

		over += status > limit && status < 128;
		exact += status == limit;
		killed += status == 128 + SIGKILL;
		errors += status < limit;
	}
	say("over %d, served %s, denied %s\n", over, exact ? "some" : "none", killed + errors ? "some" : "none");
	return 0;
}

// A daemon that outlives the command.
static int daemon_left(char **args)
{
	pid_t old = getpid();

	(void)args;
	attempts("command", 2);
	if (fork() == 0) {
		while (parent() == old)
			sched_yield();
		attempts("daemon", 2);
	}
	return 0;
}

const struct mode task_modes[] = {
	{ "calls", calls },
	{ "leader-exit", leader_exit },
	{ "reuse", reuse },
	{ "namespaces", namespaces },
	{ "condemned", condemned },
	{ "exec-identified", exec_identified },
	{ "false-name", false_name },
	{ "undumpable", undumpable },
	{ "unreadable", unreadable },
	{ "fault-handler", fault_handler },
	{ "many", many },
	{ "daemon", daemon_left },
	{ NULL, NULL },
};
