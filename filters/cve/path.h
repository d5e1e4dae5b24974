/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/*
 * Paths behind arguments, for filters that judge calls by their last component.
 *
 * They are pinned: the kernel is given the bytes that were looked at. Of what cannot
 * be read nothing is known, and nothing need be: the call fails with EFAULT.
 */
#ifndef PORTCULLIS_PATH_H
#define PORTCULLIS_PATH_H

#include "portcullis.h"

#define PATH_MAX 4096

/* The path of one call. It is its thread's: on the kernel engine another thread's
 * filter may come in between on the same processor. */
struct path {
	char text[PATH_MAX];
	/* What is volatile may be anything to the proof, which otherwise goes on apart for
	 * each value that a loop can end with. */
	volatile __u32 len; /* without the NUL */
	volatile __u32 count[3]; /* of whatever a filter counts */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct path);
} paths SEC(".maps");

/* Room for a path; NULL where there is none, and then the call must not be made. */
static __always_inline struct path *path_room(void)
{
	return bpf_task_storage_get(&paths, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE | PORTCULLIS_F_THREAD);
}

/* Reads the path at an address; false where the call will fail for it. */
static __always_inline bool path_read(struct path *p, __u64 addr)
{
	long n = bpf_safe_read_user_str(p->text, sizeof(p->text), addr);

	if (n <= 0)
		return false;
	p->len = n - 1;
	return true;
}

/* The character that is back characters in front of the end, 1 for the last one; in
 * front of them all there is a slash. */
static __always_inline char char_back(const struct path *p, __u32 back)
{
	__u32 at = p->len - back;

	return at < PATH_MAX ? p->text[at] : '/';
}

/* Whether the last component of a path is a name. */
#define LAST_IS(path, name) last_is(path, name, sizeof(name) - 1)
static __always_inline bool last_is(const struct path *p, const char *name, __u32 size)
{
	for (__u32 i = 1; i <= size; i++)
		if (char_back(p, i) != name[size - i])
			return false;
	return char_back(p, size + 1) == '/';
}

#endif /* PORTCULLIS_PATH_H */
