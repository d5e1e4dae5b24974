// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use that put other memory in the place of the string, and
// in the place of what the defender redirects to.
#include "toctou.h"

#include <sys/shm.h>

static int pages;           // a file with a page for each word
static struct area slots;

// The defender's memory has to be as it was; then page may be anything.
static void expect_slots(void)
{
	struct area now = find_slots();

	if (now.start != slots.start || now.end != slots.end)
		say("slots at %p-%p became %p-%p\n", slots.start, slots.end, now.start, now.end);
}

// The slots are there after a first call.
static void remap(char *page, void (*work)(char *))
{
	open_path(page);
	slots = find_slots();
	beside(work, page);
	open_until_over(page);
	finish();
	expect_slots();
}

static char *shared_pages(void)
{
	char *p;

	pages = two_pages();
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, pages, 0);
	must("mmap", p == MAP_FAILED ? -1 : 0);
	return p;
}

// ---- mappings ---------------------------------------------------------------------------

static void put_over(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, pages, (off_t)word * PAGE);
		dawdle(10);
	}
}

static void puts_over(char *page)
{
	everywhere(page, slots, put_over);
}

// mmap with MAP_FIXED.
static void map_over(void)
{
	remap(shared_pages(), puts_over);
}

static void unmap_and_map(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		munmap(at, PAGE);
		mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, pages, (off_t)word * PAGE);
		dawdle(10);
	}
}

static void unmaps(char *page)
{
	everywhere(page, slots, unmap_and_map);
	if (slots.start) { // all of it, from before to behind
		munmap(slots.start, slots.end - slots.start);
		munmap(slots.start - PAGE, slots.end - slots.start + 2 * PAGE);
	}
}

// munmap, then mmap where there is nothing.
static void unmap(void)
{
	remap(shared_pages(), unmaps);
}

static void move_over(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		char *from = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, pages, (off_t)word * PAGE);

		if (mremap(from, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
			munmap(from, PAGE);
		dawdle(10);
	}
}

static void moves(char *page)
{
	char *away = page + (1UL << 30);

	everywhere(page, slots, move_over);
	if (!slots.start)
		return;
	mremap(slots.start, slots.end - slots.start, slots.end - slots.start, MREMAP_MAYMOVE | MREMAP_FIXED, away);
	mremap(slots.start, slots.end - slots.start, PAGE, 0);
	mremap(slots.start, slots.end - slots.start, slots.end - slots.start, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
}

// mremap.
static void move(void)
{
	remap(shared_pages(), moves);
}

static void choose(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		syscall(SYS_remap_file_pages, at, PAGE, 0, word, 0);
		dawdle(10);
	}
}

static void chooses(char *page)
{
	everywhere(page, slots, choose);
}

// remap_file_pages.
static void file_pages(void)
{
	remap(shared_pages(), chooses);
}

// ---- segments -----------------------------------------------------------------------------

static int segments[2];

static void attach(char *at)
{
	for (int word = SECRET; word >= SAFE; word--) {
		shmat(segments[word], at, SHM_REMAP | SHM_RDONLY);
		dawdle(10);
	}
}

static void attaches(char *page)
{
	everywhere(page, slots, attach);
}

// shmat with SHM_REMAP. The segments go when the last process that has them ends.
static void segment(void)
{
	char *p = NULL;

	for (int word = SECRET; word >= SAFE; word--) {
		segments[word] = must("shmget", shmget(IPC_PRIVATE, PAGE, 0600));
		p = shmat(segments[word], NULL, 0);
		must("shmat", p == (char *)-1 ? -1 : 0);
		must("IPC_RMID", shmctl(segments[word], IPC_RMID, NULL));
		store(p, word);
	}
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	store(p, SAFE);
	remap(p, attaches);
}

// ---- protection ---------------------------------------------------------------------------

static void unprotect(char *at)
{
	if (mprotect(at, PAGE, PROT_READ | PROT_WRITE) == 0) {
		store(at, SECRET);
		dawdle(10);
		store(at, SAFE);
		mprotect(at, PAGE, PROT_READ);
	}
	if (syscall(SYS_pkey_mprotect, at, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1) == 0) {
		store(at, SECRET);
		dawdle(10);
		store(at, SAFE);
		syscall(SYS_pkey_mprotect, at, PAGE, PROT_READ, -1);
	}
	if (at >= slots.start && at < slots.end) {
		mprotect(at, PAGE, PROT_NONE);
		mprotect(at, SLOT, PROT_READ | PROT_EXEC | PROT_GROWSDOWN);
	}
}

static void unprotects(char *page)
{
	everywhere(page, slots, unprotect);
}

// mprotect and pkey_mprotect.
static void protect(void)
{
	char *p = own_page();

	must("mprotect", mprotect(p, PAGE, PROT_READ));
	remap(p, unprotects);
}

// ---- advice -------------------------------------------------------------------------------

// What madvise(2) has, the cruel ones included. Poison needs privilege.
static const int advices[] = {
	MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
	MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_MERGEABLE, MADV_UNMERGEABLE,
	MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WILLNEED, MADV_RANDOM,
	25 /* MADV_COLLAPSE */, 24 /* MADV_DONTNEED_LOCKED */, 102 /* MADV_GUARD_INSTALL */, 103 /* MADV_GUARD_REMOVE */,
};

// The page of the file behind a private copy shows when the copy is dropped.
static void advise(char *page)
{
	store(page, SAFE);
	dawdle(10);
	madvise(page, PAGE, MADV_DONTNEED);
	dawdle(10);
	for (char *at = slots.start; at < slots.end; at += SLOT)
		for (size_t i = 0; i < sizeof(advices) / sizeof(*advices); i++)
			madvise(at, PAGE, advices[i]);
}

// madvise.
static void advice(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, two_pages(), PAGE);

	must("mmap", p == MAP_FAILED ? -1 : 0);
	store(p, SAFE);
	remap(p, advise);
}

// ---- the heap -----------------------------------------------------------------------------

// No allocation uses the heap meanwhile.
static void regrow(char *page)
{
	for (int word = SECRET; word >= SAFE; word--) {
		syscall(SYS_brk, page);
		syscall(SYS_brk, page + PAGE);
		store(page, word);
		dawdle(10);
	}
	if (slots.start)
		syscall(SYS_brk, slots.start + PAGE);
}

static void wait_and_regrow(char *page)
{
	if (tally->turn)
		regrow(page);
}

// brk.
static void heap(void)
{
	char *p;

	beside(wait_and_regrow, NULL);
	finish();
	tally->over = 0;
	p = (char *)((syscall(SYS_brk, 0) + PAGE - 1) & -PAGE);
	must("brk", syscall(SYS_brk, p + PAGE) == (long)(p + PAGE) ? 0 : -1);
	store(p, SAFE);
	tally->turn = 1;
	remap(p, wait_and_regrow);
}

const struct attack remap_attacks[] = {
	{ "map-over", map_over },
	{ "unmap", unmap },
	{ "move", move },
	{ "file-pages", file_pages },
	{ "segment", segment },
	{ "protect", protect },
	{ "advice", advice },
	{ "heap", heap },
	{ NULL, NULL },
};
