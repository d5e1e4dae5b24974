// SPDX-License-Identifier: Apache-2.0
// Attacks on the launch and what it leaves behind.
#include "attacker.h"

#include <dirent.h>
#include <elf.h>
#include <sys/auxv.h>

extern char **environ;

static long exec_with(uint64_t token)
{
	char *argv[] = { "/proc/self/exe", "escaped", NULL };

	return syscall(SYS_execveat, AT_FDCWD, argv[0], argv, environ, 0, token);
}

static int escaped(char **args)
{
	(void)args;
	say("escaped\n");
	return 0;
}

// Every way to start a program again.
static int again(char **args)
{
	char *argv[] = { "/proc/self/exe", "escaped", NULL };
	pid_t child;

	(void)args;
	say("execve %s\n", outcome(execve(argv[0], argv, environ)));
	say("execveat %s\n", outcome(exec_with(0)));
	say("token -1 %s\n", outcome(exec_with(-1)));
	say("empty path %s\n", outcome(syscall(SYS_execveat, open(argv[0], O_PATH), "", argv, environ, AT_EMPTY_PATH, 0)));
	child = fork();
	if (child == 0)
		_exit(exec_with(0) == -1 ? errno : 0);
	say("fork %s\n", strerrorname_np(reap(child)));
	child = vfork();
	if (child == 0)
		_exit(exec_with(0) == -1 ? errno : 0);
	say("vfork %s\n", strerrorname_np(reap(child)));
	return 0;
}

// ---- the token -------------------------------------------------------------------

// The registers, as they were before the first instruction.
static uint64_t first_registers[16];

__asm__(".globl entry\n"
	"entry:\n\t"
	"mov %rax, first_registers(%rip)\n\t"
	"mov %rbx, first_registers+8(%rip)\n\t"
	"mov %rcx, first_registers+16(%rip)\n\t"
	"mov %rdx, first_registers+24(%rip)\n\t"
	"mov %rsi, first_registers+32(%rip)\n\t"
	"mov %rdi, first_registers+40(%rip)\n\t"
	"mov %rbp, first_registers+48(%rip)\n\t"
	"mov %rsp, first_registers+56(%rip)\n\t"
	"mov %r8, first_registers+64(%rip)\n\t"
	"mov %r9, first_registers+72(%rip)\n\t"
	"mov %r10, first_registers+80(%rip)\n\t"
	"mov %r11, first_registers+88(%rip)\n\t"
	"mov %r12, first_registers+96(%rip)\n\t"
	"mov %r13, first_registers+104(%rip)\n\t"
	"mov %r14, first_registers+112(%rip)\n\t"
	"mov %r15, first_registers+120(%rip)\n\t"
	"jmp _start");

static unsigned long tried;

static void try_bytes(const unsigned char *at, const unsigned char *end)
{
	uint64_t token;

	for (; at + sizeof(token) <= end; at++, tried++) {
		memcpy(&token, at, sizeof(token));
		exec_with(token);
	}
}

static void try_file(const char *path)
{
	unsigned char buf[16384];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf));

	if (n > 0)
		try_bytes(buf, buf + n);
	close(fd);
}

// Whatever eight bytes the process can find become the token: its writable
// memory, the vdso's data and what /proc says about it. The text comes from a
// file that was written before the token was drawn.
static int find_token(char **args)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	struct { unsigned char *from, *to; } found[64];
	int n = 0;

	(void)args;
	must("maps", maps ? 0 : -1);
	while (fgets(line, sizeof(line), maps) && n < 64)
		if (sscanf(line, "%p-%p", &found[n].from, &found[n].to) == 2 &&
		    (strstr(line, " rw") || strstr(line, "[vdso]")) && !strstr(line, "[vvar"))
			n++;
	fclose(maps);
	try_bytes((void *)first_registers, (void *)(first_registers + 16));
	for (int i = 0; i < n; i++)
		try_bytes(found[i].from, found[i].to);
	try_file("/proc/self/auxv");
	try_file("/proc/self/environ");
	try_file("/proc/self/cmdline");
	try_file("/proc/self/stat");
	try_file("/proc/self/status");
	try_file("/proc/self/syscall");
	say("tried %s, not found\n", tried > 100000 ? "much" : "too little");
	return 0;
}

// The filter itself names the token: a tracer could ask for it.
static int read_filter(char **args)
{
	struct sock_filter code[4096];
	pid_t child = fork();

	(void)args;
	if (child == 0)
		for (;;)
			pause();
	must("attach", ptrace(PTRACE_ATTACH, child, 0, 0));
	must("waitpid", waitpid(child, NULL, 0));
	say("%s\n", outcome(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 0, code)));
	kill(child, SIGKILL);
	reap(child);
	return 0;
}

// ---- what is inherited ---------------------------------------------------------------

static int files(char **args)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	(void)args;
	must("opendir", d ? 0 : -1);
	while ((e = readdir(d)))
		if (*e->d_name != '.' && atoi(e->d_name) != dirfd(d))
			say("%s ", e->d_name);
	say("\n");
	return 0;
}

static int privileges(char **args)
{
	char buf[256];

	say("NoNewPrivs %s\n", status_line(getpid(), "NoNewPrivs:", buf, sizeof(buf)));
	say("Seccomp %s\n", status_line(getpid(), "Seccomp:", buf, sizeof(buf)));
	say("Threads %s\n", status_line(getpid(), "Threads:", buf, sizeof(buf)));
	say("TracerPid %s\n", status_line(getpid(), "TracerPid:", buf, sizeof(buf)));
	say("SigBlk %s\n", status_line(getpid(), "SigBlk:", buf, sizeof(buf)));
	say("SigIgn %s\n", status_line(getpid(), "SigIgn:", buf, sizeof(buf)));
	say("clear %s\n", outcome(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)));
	if (*args)
		must("exec", execl(*args, *args, "identity", NULL));
	return 0;
}

static int identity(char **args)
{
	(void)args;
	say("%s\n", getuid() == geteuid() ? "same user" : "another user");
	return 0;
}

const struct mode launch_modes[] = {
	{ "again", again },
	{ "escaped", escaped },
	{ "find-token", find_token },
	{ "read-filter", read_filter },
	{ "files", files },
	{ "privileges", privileges },
	{ "identity", identity },
	{ NULL, NULL },
};
