// SPDX-License-Identifier: Apache-2.0
// Writes what libseccomp makes of the list that filters/listed.c is about, in the
// order that it chooses by itself, to standard output as the kernel takes it: that is
// listed.bpf, by libseccomp 2.5.4.
//
//   cc -I../../testdata -o export export.c -lseccomp && ./export >listed.bpf
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

static void check(const char *what, int err)
{
	if (!err)
		return;
	fprintf(stderr, "export: %s: %s\n", what, strerror(-err));
	_exit(1);
}

#define ALLOW(call) \
	if (SCMP_SYS(call) != SCMP_SYS(getppid)) \
		check(#call, seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(call), 0));

int main(void)
{
	struct scmp_arg_cmp other = SCMP_CMP(0, SCMP_CMP_NE, 7);
	scmp_filter_ctx policy = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!policy)
		check("seccomp_init", -ENOMEM);
	FIRST_CALLS(ALLOW)
	OTHER_CALLS(ALLOW)
	RULED_CALLS(ALLOW)
	check("getppid", seccomp_rule_add_array(policy, SCMP_ACT_ALLOW, SCMP_SYS(getppid), 1, &other));
	check("seccomp_export_bpf", seccomp_export_bpf(policy, STDOUT_FILENO));
	return 0;
}
