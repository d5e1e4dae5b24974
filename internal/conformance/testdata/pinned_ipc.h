// SPDX-License-Identifier: Apache-2.0
// The cases of calls by which processes communicate, for pinned.c.

// ---- communication ------------------------------------------------------------------------

static int object, kind; // a System V object to be removed, and of which kind

static void remove_object(void)
{
	if (kind == 's')
		semctl(object, 0, IPC_RMID);
	else if (kind == 'm')
		shmctl(object, IPC_RMID, NULL);
	else
		msgctl(object, IPC_RMID, NULL);
}

static int new_object(int of)
{
	cleanup = remove_object;
	kind = of;
	if (of == 's')
		object = MUST(semget(IPC_PRIVATE, 2, 0600));
	else if (of == 'm')
		object = MUST(shmget(IPC_PRIVATE, page, 0600));
	else
		object = MUST(msgget(IPC_PRIVATE, 0600));
	return object;
}

static int full_queue(void)
{
	struct {
		long type;
		char text[4096];
	} m = { 1, "" };
	int q = new_object('q');

	while (!msgsnd(q, &m, sizeof(m.text), IPC_NOWAIT))
		;
	return q;
}

static void show_message(void)
{
	struct {
		long type;
		char text[4096];
	} m;
	ssize_t n;

	while (kind == 'q' && (n = msgrcv(object, &m, sizeof(m.text), 0, IPC_NOWAIT | MSG_NOERROR)) >= 0) {
		say(" message %ld ", m.type);
		show_hex(m.text, n);
	}
}

static char mq_name[32];

static const char *queue_name(void)
{
	snprintf(mq_name, sizeof(mq_name), "pinned%010d", getpid());
	return mq_name;
}

static void remove_mq(void)
{
	syscall(SYS_mq_unlink, mq_name);
}

static int mq(int how)
{
	long attr[8] = { 0, 2, 16 };

	cleanup = remove_mq;
	return MUST(syscall(SYS_mq_open, queue_name(), O_CREAT | O_RDWR | how, 0600, attr));
}

static int full_mq(void)
{
	int fd = mq(O_NONBLOCK);

	while (!syscall(SYS_mq_timedsend, fd, "full", 4, 1, 0))
		;
	return fd;
}

static int filled_mq(void)
{
	int fd = mq(0);

	MUST(syscall(SYS_mq_timedsend, fd, "full", 4, 1, 0));
	MUST(syscall(SYS_mq_timedsend, fd, "full", 4, 1, 0));
	return fd;
}

static int polled;

static int epolled(int end)
{
	int fd = MUST(syscall(SYS_epoll_create1, 0)), p[2];
	struct epoll_event e = { EPOLLIN, { .fd = 7 } };

	MUST(pipe(p));
	MUST(write(p[1], "x", 1));
	MUST(epoll_ctl(fd, EPOLL_CTL_ADD, p[end], &e));
	polled = p[end];
	return fd;
}

static int readable_pipe(void)
{
	int p[2];

	MUST(pipe(p));
	MUST(write(p[1], "x", 1));
	return p[0];
}

static long words;

static long aio(void)
{
	words = 0;
	MUST(syscall(SYS_io_setup, 4, &words));
	return words;
}

struct iocb {
	uint64_t data;
	uint32_t key, flags;
	uint16_t op, prio;
	uint32_t fd;
	uint64_t buf, nbytes, offset, reserved;
	uint32_t more, resfd;
};

static long io_block(int op, int fd, long buf)
{
	return output((void *)THE(struct iocb, .data = 5, .op = op, .fd = fd, .buf = buf, .nbytes = 4),
		      sizeof(struct iocb), NULL);
}

static long aio_done(void)
{
	long ctx = aio(), b[1] = { io_block(0, opened(file("file"), O_RDONLY), hidden(4)) };

	MUST(syscall(SYS_io_submit, ctx, 1, b));
	return ctx;
}

static void show_events(const void *p, size_t n)
{
	(void)n;
	say("event of %ld with %ld", ((const long *)p)[0], ((const long *)p)[2]);
}

