// SPDX-License-Identifier: Apache-2.0
// Attacks on the process that decides.
#include "attacker.h"

#include <dirent.h>

#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/perf_event.h>

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };

	must("capset", syscall(SYS_capset, &header, none));
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

// ---- reaching into it ---------------------------------------------------------

static long trace_attach(pid_t pid)
{
	return ptrace(PTRACE_ATTACH, pid, 0, 0);
}

static long trace_seize(pid_t pid)
{
	return ptrace(PTRACE_SEIZE, pid, 0, 0);
}

static char word[8];

static long read_memory(pid_t pid)
{
	struct iovec here = { word, sizeof(word) }, there = { word, sizeof(word) };

	return syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0);
}

static long write_memory(pid_t pid)
{
	struct iovec here = { word, sizeof(word) }, there = { word, sizeof(word) };

	return syscall(SYS_process_vm_writev, pid, &here, 1, &there, 1, 0);
}

static long open_file(pid_t pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return open(path, flags);
}

static long memory_file(pid_t pid) { return open_file(pid, "mem", O_RDWR); }
static long environment(pid_t pid) { return open_file(pid, "environ", O_RDONLY); }
static long mappings(pid_t pid) { return open_file(pid, "maps", O_RDONLY); }
static long auxiliary(pid_t pid) { return open_file(pid, "auxv", O_RDONLY); }
static long first_file(pid_t pid) { return open_file(pid, "fd/0", O_RDONLY); }
static long executable(pid_t pid) { return open_file(pid, "exe", O_RDONLY); }
static long root_directory(pid_t pid) { return open_file(pid, "root/", O_RDONLY); }
static long namespace(pid_t pid) { return open_file(pid, "ns/user", O_RDONLY); }

static long registers(pid_t pid)
{
	int fd = open_file(pid, "syscall", O_RDONLY);
	char buf[256];

	return fd < 0 ? -1 : read(fd, buf, sizeof(buf));
}

static long steal_file(pid_t pid)
{
	int pidfd = must("pidfd_open", syscall(SYS_pidfd_open, pid, 0)), open = 0;
	long fd = -1;

	for (int i = 0; i < 256 && fd < 0; i++) {
		fd = syscall(SYS_pidfd_getfd, pidfd, i, 0);
		open |= fd < 0 && errno != EBADF && errno != EPERM;
	}
	if (fd < 0)
		errno = open ? EIO : EPERM;
	return fd;
}

static long compare_files(pid_t pid)
{
	return syscall(SYS_kcmp, pid, getpid(), KCMP_VM, 0, 0);
}

static long robust_list(pid_t pid)
{
	size_t size;
	void *list;

	return syscall(SYS_get_robust_list, pid, &list, &size);
}

static const struct {
	const char *name;
	long (*reach)(pid_t pid);
} ways[] = {
	{ "process_vm_readv", read_memory }, { "process_vm_writev", write_memory },
	{ "mem", memory_file }, { "environ", environment }, { "maps", mappings },
	{ "auxv", auxiliary }, { "fd", first_file }, { "exe", executable },
	{ "root", root_directory }, { "ns", namespace }, { "syscall", registers },
	{ "pidfd_getfd", steal_file }, { "kcmp", compare_files },
	{ "get_robust_list", robust_list },
	{ "PTRACE_SEIZE", trace_seize }, { "PTRACE_ATTACH", trace_attach },
};

static void detach(pid_t pid)
{
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0)
		waitpid(pid, NULL, __WALL);
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

static void try_all(const char *who, pid_t pid)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		say("%s %s %s\n", who, ways[i].name, outcome(ways[i].reach(pid)));
		detach(pid); // so that the next way finds it untraced
	}
}

// Every way into a process is tried on a child, where each must work, and on the
// supervisor.
static int reach_supervisor(char **args)
{
	pid_t victim = parent(), child;

	if (*args && strcmp(*args, "drop") == 0)
		drop_capabilities();
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	await_call(child, SYS_pause);
	try_all("child", child);
	kill(child, SIGKILL);
	reap(child);
	try_all("supervisor", victim);
	return 0;
}

