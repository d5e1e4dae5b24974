// SPDX-License-Identifier: Apache-2.0
// What pinned.c is made of: memory for arguments, calls between known registers,
// and the variants of a call. pinned.c says what it is for.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "pinned_numbers.h" // NR_call: written by the test from the table of calls
#define PORTCULLIS_ARGS_TABLE
#include "portcullis_args.h"

enum { page = 4096 };

__attribute__((format(printf, 1, 2))) static void must_say(const char *format, ...);

static long must(long result, const char *what)
{
	if (result < 0)
		must_say("cannot prepare: %s: %s", what, strerrorname_np(errno));
	return result;
}
#define MUST(call) must((long)(call), #call)

// ---- a line a case -------------------------------------------------------------

static char line[16 << 10];
static size_t line_length;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list list;
	size_t room = sizeof(line) - line_length - 1;

	__builtin_va_start(list, format);
	int n = vsnprintf(line + line_length, room, format, list);
	__builtin_va_end(list);
	line_length += (size_t)n < room ? (size_t)n : room - 1;
}

static void end_line(void)
{
	line[line_length++] = '\n';
	if (write(1, line, line_length) != (ssize_t)line_length)
		_exit(9);
	line_length = 0;
}

static void must_say(const char *format, ...)
{
	char text[256];
	va_list list;

	__builtin_va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	__builtin_va_end(list);
	say("%s", text);
	end_line();
	_exit(8);
}

// ---- memory of arguments ---------------------------------------------------------

// All that calls are given lies in the arena, where it is compared afterwards with
// what it was. Its addresses are the same in every run.
#define ARENA ((char *)0x10000000)
#define EDGES ((char *)0x20000000)
enum { arena_size = 512 * page, edge_size = 3 * page };

static char before[arena_size], edges_before[6][2 * page];
static size_t arena_used;
static int unreadable[6]; // edges

// Where nothing is.
#define UNMAPPED ((long)EDGES - page)

static void *keep(size_t n, size_t align)
{
	arena_used = (arena_used + align - 1) & -align;
	void *p = ARENA + arena_used;
	arena_used += n;
	if (arena_used > arena_size)
		must_say("the arena is too small");
	return p;
}

static long bytes(const void *from, size_t n)
{
	return (long)memcpy(keep(n, 16), from, n);
}

static long text(const char *s)
{
	return bytes(s, strlen(s) + 1);
}

// An object of a type in the arena.
#define THE(type, ...) bytes(&(type){ __VA_ARGS__ }, sizeof(type))
#define ARRAY(type, ...) bytes((type[]){ __VA_ARGS__ }, sizeof((type[]){ __VA_ARGS__ }))

// What a call writes, and how it is shown; NULL: not at all.
typedef void shower(const void *p, size_t n);

static struct output {
	char *at;
	size_t size;
	shower *show;
} outputs[16];
static int output_count;

static long output(void *p, size_t n, shower *show)
{
	outputs[output_count++] = (struct output){ p, n, show };
	return (long)p;
}

static void show_hex(const void *p, size_t n)
{
	const unsigned char *b = p;
	unsigned sum = 2166136261u;

	if (n > 40) {
		for (size_t i = 0; i < n; i++)
			sum = (sum ^ b[i]) * 16777619;
		say("#%08x", sum);
		return;
	}
	for (size_t i = 0; i < n; i++)
		say("%02x", b[i]);
}

static long out(size_t n)
{
	return output(memset(keep(n, 16), 0xee, n), n, show_hex);
}

static long hidden(size_t n)
{
	return output(memset(keep(n, 16), 0xee, n), n, NULL);
}

static long shown(size_t n, shower *show)
{
	return output(memset(keep(n, 16), 0xee, n), n, show);
}

static char *edge(int i)
{
	return EDGES + i * 16 * page;
}

static void map_memory(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	MUST(mmap(ARENA, arena_size, PROT_READ | PROT_WRITE, flags, -1, 0));
	for (int i = 0; i < 6; i++) {
		MUST(mmap(edge(i), edge_size, PROT_READ | PROT_WRITE, flags, -1, 0));
		MUST(mprotect(edge(i) + 2 * page, page, PROT_NONE));
	}
}

