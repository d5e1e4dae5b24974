/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/*
 * Text in words of eight bytes, for filters that look through paths.
 *
 * A processor, or an interpreter, takes as long for a word as for a byte. The first
 * character is the lowest byte.
 */
#ifndef PORTCULLIS_WORDS_H
#define PORTCULLIS_WORDS_H

#include "portcullis.h"

#define HIGH 0x8080808080808080ULL
#define LOW 0x7f7f7f7f7f7f7f7fULL
#define EACH 0x0101010101010101ULL
#define SLASHES (EACH * '/')

/* nonzero has the high bit of each byte of a word that is not 0, and no other. */
static __always_inline __u64 nonzero(__u64 w)
{
	return (((w & LOW) + LOW) | w) & HIGH;
}

/*
 * differs_first has all bits of the first byte in which two words differ; none if they are
 * the same.
 */
static __always_inline __u64 differs_first(__u64 a, __u64 b)
{
	__u64 high = nonzero(a ^ b), first = high & -high;

	return (first << 1) - (first >> 7);
}

#endif /* PORTCULLIS_WORDS_H */
