// SPDX-License-Identifier: Apache-2.0
// Makes every call that has an argument that can be pinned, in all the ways that
// could tell a pinned argument from the caller's own: a line a case, which must be
// the same with and without a filter that pins. What is not the same in two runs is
// not shown. The process has no privilege: nothing that it asks for is granted.
#include "pinned_variants.h"

#include "pinned_files.h"
#include "pinned_sockets.h"
#include "pinned_tasks.h"
#include "pinned_ipc.h"
#include "pinned_system.h"
#include "pinned_sleep.h"

// ---- privilege ---------------------------------------------------------------------

struct cap_header {
	unsigned version;
	int pid;
};

// Gives up all capabilities, also those that a set-user-id program would bring.
static void drop(void)
{
	struct cap_header h = { 0x20080522, 0 };
	unsigned none[6] = { 0 }, have[6];

	for (int c = 0; c < 64; c++)
		prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(syscall(SYS_capset, &h, none));
	MUST(syscall(SYS_capget, &h, have));
	for (int i = 0; i < 6; i++)
		if (have[i])
			must_say("capabilities are left");
}

// ---- programs that are executed ------------------------------------------------------

static int echo(int argc, char **argv)
{
	size_t n = 0;

	say("executed %d:", argc);
	for (int i = 1; i < argc; i++)
		say(strlen(argv[i]) < 40 ? " %s" : " …", argv[i]);
	for (char **e = environ; *e; e++)
		n += strlen(*e);
	say(", environment of %zu bytes, %s", n, environ[0] ? environ[0] : "none");
	end_line();
	return 7;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "echo"))
		return echo(argc, argv);
	if (argc < 3)
		return 2;
	self = realpath("/proc/self/exe", NULL);
	drop();
	MUST(chdir(argv[2]));
	signal(SIGPIPE, SIG_IGN);
	signal(SIGSYS, SIG_DFL);
	umask(0);
	shared = (void *)MUST(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	map_memory();
	only = argc > 3 ? argv[3] : NULL;
	few = !strcmp(argv[1], "few");
	if (few || !strcmp(argv[1], "calls")) {
		files();
		attributes();
		data();
		sockets();
		signals();
		times();
		processes();
		ipc();
		memory_policies();
		privileged();
		namespaces();
		newest();
	} else if (!strcmp(argv[1], "sleep")) {
		sleepers();
	} else {
		return 2;
	}
	return 0;
}
