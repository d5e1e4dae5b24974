// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Decides calls in every way there is to explain: by number, by arguments, by
 * arguments first and then by state, by state.
 */
#include "portcullis.h"

#define AF_PACKET 17
#define TIOCSTI 0x5412
#define CLONE_NEWUSER 0x10000000

static __u64 opened, killed;

SEC("seccomp/explain")
int explain(const struct seccomp_data *ctx)
{
	switch (ctx->nr) {
	case __NR_ptrace:
	case __NR_process_vm_writev:
		PORTCULLIS_DENY(EPERM);
	case __NR_socket:
		if ((__u32)ctx->args[0] == AF_PACKET)
			PORTCULLIS_DENY(EACCES);
		break;
	case __NR_ioctl:
		if ((__u32)ctx->args[1] == TIOCSTI)
			PORTCULLIS_DENY(EPERM);
		break;
	case __NR_clone:
	case __NR_unshare:
		if (ctx->args[0] & CLONE_NEWUSER)
			return SECCOMP_RET_TRAP;
		break;
	case __NR_dup2:
		if (ctx->args[0] == ctx->args[1])
			PORTCULLIS_DENY(EINVAL);
		break;
	case __NR_mmap:
		if (ctx->args[1] > 1ULL << 40 || (__s64)ctx->args[5] < 0)
			PORTCULLIS_DENY(ENOMEM);
		break;
	case __NR_kill:
		if ((__s32)ctx->args[0] <= 1)
			PORTCULLIS_DENY(EPERM);
		if (__sync_fetch_and_add(&killed, 1) > 3)
			PORTCULLIS_DENY(EAGAIN);
		break;
	case __NR_openat:
		if (__sync_fetch_and_add(&opened, 1) > 100)
			PORTCULLIS_DENY(EMFILE);
		break;
	}
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
