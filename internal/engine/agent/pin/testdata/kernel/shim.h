/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of Linux as kernel/seccomp_ebpf_pin.c asks for, in user space: every
 * header that it includes is this one.
 */
#ifndef SHIM_H
#define SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t s16;
typedef int32_t s32;

#define __user
#define E2BIG 7
#define ENOMEM 12
#define EFAULT 14
#define EOPNOTSUPP 95
#define BIT(n) (1UL << (n))
#define PAGE_SIZE 4096UL
#define PAGE_SHIFT 12
#define GFP_KERNEL_ACCOUNT 0
#define AUDIT_ARCH_X86_64 0xc000003e
#define __NR_prctl 157
#define __NR_reboot 169
#define __NR_delete_module 176

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define min(a, b) ({ __auto_type x_ = (a); __auto_type y_ = (b); x_ < y_ ? x_ : y_; })
#define max(a, b) ({ __auto_type x_ = (a); __auto_type y_ = (b); x_ > y_ ? x_ : y_; })
#define min_t(t, a, b) min((t)(a), (t)(b))
#define clamp(v, lo, hi) min(max(v, lo), hi)
#define round_up(n, to) ((((n) - 1) | ((__typeof__(n))(to) - 1)) + 1)
#define round_down(n, to) ((n) & ~((__typeof__(n))(to) - 1))
#define swap(a, b) do { __auto_type t_ = (a); (a) = (b); (b) = t_; } while (0)
#define array_index_nospec(i, n) (i)
#define u64_to_user_ptr(a) ((void *)(uintptr_t)(a))
#define kvrealloc(p, n, flags) realloc(p, n)
#define kvfree(p) free(p)

#define ERR_PTR(e) ((void *)(long)(e))
#define PTR_ERR(p) ((long)(p))
#define IS_ERR(p) ((unsigned long)(p) >= (unsigned long)-4095)

static inline size_t size_mul(size_t a, size_t b)
{
	size_t n;

	return __builtin_mul_overflow(a, b, &n) ? SIZE_MAX : n;
}

static inline size_t size_add(size_t a, size_t b)
{
	size_t n;

	return __builtin_add_overflow(a, b, &n) ? SIZE_MAX : n;
}

struct seccomp_data {
	int nr;
	u32 arch;
	u64 instruction_pointer;
	u64 args[6];
};

unsigned long copy_from_user(void *dst, const void *src, unsigned long n);
long strncpy_from_user(char *dst, const char *src, long n);

#endif
