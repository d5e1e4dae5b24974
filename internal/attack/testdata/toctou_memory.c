// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use, by who writes to the memory of the string.
#include "toctou.h"

#include <linux/aio_abi.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

// Another thread.
static void by_thread(void)
{
	char *p = own_page();

	beside(flip, p);
	open_until_over(p);
}

// ---- files ----------------------------------------------------------------------------

static int written;

static void write_words(char *unused)
{
	(void)unused;
	for (int i = SECRET; i >= SAFE; i--) {
		lseek(written, 0, SEEK_SET);
		must("write", write(written, words[i], 8));
		dawdle(4);
	}
}

// Another process writes to a file that is mapped.
static void by_file(void)
{
	char *p;

	written = must("open", syscall(SYS_open, "mapped", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	must("ftruncate", ftruncate(written, PAGE));
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, written, 0);
	must("mmap", p == MAP_FAILED ? -1 : 0);
	apart(write_words, NULL);
	open_until_over(p);
}

static aio_context_t ring;
static int direct;

// The device writes to the page, whoever runs.
static void read_words(char *to)
{
	for (int i = SECRET; i >= SAFE; i--) {
		struct iocb block = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = direct,
				      .aio_buf = (uintptr_t)to, .aio_nbytes = PAGE, .aio_offset = (long)i * PAGE };
		struct iocb *list = &block;
		struct io_event event;

		must("io_submit", syscall(SYS_io_submit, ring, 1, &list));
		must("io_getevents", syscall(SYS_io_getevents, ring, 1, 1, &event, NULL));
		if (event.res != PAGE)
			must("aio", (errno = -event.res, -1));
	}
}

// Asynchronous reads by the device.
static void by_aio(void)
{
	char *p = own_page(), *block = own_page();
	int fd = must("open", syscall(SYS_open, "blocks", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));

	for (int i = SAFE; i <= SECRET; i++) {
		store(block, i);
		must("write", write(fd, block, PAGE));
	}
	must("fsync", fsync(fd));
	close(fd);
	direct = must("O_DIRECT", syscall(SYS_open, "blocks", O_RDONLY | O_DIRECT | O_CLOEXEC));
	must("io_setup", syscall(SYS_io_setup, 1, &ring));
	beside(read_words, p);
	open_until_over(p);
}

// ---- the same memory elsewhere ----------------------------------------------------------

// A second mapping of the same memory.
static void by_alias(void)
{
	int fd = two_pages();
	char *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	char *alias = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	must("mmap", p == MAP_FAILED || alias == MAP_FAILED ? -1 : 0);
	beside(flip, alias);
	open_until_over(p);
}

// Another process that shares the memory.
static void by_sharer(void)
{
	char *p = shared_page();

	apart(flip, p);
	open_until_over(p);
}

// ---- from outside -----------------------------------------------------------------------

static pid_t victim;
static struct area slots;

static void vm_write(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		struct iovec from = { (char *)words[word], 8 }, to = { at, 8 };

		process_vm_writev(victim, &from, 1, &to, 1, 0);
		dawdle(4);
	}
}

static void vm_writes(char *page)
{
	everywhere(page, slots, vm_write);
}

static int memory = -1;

static void force(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		lseek(memory, (off_t)at, SEEK_SET);
		(void)!write(memory, words[word], 8);
		dawdle(4);
	}
}

static void forces(char *page)
{
	if (memory < 0) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/mem", victim);
		memory = must(path, syscall(SYS_open, path, O_RDWR | O_CLOEXEC));
	}
	everywhere(page, slots, force);
}

// The slots are there after a first call.
static void from_outside(void (*work)(char *), char *p)
{
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	open_path(p);
	slots = find_slots();
	victim = getpid();
	apart(work, p);
	open_until_over(p);
}

// process_vm_writev by a child.
static void by_vm_write(void)
{
	from_outside(vm_writes, own_page());
}

// Forced writes to memory that is not writable, by a child.
static void by_force(void)
{
	char *p = own_page();

	must("mprotect", mprotect(p, PAGE, PROT_READ));
	from_outside(forces, p);
}

