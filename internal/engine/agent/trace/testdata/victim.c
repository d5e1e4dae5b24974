/* What the tests of the tracer trace. Each mode prints what it saw. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define SECRET "/tmp/secret"

static const char *result(long r)
{
	static __thread char text[32];

	if (r >= 0)
		return "ok";
	snprintf(text, sizeof(text), "errno %d", errno);
	return text;
}

static void must(long r, const char *what)
{
	if (r < 0) {
		perror(what);
		exit(99);
	}
}

/* ---- actions ---- */

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	printf("signal %d code %d errno %d syscall %d arch %x rax %lld at %d\n", sig,
	       info->si_code, info->si_errno, info->si_syscall, info->si_arch,
	       u->uc_mcontext.gregs[REG_RAX],
	       (void *)u->uc_mcontext.gregs[REG_RIP] == info->si_call_addr);
}

static int trap(char **argv)
{
	struct sigaction act = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
	sigset_t all;

	(void)argv;
	sigaction(SIGSYS, &act, NULL);
	printf("first %d\n", syscall(SYS_getppid) > 0);
	syscall(SYS_getppid);
	printf("handled\n");
	fflush(stdout);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	syscall(SYS_getppid);
	printf("survived\n");
	return 0;
}

static void *twice(void *unused)
{
	(void)unused;
	syscall(SYS_getppid);
	syscall(SYS_getppid);
	printf("the thread lives\n");
	return NULL;
}

static int kill_thread(char **argv)
{
	pthread_t t;

	(void)argv;
	pthread_create(&t, NULL, twice, NULL);
	pthread_join(t, NULL); /* the kernel clears its tid however it ends */
	printf("joined\n");
	return 0;
}

static void *pauses(void *unused)
{
	pause();
	return unused;
}

static int kill_process(char **argv)
{
	pthread_t t;
	int i;

	(void)argv;
	pthread_create(&t, NULL, pauses, NULL);
	for (i = 0; i < 10; i++)
		openat(AT_FDCWD, "/etc/passwd", O_RDONLY);
	printf("survived\n");
	return 0;
}

static int none(char **argv)
{
	(void)argv;
	printf("%s\n", syscall(SYS_getppid) > 0 ? "ok" : "failed");
	printf("%s\n", result(syscall(SYS_getppid)));
	return 0;
}

/* ---- registers ---- */

/* registers makes a call with known values in all registers and compares them. */
static int registers(char **argv)
{
	static const char path[] = "/etc/passwd", denied[] = SECRET;
	const char *paths[] = { path, denied, (char *)16 };
	unsigned i;

	(void)argv;
	for (i = 0; i < 3; i++) {
		register long rax asm("rax") = SYS_openat;
		register long rdi asm("rdi") = AT_FDCWD;
		register const char *rsi asm("rsi") = paths[i];
		register long rdx asm("rdx") = O_RDONLY;
		register long r10 asm("r10") = 0x1010;
		register long r8 asm("r8") = 0x0808;
		register long r9 asm("r9") = 0x0909;
		register long rbx asm("rbx") = 0xbbbb;
		register long r12 asm("r12") = 0x1212;

		asm volatile("syscall"
			     : "+r"(rax), "+r"(rdi), "+r"(rsi), "+r"(rdx), "+r"(r10),
			       "+r"(r8), "+r"(r9), "+r"(rbx), "+r"(r12)
			     : : "rcx", "r11", "memory");
		printf("%ld: %d %d %d %d %d %d %d %d\n", rax < 0 ? rax : 0, rdi == AT_FDCWD,
		       rsi == paths[i], rdx == O_RDONLY, r10 == 0x1010, r8 == 0x0808,
		       r9 == 0x0909, rbx == 0xbbbb, r12 == 0x1212);
	}
	return 0;
}

/* A path may lie where the stack has not grown to: it does for the kernel. */
static int deep(char **argv)
{
	char *far = (char *)argv - (1 << 20);

	(void)argv;
	printf("%s\n", result(openat(AT_FDCWD, far, O_RDONLY)));
	printf("%s\n", result(openat(AT_FDCWD, (char *)16, O_RDONLY)));
	return 0;
}

