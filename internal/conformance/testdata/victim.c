// SPDX-License-Identifier: Apache-2.0
// The filtered program of the conformance and attack suites: each mode makes
// system calls in one way and prints how they ended, a line of words
// ("ok", or the errno's name).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self;

static const char *outcome(long result)
{
	if (result != -1)
		return "ok";
	return strerrorname_np(errno);
}

static void calls(const char *label, int n)
{
	char line[4096];
	size_t at = 0;

	if (*label)
		at = snprintf(line, sizeof(line), "%s: ", label);
	for (int i = 0; i < n && at < sizeof(line) - 32; i++)
		at += snprintf(line + at, sizeof(line) - at, "%s%s", i ? " " : "",
			       outcome(syscall(SYS_getppid)));
	line[at++] = '\n';
	if (write(1, line, at) < 0)
		_exit(9);
}

static int reap(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 3;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void again(const char *mode, const char *n)
{
	execl(self, self, mode, n, NULL);
	perror("exec");
	_exit(4);
}

static void *exec_from_thread(void *n)
{
	again("calls", n);
	return NULL;
}

// ---- counting under concurrency -------------------------------------------

static atomic_int allowed, denied;
static pthread_barrier_t start;

static void tally(int n)
{
	for (int i = 0; i < n; i++)
		if (syscall(SYS_getppid) == -1)
			denied++;
		else
			allowed++;
}

static atomic_long begun, ended, bound;

static void *count_to_the_limit(void *unused)
{
	do {
		while (begun >= bound)
			sched_yield();
		begun++;
	} while (syscall(SYS_getppid) != -1 && ++ended);
	return unused;
}

// Forks while threads count to the limit. A child has a copy of the count of the moment:
// it holds what had been counted before the fork, and nothing that began after it. How
// much that is, the child learns by counting on.
static int copies(long limit, int forks)
{
	enum { THREADS = 4 };
	atomic_long *rest = mmap(NULL, sizeof(*rest), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t thread[THREADS];
	int right = 0, meanwhile = 0;

	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, count_to_the_limit, NULL);
	for (int i = 0; i < forks; i++) {
		long least = ended;
		bound = limit * (i + 1) / forks;
		pid_t child = fork();
		if (child == 0) {
			for (*rest = 0; syscall(SYS_getppid) != -1;)
				++*rest;
			_exit(0);
		}
		long most = begun;
		meanwhile += ended > least;
		right += reap(child) == 0 && least <= limit - *rest && limit - *rest <= most;
	}
	bound = limit + THREADS;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	printf("%d of %d copies right, %s while others counted, %ld ok\n", right, forks, meanwhile ? "some" : "none", ended);
	return 0;
}

static void *counting_thread(void *n)
{
	pthread_barrier_wait(&start);
	tally((long)n);
	return NULL;
}

static int threads(int count, int n)
{
	pthread_t *t = calloc(count, sizeof(*t));
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	pthread_barrier_init(&start, NULL, count);
	for (int i = 0; i < count; i++)
		if (pthread_create(&t[i], &small, counting_thread, (void *)(long)n))
			return 5;
	for (int i = 0; i < count; i++)
		pthread_join(t[i], NULL);
	printf("allowed %d denied %d\n", allowed, denied);
	return 0;
}

static int processes(int count, int n)
{
	int total[2] = { 0, 0 }, one[2], pipes[2];

	if (pipe(pipes))
		return 5;
	for (int i = 0; i < count; i++) {
		if (fork() == 0) {
			tally(n);
			one[0] = allowed;
			one[1] = denied;
			_exit(write(pipes[1], one, sizeof(one)) != sizeof(one));
		}
	}
	for (int i = 0; i < count; i++) {
		if (read(pipes[0], one, sizeof(one)) != sizeof(one))
			return 6;
		total[0] += one[0];
		total[1] += one[1];
	}
	while (wait(NULL) > 0)
		;
	printf("allowed %d denied %d\n", total[0], total[1]);
	return 0;
}

// A chain of forks: each generation calls once and forks the next.
static int generations(int n)
{
	printf("%s\n", outcome(syscall(SYS_getppid)));
	fflush(stdout);
	if (n <= 1)
		return 0;
	pid_t child = fork();
	if (child == 0)
		_exit(generations(n - 1));
	return reap(child);
}

// ---- signals ----------------------------------------------------------------

static void ignore(int sig)
{
	(void)sig;
}

static int signals(int n)
{
	struct sigaction sa = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, off = { { 0, 0 }, { 0, 0 } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	tally(n);
	setitimer(ITIMER_REAL, &off, NULL);
	printf("allowed %d denied %d\n", allowed, denied);
	return 0;
}

// ---- other doors into the kernel ----------------------------------------------

static long int80(long nr)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(0), "c"(0), "d"(0) : "memory");
	return result;
}

