// A target that is given shadow memory. Only openat is traced, so that everything
// else uses open.
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

char *at;
unsigned long size;
int kept = -1;

void show(const char *name, long result) {
	printf("%s %s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
	fflush(stdout);
}

static long slurp(const char *path, char *to, long room) {
	int fd = syscall(SYS_open, path, O_RDONLY);
	long n = 0, got;
	while ((got = read(fd, to + n, room - n)) > 0)
		n += got;
	close(fd);
	return n;
}

// descriptors is the set of those from a number on.
static unsigned long descriptors_from(int first) {
	unsigned long set = 0;
	for (int fd = 0; fd < 64; fd++)
		if (fcntl(first + fd, F_GETFD) >= 0)
			set |= 1ul << fd;
	return set;
}

// Where the tracer lends: below the usual limit.
enum { LENT = 1024 - 64 };

static unsigned long descriptors(void) {
	return descriptors_from(0) ^ descriptors_from(LENT);
}

long trigger(const char *path) {
	static char before[1 << 16], after[1 << 16];
	sigset_t mask, mask2;
	unsigned long fds = descriptors();
	slurp("/proc/self/maps", before, sizeof before); // touches what it needs
	sigprocmask(SIG_BLOCK, 0, &mask);
	long n = slurp("/proc/self/maps", before, sizeof before);
	long result = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
	int e = errno;
	long n2 = slurp("/proc/self/maps", after, sizeof after);
	sigprocmask(SIG_BLOCK, 0, &mask2);
	printf("openat %s, descriptors %s, maps %s, signals %s\n",
	       result >= 0 ? "ok" : strerrorname_np(e),
	       descriptors() == fds ? "same" : "changed",
	       n == n2 && !memcmp(before, after, n) ? "same" : "changed",
	       memcmp(&mask, &mask2, 8) ? "changed" : "same");
	fflush(stdout);
	return result;
}

static char *code;

static void obey(char command) {
	unsigned long lent = descriptors_from(LENT);
	int fd = lent ? LENT + __builtin_ctzl(lent) : -1;
	switch (command) {
	case 'k': // keep
		kept = fcntl(fd, F_DUPFD, 40);
		break;
	case 's': { // swap for a file of our own
		int evil = syscall(SYS_memfd_create, "evil", 0);
		ftruncate(evil, size);
		dup2(evil, fd);
		close(evil);
		break;
	}
	case 'm': // put another mapping in the place
		munmap(at, size);
		mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 'o': // overwrite the instruction with two that do nothing
		memset(code, 0x90, 2);
		break;
	}
}

static void *help(void *unused) {
	char c;
	while (read(0, &c, 1) == 1) {
		obey(c);
		write(1, "done\n", 5);
	}
	return unused;
}

void helper(void) {
	pthread_t t;
	pthread_create(&t, 0, help, 0);
}

static void await(void) {
	char c;
	if (read(0, &c, 1) != 1)
		exit(3);
}

// answer makes a filter of our own answer a call without making it.
static void answer(unsigned nr, unsigned error) {
	struct sock_filter f[] = {
		{0x20, 0, 0, 0},
		{0x15, 0, 1, nr},
		{0x06, 0, 0, SECCOMP_RET_ERRNO | error},
		{0x06, 0, 0, SECCOMP_RET_ALLOW},
	};
	struct sock_fprog p = {4, f};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p))
		exit(4);
}

// look is what the kernel finds at the first slot, which is a path.
static void look(const char *who) {
	char buf[256];
	int fds[2];
	if (pipe(fds))
		exit(5);
	long n = write(fds[1], at, 16);
	int e = errno;
	memset(buf, 0, sizeof buf);
	if (n > 0)
		read(fds[0], buf, n);
	printf("%s sees %s\n", who, n > 0 ? buf : strerrorname_np(e));
	fflush(stdout);
	close(fds[0]);
	close(fds[1]);
}

