// SPDX-License-Identifier: Apache-2.0
// Attacks through other doors into the kernel, and by unusual numbers.
#include "attacker.h"

#include <linux/io_uring.h>

// Call 20 of the i386 table is getpid; a positive result is an escape.
static int report(long result)
{
	say("%s\n", result > 0 ? "escaped" : "refused");
	return 0;
}

static int int80(char **args)
{
	long result;

	(void)args;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
	return report(result);
}

// A page below 4 GiB for 32-bit code and its stack.
static unsigned char *low_page(void)
{
	void *page = mmap((void *)0x10000000, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	must("mmap", page == MAP_FAILED ? -1 : 0);
	return page;
}

// Enters the 32-bit code segment, calls from there, and returns by the 64-bit one.
static int far_jump(char **args)
{
	static const unsigned char code[] = {
		0xb8, 20, 0, 0, 0,	// mov $20, %eax
		0xcd, 0x80,		// int $0x80
		0xcb,			// lret
	};
	unsigned char *page = low_page();
	struct { uint32_t offset; uint16_t segment; } __attribute__((packed)) there = { 0x10000000, 0x23 };
	long result;

	(void)args;
	memcpy(page, code, sizeof(code));
	__asm__ volatile("mov %%rsp, %%r12\n\t"
			 "mov %[stack], %%rsp\n\t"
			 "lcall *%[there]\n\t"
			 "mov %%r12, %%rsp"
			 : "=a"(result)
			 : [stack] "r"(page + 8192 - 64), [there] "m"(there)
			 : "r12", "memory", "rcx", "rdx");
	return report((int)result);
}

static int sysenter(char **args)
{
	unsigned char *page = low_page();
	long result;

	(void)args;
	__asm__ volatile("mov %[stack], %%rsp\n\t"
			 "mov %%rsp, %%rbp\n\t"
			 "sysenter"
			 : "=a"(result) : "a"(20L), [stack] "r"(page + 8192 - 64) : "memory");
	return report(result);
}

static int vsyscall(char **args)
{
	long (*time_entry)(long *) = (long (*)(long *))0xffffffffff600400;

	for (int i = atoi(args[0]); i > 0; i--) {
		long result = time_entry(NULL);

		say("%s\n", result < 0 ? strerrorname_np(-result) : "ok");
	}
	return 0;
}

// One call by a 64-bit number, as it stands in the register.
static int number(char **args)
{
	for (; *args; args++) {
		long result = strtoul(*args, NULL, 0);

		__asm__ volatile("syscall" : "+a"(result)
				 : "D"(0), "S"(0), "d"(0) : "rcx", "r11", "memory");
		say("%s\n", result < 0 && result > -4096 ? strerrorname_np(-result) : "ok");
	}
	return 0;
}

// One call with each first argument, as it stands in the register.
static int argument(char **args)
{
	long nr = strtoul(*args++, NULL, 0);

	for (; *args; args++)
		say("%s\n", outcome(syscall(nr, strtoul(*args, NULL, 0), 0, 0, 0, 0, 0)));
	return 0;
}

// A ring that was inherited as descriptor 3: fill a submission that writes to
// descriptor 4, and hand it in.
static int ring(char **args)
{
	int offsets = atoi(args[0]), tail = atoi(args[1]), array = atoi(args[2]);
	unsigned char *sq = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 3, IORING_OFF_SQES);

	(void)offsets;
	must("mmap", sq == MAP_FAILED || sqe == MAP_FAILED ? -1 : 0);
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_WRITE, .fd = 4, .addr = (uintptr_t)"x", .len = 1 };
	*(unsigned *)(sq + array) = 0;
	atomic_store((atomic_uint *)(sq + tail), 1);
	say("enter %s\n", outcome(syscall(SYS_io_uring_enter, 3, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0)));
	say("register %s\n", outcome(syscall(SYS_io_uring_register, 3, IORING_UNREGISTER_FILES, NULL, 0)));
	say("setup %s\n", outcome(syscall(SYS_io_uring_setup, 1, NULL)));
	return 0;
}

const struct mode door_modes[] = {
	{ "int80", int80 },
	{ "far-jump", far_jump },
	{ "sysenter", sysenter },
	{ "vsyscall", vsyscall },
	{ "number", number },
	{ "argument", argument },
	{ "ring", ring },
	{ NULL, NULL },
};
