// SPDX-License-Identifier: Apache-2.0
// The cases of calls on signals, time and processes, for pinned.c.

// ---- signals ------------------------------------------------------------------------------

static long set_of(int sig)
{
	return THE(uint64_t, sig ? 1UL << (sig - 1) : 0);
}

static long pending(int sig)
{
	sigset_t s;

	handle_by(sig, 0);
	sigemptyset(&s);
	sigaddset(&s, sig);
	sigprocmask(SIG_BLOCK, &s, NULL);
	MUST(kill(getpid(), sig));
	return set_of(sig);
}

static long info(int code)
{
	int i[32] = { SIGUSR1, 0, code, 0, 1234, 0, 4711 };

	return bytes(i, sizeof(i));
}

static int myself(void)
{
	handle_by(SIGUSR1, 0);
	return getpid();
}

static void show_info(const void *p, size_t n)
{
	const siginfo_t *i = p;

	(void)n;
	say("signal %d code %d value %d", i->si_signo, i->si_code, i->si_code == SI_QUEUE ? i->si_value.sival_int : 0);
}

static void signals(void)
{
	long ignore[4] = { 1, 0, 0, 0 };

	CASE(rt_sigaction, "ignore", SIGUSR2, bytes(ignore, 32), out(32), 8);
	CASE(rt_sigaction, "over it", SIGUSR2, output((void *)bytes(ignore, 32), 32, show_hex), (long)ARENA, 8);
	CASE(rt_sigaction, "kill", SIGKILL, bytes(ignore, 32), 0, 8);
	CASE(rt_sigaction, "a short set", SIGUSR2, bytes(ignore, 32), 0, 4);
	CASE(rt_sigprocmask, "block", SIG_BLOCK, set_of(SIGUSR1), out(8), 8);
	CASE(rt_sigprocmask, "over it", SIG_BLOCK, output((void *)set_of(SIGUSR1), 8, show_hex), (long)ARENA, 8);
	CASE(rt_sigprocmask, "deliver", SIG_UNBLOCK, pending(SIGUSR1), out(8), 8);
	CASE(rt_sigprocmask, "badly", 17, set_of(SIGUSR1), out(8), 8);
	CASE(rt_sigtimedwait, "one", pending(SIGUSR1), shown(128, show_info), ARRAY(long, 0, 0), 8);
	CASE_AS(PLAIN, rt_sigtimedwait, "none", set_of(SIGUSR1), 0, ARRAY(long, 0, 0), 8);
	CASE_AS(PLAIN, rt_sigtimedwait, "a short time", set_of(SIGUSR1), 0, ARRAY(long, 0, 1000000), 8);
	CASE_AS(PLAIN, rt_sigtimedwait, "a bad time", set_of(SIGUSR1), 0, ARRAY(long, 0, -1), 8);
	CASE_AS(PLAIN, rt_sigtimedwait, "a time nowhere", set_of(SIGUSR1), 0, UNMAPPED, 8);
	CASE_AS(ONCE, rt_sigsuspend, "one", (pending(SIGUSR1), set_of(0)), 8);
	CASE(rt_sigsuspend, "a short set", set_of(0), 4);
	CASE(rt_sigqueueinfo, "itself", myself(), SIGUSR1, info(-1));
	CASE(rt_sigqueueinfo, "nobody", 0x7ffffff0, SIGUSR1, info(-1));
	CASE(rt_sigqueueinfo, "no signal", myself(), 99, info(-1));
	CASE(rt_sigqueueinfo, "its parent, falsely", getppid(), 0, info(0));
	CASE(rt_tgsigqueueinfo, "itself", myself(), getpid(), SIGUSR1, info(-6));
	CASE(rt_tgsigqueueinfo, "not its own", 1, getpid(), SIGUSR1, info(-6));
	CASE(pidfd_send_signal, "itself", MUST(syscall(SYS_pidfd_open, myself(), 0)), SIGUSR1, info(-1), 0);
	CASE(pidfd_send_signal, "without information", MUST(syscall(SYS_pidfd_open, myself(), 0)), SIGUSR1, 0, 0);
	CASE(pidfd_send_signal, "no process", 77, SIGUSR1, info(-1), 0);
	CASE(sigaltstack, "one", THE(stack_t, .ss_sp = ARENA + 100 * page, .ss_size = 16 * page), out(24));
	CASE(sigaltstack, "over it", output((void *)THE(stack_t, .ss_sp = ARENA + 100 * page, .ss_size = 16 * page), 24, show_hex),
	     (long)ARENA);
	CASE(sigaltstack, "a short one", THE(stack_t, .ss_sp = ARENA, .ss_size = 16), 0);
	CASE(signalfd, "new", -1, set_of(SIGUSR1), 8);
	CASE(signalfd, "no file", 77, set_of(SIGUSR1), 8);
	CASE(signalfd4, "new", -1, set_of(SIGUSR1), 8, 0);
	CASE(signalfd4, "badly", -1, set_of(SIGUSR1), 8, 1);
	CASE(signalfd4, "again", MUST(syscall(SYS_signalfd4, -1, set_of(SIGUSR1), 8, 0)), set_of(SIGUSR2), 8, 0);
}

