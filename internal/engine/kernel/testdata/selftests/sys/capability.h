/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of libcap as the kernel's own tests of seccomp use, so that they can be built
 * without it: what this process may do now.
 */
#ifndef SELFTESTS_CAPABILITY_H
#define SELFTESTS_CAPABILITY_H

#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct __user_cap_data_struct *cap_t;
typedef int cap_value_t;
typedef enum { CAP_CLEAR, CAP_SET } cap_flag_value_t;
typedef enum { CAP_EFFECTIVE } cap_flag_t;

static inline cap_t cap_get_proc(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3 };
	cap_t data = calloc(_LINUX_CAPABILITY_U32S_3, sizeof(*data));

	if (data)
		syscall(SYS_capget, &head, data);
	return data;
}

static inline int cap_get_flag(cap_t data, cap_value_t cap, cap_flag_t flag, cap_flag_value_t *value)
{
	(void)flag;
	*value = data && data[cap / 32].effective >> cap % 32 & 1 ? CAP_SET : CAP_CLEAR;
	return 0;
}

static inline int cap_set_flag(cap_t data, cap_flag_t flag, int n, const cap_value_t *caps, cap_flag_value_t value)
{
	(void)flag;
	for (int i = 0; i < n; i++) {
		data[caps[i] / 32].effective &= ~(1U << caps[i] % 32);
		if (value == CAP_SET)
			data[caps[i] / 32].effective |= 1U << caps[i] % 32;
	}
	return 0;
}

static inline int cap_set_proc(cap_t data)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capset, &head, data);
}

static inline int cap_free(void *data)
{
	free(data);
	return 0;
}

#endif
