// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// want: ok

/* A definition of the context as vmlinux.h has it, which asks for relocation:
 * the fields of the context never move. */
struct seccomp_data {
	int nr;
	unsigned int arch;
	unsigned long long instruction_pointer;
	unsigned long long args[6];
} __attribute__((preserve_access_index));

__attribute__((section("seccomp"), used)) int filter(const struct seccomp_data *ctx)
{
	return ctx->nr + ctx->args[2];
}
