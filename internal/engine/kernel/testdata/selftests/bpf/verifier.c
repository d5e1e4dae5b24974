/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's test_verifier without bpf_testmod, the module that a kernel without
 * modules cannot have, and with what it tests without privileges allowed first.
 */
#include <linux/types.h>
#include <testing_helpers.h>

#define load_bpf_testmod(verbose) 0
#define unload_bpf_testmod(verbose) ((void)0)
#define main verifier_main
#include <test_verifier.c>
#undef main

int main(int argc, char **argv)
{
	FILE *f = fopen("/proc/sys/" UNPRIV_SYSCTL, "w");

	if (!f || fputs("0", f) < 0 || fclose(f)) {
		perror(UNPRIV_SYSCTL);
		return 1;
	}
	/* What is said on stderr must not be in the middle of a line, nor elsewhere. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	dup2(STDOUT_FILENO, STDERR_FILENO);
	return verifier_main(argc, argv);
}
