/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */

/*
 * Types of file systems, for filters that let some not be mounted.
 *
 * They are strings, and pinned: the kernel is given the bytes that were looked at.
 * Where one cannot be read, the call fails with EFAULT whatever a filter says.
 */
#ifndef PORTCULLIS_FSTYPE_H
#define PORTCULLIS_FSTYPE_H

#include "argument.h"

/* Where the type is that a call mounts or opens a file system of; 0 for no such call,
 * or for a mount that takes none. */
static __always_inline __u64 type_of(const struct seccomp_data *ctx)
{
	if (ctx->nr == __NR_mount)
		return ARGUMENT(ctx, 2);
	return ctx->nr == __NR_fsopen ? ARGUMENT(ctx, 0) : 0;
}

/* Whether the type at an address is a name. The kernel looks at what is in front of a
 * dot; behind it may be a subtype. */
#define TYPE_IS(addr, name) type_is(addr, name, sizeof(name) - 1)
static __always_inline bool type_is(__u64 addr, const char *name, __u32 size)
{
	char c;

	for (__u32 i = 0; i < size; i++)
		if (bpf_safe_read_user(&c, 1, addr + i) || c != name[i])
			return false;
	return !bpf_safe_read_user(&c, 1, addr + size) && (!c || c == '.');
}

#endif /* PORTCULLIS_FSTYPE_H */