static int own_listener(void)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = { 1, code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	printf("%s\n", outcome(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				       SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog)));
	return 0;
}

// ---- a path through the tree ------------------------------------------------

static void *rest_of_steps(void *words);

// Makes a call NR[:ARG...] and prints its outcome on a line.
static void step(char *word)
{
	long arg[7] = { 0 };
	int n = 0;

	for (char *at = strtok(word, ":"); at && n < 7; at = strtok(NULL, ":"))
		arg[n++] = strtol(at, NULL, 0);
	const char *how = outcome(syscall(arg[0], arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]));
	dprintf(1, "%s\n", how);
}

// Takes the steps named by words: calls, and "exec", which goes on in a new
// program, or "fork" or "thread", after which both go on, the new one first.
static int steps(char **words)
{
	pthread_t thread;

	for (; *words; words++) {
		if (!strcmp(*words, "exec")) {
			*words = "steps";
			*--words = (char *)self;
			execv(self, words);
			return 4;
		} else if (!strcmp(*words, "fork")) {
			pid_t child = fork();
			if (child == 0)
				_exit(steps(words + 1));
			reap(child);
		} else if (!strcmp(*words, "thread")) {
			pthread_create(&thread, NULL, rest_of_steps, words + 1);
			pthread_join(thread, NULL);
		} else {
			step(strdup(*words));
		}
	}
	return 0;
}

static void *rest_of_steps(void *words)
{
	return (void *)(long)steps(words);
}

// ---- short lives ----------------------------------------------------------------

enum { crowd = 8 }; // live at once

static void *short_thread(void *none)
{
	syscall(SYS_getppid);
	return none;
}

static void *short_execution(void *none)
{
	syscall(SYS_getppid);
	execl(self, self, "calls", "0", NULL);
	return none;
}

// A process that asks once, after its parent is gone if it is an orphan.
static void short_process(const char *kind, int go)
{
	pthread_t thread;
	char byte;

	if (!strcmp(kind, "executions")) {
		close(1);
		syscall(SYS_getppid);
		pthread_create(&thread, NULL, short_execution, NULL);
		pthread_join(thread, NULL);
	} else if (!strcmp(kind, "orphans") && fork()) {
		_exit(0);
	} else if (!strcmp(kind, "orphans")) {
		_exit(read(go, &byte, 1) != 1 || syscall(SYS_getppid) < 0);
	}
	syscall(SYS_getppid);
	_exit(0);
}

static void short_lives(const char *kind, int n, int go[2])
{
	pthread_t threads[crowd];
	int is_thread = !strcmp(kind, "threads");

	for (int i = 0; i < n; i++) {
		if (is_thread)
			pthread_create(&threads[i], NULL, short_thread, NULL);
		else if (fork() == 0)
			short_process(kind, go[0]);
	}
	for (int i = 0; i < n; i++) {
		if (is_thread)
			pthread_join(threads[i], NULL);
		else
			wait(NULL);
	}
	if (!strcmp(kind, "orphans") && write(go[1], "12345678", n) != n)
		_exit(7);
}