/* in_call waits until a thread is in a call, and tells whether it came to it before it
 * was over. */
static int in_call(pid_t tid, int nr, volatile int *over)
{
	char path[64], want[16], line[64];
	int fd, ended;

	sprintf(path, "/proc/%d/syscall", tid);
	sprintf(want, "%d ", nr);
	do {
		ended = over && *over;
		fd = syscall(SYS_open, path, O_RDONLY);
		memset(line, 0, sizeof(line));
		if (read(fd, line, sizeof(line) - 1) < 0)
			line[0] = 0;
		close(fd);
		if (!strncmp(line, want, strlen(want)))
			return 1;
	} while (!ended);
	return 0;
}

/* ---- lives ---- */

static void try(const char *who)
{
	int a = openat(AT_FDCWD, "/etc/passwd", O_RDONLY);
	int e = errno, b = openat(AT_FDCWD, SECRET, O_RDONLY);

	dprintf(1, "%s: %s %d\n", who, a >= 0 ? "ok" : strerror(e), b >= 0 ? 0 : errno);
	close(a);
}

static char stack[64 << 10];

static int cloned(void *who)
{
	try(who);
	return 0;
}

static void *threaded(void *who)
{
	try(who);
	return NULL;
}

static void *executes(void *path)
{
	char *argv[] = { path, "try", "executed by a thread", NULL };

	execve(path, argv, environ);
	printf("execve: %s\n", strerror(errno));
	exit(1);
}

static void reap(pid_t p)
{
	int status;

	must(waitpid(p, &status, __WALL), "waitpid");
	if (status)
		dprintf(1, "status %x\n", status);
}

static int lives(char **argv)
{
	pthread_t t;
	pid_t p;

	try("first");
	if (!(p = fork())) {
		try("forked");
		if (!(p = fork())) {
			try("grandchild");
			_exit(0);
		}
		reap(p);
		_exit(0);
	}
	reap(p);
	if (!(p = vfork())) {
		try("vforked");
		_exit(0);
	}
	reap(p);
	try("after vfork");
	p = clone(cloned, stack + sizeof(stack), CLONE_VM | SIGCHLD, "sharing");
	must(p, "clone");
	reap(p);
	p = clone(cloned, stack + sizeof(stack), CLONE_VM, "silent");
	must(p, "clone");
	reap(p);
	p = clone(cloned, stack + sizeof(stack), CLONE_FILES | CLONE_FS | SIGCHLD, "apart");
	must(p, "clone");
	reap(p);
	pthread_create(&t, NULL, threaded, "thread");
	pthread_join(t, NULL);
	if (!(p = fork())) {
		pthread_create(&t, NULL, executes, argv[0]);
		pause();
	}
	reap(p);
	if (!(p = fork())) {
		char *args[] = { argv[0], "try", "executed", NULL };

		execve(argv[0], args, environ);
		_exit(1);
	}
	reap(p);
	try("last");
	return 0;
}

static int just_try(char **argv)
{
	try(argv[2]);
	return 0;
}

/* The main thread ends before the others; one of them executes. */
static void *outlives(void *path)
{
	char stat[64], line[256] = "";
	int fd;

	sprintf(stat, "/proc/self/task/%d/stat", getpid());
	do { /* until the first thread is a zombie */
		fd = open(stat, O_RDONLY);
		if (fd >= 0 && read(fd, line, sizeof(line) - 1) < 0)
			line[0] = 0;
		close(fd);
	} while (!strstr(line, ") Z"));
	try("outlives");
	if (path)
		return executes(path);
	exit(7);
}

static int leader(char **argv)
{
	pthread_t t;

	pthread_create(&t, NULL, outlives, strcmp(argv[2], "executes") ? NULL : argv[0]);
	pthread_exit(NULL);
}

