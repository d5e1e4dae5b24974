// SPDX-License-Identifier: Apache-2.0
#include "attacker.h"

#include <stdarg.h>

const char *outcome(long result)
{
	return result == -1 ? strerrorname_np(errno) : "ok";
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vdprintf(1, format, args);
	va_end(args);
}

const char *attempt(void)
{
	return outcome(syscall(SYS_getppid));
}

long must(const char *what, long result)
{
	if (result == -1) {
		say("attacker: %s: %s\n", what, strerrorname_np(errno));
		_exit(3);
	}
	return result;
}

const char *status_line(pid_t pid, const char *label, char *buf, size_t size)
{
	char path[64];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	must(path, f ? 0 : -1);
	n = strlen(label);
	while (fgets(buf, size, f)) {
		if (strncmp(buf, label, n) == 0) {
			fclose(f);
			buf[strcspn(buf, "\n")] = 0;
			return buf + n + strspn(buf + n, "\t ");
		}
	}
	fclose(f);
	return "";
}

pid_t parent(void)
{
	char buf[256];

	return atoi(status_line(getpid(), "PPid:", buf, sizeof(buf)));
}

int reap(pid_t pid)
{
	int status;

	must("waitpid", waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void await_call(pid_t pid, long nr)
{
	char path[64], buf[64], want[16];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	snprintf(want, sizeof(want), "%ld ", nr);
	for (;;) {
		ssize_t n;

		fd = must(path, open(path, O_RDONLY));
		n = read(fd, buf, sizeof(buf) - 1);
		close(fd);
		buf[n > 0 ? n : 0] = 0;
		if (strncmp(buf, want, strlen(want)) == 0)
			return;
		sched_yield();
	}
}

long install(unsigned int flags, long nr, unsigned int action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

int main(int argc, char **argv)
{
	const struct mode *all[] = { supervisor_modes, door_modes, launch_modes,
				     forge_modes, race_modes, task_modes,
				     toctou_modes, generation_modes, plain_modes };

	for (size_t i = 0; argc > 1 && i < sizeof(all) / sizeof(*all); i++)
		for (const struct mode *m = all[i]; m->name; m++)
			if (strcmp(m->name, argv[1]) == 0)
				return m->run(argv + 2);
	say("attacker: no mode %s\n", argc > 1 ? argv[1] : "given");
	return 2;
}
