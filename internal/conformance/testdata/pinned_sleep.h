// SPDX-License-Identifier: Apache-2.0
// The cases of calls that sleep, for pinned.c: each is found asleep by its parent,
// which then wakes it as the case says, signals, stops or kills it.

// What happens to a call that sleeps, before it is woken up.
enum what { nothing, interrupted, restarted, ignored, stopped, killed, ways };

static const char *const what_names[ways] = { "woken", "interrupted", "restarted", "ignored", "stopped", "killed" };

// ---- what is slept on: the parent has the other end ------------------------------------

static int pipe_ends[2], full_ends[2], stream[2], listener, lock_file, sem, queue, full_mqueue, empty_mqueue;
static char sleeper_mq[2][32];

static void fill(int fd)
{
	static char block[page];

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	while (write(fd, block, sizeof(block)) > 0)
		;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static int new_mq(int i)
{
	long attr[8] = { 0, 1, 16 };

	snprintf(sleeper_mq[i], sizeof(sleeper_mq[i]), "sleeper%d-%08d", i, getpid());
	int fd = MUST(syscall(SYS_mq_open, sleeper_mq[i], O_CREAT | O_EXCL | O_RDWR, 0600, attr));
	MUST(syscall(SYS_mq_unlink, sleeper_mq[i]));
	return fd;
}

static void lock(int type, int command)
{
	MUST(fcntl(lock_file, command, &(struct flock){ .l_type = type }));
}

static void make_ends(void)
{
	struct sockaddr_un a = local("listener");
	struct {
		long type;
		char text[4096];
	} m = { 1, "" };

	MUST(pipe(pipe_ends));
	MUST(pipe(full_ends));
	fill(full_ends[1]);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
	fill(stream[0]);
	unlink("listener");
	listener = new_socket(AF_UNIX, SOCK_STREAM);
	MUST(bind(listener, (void *)&a, sizeof(a)));
	MUST(listen(listener, 0));
	MUST(connect(new_socket(AF_UNIX, SOCK_STREAM), (void *)&a, sizeof(a)));
	lock_file = opened("lock", O_CREAT | O_RDWR);
	lock(F_WRLCK, F_SETLK);
	sem = MUST(semget(IPC_PRIVATE, 1, 0600));
	queue = MUST(msgget(IPC_PRIVATE, 0600));
	while (!msgsnd(queue, &m, sizeof(m.text), IPC_NOWAIT))
		;
	full_mqueue = new_mq(0);
	MUST(syscall(SYS_mq_timedsend, full_mqueue, "full", 4, 1, 0));
	empty_mqueue = new_mq(1);
	unlink("fifo");
	fifo("fifo");
	shared->word = 1;
}

static void drop_ends(void)
{
	semctl(sem, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
}

// ---- watching ---------------------------------------------------------------------------

static int read_file(pid_t pid, const char *name, char *to, size_t room)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, to, room - 1);
	close(fd);
	to[n > 0 ? n : 0] = 0;
	return n > 0;
}

static int state_of(pid_t pid)
{
	char stat[512], *end;

	if (!read_file(pid, "stat", stat, sizeof(stat)) || !(end = strrchr(stat, ')')))
		return 'Z';
	return end[2];
}

// Waits until the child sleeps in its call, 1, or has ended, 0. A sleep that goes on
// after a stop may be restart_syscall.
static int asleep(pid_t pid)
{
	char call[256];

	for (;; sched_yield()) {
		int state = state_of(pid);
		if (state == 'Z' || state == 'X')
			return 0;
		if (state != 'S' || !shared->called || !read_file(pid, "syscall", call, sizeof(call)))
			continue;
		char *end;
		long nr = strtol(call, &end, 10);
		if (end != call && (nr == shared->nr || nr == SYS_restart_syscall) && state_of(pid) == 'S')
			return 1;
	}
}

static int ended(pid_t pid)
{
	siginfo_t i = { 0 };

	waitid(P_PID, pid, &i, WEXITED | WNOHANG | WNOWAIT);
	return i.si_pid == pid;
}