/* unloadable makes a program that fails when the one that executes it is gone. */
static const char *unloadable(void)
{
	static char path[] = "/tmp/unloadable.XXXXXX";
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr load;
	} file = {
		.head = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			  .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
			  .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1 },
		.load = { .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = -4096UL, .p_filesz = 1, .p_memsz = 4096 },
	};
	int fd = mkostemp(path, O_CLOEXEC);

	must(fd, "mkstemp");
	must(write(fd, &file, sizeof(file)), "write");
	must(fchmod(fd, 0755), "fchmod");
	close(fd);
	return path;
}

/* A thread executes what cannot be, and takes its process with it. */
static int late(char **argv)
{
	const char *path = unloadable();
	int status, n = atoi(argv[2]);
	pthread_t t;
	pid_t p;

	while (n--) {
		if (!(p = fork())) {
			pthread_create(&t, NULL, executes, (void *)path);
			for (;;) /* in a call or not */
				openat(AT_FDCWD, SECRET, O_RDONLY);
		}
		must(waitpid(p, &status, 0), "waitpid");
		if (status != SIGSEGV && status != (SIGSEGV | 0x80))
			printf("%d: status %x\n", n, status);
	}
	unlink(path);
	printf("done\n");
	return 0;
}

static void *spins(void *unused)
{
	(void)unused;
	for (;;)
		openat(AT_FDCWD, SECRET, O_RDONLY);
	return NULL;
}

/* Threads that call all the time while their process ends in a way. */
static int ends(char **argv)
{
	char *args[] = { argv[0], "try", "replaced", NULL };
	pthread_t t;
	int i, status, n = atoi(argv[2]);
	pid_t p;

	while (n--) {
		if ((p = fork())) {
			must(waitpid(p, &status, 0), "waitpid");
			if (status != (n % 3 == 0 ? 3 << 8 : n % 3 == 1 ? SIGKILL : 0))
				printf("%d: status %x\n", n, status);
			continue;
		}
		for (i = 0; i < 4; i++)
			pthread_create(&t, NULL, spins, NULL);
		if (freopen("/dev/null", "w", stdout) == NULL)
			_exit(9);
		dup2(fileno(stdout), 1);
		switch (n % 3) {
		case 0:
			exit(3);
		case 1:
			kill(getpid(), SIGKILL);
		}
		execve(argv[0], args, environ);
	}
	printf("done\n");
	return 0;
}

/* ---- signals ---- */

static volatile sig_atomic_t handled;
static volatile int reader;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
	if (reader) /* from here on the fifo has a writer */
		open(getenv("FIFO"), O_RDWR | O_NONBLOCK);
}

/* A fifo's open sleeps: a signal interrupts it, or restarts it. */
static int fifo(char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct itimerval in = { .it_value.tv_usec = 50000, .it_interval.tv_usec = 50000 };
	char path[] = "/tmp/fifo.XXXXXX";

	(void)argv;
	must(close(mkstemp(path)), "mkstemp");
	unlink(path);
	must(mkfifo(path, 0600), "mkfifo");
	setenv("FIFO", path, 1);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &in, NULL);
	printf("interrupted: %s\n", result(openat(AT_FDCWD, path, O_RDONLY)));
	reader = 1;
	act.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &act, NULL);
	printf("restarted: %s\n", result(openat(AT_FDCWD, path, O_RDONLY)));
	memset(&in, 0, sizeof(in));
	setitimer(ITIMER_REAL, &in, NULL);
	unlink(path);
	printf("handled %d\n", handled > 1);
	return 0;
}

/* A child that ends sends a signal that nobody asked for. */
static int ignored(char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct itimerval soon = { .it_value.tv_usec = 100000 };
	struct epoll_event e;
	int fd = epoll_create1(0);
	pid_t p;

	(void)argv;
	if (!(p = fork())) {
		in_call(getppid(), SYS_epoll_wait, NULL);
		_exit(0);
	}
	printf("epoll_wait: %s\n", result(epoll_wait(fd, &e, 1, 200)));
	reap(p);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("handled: %s\n", result(epoll_wait(fd, &e, 1, -1)));
	return 0;
}

