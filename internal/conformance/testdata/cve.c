/*
 * Holds one call in the kernel, and has threads make another one meanwhile.
 *
 * A call is held by what it does: a write into a full pipe, an open of a FIFO, a change
 * of memory of which somebody wants to be told first (userfaultfd). So it is known when
 * it is inside, and for how long. Who makes the other call looks before and after it: if
 * the same call was held all the time, the two were in the kernel together.
 *
 * cve HOLD MAKE [ARM]: prints how often, and what failed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <poll.h>
#include <unistd.h>

#define ROUNDS 20
#define MAKERS 3
#define ENOUGH 30 /* calls beside one that is held */
#define PIPE 4096
#define PAGE 4096

static atomic_long holds;   /* odd while a call is held */
static atomic_long beside;  /* calls beside the one that is held */
static atomic_long together, made, failed, error;
static atomic_int over;
static atomic_int holder, makers[MAKERS];

static void must(long r, const char *what)
{
	if (r < 0) {
		perror(what);
		exit(99);
	}
}

static void check(long r)
{
	if (r >= 0)
		return;
	failed++;
	error = errno;
}

static char *pages(int n, int flags)
{
	char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);

	must(p == MAP_FAILED ? -1 : 0, "mmap");
	memset(p, 1, n * PAGE);
	return p;
}

/* ---- the calls that are held ---- */

static int fds[2], uffd = -1, file;
static char *area;

static void slurp(int tid, const char *name, char *text, int size)
{
	char path[64];
	int fd, n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	must(fd = open(path, O_RDONLY), path);
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
}

/* sleep_of is which sleep a thread is in, -1 where it is awake or stopped. */
static long sleep_of(int tid)
{
	static const char switches[] = "\nvoluntary_ctxt_switches:";
	char text[4096], *at;

	slurp(tid, "status", text, sizeof(text));
	if (!strstr(text, "\nState:\tS") || !(at = strstr(text, switches)))
		return -1;
	return atol(at + strlen(switches));
}

/* waits_in tells whether a thread sleeps in a call. */
static int waits_in(int tid, int nr)
{
	char text[512];
	long asleep = sleep_of(tid);

	if (asleep < 0)
		return 0;
	slurp(tid, "syscall", text, sizeof(text));
	return text[0] >= '0' && text[0] <= '9' && atoi(text) == nr && sleep_of(tid) == asleep;
}

static void set_pipe(void)
{
	must(pipe2(fds, 0), "pipe2");
	must(fcntl(fds[1], F_SETPIPE_SZ, PIPE), "F_SETPIPE_SZ");
}

static long hold_write(void)
{
	static char text[PIPE + 1];

	return write(fds[1], text, sizeof(text));
}

static int inside_write(void)
{
	int n = 0;

	must(ioctl(fds[0], FIONREAD, &n), "FIONREAD");
	return n == PIPE;
}

static void release_write(void)
{
	static char text[PIPE];
	int n = 0;

	while (n < PIPE + 1)
		n += read(fds[0], text, sizeof(text));
}

static void set_fifo(void)
{
	must(mkfifo("fifo", 0600), "mkfifo");
}

static long hold_open(void)
{
	int fd = open("fifo", O_WRONLY | O_TRUNC);

	if (fd >= 0)
		close(fd);
	return fd;
}

static int inside_open(void)
{
	return waits_in(holder, SYS_openat) || waits_in(holder, SYS_open);
}

static void release_open(void)
{
	int fd = open("fifo", O_RDONLY | O_NONBLOCK);

	must(fd, "fifo");
	while (inside_open())
		sched_yield();
	close(fd);
}

