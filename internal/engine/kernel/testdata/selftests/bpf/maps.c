/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tests of the kernel's test_maps, each in a process of its own: theirs ends with the
 * first that fails. What becomes of each is said as TAP has it.
 */
#include <signal.h>

#define main maps_main
#include <test_maps.c>
#undef main

#define SKIPPED 4
#define SECONDS 600

static int begun;

/* begin forks, and is 0 where the test is to run. */
static pid_t begin(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	setpgid(0, 0);
	alarm(SECONDS);
	return 0;
}

/* end says how the test ended, with the processes that it leaves behind. */
static void end(pid_t pid, const char *name, const char *variant)
{
	int status = -1;
	int skipped, failed;

	waitpid(pid, &status, 0);
	kill(-pid, SIGKILL);
	skipped = WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
	failed = status && !skipped;
	printf("%s %d %s.%s%s\n", failed ? "not ok" : "ok", ++begun, name, variant, skipped ? " # SKIP" : "");
}

#define TEST(name, ...) do {				\
	pid_t pid = begin();				\
	if (!pid) {					\
		test_##name(__VA_ARGS__);		\
		exit(skips ? SKIPPED : 0);		\
	}						\
	end(pid, #name, variant);			\
} while (0)

/*
 * The list of run_all_tests() without test_map_parallel() and test_map_stress(): they have a
 * hundred processes do what the others do, which takes an emulator most of an hour.
 */
static void all_tests(const char *variant)
{
	TEST(hashmap, 0, NULL);
	TEST(hashmap_percpu, 0, NULL);
	TEST(hashmap_walk, 0, NULL);
	TEST(hashmap_zero_seed);
	TEST(arraymap, 0, NULL);
	TEST(arraymap_percpu, 0, NULL);
	TEST(arraymap_percpu_many_keys);
	TEST(devmap, 0, NULL);
	TEST(devmap_hash, 0, NULL);
	TEST(sockmap, 0, NULL);
	TEST(map_large);
	TEST(map_rdonly);
	TEST(map_wronly);
	TEST(reuseport_array);
	TEST(queuemap, 0, NULL);
	TEST(stackmap, 0, NULL);
	TEST(map_in_map);
}

int main(void)
{
	const char *variant = "alone";

	setvbuf(stdout, NULL, _IOLBF, 0);
	dup2(STDOUT_FILENO, STDERR_FILENO);
	srand(time(NULL));
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	all_tests("prealloc");
	map_opts.map_flags = BPF_F_NO_PREALLOC;
	all_tests("no_prealloc");
#define DEFINE_TEST(name) TEST(name);
#include <map_tests/tests.h>
	return 0;
}