// For each line of its input, n tasks of a kind live one after another.
static int churn(const char *kind, int n)
{
	char line[16];
	int go[2];

	if (pipe(go))
		return 5;
	while (fgets(line, sizeof(line), stdin)) {
		for (int left = n; left > 0; left -= crowd)
			short_lives(kind, left < crowd ? left : crowd, go);
		printf("lived\n");
		fflush(stdout);
	}
	return 0;
}

// ---- supervisor attacks --------------------------------------------------------

static int attack_parent(void)
{
	pid_t parent = getppid();
	char byte, path[64];
	struct iovec mine = { &byte, 1 }, theirs = { (void *)0x400000, 1 };

	printf("ptrace %s\n", outcome(ptrace(PTRACE_ATTACH, parent, 0, 0)));
	printf("readv %s\n", outcome(syscall(SYS_process_vm_readv, parent, &mine, 1, &theirs, 1, 0)));
	snprintf(path, sizeof(path), "/proc/%d/mem", parent);
	printf("mem %s\n", outcome(open(path, O_RDWR)));
	snprintf(path, sizeof(path), "/proc/%d/fd/0", parent);
	printf("fd %s\n", outcome(open(path, O_RDONLY)));
	int pidfd = syscall(SYS_pidfd_open, parent, 0);
	printf("getfd %s\n", outcome(syscall(SYS_pidfd_getfd, pidfd, 3, 0)));
	return 0;
}

static int kill_parent(int sig)
{
	pid_t parent = getppid();

	printf("before %s\n", outcome(syscall(SYS_getppid)));
	fflush(stdout);
	kill(parent, sig);
	while (sig == SIGKILL && getppid() == parent)
		;
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	int a = argc > 2 ? atoi(argv[2]) : 0, b = argc > 3 ? atoi(argv[3]) : 0;
	pthread_t thread;

	self = "/proc/self/exe";
	if (!strcmp(mode, "calls")) {
		calls("", a);
	} else if (!strcmp(mode, "fork")) {
		calls("parent", a);
		pid_t child = fork();
		if (child == 0) {
			calls("child", a);
			_exit(0);
		}
		int status = reap(child);
		calls("parent", a);
		return status;
	} else if (!strcmp(mode, "vfork")) {
		calls("parent", a);
		pid_t child = vfork();
		if (child == 0)
			again("calls", argv[2]);
		return reap(child);
	} else if (!strcmp(mode, "exec")) {
		calls("before", a);
		again("calls", argv[2]);
	} else if (!strcmp(mode, "thread-exec")) {
		calls("before", a);
		pthread_create(&thread, NULL, exec_from_thread, argv[2]);
		pthread_join(thread, NULL);
		return 4;
	} else if (!strcmp(mode, "threads")) {
		return threads(a, b);
	} else if (!strcmp(mode, "processes")) {
		return processes(a, b);
	} else if (!strcmp(mode, "copies")) {
		return copies(a, b);
	} else if (!strcmp(mode, "churn")) {
		return churn(argv[2], b);
	} else if (!strcmp(mode, "generations")) {
		return generations(a);
	} else if (!strcmp(mode, "signals")) {
		return signals(a);
	} else if (!strcmp(mode, "steps")) {
		return steps(argv + 2);
	} else if (!strcmp(mode, "call")) {
		long nr = strtol(argv[2], NULL, 0);
		printf("%s\n", outcome(syscall(nr, 0, 0, 0, 0, 0, 0)));
	} else if (!strcmp(mode, "value")) {
		long nr = strtol(argv[2], NULL, 0);
		long result = syscall(nr, 0, 0, 0, 0, 0, 0);
		printf("%d\n", result == -1 ? errno : 0);
	} else if (!strcmp(mode, "i386")) {
		printf("%s\n", int80(20) > 0 ? "ok" : "refused");
	} else if (!strcmp(mode, "listener")) {
		return own_listener();
	} else if (!strcmp(mode, "attack-parent")) {
		return attack_parent();
	} else if (!strcmp(mode, "kill-parent")) {
		return kill_parent(a);
	} else {
		fprintf(stderr, "victim: no mode %s\n", mode);
		return 2;
	}
	return 0;
}