// The same with all capabilities of a user namespace of its own.
static int reach_from_namespace(char **args)
{
	pid_t victim = parent();

	(void)args;
	must("unshare", unshare(CLONE_NEWUSER));
	try_all("supervisor", victim);
	return 0;
}

// ---- reaching into what it starts ---------------------------------------------------

enum { most = 1 << 22 };
static char old[most];

static int number_of(pid_t pid, const char *label)
{
	char path[64], buf[4096], *at;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	at = strstr(buf, label);
	return at ? atoi(at + strlen(label)) : -1;
}

// Takes a file from a process that the supervisor starts, while no filter holds
// it yet. Where that works, so does making it do anything else.
static void steal_from(pid_t pid, pid_t supervisor, int *saw)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), fd = syscall(SYS_pidfd_getfd, pidfd, 0, 0);

	if (number_of(pid, "PPid:") == supervisor && number_of(pid, "Seccomp:") == 0) {
		if (fd >= 0)
			say("reached\n");
		else if (pidfd >= 0 && !(*saw)++)
			say("saw\n");
	}
	close(fd);
	close(pidfd);
}

// Lies in wait for later launches of the same supervisor, until it is killed.
static int neighbour(char **args)
{
	pid_t supervisor = parent();
	int saw = 0;

	if (*args && strcmp(*args, "drop") == 0)
		drop_capabilities();
	for (int round = 0;; round++) {
		DIR *d = opendir("/proc");
		struct dirent *e;

		must("opendir", d ? 0 : -1);
		while ((e = readdir(d))) {
			pid_t pid = atoi(e->d_name);

			if (pid <= 0 || pid >= most)
				continue;
			if (round == 0)
				old[pid] = 1;
			else if (!old[pid])
				steal_from(pid, supervisor, &saw);
		}
		closedir(d);
		if (round == 0)
			say("waiting\n");
	}
	return 0;
}

// ---- ending and stopping it ----------------------------------------------------

static void remains(const char *when)
{
	say("%s: counted %s, static %s, io_uring %s, listener %s, upper half %s\n", when, attempt(),
	    outcome(syscall(600)), outcome(syscall(SYS_io_uring_setup, 1, 0)),
	    outcome(install(SECCOMP_FILTER_FLAG_NEW_LISTENER, -2, SECCOMP_RET_ALLOW)),
	    outcome(syscall(SYS_seccomp, 1UL << 32 | SECCOMP_SET_MODE_FILTER,
			    1UL << 40 | SECCOMP_FILTER_FLAG_NEW_LISTENER, NULL)));
}

static int guards(char **args)
{
	(void)args;
	remains("now");
	return 0;
}

static int kill_supervisor(char **args)
{
	pid_t victim = parent();
	struct pollfd end = { must("pidfd_open", syscall(SYS_pidfd_open, victim, 0)), POLLIN, 0 };

	remains("before");
	must("kill", kill(victim, atoi(args[0])));
	poll(&end, 1, -1);
	remains("after");
	remains("again");
	return 0;
}

static atomic_int allowed, closed;

static void *busy(void *arg)
{
	(void)arg;
	for (int n = 0; n < 100;) {
		if (syscall(SYS_getppid) != -1)
			allowed++;
		else if (errno == ENOSYS)
			n++;
	}
	closed++;
	return NULL;
}

// Ends the supervisor while it decides.
static int kill_busy_supervisor(char **args)
{
	int limit = atoi(args[0]);
	pid_t victim = parent();
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, busy, NULL);
	while (allowed < 1000)
		sched_yield();
	must("kill", kill(victim, SIGKILL));
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	say("%s, %d closed\n", allowed <= limit ? "within the limit" : "over the limit", closed);
	return 0;
}

// What another user's process may do to the supervisor besides: nothing.
static int hurt_supervisor(char **args)
{
	struct rlimit64 none = { 0, 0 };
	pid_t victim = parent();

	(void)args;
	say("kill %s\n", outcome(kill(victim, SIGKILL)));
	say("stop %s\n", outcome(kill(victim, SIGSTOP)));
	say("pidfd_send_signal %s\n", outcome(syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, victim, 0), SIGKILL, NULL, 0)));
	say("prlimit %s\n", outcome(prlimit64(victim, RLIMIT_NOFILE, &none, NULL)));
	say("sched_setscheduler %s\n", outcome(sched_setscheduler(victim, SCHED_IDLE, &(struct sched_param){ 0 })));
	say("counted %s\n", attempt());
	return 0;
}

