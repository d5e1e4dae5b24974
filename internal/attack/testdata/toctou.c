// SPDX-License-Identifier: Apache-2.0
// What attacks between check and use are made of.
#include "toctou.h"

#include <sys/stat.h>
#include <time.h>

const char words[2][8] = { "safe", "secret" };

struct tally *tally;

void store(char *to, int word)
{
	uint64_t bytes;

	memcpy(&bytes, words[word], sizeof(bytes));
	*(volatile uint64_t *)to = bytes;
}

static unsigned chance(void)
{
	static _Thread_local unsigned seed;

	if (seed == 0)
		seed = gettid();
	seed = seed * 1103515245 + 12345;
	return seed >> 8;
}

void swing(char *at, uint64_t there, uint64_t back)
{
	static _Thread_local unsigned swings;

	*(volatile uint64_t *)at = there;
	if (++swings % 512 == 0)
		dawdle(30);
	*(volatile uint64_t *)at = back;
	if (swings % 512 == 256)
		dawdle(30);
}

void flip(char *at)
{
	uint64_t safe, secret;

	memcpy(&safe, words[SAFE], 8);
	memcpy(&secret, words[SECRET], 8);
	swing(at, secret, safe);
}

static char *fresh(int flags)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	must("mmap", p == MAP_FAILED ? -1 : 0);
	store(p, SAFE);
	return p;
}

char *own_page(void)
{
	return fresh(MAP_PRIVATE);
}

char *shared_page(void)
{
	return fresh(MAP_SHARED);
}

int two_pages(void)
{
	int fd = must("memfd_create", memfd_create("words", 0));

	must("ftruncate", ftruncate(fd, 2 * PAGE));
	must("pwrite", syscall(SYS_write, fd, words[SAFE], 8));
	must("lseek", lseek(fd, PAGE, SEEK_SET));
	must("pwrite", syscall(SYS_write, fd, words[SECRET], 8));
	return fd;
}

static void spin(long nanoseconds)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000000 + now.tv_nsec - from.tv_nsec < nanoseconds);
}

void dawdle(int most)
{
	long wait = (long)(chance() % 1000) * most;

	if (chance() & 1)
		spin(wait);
	else
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, wait }, NULL);
}

// ---- attempts -----------------------------------------------------------------------

void say_score(const char *prefix)
{
	say("%sattempts=%ld passed=%ld won=%ld\n", prefix, tally->attempts, tally->passed, tally->won);
}

static void tell(void)
{
	struct timespec now;
	long told = tally->told;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > told && atomic_compare_exchange_strong(&tally->told, &told, now.tv_sec))
		say_score("progress ");
}

int more(void)
{
	tell();
	return !tally->over && tally->attempts < tally->limit && tally->won < tally->enough;
}

void passed(int won)
{
	tally->passed++;
	if (won)
		tally->won++;
}

static int is_secret(const struct stat *st)
{
	return st->st_ino == tally->secret && st->st_dev == tally->device;
}

void judge(int fd)
{
	char end[6];
	struct stat st;

	if (fd < 0)
		return;
	passed(syscall(SYS_fstat, fd, &st) == 0 && is_secret(&st) &&
	       pread(fd, end, 6, st.st_size - 6) == 6 && memcmp(end, words[SECRET], 6) == 0);
	close(fd);
}

void open_path(const char *path)
{
	tally->attempts++;
	judge(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0));
}

void stat_path(const char *path)
{
	struct stat st = { 0 };

	tally->attempts++;
	if (syscall(SYS_stat, path, &st) == 0) {
		passed(is_secret(&st));
		if (st.st_ino == 0)
			say("stat was not made\n");
	}
}

void open_until_over(const char *path)
{
	while (more())
		open_path(path);
}

// ---- what goes on beside --------------------------------------------------------------

enum { HELPERS = 16 };

