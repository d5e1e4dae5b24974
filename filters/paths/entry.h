/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How an entry of a list and a path are related. Part of paths.c. */
#ifndef PATHS_ENTRY_H
#define PATHS_ENTRY_H

#include "../words.h"

/* An entry may be EXACTly the path, ABOVE it, or BELOW it. */
enum { EXACT = 1, ABOVE, BELOW };

/* ends_before tells whether an entry that ends at a byte of its word does so before a link. */
static __always_inline bool ends_before(const struct difference *d, __u64 byte, __u32 magic)
{
	__u32 left = magic - d->at; /* huge where the link begins in front of the word */

	if (magic >= NOWHERE || !byte)
		return false;
	return left < 8 ? byte <= 0x80ULL << 8 * left : left < NOWHERE;
}

/* related tells how the two are; 0 if not at all. */
static __always_inline __u32 related(const struct difference *d, __u32 magic)
{
	__u64 entry = d->entry, path = d->path, byte = differs_first(entry, path), slash = SLASHES & byte;
	__u64 behind = (((entry << 8) | d->front) & byte) ^ slash;

	if (!byte)
		return EXACT;
	if (!(entry & byte))
		return (behind && (path & byte) != slash) || ends_before(d, byte & HIGH, magic) ? 0 : ABOVE;
	if (!(path & byte))
		return behind && (entry & byte) != slash ? 0 : BELOW;
	return 0;
}

/* compare tells how an entry of a list and a path are related. */
static __always_inline __u32 compare(struct difference *d, const volatile char *entry, const __u64 *path, __u32 magic)
{
	__u64 front = 0, e, p;

#pragma clang loop unroll_count(2) /* for fewer states of the proof */
	for (__u32 at = 0; at < PORTCULLIS_PATH_SIZE; at += 8, PORTCULLIS_STEP(entry, 8), PORTCULLIS_STEP(path, 8)) {
		e = *(const volatile __u64 *)entry;
		p = *path;
		d->entry = e;
		d->path = p;
		d->front = front;
		d->at = at;
		front = e >> 56;
		if (e != p || !front)
			break;
	}
	return related(d, magic);
}

#endif /* PATHS_ENTRY_H */