// ---- time -----------------------------------------------------------------------------------

static int timer(void)
{
	int id;

	MUST(syscall(SYS_timer_create, CLOCK_MONOTONIC, 0, &id));
	return id;
}

static long event_of(int how, int sig)
{
	int e[16] = { 7, 0, sig, how };

	return bytes(e, sizeof(e));
}

static void times(void)
{
	CASE(nanosleep, "a little", ARRAY(long, 0, 1000), hidden(16));
	CASE(nanosleep, "over it", output((void *)ARRAY(long, 0, 1000), 16, NULL), (long)ARENA);
	CASE(nanosleep, "badly", ARRAY(long, 0, 1000000000), 0);
	CASE(clock_nanosleep, "a little", CLOCK_MONOTONIC, 0, ARRAY(long, 0, 1000), hidden(16));
	CASE(clock_nanosleep, "until a time", CLOCK_REALTIME, TIMER_ABSTIME, ARRAY(long, 1000, 1000), 0);
	CASE(clock_nanosleep, "no clock", 99, 0, ARRAY(long, 0, 1000), 0);
	CASE(clock_settime, "no clock", 99, ARRAY(long, 0, 1000));
	CASE(clock_settime, "monotonic", CLOCK_MONOTONIC, ARRAY(long, 0, 1000));
	CASE(clock_settime, "badly", CLOCK_REALTIME, ARRAY(long, -1, -1));
	CASE(settimeofday, "badly", ARRAY(long, -1, -1), 0);
	CASE(settimeofday, "a zone", 0, ARRAY(int, 16 * 60, 0));
	CASE(setitimer, "far away", ITIMER_VIRTUAL, ARRAY(long, 0, 0, 1000, 0), hidden(32));
	CASE(setitimer, "badly", ITIMER_VIRTUAL, ARRAY(long, 0, 0, 0, -1), out(32));
	CASE(setitimer, "no timer", 9, ARRAY(long, 0, 0, 1000, 0), out(32));
	CASE(timer_create, "one", CLOCK_MONOTONIC, event_of(0, SIGUSR1), out(4));
	CASE(timer_create, "badly", CLOCK_MONOTONIC, event_of(0, 99), out(4));
	CASE(timer_create, "no clock", 99, event_of(0, SIGUSR1), out(4));
	CASE(timer_create, "none", CLOCK_MONOTONIC, event_of(1, 0), out(4));
	CASE(timer_settime, "far away", timer(), 0, ARRAY(long, 0, 0, 1000, 0), hidden(32));
	CASE(timer_settime, "no timer", 77, 0, ARRAY(long, 0, 0, 1000, 0), hidden(32));
	CASE(timer_settime, "badly", timer(), 0, ARRAY(long, 0, 0, 0, -1), hidden(32));
	CASE(timerfd_settime, "far away", MUST(syscall(SYS_timerfd_create, 1, 0)), 0, ARRAY(long, 0, 0, 1000, 0), hidden(32));
	CASE(timerfd_settime, "no timer", 77, 0, ARRAY(long, 0, 0, 1000, 0), hidden(32));
	CASE(timerfd_settime, "a file", seen(O_RDWR), 0, ARRAY(long, 0, 0, 1000, 0), hidden(32));
}

