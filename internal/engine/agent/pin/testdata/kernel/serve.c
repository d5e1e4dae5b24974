/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Runs kernel/seccomp_ebpf_pin.c in user space, for a program at the other end
 * of its standard streams, which also is the memory of the process that makes
 * the call.
 *
 * It is told, in native words: B begin, R read, S read a string, P place; and
 * asks M for memory while it begins.
 */
#include "shim.h"
#include "seccomp_ebpf_pin.h"

#include <stdio.h>
#include <unistd.h>

struct seccomp_slot {
	u8 *pages[SECCOMP_SLOT_PAGES];
	bool taken;
};

#define SLOT_ADDR 0x7ffff0000000UL

static struct seccomp_slot the_slot;
static struct seccomp_pins pins;

static void get(void *p, size_t n)
{
	if (fread(p, 1, n, stdin) != n)
		exit(0);
}

static u64 get_word(void)
{
	u64 v;

	get(&v, sizeof(v));
	return v;
}

static void put(const void *p, size_t n)
{
	if (fwrite(p, 1, n, stdout) != n)
		exit(1);
}

static void put_word(u64 v)
{
	put(&v, sizeof(v));
}

/* As far as memory is readable: the other end knows. */
unsigned long copy_from_user(void *dst, const void *src, unsigned long n)
{
	u64 got;

	put_word('M');
	put_word((uintptr_t)src);
	put_word(n);
	fflush(stdout);
	got = get_word();
	if (got > n)
		exit(2);
	get(dst, got);
	memset((char *)dst + got, 0, n - got);
	return n - got;
}

/* Whole words, as the kernel's, so that something is left behind the string. */
long strncpy_from_user(char *dst, const char *src, long n)
{
	unsigned long left = copy_from_user(dst, src, n);
	char *nul = memchr(dst, 0, n - left);
	long end;

	if (nul) {
		end = (nul - dst + 8) & ~7L;
		if (end < n)
			memset(dst + end, 0, n - end);
		return nul - dst;
	}
	return left ? -EFAULT : n;
}

struct seccomp_slot *seccomp_slot_get(void)
{
	if (the_slot.taken)
		exit(3);
	the_slot.taken = true;
	return &the_slot;
}

/* What is behind is empty, too, or the next call would find it. */
void seccomp_slot_put(struct seccomp_slot *slot, u32 used)
{
	u32 i, j;

	for (i = 0; i < SECCOMP_SLOT_PAGES; i++)
		for (j = 0; slot->pages[i] && j < PAGE_SIZE; j++)
			if (i * PAGE_SIZE + j < used)
				slot->pages[i][j] = 0;
			else if (slot->pages[i][j])
				exit(4);
	slot->taken = false;
}

int seccomp_slot_reserve(struct seccomp_slot *slot, u32 off, u32 len)
{
	u32 i = off / PAGE_SIZE;

	if (!len || off + len > SECCOMP_SLOT_BYTES || (off + len - 1) / PAGE_SIZE != i)
		exit(5);
	if (!slot->pages[i])
		slot->pages[i] = calloc(1, PAGE_SIZE);
	return 0;
}

void *seccomp_slot_at(const struct seccomp_slot *slot, u32 off)
{
	if (off >= SECCOMP_SLOT_BYTES || !slot->pages[off / PAGE_SIZE])
		exit(6);
	return slot->pages[off / PAGE_SIZE] + off % PAGE_SIZE;
}

unsigned long seccomp_slot_addr(const struct seccomp_slot *slot)
{
	return SLOT_ADDR;
}

unsigned long seccomp_slot_fault(const struct seccomp_slot *slot)
{
	return SLOT_ADDR + SECCOMP_SLOT_BYTES;
}

static void begin(void)
{
	struct seccomp_data sd = {};
	int i;

	sd.nr = get_word();
	sd.arch = get_word();
	for (i = 0; i < 6; i++)
		sd.args[i] = get_word();
	i = seccomp_pins_begin(&pins, &sd, get_word());
	put_word('D');
	put_word(i);
}

static void read_back(bool text)
{
	static u8 dst[1 << 17];
	u64 addr = get_word(), size = get_word();
	int ret;

	if (size > sizeof(dst))
		exit(7);
	memset(dst, 0xaa, size);
	ret = text ? seccomp_pins_read_str(&pins, dst, size, addr) :
		     seccomp_pins_read(&pins, dst, size, addr);
	put_word((s32)ret);
	put(dst, size);
}

/* The registers, the slot, and where in it copies are: off, n, whether touched. */
static void place(void)
{
	static const u8 zeroes[PAGE_SIZE];
	unsigned long args[6] = {};
	u8 mask;
	int i, ret;

	ret = seccomp_pins_place(&pins, args, &mask);
	put_word((s32)ret);
	put_word(pins.refused);
	put_word(pins.touched);
	put_word(mask);
	for (i = 0; i < 6; i++)
		put_word(args[i]);
	for (i = 0; i < SECCOMP_SLOT_PAGES; i++)
		put(the_slot.taken && the_slot.pages[i] ? the_slot.pages[i] : zeroes, PAGE_SIZE);
	put_word(6 + pins.cnt);
	for (i = 0; i < 6 + pins.cnt; i++) {
		struct seccomp_piece *p = i < 6 ? &pins.reg[i] : &pins.more[i - 6];

		put_word(p->off);
		put_word(p->same == i ? p->n : SECCOMP_PIN_NONE);
		put_word(p->err);
		put_word(p->touched);
	}
}

int main(void)
{
	for (;;) {
		fflush(stdout);
		switch (get_word()) {
		case 'B':
			begin();
			break;
		case 'R':
			read_back(false);
			break;
		case 'S':
			read_back(true);
			break;
		case 'P':
			place();
			break;
		default:
			return 8;
		}
	}
}