static void events(void)
{
	CASE(epoll_ctl, "add", epolled(0), EPOLL_CTL_ADD, piped(0, 0), THE(struct epoll_event, EPOLLIN));
	CASE(epoll_ctl, "change", epolled(0), EPOLL_CTL_MOD, polled, THE(struct epoll_event, EPOLLIN));
	CASE(epoll_ctl, "a file", epolled(0), EPOLL_CTL_ADD, seen(O_RDWR), THE(struct epoll_event, EPOLLIN));
	CASE(epoll_ctl, "remove", epolled(0), EPOLL_CTL_DEL, polled, UNMAPPED);
	CASE(epoll_pwait, "one", epolled(0), out(12), 1, -1, set_of(SIGUSR1), 8);
	CASE(epoll_pwait, "a short set", epolled(0), out(12), 1, -1, set_of(SIGUSR1), 4);
	CASE(epoll_pwait, "none", epolled(1), out(12), 1, 0, set_of(SIGUSR1), 8);
	CASE(epoll_pwait2, "one", epolled(0), out(12), 1, ARRAY(long, 1, 0), set_of(SIGUSR1), 8);
	CASE_AS(PLAIN, epoll_pwait2, "none", epolled(1), out(12), 1, ARRAY(long, 0, 0), set_of(SIGUSR1), 8);
	CASE(epoll_pwait2, "a bad time", epolled(0), out(12), 1, ARRAY(long, 0, -1), set_of(SIGUSR1), 8);
	CASE(ppoll, "one", output((void *)THE(struct pollfd, readable_pipe(), POLLIN), 8, show_hex), 1, hidden(16),
	     set_of(SIGUSR1), 8);
	CASE(pselect6, "one", readable_pipe() + 1, output((void *)THE(long, 0xf8), 8, show_hex), 0, 0, 0,
	     ARRAY(long, set_of(SIGUSR1), 8));
	CASE(pselect6, "no mask", readable_pipe() + 1, output((void *)THE(long, 0xf8), 8, show_hex), 0, 0, 0, ARRAY(long, 0, 8));
	CASE(pselect6, "a mask nowhere", readable_pipe() + 1, output((void *)THE(long, 0xf8), 8, show_hex), 0, 0, 0,
	     ARRAY(long, UNMAPPED, 8));
	CASE_AS(ONCE, io_submit, "a read", aio(), 1,
		ARRAY(long, io_block(0, opened(file("file"), O_RDONLY), hidden(4))));
	CASE_AS(ONCE, io_submit, "a write", aio(), 1, ARRAY(long, io_block(1, seen(O_RDWR), text("text"))));
	CASE_AS(ONCE, io_submit, "a bad one", aio(), 2,
		ARRAY(long, io_block(1, seen(O_RDWR), text("text")), UNMAPPED));
	CASE_AS(ONCE, io_submit, "no context", UNMAPPED, 1, ARRAY(long, io_block(1, seen(O_RDWR), text("text"))));
	CASE(io_getevents, "one", aio_done(), 1, 1, shown(32, show_events), ARRAY(long, 0, 0));
	CASE_AS(ONCE, io_getevents, "a bad time", aio_done(), 1, 1, shown(32, show_events), ARRAY(long, 0, -1));
	CASE(io_getevents, "no context", UNMAPPED, 1, 1, shown(32, show_events), ARRAY(long, 0, 0));
	CASE(io_pgetevents, "one", aio_done(), 1, 1, shown(32, show_events), ARRAY(long, 0, 0),
	     ARRAY(long, set_of(SIGUSR1), 8));
}

static void system_v(void)
{
	CASE(semop, "up", new_object('s'), ARRAY(short, 0, 1, 0, 1, 2, 0, 0, 3, 0), 2);
	CASE(semop, "not now", new_object('s'), ARRAY(short, 0, -1, IPC_NOWAIT), 1);
	CASE(semop, "too far", new_object('s'), ARRAY(short, 9, 1, 0), 1);
	CASE(semop, "nothing", -1, ARRAY(short, 0, 1, 0), 1);
	CASE(semtimedop, "up", new_object('s'), ARRAY(short, 0, 1, 0), 1, ARRAY(long, 1, 0));
	CASE_AS(PLAIN, semtimedop, "a short time", new_object('s'), ARRAY(short, 0, -1, 0), 1, ARRAY(long, 0, 1000));
	CASE(semtimedop, "a bad time", new_object('s'), ARRAY(short, 0, 1, 0), 1, ARRAY(long, 0, -1));
	CASE(semctl, "set", new_object('s'), 0, IPC_SET, bytes((char[104]){ 0 }, 104));
	CASE(semctl, "set all", new_object('s'), 0, SETALL, ARRAY(short, 3, 4));
	CASE(semctl, "set one", new_object('s'), 0, SETVAL, 5);
	CASE(shmctl, "set", new_object('m'), IPC_SET, bytes((char[112]){ 0 }, 112));
	CASE(shmctl, "nothing", -1, IPC_SET, bytes((char[112]){ 0 }, 112));
	CASE(msgctl, "set", new_object('q'), IPC_SET, bytes((char[120]){ 0 }, 120));
	also = show_message;
	CASE(msgsnd, "one", new_object('q'), ARRAY(char, 5, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't'), 4, 0);
	CASE(msgsnd, "no type", new_object('q'), ARRAY(char, 0, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't'), 4, 0);
	CASE(msgsnd, "a full queue", full_queue(), ARRAY(char, 5, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't'), 4, IPC_NOWAIT);
	CASE(msgsnd, "nothing", -1, ARRAY(char, 5, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't'), 4, 0);
	also = NULL;
}

