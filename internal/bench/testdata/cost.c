// SPDX-License-Identifier: Apache-2.0
// Times calls under a classic program.
//
//   cost N [FILE]   installs the program in FILE, then makes N calls of each kind
//
// One line a kind: its name, nanoseconds per call, how many of a round of the
// kind's calls fail with EPERM. The time is that of the fastest of 40 slices:
// what disturbs a slice only ever adds to it.
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "classic.h"

enum { SLICES = 40, ROUND = 4, MISSING = 1000 };

struct call {
	long nr, a, b, c;
};

// Calls that do next to nothing, and nothing that lasts, where they are let
// through. All of a kind's calls are made in turn.
static const struct kind {
	const char *name;
	struct call calls[ROUND];
} kinds[] = {
	{ "missing", { { MISSING }, { MISSING }, { MISSING }, { MISSING } } },
	{ "allowed", { { SYS_getppid }, { SYS_getppid }, { SYS_getppid }, { SYS_getppid } } },
	{ "denied", { { SYS_alarm, 0 }, { SYS_getpgrp }, { SYS_sched_get_priority_max, 0 }, { SYS_getcpu } } },
	{ "allowed by a rule", {
		{ SYS_prctl, PR_GET_DUMPABLE }, { SYS_mprotect, 0, 0, PROT_READ },
		{ SYS_prctl, PR_GET_DUMPABLE }, { SYS_mprotect, 0, 0, PROT_READ | PROT_WRITE } } },
	{ "denied by a rule", {
		{ SYS_prctl, 9999 }, { SYS_mprotect, 0, 0, PROT_EXEC },
		{ SYS_prctl, 9998 }, { SYS_mprotect, 0, 0, PROT_READ | PROT_EXEC } } },
};

// No function of the C library, which would set errno.
static inline long make(const struct call *call)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(call->nr), "D"(call->a), "S"(call->b), "d"(call->c)
			 : "rcx", "r11", "memory");
	return ret;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static double slice(const struct kind *k, long rounds)
{
	double from = now();

	for (long i = 0; i < rounds; i++)
		for (int c = 0; c < ROUND; c++)
			make(&k->calls[c]);
	return (now() - from) / (rounds * ROUND);
}

static void measure(const struct kind *k, long n)
{
	double best = slice(k, n / SLICES / ROUND);
	int denied = 0;

	for (int i = 0; i < SLICES; i++) {
		double ns = slice(k, n / SLICES / ROUND);
		if (ns < best)
			best = ns;
	}
	for (int c = 0; c < ROUND; c++)
		denied += make(&k->calls[c]) == -EPERM;
	printf("%s:%.2f:%d\n", k->name, best, denied);
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 0;

	if (n < SLICES * ROUND) {
		fprintf(stderr, "usage: cost N [FILE]\n");
		return 2;
	}
	if (argc > 2)
		install(argv[2]);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure(&kinds[i], n);
	return 0;
}