static void wait_for_stop(pid_t pid)
{
	siginfo_t i;

	MUST(waitid(P_PID, pid, &i, WSTOPPED));
}

// Does to a sleeper what is to be done, and tells whether it then sleeps on.
static int disturb(pid_t pid, enum what what)
{
	if (!asleep(pid))
		return 0;
	switch (what) {
	case interrupted:
	case restarted:
		MUST(kill(pid, SIGUSR1));
		while (!__atomic_load_n(&shared->handled, __ATOMIC_ACQUIRE) && !ended(pid))
			sched_yield();
		return asleep(pid);
	case ignored:
		MUST(kill(pid, SIGUSR1));
		MUST(kill(pid, SIGURG)); // ignored unless handled
		return asleep(pid);
	case stopped:
		MUST(kill(pid, SIGSTOP));
		wait_for_stop(pid);
		MUST(kill(pid, SIGCONT));
		return asleep(pid);
	case killed:
		MUST(kill(pid, SIGKILL));
		return 0;
	default:
		return 1;
	}
}

static pid_t start_sleeper(const char *name, const char *label, enum what what)
{
	row_name = name;
	row_label = label;
	memset(shared, 0, sizeof(*shared));
	make_ends();
	serial++;
	pid_t pid = MUST(fork());
	if (pid)
		return pid;
	alarm(60); // nothing here takes that long
	handle_by(SIGUSR1, what == interrupted ? 0 : SA_RESTART);
	if (what == ignored)
		signal(SIGUSR1, SIG_IGN);
	handle_by(SIGUSR2, 0);
	return 0;
}

static void end_sleeper(pid_t pid, enum what what)
{
	int status;

	MUST(waitpid(pid, &status, 0));
	if (status || what == killed) {
		say("%s, %s, %s: ended with %x", row_name, row_label, what_names[what], status);
		end_line();
	}
	drop_ends();
}

static void sleep_now(long nr, const long *arg, enum what what)
{
	say("%s, %s, %s: ", row_name, row_label, what_names[what]);
	shared->called = 1;
	one_call(nr, arg, NOVALUE);
	end_line();
	_exit(0);
}

