// SPDX-License-Identifier: Apache-2.0
// What the attacks share. The attacker is the filtered program of the attack
// suite: each mode attacks one promise and prints what came of it.
#ifndef ATTACKER_H
#define ATTACKER_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

// An attack; args are those after its name, ended by NULL.
struct mode {
	const char *name;
	int (*run)(char **args);
};

extern const struct mode supervisor_modes[], door_modes[], launch_modes[],
	forge_modes[], race_modes[], task_modes[], toctou_modes[],
	generation_modes[], plain_modes[];

// "ok", or the errno's name.
const char *outcome(long result);

// One line on standard output, whatever else the process does.
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

// The attacked call of most filters, as an outcome.
const char *attempt(void);

// The parent, without asking getppid: that call is counted.
pid_t parent(void);

// What became of a child: its exit code, or 128 and the signal.
int reap(pid_t pid);

// Ends the attacker with a message if an attack cannot be carried out.
long must(const char *what, long result);

// The value of a line of /proc/PID/status, in buf.
const char *status_line(pid_t pid, const char *label, char *buf, size_t size);

// Waits until pid blocks in system call nr.
void await_call(pid_t pid, long nr);

// A seccomp filter that answers action for call nr and lets others through.
long install(unsigned int flags, long nr, unsigned int action);

#endif
