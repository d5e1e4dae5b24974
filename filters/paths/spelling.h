/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How a path is spelled: plainly, or in a way that has to be understood first. Part of paths.c. */
#ifndef PATHS_SPELLING_H
#define PATHS_SPELLING_H

#include "../words.h"

/*
 * scan tells whether a path has components that are empty, "." or begin with "..", eight
 * characters at a time: of each, with the two behind it.
 */
static __noinline bool scan(const struct asked *a, const __u8 *path)
{
	__u64 one, two, three, plain = HIGH;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SCAN_MAX && i < a->len; i += 8, PORTCULLIS_STEP(path, 8)) {
		one = *(const __u64 *)path ^ SLASHES;
		two = *(const __u64 *)(path + 1) ^ SLASHES;
		/* A slash and a dot are different in one bit. */
		three = (*(const __u64 *)(path + 2) ^ SLASHES) & ~EACH;
		plain &= nonzero(one | two);
		plain &= nonzero(one | (two ^ EACH) | three);
	}
	return plain != HIGH;
}

/*
 * edges tells the same of a path's beginning and end, which scan does not see: it looks
 * for what is behind a slash and in front of something.
 */
static __always_inline bool edges(const struct asked *a, const __u8 *path)
{
	__u32 len = a->len;
	__u8 last;

	if (path[0] == '.')
		return true;
	if (len < 3)
		return false;
	last = path[(len - 2) % PATH_MAX];
	return last == '/' || last == '.';
}

#define NAME2(a, b) ((a) | (b) << 8)
#define NAME3(a, b, c) (NAME2(a, b) | (c) << 16)
#define NAME4(a, b, c, d) (NAME3(a, b, c) | (d) << 24)

/* put adds a character to the plain spelling. */
static __always_inline void put(struct scratch *s, __u64 c)
{
	__u64 end = s->end % CLEAN_MAX;

	s->clean[end] = c;
	s->end = end + 1;
	s->tail = s->tail << 8 | c;
}

/*
 * closed ends a component, of which the last characters are in s->tail, the very last
 * lowest: true if it counts. What does not is taken back to the slash in front of it.
 */
static __always_inline bool closed(struct scratch *s)
{
	__u64 tail = s->tail, slash = s->slash % CLEAN_MAX;

	if ((tail & 0xff) == '/')
		return false;
	if ((tail & 0xffff) == NAME2('.', '/')) {
		s->end = slash + 1;
		return false;
	}
	if ((tail & 0xffffff) != NAME3('.', '.', '/'))
		return true;
	s->dotdot = 1;
	s->above |= (slash - 1) >> 63;
	slash = s->parent[slash];
	s->slash = slash;
	s->end = slash + 1;
	return false;
}

/* next takes a character. */
static __always_inline void next(struct scratch *s, __u64 c)
{
	__u64 end;

	if (c == '/') {
		if (!closed(s)) {
			s->tail = '/';
			return;
		}
		end = s->end % CLEAN_MAX;
		s->parent[end] = s->slash;
		s->slash = end;
	}
	put(s, c);
}

/*
 * clean copies a path as it is spelled plainly: with a slash in front, without empty
 * components and ".", and with ".." taken back. It tells whether that is what the path
 * means: not if it is too long, has a ".." that counts for something else, or, being
 * relative, one that leads out of where it is.
 */
static __noinline bool clean(struct scratch *s, const __u8 *path)
{
	__u64 c = 1;

	s->relative = *(const volatile __u8 *)path != '/';
	s->above = s->dotdot = s->parent[0] = s->slash = s->end = 0;
	put(s, '/');
#pragma clang loop unroll(disable)
	for (__u64 n = 0; n < CLEAN_MAX - 2; n++, PORTCULLIS_STEP(path, 1)) {
		c = *path;
		if (!c)
			break;
		next(s, c);
	}
	if (c)
		return false;
	if (!closed(s) && s->end > 1)
		s->end--;
	*(__u64 *)(s->clean + s->end % CLEAN_MAX) = 0;
	return !s->dotdot || (dotdot && (!s->above || !s->relative));
}

static __always_inline bool ended(__u64 w)
{
	return !(w & 0xff) || (w & 0xff) == '/';
}

/*
 * links tells whether a component, given its first word, can be a link of /proc to what
 * a process has open, or of /dev to one of those.
 */
static __always_inline bool links(__u64 w)
{
	if ((w & 0xffff) == NAME2('f', 'd'))
		return ended(w >> 16);
	if ((w & 0xffffff) == NAME3('c', 'w', 'd') || (w & 0xffffff) == NAME3('e', 'x', 'e'))
		return ended(w >> 24);
	if ((__u32)w == NAME4('r', 'o', 'o', 't'))
		return ended(w >> 32);
	if ((w & 0xffffffffffULL) == 0x6e69647473ULL) /* "stdin" */
		return ended(w >> 40);
	if ((w & 0xffffffffffffULL) == 0x74756f647473ULL || (w & 0xffffffffffffULL) == 0x727265647473ULL)
		return ended(w >> 48); /* "stdout", "stderr" */
	return w == 0x656c69665f70616dULL; /* "map_file" */
}

/* process tells whether a component can be in front of such a link: a number, "self", "task". */
static __always_inline bool process(__u64 w)
{
	__u32 first = (__u8)w;

	return first - '0' < 10 || (__u32)w == NAME4('s', 'e', 'l', 'f') || (__u32)w == NAME4('t', 'a', 's', 'k');
}

#define THREAD_S 0x732d646165726874ULL /* "thread-s" */

/* What can be in front of such a link, at most: /PID/task/TID. */
#define FRONT 3
#define NOWHERE PORTCULLIS_PATH_SIZE

/* magic is where the first such link begins in a path, from a slash on. */
static __noinline __u32 magic(volatile __u64 *at, const __u8 *path)
{
	__u64 w, slashes;

	*at = 1;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i <= FRONT; i++) {
		w = *(const __u64 *)(path + *at % 32);
		if (links(w))
			return *at % 32;
		slashes = nonzero(w ^ SLASHES) ^ HIGH;
		if (w == THREAD_S)
			*at += sizeof("thread-self");
		else if (process(w) && slashes) /* each byte up to the first slash counts, with that */
			*at += (((slashes & -slashes) - 1) & EACH) * EACH >> 56;
		else
			break;
	}
	return NOWHERE;
}

#define PROC 0x636f72702fULL /* "/proc" */
#define DEV 0x7665642fULL    /* "/dev" */

/* linked is where such links would begin in an absolute path. */
static __always_inline __u32 linked(const __u8 *path)
{
	__u64 w = *(const __u64 *)path;

	if ((w & 0xffffffffffULL) == PROC)
		return 5;
	return (__u32)w == DEV ? 4 : NOWHERE;
}

/*
 * holds_links tells whether a list has a directory in which there are such links: /proc,
 * that of a process, or /dev.
 */
static __always_inline bool holds_links(const volatile portcullis_paths *list)
{
	const volatile char *entry = list->path[0];

	for (__u32 i = 0; i < PORTCULLIS_PATHS && entry[0]; i++, PORTCULLIS_STEP(entry, PORTCULLIS_PATH_SIZE)) {
		__u64 w = *(const volatile __u64 *)entry;

		if ((w & 0xffffffffffULL) == PROC && (!(w >> 48) || process(*(const volatile __u64 *)(entry + 6)) ||
						      *(const volatile __u64 *)(entry + 6) == THREAD_S))
			return true;
		if ((__u32)w == DEV && !(w >> 40))
			return true;
	}
	return false;
}

#endif /* PATHS_SPELLING_H */