static void queues(void)
{
	CASE(mq_open, "a new one", (cleanup = remove_mq, text(queue_name())), O_CREAT | O_RDWR, 0600, ARRAY(long, 0, 2, 16, 0, 0, 0, 0, 0));
	CASE(mq_open, "badly", (cleanup = remove_mq, text(queue_name())), O_CREAT | O_RDWR, 0600, ARRAY(long, 0, -1, 16, 0, 0, 0, 0, 0));
	CASE(mq_open, "none", text("pinned-none"), O_RDWR, 0600, 0);
	CASE(mq_unlink, "one", (mq(0), text(mq_name)));
	CASE(mq_unlink, "none", text("pinned-none"));
	CASE(mq_timedsend, "one", mq(O_NONBLOCK), text("text"), 4, 1, ARRAY(long, 1, 0));
	CASE(mq_timedsend, "too long", mq(0), letters(17), 17, 1, ARRAY(long, 1, 0));
	CASE(mq_timedsend, "a full one", full_mq(), text("text"), 4, 1, ARRAY(long, 1, 0));
	CASE_AS(PLAIN, mq_timedsend, "too late", filled_mq(), text("text"), 4, 1, ARRAY(long, 1, 0));
	CASE(mq_timedsend, "a bad time", mq(0), text("text"), 4, 1, ARRAY(long, 0, -1));
	CASE(mq_timedreceive, "one", filled_mq(), out(16), 16, out(4), ARRAY(long, 1, 0));
	CASE(mq_timedreceive, "too short", filled_mq(), out(16), 15, out(4), ARRAY(long, 1, 0));
	CASE(mq_timedreceive, "over the time", filled_mq(), output((void *)ARRAY(long, 1, 0), 16, show_hex), 16, out(4), (long)ARENA);
	CASE(mq_notify, "a signal", mq(0), event_of(0, SIGUSR1));
	CASE(mq_notify, "badly", mq(0), event_of(0, 99));
	CASE(mq_notify, "no queue", 77, event_of(0, SIGUSR1));
	CASE(mq_getsetattr, "flags", mq(0), ARRAY(long, O_NONBLOCK, 0, 0, 0, 0, 0, 0, 0), out(64));
	CASE(mq_getsetattr, "over it", mq(0), output((void *)ARRAY(long, O_NONBLOCK, 0, 0, 0, 0, 0, 0, 0), 64, show_hex), (long)ARENA);
	CASE(mq_getsetattr, "badly", mq(0), ARRAY(long, 1, 0, 0, 0, 0, 0, 0, 0), out(64));
}

static void futexes(void)
{
	struct {
		uint64_t val, addr;
		uint32_t flags, reserved;
	} w = { 1, 0, 2, 0 };

	CASE(futex, "changed", THE(int, 1), 0, 2, ARRAY(long, 1, 0));
	CASE_AS(PLAIN, futex, "a short time", THE(int, 1), 128, 1, ARRAY(long, 0, 1000));
	CASE_AS(PLAIN, futex, "a bad time", THE(int, 1), 0, 1, ARRAY(long, 0, -1));
	CASE_AS(PLAIN, futex, "a mask", THE(int, 1), 9 | 256, 1, ARRAY(long, 1, 0), 0, 0xff);
	CASE_AS(ONCE, futex, "an owner", THE(int, 0), 6, 0, ARRAY(long, 1, 0));
	CASE(futex, "wake", THE(int, 1), 1, 1, 12345);
	CASE(futex_waitv, "changed", (w.val = 2, w.addr = THE(int, 1), bytes(&w, sizeof(w))), 1, 0, ARRAY(long, 1, 0), 1);
	CASE_AS(PLAIN, futex_waitv, "a past time", (w.val = 1, w.addr = THE(int, 1), bytes(&w, sizeof(w))), 1, 0, ARRAY(long, 1, 0), 1);
	CASE(futex_waitv, "nowhere", (w.addr = UNMAPPED, bytes(&w, sizeof(w))), 1, 0, ARRAY(long, 1, 0), 1);
	CASE(futex_wait, "changed", THE(int, 1), 2, 0xffffffff, 2, ARRAY(long, 1, 0), 1);
	CASE_AS(PLAIN, futex_wait, "a past time", THE(int, 1), 1, 0xffffffff, 2, ARRAY(long, 1, 0), 1);
	CASE(futex_requeue, "two",
	     (w.addr = THE(int, 1), w.val = 1, bytes((typeof(w)[2]){ w, { 0, THE(int, 0), 2, 0 } }, 48)), 0, 1, 1);
}

static void ipc(void)
{
	events();
	system_v();
	queues();
	futexes();
}
