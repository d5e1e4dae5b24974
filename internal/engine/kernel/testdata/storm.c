// SPDX-License-Identifier: Apache-2.0
// Storms of what begins and ends filters, on two processors at once.
//
//   storm KIND N SEED    programs are the descriptors from 3 on
//
// KIND is install, fork, exec, tsync or kill. Program 3 counts calls of getppid; where
// nobody is killed and filters do not come from other threads, it is known what it has
// to count, and that is printed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 8, CALLS = 3, TABLE = 512, WORKERS = 2 };

#define SET_FILTER 1
#define FLAG_TSYNC 1u
#define FLAG_EXTENDED (1u << 16)

struct extended {
	uint32_t size, prog_fd, flags, reserved;
	uint64_t native, compat;
	uint32_t native_bits, compat_bits;
};

static int programs;
static atomic_ulong *expected; // of all processes

static void die(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static __thread uint32_t state;

static uint32_t any(uint32_t below)
{
	state = state * 1664525 + 1013904223;
	return (state >> 8) % below;
}

static void no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs");
}

/* put installs a program on this thread, mostly with a bitmap that leaves getppid out. */
static void put(int fd, unsigned flags)
{
	uint8_t bits[TABLE / 8];
	struct extended attr = { sizeof(attr), fd };

	memset(bits, 0xff, sizeof(bits));
	bits[SYS_getppid / 8] &= ~(1 << SYS_getppid % 8);
	if (any(4)) {
		attr.native = (uintptr_t)bits;
		attr.native_bits = TABLE;
	}
	if (syscall(SYS_seccomp, SET_FILTER, FLAG_EXTENDED | flags, &attr))
		die("seccomp");
}

/* put_some installs up to n programs, and returns how many of them count. */
static unsigned put_some(unsigned n)
{
	unsigned counting = 0;

	no_new_privs();
	for (n = 1 + any(n); n; n--) {
		int fd = FIRST + any(programs);
		put(fd, 0);
		counting += fd == FIRST;
	}
	return counting;
}

static void call(unsigned counting)
{
	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	*expected += CALLS * counting;
}

static void await(pid_t pid, int killed)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (killed ? !WIFSIGNALED(status) && !WIFEXITED(status) : status) {
		fprintf(stderr, "storm: process %d ended with %#x\n", pid, status);
		_exit(1);
	}
}

static pid_t begin(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

static void on_thread(void *(*f)(void *), uint32_t seed)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, f, (void *)(uintptr_t)seed))
		die("pthread_create");
	pthread_join(thread, NULL);
}

/* ---- kinds ----------------------------------------------------------------- */

static void *install_thread(void *seed)
{
	state = (uintptr_t)seed;
	call(put_some(MOST));
	return NULL;
}

static void storm_install(void) { on_thread(install_thread, any(1 << 24)); }

static void descend(unsigned counting, int depth)
{
	for (unsigned n = 1 + any(2); n; n--) {
		pid_t pid = begin();
		if (pid) {
			await(pid, 0);
			continue;
		}
		state += getpid();
		counting += put_some(2);
		call(counting);
		if (depth)
			descend(counting, depth - 1);
		_exit(0);
	}
}

static void storm_fork(void) { descend(0, 2); }

static void *exec_thread(void *seed)
{
	char *argv[] = { "storm", "end", NULL }, *env[] = { NULL };

	state = (uintptr_t)seed;
	*expected += CALLS * put_some(MOST);
	execve("/proc/self/exe", argv, env);
	die("execve");
	return NULL;
}

static void storm_exec(void)
{
	pid_t pid = begin();

	if (pid) {
		await(pid, 0);
		return;
	}
	state += getpid();
	if (any(2))
		on_thread(exec_thread, any(1 << 24)); // whose filters the process then has
	else
		exec_thread((void *)(uintptr_t)any(1 << 24));
}

static void *spin(void *seed)
{
	state = (uintptr_t)seed;
	for (;;)
		syscall(SYS_getppid);
	return NULL;
}

static void spinners(int n)
{
	pthread_t thread;

	for (int i = 0; i < n; i++)
		if (pthread_create(&thread, NULL, spin, (void *)(uintptr_t)any(1 << 24)))
			die("pthread_create");
}

static void storm_tsync(void)
{
	pid_t pid = begin();

	if (pid) {
		await(pid, 0);
		return;
	}
	state += getpid();
	spinners(3);
	no_new_privs();
	for (unsigned n = 1 + any(MOST); n; n--)
		put(FIRST + 1 + any(programs - 1), FLAG_TSYNC);
	_exit(0);
}

/* orphan ends with its parent. */
static void orphan(void)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		die("PR_SET_PDEATHSIG");
	if (getppid() != 1) // or that has happened before
		spin(NULL);
	_exit(0);
}

static void storm_kill(void)
{
	pid_t pid = begin();

	if (pid) {
		usleep(any(3000));
		kill(pid, SIGKILL);
		await(pid, 1);
		return;
	}
	state += getpid();
	spinners(2);
	no_new_privs();
	for (int i = 0; i < MOST; i++) {
		put(FIRST + 1 + any(programs - 1), any(2) ? FLAG_TSYNC : 0);
		if (!any(4) && !fork())
			orphan();
	}
	spin(NULL);
}

static const struct kind {
	const char *name;
	void (*once)(void);
} kinds[] = {
	{ "install", storm_install }, { "fork", storm_fork }, { "exec", storm_exec },
	{ "tsync", storm_tsync }, { "kill", storm_kill },
};

static const struct kind *choose(const char *name)
{
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	fprintf(stderr, "storm: no kind %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "end")) {
		for (int i = 0; i < CALLS; i++)
			syscall(SYS_getppid);
		return 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: storm KIND N SEED\n");
		return 2;
	}
	const struct kind *kind = choose(argv[1]);
	while (programs < MOST && fcntl(FIRST + programs, F_GETFD) >= 0)
		programs++;
	expected = mmap(NULL, sizeof(*expected), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (programs < 2 || expected == MAP_FAILED)
		die("two programs");
	pid_t workers[WORKERS];
	for (int w = 0; w < WORKERS; w++) {
		workers[w] = begin();
		if (workers[w])
			continue;
		state = atoi(argv[3]) * WORKERS + w;
		for (long i = atol(argv[2]); i; i--)
			kind->once();
		_exit(0);
	}
	for (int w = 0; w < WORKERS; w++)
		await(workers[w], 0);
	printf("%lu\n", *expected);
	return 0;
}
