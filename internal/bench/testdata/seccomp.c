// SPDX-License-Identifier: Apache-2.0
// Writes what libseccomp makes of the measured policy, as the kernel takes it.
//
//   seccomp list|rules chain|tree
//
// chain is the order that libseccomp chooses by itself, tree its binary tree.
// The program goes to standard output.
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

static void fail(const char *what, int err)
{
	fprintf(stderr, "seccomp: %s: %s\n", what, strerror(-err));
	_exit(1);
}

static void allow(scmp_filter_ctx policy, int call, const char *name)
{
	int err = seccomp_rule_add(policy, SCMP_ACT_ALLOW, call, 0);

	if (err)
		fail(name, err);
}

static void compare(scmp_filter_ctx policy, int call, const char *name, struct scmp_arg_cmp cmp)
{
	int err = seccomp_rule_add_array(policy, SCMP_ACT_ALLOW, call, 1, &cmp);

	if (err)
		fail(name, err);
}

#define ALLOW(call) allow(policy, SCMP_SYS(call), #call);
#define EQUAL(call, arg, value) \
	compare(policy, SCMP_SYS(call), #call, SCMP_CMP(arg, SCMP_CMP_EQ, value));
#define MASKED(call, arg, mask, value) \
	compare(policy, SCMP_SYS(call), #call, SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value));

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: seccomp list|rules chain|tree\n");
		return 2;
	}
	scmp_filter_ctx policy = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!policy)
		fail("seccomp_init", -ENOMEM);
	FIRST_CALLS(ALLOW)
	OTHER_CALLS(ALLOW)
	if (!strcmp(argv[1], "list")) {
		RULED_CALLS(ALLOW)
	} else {
		RULES(EQUAL, MASKED)
	}
	int err = seccomp_attr_set(policy, SCMP_FLTATR_CTL_OPTIMIZE, strcmp(argv[2], "tree") ? 1 : 2);
	if (err)
		fail("SCMP_FLTATR_CTL_OPTIMIZE, which takes libseccomp 2.5", err);
	err = seccomp_export_bpf(policy, STDOUT_FILENO);
	if (err)
		fail("seccomp_export_bpf", err);
	return 0;
}