static void family(void) {
	int status;
	if (trigger("map") < 0)
		exit(6);
	look("parent");
	pid_t child = fork();
	if (child == 0) {
		look("child");
		_exit(7);
	}
	waitpid(child, &status, 0);
	printf("the child exited with %d\n", WEXITSTATUS(status));
	look("parent");
}

static volatile int caught;
static void handler(int sig) { caught += sig == SIGUSR1; }

static void signals(void) {
	signal(SIGUSR1, handler);
	trigger("map");
	printf("caught %d\n", caught);
}

// overwritten makes two calls, the traced one and getpid, by code that can be
// overwritten.
static void overwritten(void) {
	static const char calls[] = "\x0f\x05\xb8\x27\0\0\0\x0f\x05\xc3";
	long result;
	sigset_t mask;
	code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, calls, sizeof calls);
	helper();
	register long a4 __asm__("r10") = 0;
	__asm__ volatile("call *%[code]"
	                 : "=a"(result)
	                 : "a"(SYS_openat), "D"(AT_FDCWD), "S"("map"), "d"(0), "r"(a4), [code] "m"(code)
	                 : "rcx", "r11", "memory");
	printf("getpid %s\n", result == getpid() ? "ok" : "failed");
	sigprocmask(SIG_BLOCK, 0, &mask);
	printf("signals %s\n", sigisemptyset(&mask) ? "ok" : "blocked");
}

static volatile int trapped;
static void trap(int sig) { trapped += sig == SIGTRAP; }

// traps makes the call with the trap flag set.
static void traps(void) {
	long result;
	signal(SIGTRAP, trap);
	register long a4 __asm__("r10") = 0;
	__asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n"
	                 "syscall\n nop\n"
	                 "pushfq\n andq $~0x100, (%%rsp)\n popfq"
	                 : "=a"(result)
	                 : "a"(SYS_openat), "D"(AT_FDCWD), "S"("map"), "d"(0), "r"(a4)
	                 : "rcx", "r11", "memory", "cc");
	printf("traps %d\n", trapped);
}

// other makes a call of i386's with the number that is traced.
static void other(void) {
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(SYS_openat), "b"(0), "c"(0), "d"(0) : "memory");
	printf("done\n");
}

static void limited(void) {
	struct rlimit none = {3, 3};
	unsigned long had = descriptors();
	setrlimit(RLIMIT_NOFILE, &none);
	long r = syscall(SYS_openat, AT_FDCWD, "map", O_RDONLY, 0);
	show("openat", r);
	show("descriptors", descriptors() == had ? 0 : -1);
}

int main(int argc, char **argv) {
	const char *mode = argv[1];
	at = (char *)strtoul(argv[2], 0, 0);
	size = strtoul(argv[3], 0, 0);
	if (!strcmp(mode, "race")) {
		race(argv[4], argv[5], argv[6]); // which awaits by itself
		return 0;
	}
	await();
	if (!strcmp(mode, "attacks")) {
		trigger("map");
		attacks();
	} else if (!strcmp(mode, "answer")) {
		answer(atoi(argv[4]), atoi(argv[5]));
		trigger("map");
	} else if (!strcmp(mode, "occupied")) {
		char *p = mmap(at + size - 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		strcpy(p, "ours");
		trigger("map");
		printf("%s\n", p);
	} else if (!strcmp(mode, "helped")) {
		helper();
		trigger("map");
		descriptor();
	} else if (!strcmp(mode, "hidden")) {
		prctl(PR_SET_DUMPABLE, 0);
		trigger("map");
	} else if (!strcmp(mode, "family"))
		family();
	else if (!strcmp(mode, "signals"))
		signals();
	else if (!strcmp(mode, "loop"))
		for (;;)
			syscall(SYS_openat, AT_FDCWD, "map", O_RDONLY, 0);
	else if (!strcmp(mode, "limited"))
		limited();
	else if (!strcmp(mode, "overwritten"))
		overwritten();
	else if (!strcmp(mode, "traps"))
		traps();
	else if (!strcmp(mode, "i386"))
		other();
	else if (!strcmp(mode, "registers"))
		return registers();
	else
		return 2;
	return 0;
}