// ---- processes -----------------------------------------------------------------------------

static void show_name(void)
{
	char name[16];

	prctl(PR_GET_NAME, name);
	say(" called %s", name);
}

static void show_limit(void)
{
	long l[2];

	MUST(syscall(SYS_prlimit64, 0, 4, 0, l));
	say(" limit %ld %ld", l[0], l[1]);
}

#define STRINGS(...) ARRAY(long, __VA_ARGS__, 0)

static long program(long first, long second)
{
	return STRINGS(first, text("echo"), second);
}

static long many_strings(int n)
{
	long *to = keep(8 * (n + 1), 8);

	to[0] = text("name");
	to[1] = text("echo");
	for (int i = 2; i < n; i++)
		to[i] = text("x");
	to[n] = 0;
	return (long)to;
}

static void executions(void)
{
	CASE_AS(EXECUTES, execve, "a program", text(self), program(text("a"), text("word")), STRINGS(text("A=1"), text("B=2")));
	CASE_AS(EXECUTES, execve, "no program", text("none"), program(text("a"), text("word")), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a file", text(file("file")), program(text("a"), text("word")), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a directory", text("."), program(text("a"), text("word")), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "nonsense", text((chmod(file("file"), 0755), "file")), program(text("a"), text("word")), 0);
	CASE_AS(EXECUTES, execve, "a script", ({
			int fd = opened("script", O_CREAT | O_WRONLY);
			MUST(dprintf(fd, "#!%s echo\n", self));
			MUST(fchmod(fd, 0755));
			close(fd);
			text("script");
		}), STRINGS(text("a"), text("word")), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a word nowhere", text(self), program(text("a"), UNMAPPED), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a word at the edge", text(self), program(text("a"), at_edge(5, "word", 5, 0)),
		STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a word over the edge", text(self), program(text("a"), at_edge(5, "word", 5, 1)),
		STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a long word", text(self), program(text("a"), letters(30000)), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a longer word", text(self), program(text("a"), letters(100000)), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "a word that is too long", text(self), program(text("a"), letters(131072)), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "60 words", text(self), many_strings(60), many_strings(20));
	CASE_AS(EXECUTES, execve, "10000 words", text(self), many_strings(10000), STRINGS(text("A=1")));
	CASE_AS(EXECUTES, execve, "no words", text(self), STRINGS(0), STRINGS(0));
	CASE_AS(EXECUTES, execve, "the same words", text(self), program(text("a"), text("word")), (long)ARENA);
	CASE_AS(EXECUTES, execveat, "a program", AT_FDCWD, text(self), program(text("a"), text("word")), STRINGS(text("A=1")), 0);
	CASE_AS(EXECUTES, execveat, "an open one", opened(self, O_RDONLY | O_CLOEXEC), text(""), program(text("a"), text("word")),
		STRINGS(text("A=1")), AT_EMPTY_PATH);
	CASE_AS(EXECUTES, execveat, "no program", place(), text("none"), program(text("a"), text("word")), STRINGS(text("A=1")), 0);
	CASE_AS(EXECUTES, execveat, "badly", place(), text("none"), program(text("a"), text("word")), STRINGS(text("A=1")), 1 << 20);
}

// struct sock_fprog of a filter that allows everything.
static long allowing(void)
{
	return ARRAY(long, 1, ARRAY(short, 6, 0, 0, 0x7fff));
}