/* Signals come all the time while calls are made. */
static int storm(char **argv)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval in = { .it_value.tv_usec = 100, .it_interval.tv_usec = 100 };
	int i, fd, n = atoi(argv[2]), bad = 0;

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &in, NULL);
	for (i = 0; i < n || handled < 20; i++) {
		fd = openat(AT_FDCWD, "/etc/passwd", O_RDONLY);
		bad += fd < 0;
		close(fd);
		bad += openat(AT_FDCWD, SECRET, O_RDONLY) >= 0 || errno != EACCES;
	}
	printf("bad %d\n", bad);
	return 0;
}

static void on_compat(int sig)
{
	(void)sig;
	printf("handled\n");
	exit(0);
}

/* A signal comes while 32-bit code runs. */
static int compat(char **argv)
{
	struct itimerval soon = { .it_value.tv_usec = 20000 };
	struct sigaction act = { .sa_handler = on_compat, .sa_flags = SA_ONSTACK };
	stack_t other = { .ss_sp = stack, .ss_size = sizeof(stack) };
	unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	(void)argv;
	memcpy(code, "\xeb\xfe", 2); /* jmp . */
	sigaltstack(&other, NULL); /* of its own there are 32 bits left */
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	asm volatile("pushq $0x23; pushq %0; lretq" : : "r"((unsigned long)code));
	return 1;
}

/* ---- speed ---- */

static int loop(char **argv)
{
	int n = atoi(argv[2]);

	while (n--)
		close(openat(AT_FDCWD, "/etc/hostname", O_RDONLY));
	return 0;
}

/* ---- order ---- */

static int order_fd;
static volatile int go;

static void *syncs(void *number)
{
	int i;

	for (i = 0; i < 50; i++)
		if (syscall((long)number, order_fd))
			dprintf(1, "sync: %s\n", strerror(errno));
	return NULL;
}

static int order(char **argv)
{
	char path[] = "/tmp/order.XXXXXX";
	pthread_t t[4];
	long i;

	(void)argv;
	order_fd = mkstemp(path);
	unlink(path);
	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, syncs, (void *)(long)(i % 2 ? SYS_fsync : SYS_fdatasync));
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("done\n");
	return 0;
}

static char held_path[] = "/tmp/held.XXXXXX";

/* sleeps is inside openat until somebody opens the fifo for writing. */
static void *sleeps(void *unused)
{
	int fd = openat(AT_FDCWD, held_path, O_RDONLY);

	close(fd);
	return unused;
}

static void make_fifo(void)
{
	must(close(mkostemp(held_path, 0)), "mkstemp");
	unlink(held_path);
	must(mkfifo(held_path, 0666), "mkfifo");
}

/* waker lets the sleeper go on, once it sleeps: it may still be on its way there. It is
   not held: open is another call than openat. */
static void waker(int sig)
{
	(void)sig;
	handled++;
	close(syscall(SYS_open, held_path, O_WRONLY));
}

static pid_t sleeper(void)
{
	pid_t p = fork();

	if (!p) {
		sleeps(NULL);
		_exit(0);
	}
	in_call(p, SYS_openat, NULL);
	return p;
}

/* opener is a thread that makes one call. */
struct opener {
	pthread_t thread;
	volatile pid_t tid;
	volatile int over;
	const char *out;
};

static void *opens(void *data)
{
	struct opener *o = data;
	long fd;

	o->tid = syscall(SYS_gettid);
	fd = syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
	o->out = fd >= 0 ? "ok" : strerror(errno);
	o->over = 1;
	return NULL;
}

/* begun tells whether an opener has to wait: it does so in poll. */
static int begun(struct opener *o)
{
	must(-pthread_create(&o->thread, NULL, opens, o), "pthread_create");
	while (!o->tid)
		;
	return in_call(o->tid, SYS_poll, &o->over);
}

/* forked_opener is a process that does, and tells of its end by what it shares. */
static pid_t forked_opener(volatile int *over)
{
	pid_t p;

	*over = 0;
	if (!(p = fork())) {
		int fd = openat(AT_FDCWD, "/etc/passwd", O_RDONLY);

		*over = 1;
		_exit(fd < 0);
	}
	return p;
}