static void remember_memory(void)
{
	memcpy(before, ARENA, arena_used);
	for (int i = 0; i < 6; i++)
		if (!unreadable[i])
			memcpy(edges_before[i], edge(i), 2 * page);
}

static int is_output(const char *p)
{
	for (int i = 0; i < output_count; i++)
		if (p >= outputs[i].at && p < outputs[i].at + outputs[i].size)
			return 1;
	return 0;
}

static void compare(const char *now, const char *then, size_t n, const char *what)
{
	if (!memcmp(now, then, n))
		return;
	for (size_t i = 0; i < n; i++)
		if (now[i] != then[i] && !is_output(now + i)) {
			/* Of a word: a thread's number may begin with what was there. */
			say(" %s changed at %zu", what, i & ~(size_t)3);
			return;
		}
}

static void show_memory(void)
{
	compare(ARENA, before, arena_used, "memory");
	for (int i = 0; i < 6; i++)
		if (!unreadable[i])
			compare(edge(i), edges_before[i], 2 * page, "edge");
	for (int i = 0; i < output_count; i++)
		if (outputs[i].show && memcmp(outputs[i].at, before + (outputs[i].at - ARENA), outputs[i].size)) {
			say(" out%d ", i);
			outputs[i].show(outputs[i].at, outputs[i].size);
		}
}

// ---- signals -----------------------------------------------------------------------

// Shared with the process that watches.
static struct shared {
	int pid;
	int handled;
	int wrong; // registers that a handler found changed
	int code, value, from_parent;
	int called; // or about to be
	int word;   // a futex
	long nr;
} *shared;

static struct frame *current;

// ---- calls between known registers ---------------------------------------------------

struct frame {
	long nr, arg[6];		     // 0, 8
	long rbx, rbp, r12, r13, r14, r15; // 56
	long rcx, r11, flags, rsp;	     // 104
	unsigned char xmm[16][16];	     // 136
	long result;			     // 392
	long after[6];			     // 400: rdi rsi rdx r10 r8 r9
	long rbx_after, rbp_after, r12_after, r13_after, r14_after, r15_after; // 448
	long rcx_after, r11_after, flags_after, rsp_after;		       // 496
	unsigned char xmm_after[16][16];				       // 528
};

void pinned_call(struct frame *);
extern char pinned_site[], pinned_return[];

#define XMM(op, at, sep) \
	op(at, 0, sep) op(at, 1, sep) op(at, 2, sep) op(at, 3, sep) op(at, 4, sep) op(at, 5, sep) \
	op(at, 6, sep) op(at, 7, sep) op(at, 8, sep) op(at, 9, sep) op(at, 10, sep) op(at, 11, sep) \
	op(at, 12, sep) op(at, 13, sep) op(at, 14, sep) op(at, 15, sep)
#define LOAD(at, n, sep) "movdqu " #at "+16*" #n "(%rdi), %xmm" #n "\n"
#define STORE(at, n, sep) "movdqu %xmm" #n ", " #at "+16*" #n "(%rdi)\n"

asm(".text\n.globl pinned_call, pinned_site, pinned_return\n"
    "pinned_call:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n"
    "mov %rsp, 128(%rdi)\n"
    XMM(LOAD, 136, )
    "pushq 120(%rdi)\npopfq\n"
    "mov 0(%rdi), %rax\n"
    "mov 16(%rdi), %rsi\nmov 24(%rdi), %rdx\nmov 32(%rdi), %r10\nmov 40(%rdi), %r8\nmov 48(%rdi), %r9\n"
    "mov 56(%rdi), %rbx\nmov 64(%rdi), %rbp\nmov 72(%rdi), %r12\nmov 80(%rdi), %r13\n"
    "mov 88(%rdi), %r14\nmov 96(%rdi), %r15\nmov 104(%rdi), %rcx\nmov 112(%rdi), %r11\n"
    "mov 8(%rdi), %rdi\n"
    "pinned_site: syscall\n"
    "pinned_return:\n"
    "push %rdi\n"
    "mov 8(%rsp), %rdi\n"
    "mov %rax, 392(%rdi)\n"
    "pop %rax\nmov %rax, 400(%rdi)\n"
    "mov %rsi, 408(%rdi)\nmov %rdx, 416(%rdi)\nmov %r10, 424(%rdi)\nmov %r8, 432(%rdi)\nmov %r9, 440(%rdi)\n"
    "mov %rbx, 448(%rdi)\nmov %rbp, 456(%rdi)\nmov %r12, 464(%rdi)\nmov %r13, 472(%rdi)\n"
    "mov %r14, 480(%rdi)\nmov %r15, 488(%rdi)\nmov %rcx, 496(%rdi)\nmov %r11, 504(%rdi)\n"
    "pushfq\npop %rax\nmov %rax, 512(%rdi)\n"
    "mov %rsp, 520(%rdi)\n"
    XMM(STORE, 528, )
    "pushq $0x202\npopfq\n"
    "pop %rdi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\n"
    "ret\n");