static struct helper {
	void (*work)(char *);
	char *arg;
	pthread_t thread;
} helpers[HELPERS];
static int helping;

static pid_t processes[HELPERS];
static int processing;

static void *helper(void *h)
{
	struct helper *me = h;

	while (!tally->over)
		me->work(me->arg);
	return NULL;
}

void beside(void (*work)(char *), char *arg)
{
	struct helper *h = &helpers[helping++];

	*h = (struct helper){ .work = work, .arg = arg };
	must("pthread_create", pthread_create(&h->thread, NULL, helper, h) ? -1 : 0);
}

pid_t child(void (*work)(char *), char *arg)
{
	pid_t me = getpid(), pid = must("fork", fork());

	if (pid != 0)
		return pid;
	helping = processing = 0; // they stayed behind
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == me)
		work(arg);
	_exit(0);
}

static void repeat(char *h)
{
	helper(h);
}

pid_t apart(void (*work)(char *), char *arg)
{
	struct helper h = { .work = work, .arg = arg };

	return processes[processing++] = child(repeat, (char *)&h);
}

void finish(void)
{
	tally->over = 1;
	while (helping > 0)
		pthread_join(helpers[--helping].thread, NULL);
	while (processing > 0)
		waitpid(processes[--processing], NULL, 0);
}

// ---- slots --------------------------------------------------------------------------

// One line of maps, if it is of the memory that starts at end or none was found yet.
static void extend(struct area *found, const char *line)
{
	char *start, *end;

	if (!strstr(line, "memfd:portcullis-") && !strstr(line, "[seccomp]"))
		return;
	if (sscanf(line, "%p-%p", (void **)&start, (void **)&end) != 2)
		return;
	if (!found->start)
		found->start = start;
	if (found->start == start || found->end == start)
		found->end = end;
}

struct area look_for_slots(void)
{
	enum { ROOM = 1 << 20 };
	struct area found = { NULL, NULL };
	char *text = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *rest = NULL;
	int fd = syscall(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t n, size = 0;

	must("mmap", text == MAP_FAILED ? -1 : 0);
	while (fd >= 0 && (n = read(fd, text + size, ROOM - 1 - size)) > 0)
		size += n;
	close(fd);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		extend(&found, line);
	munmap(text, ROOM);
	return found;
}

struct area find_slots(void)
{
	struct area found = look_for_slots();

	if (!tally->supervisor && !found.start)
		say("no slots\n"); // then an attack on them would be none
	return found;
}

void everywhere(char *page, struct area slots, void (*work)(char *at))
{
	static _Thread_local char *at;

	work(page);
	for (int i = 0; slots.start && i < 4; i++, at += SLOT) {
		if (at < slots.start || at >= slots.end)
			at = slots.start;
		work(at);
	}
}

// ---- the mode -------------------------------------------------------------------------

void share_tally(int fd)
{
	struct stat st;

	tally = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	must("mmap", tally == MAP_FAILED ? -1 : 0);
	must("lstat", syscall(SYS_lstat, "secret", &st));
	tally->secret = st.st_ino;
	tally->device = st.st_dev;
}

static const struct attack *find(const char *name)
{
	const struct attack *all[] = { memory_attacks, remap_attacks, slot_attacks, task_attacks,
				       storm_attacks, door_attacks, structure_attacks };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		for (const struct attack *a = all[i]; a->name; a++)
			if (strcmp(a->name, name) == 0)
				return a;
	say("attacker: no attack %s\n", name);
	_exit(2);
}

// toctou ATTACK LIMIT ENOUGH: so many attempts at most, until so many are won.
int toctou(char **args)
{
	if (!tally)
		share_tally(-1);
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	tally->limit = atol(args[1]);
	tally->enough = atol(args[2]);
	find(args[0])->run();
	finish();
	say_score("");
	return 0;
}

const struct mode toctou_modes[] = {
	{ "toctou", toctou },
	{ NULL, NULL },
};
