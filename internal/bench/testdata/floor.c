// SPDX-License-Identifier: Apache-2.0
// The floors of decisions that hold a call: the least that does the work in C.
//
//   floor pin CMD ARGS      traces CMD: the path of openat is read, compared, copied
//                           to the slot and read by the kernel from there
//   floor paths CMD ARGS    traces the whole tree of CMD: the same for every path of
//                           every call, but the copy is left unused
//   floor order CMD ARGS    traces CMD: counts getpgid in and out
//   floor notify CMD ARGS   is notified of the calls of paths, reads and compares
//                           their paths, and lets them go on: unpinned
//   floor notify-openat CMD ARGS   the same of openat alone
//   floor nothing CMD ARGS  a filter that allows everything
//
// PATH_CALLS of held.h are the calls of paths. Exits with the status of CMD. With COUNT
// in the environment, the first three say how many calls have gone in and out.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "held.h"
#include "notifier.h"

enum { MOST = 64, TIDS = 1 << 22, PAGE = 4096 };

// Of glibc's <sys/ptrace.h> and the kernel's, only one can be included.
static inline long ptrace(long request, pid_t tid, unsigned long addr, unsigned long data)
{
	return syscall(SYS_ptrace, request, tid, addr, data);
}

/* ---- what is decided ------------------------------------------------------- */

struct call {
	unsigned nr;
	unsigned paths; // a bit for each argument that is one
};

#define CALL(name, paths) { SYS_##name, paths },
static const struct call tree_calls[] = { PATH_CALLS(CALL) };
static const struct call open_calls[] = { { SYS_openat, 1 << 1 } };
static const struct call order_calls[] = { { SYS_getpgid, 0 } };

struct mode {
	const char *name;
	const struct call *calls;
	unsigned len;
	unsigned action;
	int follow; // children too
};

#define CALLS(of) of, sizeof(of) / sizeof((of)[0])
static const struct mode modes[] = {
	{ "pin", CALLS(open_calls), SECCOMP_RET_TRACE, 0 },
	{ "paths", CALLS(tree_calls), SECCOMP_RET_TRACE, 1 },
	{ "order", CALLS(order_calls), SECCOMP_RET_TRACE, 0 },
	{ "notify", CALLS(tree_calls), SECCOMP_RET_USER_NOTIF, 1 },
	{ "notify-openat", CALLS(open_calls), SECCOMP_RET_USER_NOTIF, 0 },
	{ "nothing", NULL, 0, SECCOMP_RET_ALLOW, 0 },
};

static const struct mode *mode;
static uint8_t paths_of[1024];

static void choose(const char *name)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(modes[i].name, name))
			mode = &modes[i];
	if (!mode) {
		fprintf(stderr, "floor: no mode %s\n", name);
		exit(2);
	}
	for (unsigned i = 0; i < mode->len; i++)
		paths_of[mode->calls[i].nr] = mode->calls[i].paths;
}

// program asks for the mode's calls; returns its length.
static unsigned program(struct sock_filter *code)
{
	unsigned n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < mode->len; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mode->calls[i].nr, mode->len - i, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, mode->action);
	return n;
}

static char path[PATH_SIZE];

// fetch reads a path up to the end of its page, and on only where it has not ended
// there. Returns its length with the NUL, or -1.
static int fetch(pid_t tid, uint64_t addr)
{
	size_t have = 0;

	while (have < PATH_SIZE) {
		size_t want = PAGE - (addr + have) % PAGE;
		if (want > PATH_SIZE - have)
			want = PATH_SIZE - have;
		struct iovec local = { path + have, want }, remote = { (void *)(addr + have), want };
		if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != (ssize_t)want)
			return -1;
		char *nul = memchr(path + have, 0, want);
		if (nul)
			return nul - path + 1;
		have += want;
	}
	return -1;
}

// allowed is the policy.
static inline int allowed(int len)
{
	return len > 0 && strncmp(path, FORBIDDEN, sizeof(FORBIDDEN) - 1);
}

/* ---- the tracer ------------------------------------------------------------ */

static const unsigned registers[] = {
	offsetof(struct user_regs_struct, rdi), offsetof(struct user_regs_struct, rsi),
	offsetof(struct user_regs_struct, rdx), offsetof(struct user_regs_struct, r10),
	offsetof(struct user_regs_struct, r8), offsetof(struct user_regs_struct, r9),
};

static uint64_t saved[TIDS][2]; // by thread: what its path registers held
static uint8_t held[TIDS];      // and which they are
static char *slot;
static long entered, inside;

static void refuse(pid_t tid)
{
	ptrace(PTRACE_POKEUSR, tid, offsetof(struct user_regs_struct, orig_rax), -1);
	ptrace(PTRACE_POKEUSR, tid, offsetof(struct user_regs_struct, rax), -EACCES);
	ptrace(PTRACE_CONT, tid, 0, 0);
}

// redirect puts a path into the slot. Without one in the target the register is
// set to what it is, at the same price.
static void redirect(pid_t tid, unsigned arg, uint64_t addr, int len)
{
	memcpy(slot, path, len);
	ptrace(PTRACE_POKEUSR, tid, registers[arg], mode->follow ? addr : SLOT);
}

