// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: section "seccomp": task_struct: a type that differs between kernels
#include "portcullis.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

SEC("seccomp")
int filter(const struct task_struct *ctx)
{
	return ctx->pid;
}