/* What happens to a call that is held up by one of another process. */
static int held(char **argv)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct itimerval soon = { .it_value.tv_usec = 100000 };
	volatile int *over = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t s, p;
	int status;

	(void)argv;
	make_fifo();
	s = sleeper();
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("interrupted: %s\n", result(openat(AT_FDCWD, "/etc/passwd", O_RDONLY)));
	act.sa_flags = SA_RESTART;
	act.sa_handler = waker;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("let go: %s\n", result(openat(AT_FDCWD, "/etc/passwd", O_RDONLY)));
	printf("signals %d\n", handled);
	reap(s);

	s = sleeper();
	p = forked_opener(over);
	printf("held %d\n", in_call(p, SYS_poll, over));
	must(kill(p, SIGSTOP), "kill");
	must(waitpid(p, &status, WUNTRACED), "waitpid");
	printf("stopped %d\n", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	must(kill(p, SIGCONT), "kill");
	must(waitpid(p, &status, WCONTINUED), "waitpid");
	printf("continued %d\n", WIFCONTINUED(status));
	printf("held %d\n", in_call(p, SYS_poll, over));
	waker(0);
	reap(s);
	reap(p);

	s = sleeper();
	p = forked_opener(over);
	printf("held %d\n", in_call(p, SYS_poll, over));
	must(kill(p, SIGKILL), "kill");
	must(waitpid(p, &status, 0), "waitpid");
	printf("killed while held %d\n", status == SIGKILL);
	must(kill(s, SIGKILL), "kill");
	must(waitpid(s, &status, 0), "waitpid");
	printf("after the sleeper's death: %s\n", result(openat(AT_FDCWD, "/etc/passwd", O_RDONLY)));

	s = sleeper();
	printf("too long: %s\n", result(openat(AT_FDCWD, "/etc/passwd", O_RDONLY)));
	waker(0);
	reap(s);
	unlink(held_path);
	return 0;
}

/* Many wait for one, and all go on. */
static int crowd(char **argv)
{
	static struct opener all[20];
	int i, n = atoi(argv[2]), held = 0, ok = 0;
	pid_t s;

	make_fifo();
	s = sleeper();
	for (i = 0; i < n; i++)
		held += begun(&all[i]);
	waker(0);
	for (i = 0; i < n; i++) {
		pthread_join(all[i].thread, NULL);
		ok += !strcmp(all[i].out, "ok");
	}
	reap(s);
	unlink(held_path);
	printf("held %d\nok %d\n", held, ok);
	return 0;
}

/* ---- what holds up the tracer ---- */

static int faults;