// The same by the process itself.
static void by_own_force(void)
{
	char *p = own_page();

	must("mprotect", mprotect(p, PAGE, PROT_READ));
	open_path(p);
	slots = find_slots();
	victim = getpid();
	beside(forces, p);
	open_until_over(p);
}

// ---- faults -----------------------------------------------------------------------------

static int faults;
static volatile int supplying;

// Answers the first fault of a call by the rest of "safe", takes the page away again
// and answers the next one by the rest of "secret".
static void supply(char *page)
{
	static char bytes[PAGE];
	struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)bytes, .len = PAGE };
	struct uffd_msg msg;

	supplying = 1;
	if (poll(&(struct pollfd){ faults, POLLIN, 0 }, 1, 10) <= 0 || read(faults, &msg, sizeof(msg)) < 0)
		return;
	strcpy(bytes, words[tally->turn ? SECRET : SAFE] + 1);
	ioctl(faults, UFFDIO_COPY, &copy);
	if (tally->turn++ == 0) {
		dawdle(20);
		madvise(page, PAGE, MADV_DONTNEED);
	}
}

static void missing(char *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)page, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	faults = must("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
	must("UFFDIO_API", ioctl(faults, UFFDIO_API, &api));
	must("UFFDIO_REGISTER", ioctl(faults, UFFDIO_REGISTER, &reg));
}

// A string over the border of a page that comes when its owner likes.
static void by_fault(void)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must("mmap", p == MAP_FAILED ? -1 : 0);
	p[PAGE - 1] = words[SAFE][0];
	missing(p + PAGE);
	beside(supply, p + PAGE);
	while (!supplying) // by_early_fault is about the time before
		sched_yield();
	while (more()) {
		madvise(p + PAGE, PAGE, MADV_DONTNEED);
		tally->turn = 0;
		open_path(p + PAGE - 1);
	}
}

static void call_at_once(char *p)
{
	missing(p + PAGE);
	beside(supply, p + PAGE);
	for (int i = 0; i < 5 && more(); i++) {
		madvise(p + PAGE, PAGE, MADV_DONTNEED);
		tally->turn = 0;
		open_path(p + PAGE - 1);
	}
	_exit(0); // with its thread
}

// The same by a process whose thread that answers has only just been made: a defender
// that waits for the page must not be what that thread waits for.
static void by_early_fault(void)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must("mmap", p == MAP_FAILED ? -1 : 0);
	p[PAGE - 1] = words[SAFE][0];
	must("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
	while (more())
		waitpid(child(call_at_once, p), NULL, 0);
}

// ---- reads that fail --------------------------------------------------------------------

static int pages;

static void map_late(char *at)
{
	mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, pages, PAGE);
	dawdle(10);
	munmap(at, PAGE);
	dawdle(10);
}

// Memory that comes after the check, for filters that let go what they cannot read.
static void late_map(void)
{
	char *p = (char *)(1UL << 40); // where nothing else is put

	pages = two_pages();
	beside(map_late, p);
	open_until_over(p);
}

static uint64_t dots, secret;

static void shorten(char *at)
{
	swing(at, secret, dots);
}

// A path that is too long, until it was looked at.
static void long_path(void)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must("mmap", p == MAP_FAILED ? -1 : 0);
	for (int i = 0; i < PAGE + 8; i += 2)
		memcpy(p + i, "./", 2);
	memcpy(&dots, p, 8);
	memcpy(&secret, words[SECRET], 8);
	strcpy(p + PAGE + 8, words[SECRET]);
	beside(shorten, p);
	open_until_over(p);
}

const struct attack memory_attacks[] = {
	{ "thread", by_thread },
	{ "mapped-file", by_file },
	{ "aio", by_aio },
	{ "alias", by_alias },
	{ "sharer", by_sharer },
	{ "vm-write", by_vm_write },
	{ "forced-write", by_force },
	{ "own-forced-write", by_own_force },
	{ "fault", by_fault },
	{ "early-fault", by_early_fault },
	{ "late-map", late_map },
	{ "long-path", long_path },
	{ NULL, NULL },
};
