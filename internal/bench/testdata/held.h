// SPDX-License-Identifier: Apache-2.0
/*
 * The measured policy of decisions about paths, once: filters/held.c compiles it
 * to a filter, and the floors of floor.c decide by it too.
 */
#ifndef HELD_H
#define HELD_H

/* What is denied with EACCES, and all that begins with it. */
#define FORBIDDEN "/portcullis-forbidden"

/* How much of a path is looked at; a longer one is denied. */
#define PATH_SIZE 256

/*
 * The calls that have paths, and a bit for each argument that is one: those whose
 * paths the built-in filter paths pins.
 */
#define PATH_CALLS(X) \
	X(open, 1) X(openat, 2) X(openat2, 2) X(creat, 1) X(execve, 1) X(execveat, 2) \
	X(unlink, 1) X(unlinkat, 2) X(rename, 3)

/* Where the measured program maps the tracer's slot. */
#define SLOT 0x7e0000000000UL
#define SLOT_SIZE 4096

#endif