static void watch_memory(char *at, size_t size, unsigned long features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register r = { .range = { (unsigned long)at, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (uffd < 0)
		must(uffd = syscall(SYS_userfaultfd, O_NONBLOCK | UFFD_USER_MODE_ONLY), "userfaultfd");
	must(ioctl(uffd, UFFDIO_API, &api), "UFFDIO_API");
	must(ioctl(uffd, UFFDIO_REGISTER, &r), "UFFDIO_REGISTER");
}

static int inside_memory(void)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void release_memory(void)
{
	struct uffd_msg m;

	must(read(uffd, &m, sizeof(m)), "userfaultfd");
}

static void set_dontneed(void)
{
	area = pages(1, MAP_PRIVATE | MAP_ANONYMOUS);
	watch_memory(area, PAGE, UFFD_FEATURE_EVENT_REMOVE);
}

static long hold_dontneed(void)
{
	return madvise(area, PAGE, MADV_DONTNEED);
}

static void set_remove(void)
{
	area = pages(1, MAP_SHARED | MAP_ANONYMOUS);
	watch_memory(area, PAGE, UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_MISSING_SHMEM);
}

static long hold_remove(void)
{
	return madvise(area, PAGE, MADV_REMOVE);
}

static void set_mremap(void)
{
	area = pages(1, MAP_PRIVATE | MAP_ANONYMOUS);
	watch_memory(area, PAGE, UFFD_FEATURE_EVENT_REMAP);
}

static long hold_mremap(void)
{
	static char *to;
	char *p;

	if (!to)
		to = pages(2, MAP_PRIVATE | MAP_ANONYMOUS);
	p = mremap(area, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (p == MAP_FAILED)
		return -1;
	to = area;
	area = p;
	return 0;
}

/* ---- the calls beside them ---- */

static __thread char *mine;

static long make_dontneed(void)
{
	if (!mine)
		mine = pages(1, MAP_PRIVATE | MAP_ANONYMOUS);
	mine[0] = 1;
	return madvise(mine, PAGE, MADV_DONTNEED);
}

static long make_write(void) { return write(file, "a", 1); }
static long make_pwrite(void) { return pwrite(file, "a", 1, 0); }
static long make_ftruncate(void) { return ftruncate(file, 1); }
static long make_punch(void) { return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE); }

static long make_writev(void)
{
	struct iovec v = { "a", 1 };

	return writev(file, &v, 1);
}

static long make_trunc(void)
{
	int fd = open("truncated", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd >= 0)
		close(fd);
	return fd;
}

static long make_mremap(void)
{
	char *p;

	if (!mine)
		mine = pages(1, MAP_PRIVATE | MAP_ANONYMOUS);
	p = mremap(mine, PAGE, PAGE, MREMAP_MAYMOVE);
	return p == MAP_FAILED ? -1 : 0;
}

/* ---- */

static const struct held {
	const char *name;
	void (*set)(void);
	long (*call)(void);
	int (*inside)(void);
	void (*release)(void);
} held[] = {
	{ "write", set_pipe, hold_write, inside_write, release_write },
	{ "open", set_fifo, hold_open, inside_open, release_open },
	{ "dontneed", set_dontneed, hold_dontneed, inside_memory, release_memory },
	{ "remove", set_remove, hold_remove, inside_memory, release_memory },
	{ "mremap", set_mremap, hold_mremap, inside_memory, release_memory },
};

static const struct maker {
	const char *name;
	long (*call)(void);
} calls[] = {
	{ "dontneed", make_dontneed }, { "write", make_write }, { "pwrite", make_pwrite },
	{ "writev", make_writev }, { "ftruncate", make_ftruncate }, { "punch", make_punch },
	{ "trunc", make_trunc }, { "mremap", make_mremap },
};

static const struct held *hold;
static const struct maker *maker;
static pthread_barrier_t turn;

static void *holds_one(void *unused)
{
	int i;

	holder = syscall(SYS_gettid);
	for (i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&turn);
		check(hold->call());
		pthread_barrier_wait(&turn);
	}
	return unused;
}

static void *makes(void *number)
{
	long before;

	makers[(long)number] = syscall(SYS_gettid);
	while (!over) {
		before = holds;
		check(maker->call());
		made++;
		if (before % 2 && before == holds) {
			together++;
			beside++;
		}
	}
	return NULL;
}

/* What ends a round: enough calls were made, or all who make them wait in poll, which is
 * where a tracer has them wait. */
static int decided(void)
{
	int i, waiting = 0;

	if (beside >= ENOUGH)
		return 1;
	for (i = 0; i < MAKERS; i++)
		waiting += waits_in(makers[i], SYS_poll);
	return waiting == MAKERS;
}

static void round_of(void)
{
	long failures = failed;

	pthread_barrier_wait(&turn);
	while (!hold->inside())
		if (failed > failures)
			exit(98); /* it will never be inside */
	beside = 0;
	holds++;
	while (!decided())
		sched_yield();
	holds++;
	hold->release();
	pthread_barrier_wait(&turn);
}

static void choose(char **argv)
{
	unsigned i;

	for (i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		if (!strcmp(argv[1], held[i].name))
			hold = &held[i];
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(argv[2], calls[i].name))
			maker = &calls[i];
	if (!hold || !maker)
		exit(97);
}

int main(int argc, char **argv)
{
	pthread_t t[MAKERS + 1];
	long i;

	if (argc < 3)
		return 97;
	choose(argv);
	must(file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600), "file");
	hold->set();
	if (argc > 3)
		must(open(argv[3], O_RDWR), argv[3]);
	pthread_barrier_init(&turn, NULL, 2);
	for (i = 0; i < MAKERS; i++)
		pthread_create(&t[i], NULL, makes, (void *)i);
	pthread_create(&t[MAKERS], NULL, holds_one, NULL);
	for (i = 0; i < MAKERS; i++)
		while (!makers[i])
			sched_yield();
	for (i = 0; i < ROUNDS; i++)
		round_of();
	over = 1;
	for (i = 0; i <= MAKERS; i++)
		pthread_join(t[i], NULL);
	printf("together %ld of %ld, failed %ld (%s)\n", (long)together, (long)made, (long)failed, strerror(error));
	return 0;
}
