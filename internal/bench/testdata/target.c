// SPDX-License-Identifier: Apache-2.0
// The measured program of decisions that hold a call, at its entry and its exit.
//
//   target open N FILE   opens FILE by openat and closes it, N times
//   target order N       calls getpgid N times
//
// Prints nanoseconds per round and whether the path FORBIDDEN was denied. The time is
// that of a calm slice of many that are too short for others to come between: a
// quarter of them are faster. A descriptor named by the environment's SLOT is
// mapped where the tracer of floor.c redirects paths to.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "held.h"

enum { SLICES = 100 };

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void map_slot(void)
{
	const char *fd = getenv("SLOT");

	if (fd && mmap((void *)SLOT, SLOT_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE,
		       atoi(fd), 0) != (void *)SLOT)
		die("mmap of the slot");
}

static void open_once(const char *file)
{
	int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY);

	if (fd < 0)
		die(file);
	syscall(SYS_close, fd);
}

static void order_once(const char *unused)
{
	(void)unused;
	syscall(SYS_getpgid, 0);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(void (*once)(const char *), const char *file, long n)
{
	double slices[SLICES];

	for (int s = -1; s < SLICES; s++) { // the first one warms up
		double from = now();
		for (long i = 0; i < n; i++)
			once(file);
		if (s >= 0)
			slices[s] = (now() - from) / n;
	}
	qsort(slices, SLICES, sizeof(slices[0]), ascending);
	return slices[SLICES / 4];
}

int main(int argc, char **argv)
{
	long n = argc > 2 ? atol(argv[2]) / SLICES : 0;
	int opens = argc > 3 && !strcmp(argv[1], "open");

	if (n <= 0 || (!opens && strcmp(argv[1], "order"))) {
		fprintf(stderr, "usage: target open N FILE, or order N\n");
		return 2;
	}
	map_slot();
	double ns = measure(opens ? open_once : order_once, argv[3], n);
	int denied = syscall(SYS_openat, AT_FDCWD, FORBIDDEN "/file", O_RDONLY) < 0 && errno == EACCES;
	printf("%.1f:%d\n", ns, denied);
	return 0;
}