/* hole is a page of which faults tells when somebody looks at it, who waits then. */
static char *hole(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (unsigned long)page, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	faults = syscall(SYS_userfaultfd, 0);
	if (faults < 0) {
		printf("needs userfaultfd\n");
		exit(77);
	}
	must(ioctl(faults, UFFDIO_API, &api), "UFFDIO_API");
	must(ioctl(faults, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
	return page;
}

static void await_fault(void)
{
	struct uffd_msg msg;

	must(read(faults, &msg, sizeof(msg)), "read");
}

static void fill(char *page, const char *text)
{
	static char bytes[4096] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = (unsigned long)page, .src = (unsigned long)bytes, .len = 4096 };

	strcpy(bytes, text);
	must(ioctl(faults, UFFDIO_COPY, &copy), "UFFDIO_COPY");
}

/* Set by who answers, who does not run before the tracer has let it. */
static volatile int ready;

/* Who answers has a child when the tracer waits already. */
static void *forks(void *unused)
{
	ready = 1;
	await_fault();
	if (!fork())
		pause();
	pause();
	return unused;
}

static int hang(char **argv)
{
	char *page = hole();
	pthread_t t;

	(void)argv;
	pthread_create(&t, NULL, forks, NULL);
	while (!ready)
		;
	printf("%s\n", result(openat(AT_FDCWD, page, O_RDONLY)));
	return 0;
}

/* await_state waits until a process is in a state, as /proc says. */
static void await_state(pid_t pid, char state)
{
	char path[64], line[256], *at;
	int fd;

	sprintf(path, "/proc/%d/stat", pid);
	do {
		fd = syscall(SYS_open, path, O_RDONLY);
		memset(line, 0, sizeof(line));
		if (read(fd, line, sizeof(line) - 1) < 0)
			line[0] = 0;
		close(fd);
		at = strrchr(line, ')');
	} while (!at || at[2] != state);
}

static struct {
	const char *who; /* is killed */
	char *page;
	pid_t parent;
	volatile pid_t *child;
} births;

static int newborn(void *unused)
{
	try("newborn");
	return unused != NULL;
}

/* While the tracer is held up, a parent and its child stop, and one of them is killed. */
static void *kills(void *unused)
{
	ready = 1;
	await_fault();
	*births.child = 0; /* go */
	await_state(births.parent, 't');
	if (!strcmp(births.who, "child")) {
		must(kill(*births.child, SIGKILL), "kill");
		await_state(*births.child, 'Z');
	} else {
		must(kill(births.parent, SIGKILL), "kill");
		await_state(births.parent, 'Z');
	}
	fill(births.page, "/etc/passwd");
	return unused;
}

static int birth(char **argv)
{
	pthread_t t;
	int status;

	births.who = argv[2];
	births.page = hole();
	births.child = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*births.child = -1;
	must(births.parent = fork(), "fork");
	if (!births.parent) {
		*births.child = -2; /* it runs: its own first stop is over */
		while (*births.child < 0)
			;
		clone(newborn, stack + sizeof(stack), CLONE_PARENT_SETTID | SIGCHLD, NULL, births.child);
		_exit(waitpid(*births.child, &status, 0) < 0 || status != SIGKILL);
	}
	pthread_create(&t, NULL, kills, NULL);
	while (!ready || *births.child != -2)
		;
	printf("%s\n", result(openat(AT_FDCWD, births.page, O_RDONLY)));
	pthread_join(t, NULL);
	must(waitpid(births.parent, &status, 0), "waitpid");
	printf("status %x\n", status);
	return 0;
}

/* A child gets a number. */
static int number(char **argv)
{
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY), want = atoi(argv[2]);
	char text[16];
	pid_t p;

	must(fd, "open");
	sprintf(text, "%d", want - 1);
	do {
		must(pwrite(fd, text, strlen(text), 0), "write");
		p = fork();
		if (!p) {
			if (getpid() == want)
				try("reused");
			_exit(0);
		}
		reap(p);
	} while (p != want);
	return 0;
}

/* ---- storage ---- */

static void count(const char *who, int n)
{
	dprintf(1, "%s:", who);
	while (n--)
		dprintf(1, " %s", syscall(SYS_getppid) < 0 ? "EPERM" : "ok");
	dprintf(1, "\n");
}

static void *counts(void *unused)
{
	(void)unused;
	count("thread", 1);
	return NULL;
}

static int inherit(char **argv)
{
	pthread_t t;
	pid_t p;

	count("parent", 1);
	if (!(p = fork())) {
		char *args[] = { argv[0], "count", "executed", NULL };

		count("child", 1);
		execve(argv[0], args, environ);
	}
	reap(p);
	pthread_create(&t, NULL, counts, NULL);
	pthread_join(t, NULL);
	if (!(p = vfork())) {
		count("vforked", 2);
		_exit(0);
	}
	reap(p);
	count("parent", 2);
	return 0;
}

static int just_count(char **argv)
{
	count(argv[2], 2);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char **argv);
} modes[] = {
	{ "trap", trap }, { "kill-thread", kill_thread }, { "kill-process", kill_process },
	{ "none", none }, { "registers", registers }, { "lives", lives }, { "try", just_try },
	{ "leader", leader }, { "late", late }, { "hang", hang }, { "compat", compat }, { "deep", deep }, { "birth", birth },
	{ "number", number }, { "ends", ends }, { "fifo", fifo }, { "storm", storm },
	{ "order", order }, { "held", held }, { "ignored", ignored }, { "loop", loop }, { "crowd", crowd }, { "inherit", inherit }, { "count", just_count },
};

int main(int argc, char **argv)
{
	unsigned i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[1], modes[i].name))
			return modes[i].run(argv);
	return 98;
}
