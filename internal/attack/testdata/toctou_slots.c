// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use with the memory that a defender redirects calls to:
// where there is none, they use the string's own.
#include "toctou.h"

#include <setjmp.h>
#include <ucontext.h>

static struct area slots;

// ---- as an argument -------------------------------------------------------------------

// Any path may be asked for by access, so that its own slot holds any word.
static void fill(char *page)
{
	flip(page);
	store(page, SECRET);
	syscall(SYS_access, page, F_OK);
	store(page, SAFE);
	syscall(SYS_access, page, F_OK);
}

// A pointer into what calls of other threads are redirected to.
static void borrow(void)
{
	char *p = own_page();

	open_path(p);
	slots = find_slots();
	beside(fill, p);
	beside(fill, p);
	while (more()) {
		open_path(p);
		for (char *at = slots.start; at < slots.end; at += SLOT)
			open_path(at);
	}
}

// A path that begins in memory of its own and ends in a slot has no room: areas do
// not touch. One that ends where the slot ends runs into what always faults.
static void edge(void)
{
	char *p = own_page();

	open_path(p);
	slots = find_slots();
	beside(fill, p);
	while (more()) {
		open_path(p);
		for (char *at = slots.start; at < slots.end; at += SLOT) {
			open_path(at + 1);
			open_path(at + PAGE - 4);
			open_path(at + SLOT - 4);
			open_path(at - 4);
		}
		if (slots.start) {
			open_path(slots.end - PAGE);
			open_path(slots.end - 4);
		}
	}
}

// ---- a jump ---------------------------------------------------------------------------

void landed(void);
extern const char gadget[];

__asm__(".text\n"
	".globl gadget\n"
	"gadget: syscall\n"
	"	ret\n"
	".globl landed\n"
	"landed: mov %rax, %rdi\n"
	"	and $-16, %rsp\n"
	"	call arrived\n");

static sigjmp_buf back;
static long result;
static char *target;

void arrived(long r)
{
	result = r;
	siglongjmp(back, 1);
}

// Returns from the signal to a syscall instruction, with registers of its choice.
static void jump_there(int sig, siginfo_t *info, void *context)
{
	static long stack[512];
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	stack[500] = (long)landed;
	r[REG_RSP] = (greg_t)&stack[500];
	r[REG_RIP] = (greg_t)gadget;
	r[REG_RAX] = SYS_openat;
	r[REG_RDI] = AT_FDCWD;
	r[REG_RSI] = (greg_t)target;
	r[REG_RDX] = O_RDONLY | O_NONBLOCK | O_CLOEXEC;
}

static void jump_to(char *path)
{
	tally->attempts++;
	target = path;
	if (sigsetjmp(back, 1) == 0)
		raise(SIGUSR1);
	judge(result);
}

// A jump to a syscall instruction, by sigreturn.
static void jump(void)
{
	struct sigaction sa = { .sa_sigaction = jump_there, .sa_flags = SA_SIGINFO | SA_NODEFER };
	char *p = own_page();

	sigaction(SIGUSR1, &sa, NULL);
	open_path(p);
	slots = find_slots();
	beside(fill, p);
	while (more()) {
		jump_to(p);
		for (char *at = slots.start; at < slots.end; at += SLOT)
			jump_to(at);
	}
}

// ---- children -------------------------------------------------------------------------

// Memory that is written to by the parent, at the address that the parent's calls
// are redirected to: the child keeps it if it can.
static void attempts(char *page)
{
	for (int i = 0; i < 50 && more(); i++)
		open_path(page);
}

// A child that has a copy of the parent's slots in the place of its own.
static void inherit(void)
{
	char *p = shared_page();

	open_path(p);
	slots = find_slots();
	beside(fill, p);
	while (more()) {
		if (slots.start)
			madvise(slots.start, slots.end - slots.start, MADV_DOFORK);
		waitpid(child(attempts, p), NULL, 0);
	}
}

enum { MOST = 64 };

static char *taken[MOST];
static int takes;

static void flip_taken(char *unused)
{
	(void)unused;
	for (int i = 0; i < takes; i++)
		flip(taken[i]);
}

static void take(char *at)
{
	munmap(at, SLOT);
	if (takes < MOST && mmap(at, SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at)
		taken[takes++] = at;
}

static void premapped(char *page)
{
	for (char *at = slots.start; at < slots.end; at += SLOT)
		take(at);
	if (takes > 0)
		beside(flip_taken, NULL);
	beside(flip, page);
	attempts(page);
	_exit(0); // with its threads
}

// A child that maps memory there before its first call.
static void premap(void)
{
	char *p = own_page();

	open_path(p);
	slots = find_slots();
	while (more()) {
		if (slots.start)
			madvise(slots.start, slots.end - slots.start, MADV_DOFORK);
		waitpid(child(premapped, p), NULL, 0);
		if (slots.start)
			madvise(slots.start, slots.end - slots.start, MADV_DONTFORK);
		waitpid(child(premapped, p), NULL, 0);
	}
}

// ---- descriptors ----------------------------------------------------------------------

enum { EVIL = 16 << 20 };

static char *evil; // memory that looks like the defender's
static int evil_file, next_free;

static void swap_descriptor(char *unused)
{
	(void)unused;
	for (int fd = next_free; fd < next_free + 2; fd++) {
		dup2(evil_file, fd);
		dawdle(20);
		close(fd);
	}
}

static void flip_evil(char *unused)
{
	(void)unused;
	for (char *at = evil; at < evil + EVIL; at += SLOT)
		store(at, tally->turn & 1);
	tally->turn++;
}

static void swapped(char *page)
{
	beside(swap_descriptor, NULL);
	beside(flip, page);
	attempts(page);
	_exit(0); // with its threads
}

// The file that the defender has a thread map becomes another one.
static void swap(void)
{
	char *p = own_page();

	evil_file = must("memfd_create", memfd_create("portcullis-00000000000000000000000000000000", MFD_CLOEXEC));
	must("ftruncate", ftruncate(evil_file, EVIL));
	evil = mmap(NULL, EVIL, PROT_READ | PROT_WRITE, MAP_SHARED, evil_file, 0);
	must("mmap", evil == MAP_FAILED ? -1 : 0);
	madvise(evil, EVIL, MADV_DONTFORK);
	next_free = dup(1);
	close(next_free);
	beside(flip_evil, NULL);
	while (more())
		waitpid(child(swapped, p), NULL, 0);
}

const struct attack slot_attacks[] = {
	{ "borrow", borrow },
	{ "edge", edge },
	{ "jump", jump },
	{ "inherit", inherit },
	{ "premap", premap },
	{ "swap", swap },
	{ NULL, NULL },
};