// wake is what the parent does in the end.
#define SLEEP(call, label, wake, ...)                                                       \
	for (enum what what = 0; what < ways && (!only || !strcmp(only, #call)); what++) {  \
		pid_t sleeper = start_sleeper(#call, label, what);                          \
		if (!sleeper)                                                               \
			sleep_now(NR_##call, (long[6]){ __VA_ARGS__ }, what);               \
		if (disturb(sleeper, what)) {                                               \
			wake;                                                               \
		}                                                                           \
		end_sleeper(sleeper, what);                                                 \
	}

static void drain(int fd)
{
	static char all[64 << 10];
	int left;

	while (!ioctl(fd, FIONREAD, &left) && left)
		MUST(read(fd, all, sizeof(all)));
}

#define SIGNAL MUST(kill(sleeper, SIGUSR2))
#define LONG ARRAY(long, 1000, 0)

static long blocked(int sig)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, sig);
	sigprocmask(SIG_BLOCK, &s, NULL);
	return set_of(0);
}

// A set of one signal that the parent wakes by.
static long waited(int sig)
{
	blocked(sig);
	return set_of(sig);
}

static int polling(void)
{
	int fd = MUST(syscall(SYS_epoll_create1, 0));
	struct epoll_event e = { EPOLLIN, { .fd = 7 } };

	MUST(epoll_ctl(fd, EPOLL_CTL_ADD, pipe_ends[0], &e));
	return fd;
}

static long aio_polling(void)
{
	long ctx = aio();
	struct iocb *b = (void *)THE(struct iocb, .op = 5, .fd = pipe_ends[0], .buf = POLLIN), *list[1] = { b };

	MUST(syscall(SYS_io_submit, ctx, 1, list));
	return ctx;
}

static void wake_word(void)
{
	shared->word = 0;
	MUST(syscall(SYS_futex, &shared->word, 1, 1, 0, 0, 0));
}

// An argument in whose place there is another text once a handler has run.
static long changing(const char *from, const char *to)
{
	char *at = keep(16, 1);

	output(at, 16, NULL);
	change = to;
	return (long)(changed = strcpy(at, from));
}

static long hidden_time(void)
{
	return output((void *)LONG, 16, NULL);
}

static void data_sleepers(void)
{
	struct {
		uint64_t flags, mode, resolve;
	} how = { O_WRONLY, 0, 0 };
	int fd = -1;

	SLEEP(write, "a pipe", drain(full_ends[0]), full_ends[1], text("text"), 4);
	SLEEP(write, "much into a pipe", drain(full_ends[0]), full_ends[1], letters(60000), 60000);
	SLEEP(writev, "a pipe", drain(full_ends[0]), full_ends[1], IOV(vec("some"), vec("thing")), 2);
	SLEEP(pwritev2, "a pipe", drain(full_ends[0]), full_ends[1], IOV(vec("some"), vec("thing")), 2, -1, -1);
	SLEEP(vmsplice, "a pipe", drain(full_ends[0]), full_ends[1], IOV(vec("some"), vec("thing")), 2, 0);
	SLEEP(readv, "a pipe", MUST(write(pipe_ends[1], "x", 1)), pipe_ends[0], IOV({ (void *)out(8), 8 }), 1);
	SLEEP(preadv2, "a pipe", MUST(write(pipe_ends[1], "x", 1)), pipe_ends[0], IOV({ (void *)out(8), 8 }), 1, -1, -1);
	SLEEP(sendto, "a socket", drain(stream[1]), stream[0], text("text"), 4, 0, 0, 0);
	SLEEP(sendmsg, "a socket", drain(stream[1]), stream[0],
	      MESSAGE(.msg_iov = (void *)IOV(vec("some")), .msg_iovlen = 1, .msg_control = (void *)rights(1), .msg_controllen = 24),
	      0);
	SLEEP(connect, "a full listener", MUST(accept(listener, NULL, NULL)), new_socket(AF_UNIX, SOCK_STREAM),
	      address("listener"), 11);
	SLEEP(open, "a fifo", fd = opened("fifo", O_RDONLY | O_NONBLOCK), text("fifo"), O_WRONLY);
	SLEEP(creat, "a fifo", fd = opened("fifo", O_RDONLY | O_NONBLOCK), text("fifo"), 0600);
	SLEEP(openat, "a fifo", fd = opened("fifo", O_RDONLY | O_NONBLOCK), AT_FDCWD, text("fifo"), O_WRONLY);
	SLEEP(openat, "a fifo to read", fd = opened("fifo", O_RDWR), AT_FDCWD, text("fifo"), O_RDONLY);
	SLEEP(open, "a name that changes", fd = opened("fifo", O_RDONLY | O_NONBLOCK), changing("fifo", "lock"), O_WRONLY);
	SLEEP(writev, "buffers that change", drain(full_ends[0]), full_ends[1],
	      IOV({ (void *)changing("some", "thing"), 4 }), 1);
	SLEEP(openat2, "a fifo", fd = opened("fifo", O_RDONLY | O_NONBLOCK), AT_FDCWD, text("fifo"), bytes(&how, sizeof(how)),
	      sizeof(how));
	SLEEP(fcntl, "a lock", lock(F_UNLCK, F_SETLK), opened("lock", O_RDWR), F_SETLKW, THE(struct flock, .l_type = F_WRLCK));
	SLEEP(fcntl, "a lock of the file", lock(F_UNLCK, F_SETLK), opened("lock", O_RDWR), F_OFD_SETLKW,
	      THE(struct flock, .l_type = F_WRLCK));
	(void)fd;
}

static void wait_sleepers(void)
{
	struct {
		uint64_t val, addr;
		uint32_t flags, reserved;
	} w = { 1, 0, 2, 0 };

	SLEEP(semop, "down", MUST(semop(sem, &(struct sembuf){ 0, 1, 0 }, 1)), sem, ARRAY(short, 0, -1, 0), 1);
	SLEEP(semtimedop, "down", MUST(semop(sem, &(struct sembuf){ 0, 1, 0 }, 1)), sem, ARRAY(short, 0, -1, 0), 1, LONG);
	SLEEP(msgsnd, "a full queue", ({
		      struct { long type; char text[4096]; } m;
		      MUST(msgrcv(queue, &m, sizeof(m.text), 0, 0));
	      }), queue, ARRAY(char, 5, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't'), 4, 0);
	SLEEP(mq_timedsend, "a full queue", MUST(syscall(SYS_mq_timedreceive, full_mqueue, (char[16]){ 0 }, 16, 0, 0)),
	      full_mqueue, text("text"), 4, 1, ARRAY(long, 1L << 33, 0));
	SLEEP(mq_timedreceive, "an empty queue", MUST(syscall(SYS_mq_timedsend, empty_mqueue, "text", 4, 1, 0)),
	      empty_mqueue, out(16), 16, out(4), ARRAY(long, 1L << 33, 0));
	SLEEP(rt_sigtimedwait, "a signal", SIGNAL, waited(SIGUSR2), shown(128, show_info), LONG, 8);
	SLEEP(rt_sigsuspend, "a signal", SIGNAL, (blocked(SIGUSR1), set_of(SIGALRM)), 8);
	SLEEP(nanosleep, "long", SIGNAL, LONG, hidden(16));
	SLEEP(clock_nanosleep, "long", SIGNAL, CLOCK_MONOTONIC, 0, LONG, hidden(16));
	SLEEP(clock_nanosleep, "until", SIGNAL, CLOCK_MONOTONIC, TIMER_ABSTIME, ARRAY(long, 1L << 33, 0), hidden(16));
	SLEEP(pselect6, "a pipe", MUST(write(pipe_ends[1], "x", 1)), pipe_ends[0] + 1,
	      output((void *)THE(long, 1L << pipe_ends[0]), 8, NULL), 0, 0, hidden_time(),
	      ARRAY(long, (blocked(SIGUSR1), set_of(SIGUSR2)), 8));
	SLEEP(ppoll, "a pipe", MUST(write(pipe_ends[1], "x", 1)),
	      output((void *)THE(struct pollfd, pipe_ends[0], POLLIN), 8, NULL), 1, hidden_time(),
	      (blocked(SIGUSR1), set_of(SIGUSR2)), 8);
	SLEEP(epoll_pwait, "a pipe", MUST(write(pipe_ends[1], "x", 1)), polling(), out(12), 1, -1,
	      (blocked(SIGUSR1), set_of(SIGUSR2)), 8);
	SLEEP(epoll_pwait2, "a pipe", MUST(write(pipe_ends[1], "x", 1)), polling(), out(12), 1, LONG,
	      (blocked(SIGUSR1), set_of(SIGUSR2)), 8);
	SLEEP(io_getevents, "a pipe", MUST(write(pipe_ends[1], "x", 1)), aio_polling(), 1, 1, hidden(32), LONG);
	SLEEP(io_pgetevents, "a pipe", MUST(write(pipe_ends[1], "x", 1)), aio_polling(), 1, 1, hidden(32), LONG,
	      ARRAY(long, (blocked(SIGUSR1), set_of(SIGUSR2)), 8));
	SLEEP(futex, "a word", wake_word(), (long)&shared->word, 0, 1, LONG);
	SLEEP(futex, "a mask", wake_word(), (long)&shared->word, 9, 1, ARRAY(long, 1L << 33, 0), 0, -1);
	SLEEP(futex_wait, "a word", wake_word(), (long)&shared->word, 1, 0xffffffff, 2, ARRAY(long, 1L << 33, 0), CLOCK_MONOTONIC);
	SLEEP(futex_waitv, "a word", wake_word(), (w.addr = (long)&shared->word, bytes(&w, sizeof(w))), 1, 0,
	      ARRAY(long, 1L << 33, 0), CLOCK_MONOTONIC);
}

static void sleepers(void)
{
	data_sleepers();
	wait_sleepers();
}