// Orphans whose end would be told by a signal that kills: the supervisor adopts
// them, and is told by one that does not.
static int deadly_orphans(char **args)
{
	static const int signals[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGTERM, 0 };

	(void)args;
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		pid_t child = must("fork", fork());

		if (child == 0) {
			pid_t me = getpid();

			if (syscall(SYS_clone, (long)signals[i], 0, 0, 0, 0) == 0) {
				while (parent() == me)
					sched_yield();
				attempt();
			}
			_exit(0);
		}
		reap(child);
		must("clone", child = syscall(SYS_clone, CLONE_PARENT | (long)signals[i], 0, 0, 0, 0));
		if (child == 0) {
			attempt();
			_exit(0);
		}
	}
	say("counted %s\n", attempt());
	return 0;
}

static pid_t waiting_child(int out)
{
	pid_t pid = must("fork", fork());

	if (pid == 0) {
		const char *result = attempt();

		_exit(write(out, result, strlen(result) + 1) < 0);
	}
	await_call(pid, SYS_getppid);
	return pid;
}

static int stop_supervisor(char **args)
{
	pid_t victim = parent(), doomed, patient;
	char buf[256], result[32];
	int pipes[2];

	(void)args;
	must("pipe", pipe(pipes));
	say("before: %s\n", attempt());
	must("kill", kill(victim, SIGSTOP));
	while (*status_line(victim, "State:", buf, sizeof(buf)) != 'T')
		sched_yield();
	doomed = waiting_child(pipes[1]);
	patient = waiting_child(pipes[1]);
	say("stopped: listener %s\n", outcome(install(SECCOMP_FILTER_FLAG_NEW_LISTENER, -2, SECCOMP_RET_ALLOW)));
	kill(doomed, SIGKILL);
	say("killed: %d\n", reap(doomed));
	say("waiting: %d answers\n", poll(&(struct pollfd){ pipes[0], POLLIN, 0 }, 1, 0));
	must("kill", kill(victim, SIGCONT));
	must("read", read(pipes[0], result, sizeof(result)));
	say("continued: %s\n", result);
	return reap(patient);
}

// ---- starving it -----------------------------------------------------------------

static int starve_supervisor(char **args)
{
	static const struct { const char *name; int resource; } limits[] = {
		{ "NOFILE", RLIMIT_NOFILE }, { "AS", RLIMIT_AS }, { "DATA", RLIMIT_DATA },
		{ "NPROC", RLIMIT_NPROC }, { "SIGPENDING", RLIMIT_SIGPENDING }, { "FSIZE", RLIMIT_FSIZE },
	};
	struct rlimit64 none = { 0, 0 };
	pid_t victim = parent();
	int passed = 0, rounds = atoi(args[0]);

	attempt(); // its answer says that the supervisor has begun
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		say("%s %s\n", limits[i].name, outcome(prlimit64(victim, limits[i].resource, &none, NULL)));
		for (int n = 0; n < rounds; n++) {
			pid_t pid = must("fork", fork());

			if (pid == 0)
				_exit(syscall(SYS_getppid) == -1);
			passed += reap(pid) == 0;
		}
	}
	say("passed %d\n", passed);
	return 0;
}

const struct mode supervisor_modes[] = {
	{ "reach-supervisor", reach_supervisor },
	{ "reach-from-namespace", reach_from_namespace },
	{ "neighbour", neighbour },
	{ "guards", guards },
	{ "kill-supervisor", kill_supervisor },
	{ "kill-busy-supervisor", kill_busy_supervisor },
	{ "hurt-supervisor", hurt_supervisor },
	{ "deadly-orphans", deadly_orphans },
	{ "stop-supervisor", stop_supervisor },
	{ "starve-supervisor", starve_supervisor },
	{ NULL, NULL },
};