// Carry, parity, adjust, zero, sign, interrupt, direction, overflow, nested task, id.
enum { flags = 0x204ed7 };

static void make(struct frame *f, long nr, const long *arg)
{
	memset(f, 0, sizeof(*f));
	f->nr = nr;
	memcpy(f->arg, arg, sizeof(f->arg));
	f->rbx = 0xb0b0b0b0b0b0b0b0;
	f->rbp = 0xb1b1b1b1b1b1b1b1;
	f->r12 = 0xb2b2b2b2b2b2b2b2;
	f->r13 = 0xb3b3b3b3b3b3b3b3;
	f->r14 = 0xb4b4b4b4b4b4b4b4;
	f->r15 = 0xb5b5b5b5b5b5b5b5;
	f->rcx = 0xb6b6b6b6b6b6b6b6;
	f->r11 = 0xb7b7b7b7b7b7b7b7;
	f->flags = flags;
	for (int i = 0; i < 16; i++)
		memset(f->xmm[i], 0xc0 + i, 16);
	shared->nr = nr;
	current = f;
	pinned_call(f);
}

static void check(const char *name, long have, long want)
{
	if (have != want)
		say(" %s %lx not %lx", name, have, want);
}

static void check_registers(const struct frame *f)
{
	static const char *const names[6] = { "rdi", "rsi", "rdx", "r10", "r8", "r9" };

	for (int i = 0; i < 6; i++)
		check(names[i], f->after[i], f->arg[i]);
	check("rbx", f->rbx_after, f->rbx);
	check("rbp", f->rbp_after, f->rbp);
	check("r12", f->r12_after, f->r12);
	check("r13", f->r13_after, f->r13);
	check("r14", f->r14_after, f->r14);
	check("r15", f->r15_after, f->r15);
	check("rcx", f->rcx_after, (long)pinned_return);
	check("r11", f->r11_after, f->flags);
	check("flags", f->flags_after, f->flags);
	check("rsp", f->rsp_after, f->rsp);
	if (memcmp(f->xmm, f->xmm_after, sizeof(f->xmm)))
		say(" xmm changed");
}

// What a handler changes in the arguments of the call that it interrupts, if not NULL.
static char *changed;
static const char *change;

// A handler finds the arguments as they were given, and the call behind it or to be
// made again. It makes a call of its own.
static void handle(int sig, siginfo_t *info, void *context)
{
	static const int at[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	if (access(".", F_OK))
		shared->wrong++;
	if (changed)
		strcpy(changed, change);
	shared->code = info->si_code;
	shared->value = info->si_value.sival_int;
	shared->from_parent = info->si_pid == getppid() ? 1 : info->si_pid == getpid() ? 2 : 0;
	if (current && (r[REG_RIP] == (greg_t)pinned_site || r[REG_RIP] == (greg_t)pinned_return)) {
		for (int i = 0; i < 6; i++)
			if (r[at[i]] != current->arg[i])
				shared->wrong++;
		if (r[REG_RIP] == (greg_t)pinned_site && r[REG_RAX] != current->nr)
			shared->wrong++;
	}
	shared->handled++;
}

static void handle_by(int sig, int flags)
{
	struct sigaction act = { .sa_sigaction = handle, .sa_flags = flags | SA_SIGINFO };

	sigaction(sig, &act, NULL);
}
