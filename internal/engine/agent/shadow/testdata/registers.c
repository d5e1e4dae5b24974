// A call that notes every register before and after it.
#include "victim.h"

// The order of SAVE below; the last is the flags.
static const char *names[] = {
	"rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10",
	"r11", "r12", "r13", "r14", "r15", "flags",
};

unsigned long before[16], after[16];

#define SAVE(to) \
	"mov %rbx, " to "+0(%rip)\n mov %rcx, " to "+8(%rip)\n mov %rdx, " to "+16(%rip)\n" \
	"mov %rsi, " to "+24(%rip)\n mov %rdi, " to "+32(%rip)\n mov %rbp, " to "+40(%rip)\n" \
	"mov %rsp, " to "+48(%rip)\n mov %r8, " to "+56(%rip)\n mov %r9, " to "+64(%rip)\n" \
	"mov %r10, " to "+72(%rip)\n mov %r11, " to "+80(%rip)\n mov %r12, " to "+88(%rip)\n" \
	"mov %r13, " to "+96(%rip)\n mov %r14, " to "+104(%rip)\n mov %r15, " to "+112(%rip)\n" \
	"pushfq\n pop " to "+120(%rip)\n"

// The instruction itself sets rcx and r11, to the address behind it and the flags.
__asm__(".globl noted\n"
	"noted:\n"
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"mov %rdi, %rsi\n mov $-100, %rdi\n xor %edx, %edx\n"
	"movabs $0x1111111111111111, %rbx\n movabs $0x2222222222222222, %rbp\n"
	"movabs $0x8888888888888888, %r8\n movabs $0x9999999999999999, %r9\n"
	"movabs $0xaaaaaaaaaaaaaaaa, %r10\n movabs $0xcccccccccccccccc, %r12\n"
	"movabs $0xdddddddddddddddd, %r13\n movabs $0xeeeeeeeeeeeeeeee, %r14\n"
	"movabs $0xffffffffffffffff, %r15\n"
	"stc\n std\n pushfq\n pop %r11\n lea 1f(%rip), %rcx\n"
	SAVE("before")
	"mov $257, %eax\n" // openat
	"syscall\n"
	"1:\n"
	SAVE("after")
	"cld\n"
	"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
	"ret\n");

extern long noted(const char *path);

int registers(void) {
	long result = noted("map");
	for (int i = 0; i < 16; i++)
		if (before[i] != after[i])
			printf("%s %lx %lx\n", names[i], before[i], after[i]);
	printf("openat %s\n", result >= 0 ? "ok" : strerrorname_np(-result));
	return 0;
}