static void enter(pid_t tid)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), (unsigned long)&info) <= 0)
		return;
	unsigned nr = info.seccomp.nr & 1023, paths = paths_of[nr], n = 0;
	held[tid] = 0;
	for (unsigned arg = 0; paths >> arg; arg++) {
		uint64_t addr = info.seccomp.args[arg];
		if (!(paths >> arg & 1) || !addr)
			continue; // utimensat may have none
		int len = fetch(tid, addr);
		if (!allowed(len)) {
			refuse(tid);
			return;
		}
		redirect(tid, arg, addr, len);
		held[tid] |= 1 << arg;
		saved[tid][n++ & 1] = addr;
	}
	entered++;
	inside++;
	ptrace(PTRACE_SYSCALL, tid, 0, 0);
}

static void leave(pid_t tid)
{
	unsigned n = 0;

	inside--;
	for (unsigned arg = 0; held[tid] >> arg; arg++)
		if (held[tid] >> arg & 1)
			ptrace(PTRACE_POKEUSR, tid, registers[arg], saved[tid][n++ & 1]);
	ptrace(PTRACE_CONT, tid, 0, 0);
}

static void other(pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (event == PTRACE_EVENT_STOP && sig != SIGTRAP)
		ptrace(PTRACE_LISTEN, tid, 0, 0);
	else
		ptrace(PTRACE_CONT, tid, 0, event ? 0 : sig);
}

static int trace(pid_t target)
{
	int status, code = 1;
	pid_t tid;

	while ((tid = wait4(-1, &status, __WALL, NULL)) > 0) {
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8))
			enter(tid);
		else if (status >> 8 == (SIGTRAP | 0x80))
			leave(tid);
		else if (WIFSTOPPED(status))
			other(tid, status);
		else if (tid == target)
			code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	if (getenv("COUNT"))
		fprintf(stderr, "%ld in, %ld out\n", entered, entered - inside);
	return code;
}

static void seize(pid_t tid)
{
	struct sigaction quiet = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
	unsigned long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;

	sigaction(SIGCHLD, &quiet, NULL); // stops are waited for
	if (mode->follow)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	if (ptrace(PTRACE_SEIZE, tid, 0, options))
		die("PTRACE_SEIZE");
}

/* ---- the notifier ---------------------------------------------------------- */

static int notified_allowed(const struct seccomp_notif *req)
{
	unsigned paths = paths_of[req->data.nr & 1023];

	for (unsigned arg = 0; paths >> arg; arg++)
		if (paths >> arg & 1 && req->data.args[arg] && !allowed(fetch(req->pid, req->data.args[arg])))
			return 0;
	return 1;
}

static void answer(int fd)
{
	struct seccomp_notif req;

	ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
	for (;;) {
		memset(&req, 0, sizeof(req));
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req))
			continue; // until SIGCHLD
		struct seccomp_notif_resp resp = { .id = req.id };
		if (notified_allowed(&req))
			resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		else
			resp.error = -EACCES;
		if (!ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &req.id))
			ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &resp);
	}
}

static volatile pid_t command;

// ended is where a notifier ends: between two calls it would miss it.
static void ended(int unused)
{
	int status;

	(void)unused;
	if (waitpid(command, &status, WNOHANG) == command)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* ---- the command ----------------------------------------------------------- */

static void offer_slot(void)
{
	char number[16];
	int fd = memfd_create("slot", 0);

	if (fd < 0 || ftruncate(fd, SLOT_SIZE))
		die("memfd_create");
	slot = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (slot == MAP_FAILED)
		die("mmap");
	snprintf(number, sizeof(number), "%d", fd);
	if (!mode->follow)
		setenv("SLOT", number, 1);
}

static void filter(int sock)
{
	struct sock_filter code[MOST + 3];
	struct sock_fprog prog = { program(code), code };

	if (mode->action == SECCOMP_RET_USER_NOTIF) {
		int fd = listen_by(code, prog.len);
		if (fd < 0)
			die("seccomp");
		send_fd(sock, fd);
		close(fd);
	} else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		   syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		die("seccomp");
}

// start forks the command, which waits for a byte before it installs its filter.
static void start(const int *pair, char **argv)
{
	char byte;

	command = fork();
	if (command < 0)
		die("fork");
	if (command)
		return;
	close(pair[0]); // then it ends with who should send
	if (read(pair[1], &byte, 1) != 1)
		_exit(2);
	filter(pair[1]);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	die(argv[0]);
}

static void serve(int sock, const sigset_t *chld)
{
	signal(SIGCHLD, ended);
	if (mode->action == SECCOMP_RET_USER_NOTIF) {
		int fd = receive_fd(sock);
		sigprocmask(SIG_UNBLOCK, chld, NULL);
		answer(fd);
	}
	sigprocmask(SIG_UNBLOCK, chld, NULL);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int pair[2], traces;
	sigset_t chld;

	if (argc < 3) {
		fprintf(stderr, "usage: floor MODE CMD ARGS\n");
		return 2;
	}
	choose(argv[1]);
	traces = mode->action == SECCOMP_RET_TRACE;
	if (traces)
		offer_slot();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	start(pair, argv + 2);
	if (traces)
		seize(command);
	if (write(pair[0], "", 1) != 1)
		die("write");
	close(pair[1]);
	if (traces)
		return trace(command);
	serve(pair[0], &chld);
}