static void settings(void)
{
	CASE(setrlimit, "one", (also = show_limit, 4), ARRAY(long, 4096, 8192));
	CASE(setrlimit, "badly", 4, ARRAY(long, 4096, 1));
	CASE(setrlimit, "nothing", 99, ARRAY(long, 4096, 8192));
	CASE(prlimit64, "one", (also = show_limit, 0), 4, ARRAY(long, 4096, 8192), hidden(16));
	CASE(prlimit64, "over it", 0, 4, output((void *)ARRAY(long, 4096, 8192), 16, NULL), (long)ARENA);
	CASE(prlimit64, "nobody", 0x7ffffff0, 4, ARRAY(long, 4096, 8192), out(16));
	CASE(setgroups, "two", 2, ARRAY(int, 7, 8));
	CASE(sched_setparam, "itself", 0, THE(int, 0));
	CASE(sched_setparam, "badly", 0, THE(int, 5));
	CASE(sched_setscheduler, "the usual", 0, 0, THE(int, 0));
	CASE(sched_setscheduler, "at once", 0, 1, THE(int, 5));
	CASE(sched_setscheduler, "unknown", 0, 99, THE(int, 5));
	CASE(sched_setaffinity, "all", 0, 8, THE(long, -1));
	CASE(sched_setaffinity, "none", 0, 8, THE(long, 0));
	CASE(sched_setaffinity, "128 bytes", 0, 128, bytes((long[16]){ -1 }, 128));
	CASE(modify_ldt, "an entry", 1, ARRAY(int, 0, 0, 0, 0x20), 16);
	CASE(modify_ldt, "a newer entry", 0x11, ARRAY(int, 0, 0x1000, 0x10, 0x51), 16);
	CASE(modify_ldt, "a short one", 1, ARRAY(int, 0, 0, 0, 0x20), 15);
	CASE(modify_ldt, "too far", 1, ARRAY(int, 8192, 0, 0, 0x20), 16);
	CASE(prctl, "a name", (also = show_name, PR_SET_NAME), text("somebody"));
	CASE(prctl, "a long name", (also = show_name, PR_SET_NAME), text("somebody whose name is long"));
	CASE(prctl, "a name of 15 letters", (also = show_name, PR_SET_NAME), text("fifteen letters"));
	CASE(prctl, "a name of 16 letters", (also = show_name, PR_SET_NAME), text("sixteen letters!"));
	CASE(prctl, "a filter", PR_SET_SECCOMP, 2, allowing());
	CASE(prctl, "the name of an area", 0x53564d41, 0, (long)ARENA + 20 * page, page, text("area"));
	CASE(prctl, "a map", 35, 14, bytes((char[104]){ 0 }, 104), 104);
	CASE(prctl, "a vector", 35, 12, bytes((char[64]){ 0 }, 64), 64);
	CASE(prctl, "a number", PR_SET_PDEATHSIG, 0);
	CASE(seccomp, "a filter", 1, 0, allowing());
	CASE(seccomp, "a bad filter", 1, 0, ARRAY(long, 1, ARRAY(short, 6, 1, 1, 1)));
	CASE(seccomp, "an empty filter", 1, 0, ARRAY(long, 0, 0));
	CASE(seccomp, "a filter nowhere", 1, 0, ARRAY(long, 1, UNMAPPED));
	CASE(seccomp, "an action", 2, 0, THE(int, 0x7fff0000));
	CASE(seccomp, "no action", 2, 0, THE(int, 0x12345678));
	CASE(kcmp, "two files", getpid(), getpid(), 7, 1, ARRAY(int, 77, 1, 0));
	CASE(kcmp, "a file", getpid(), getpid(), 7, 1, ARRAY(int, MUST(syscall(SYS_epoll_create1, 0)), 1, 0));
}

static void processes(void)
{
	executions();
	settings();
}
