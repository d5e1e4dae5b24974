// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets listed programs be executed only, with listed arguments where that is said.
 *
 * A program is listed by its path in allow, where a directory with a slash at its end
 * stands for every program below it; or in commands by its path and up to 4 arguments,
 * with a space in front of each. A call has to have the same arguments first, and may
 * have more. Others fail with EACCES, as do paths that are relative, empty, longer than
 * 255 bytes or have a component that begins with "..". By default the programs of the
 * system are executed, and none that somebody brings along.
 *
 *	--set exec-list.allow=/bin/sh,/opt/tools/
 *	--set exec-list.allow= --set "exec-list.commands=/usr/bin/git status,/usr/bin/git log"
 *
 * A call that has one of the arguments of deny, anywhere behind its name, fails, and
 * with such a list so does one of more than 30 arguments. That is of little use against
 * programs that read several options from one argument, as shells do of -xc: commands
 * say what may be there.
 *
 *	--set exec-list.deny=-c,-e,--exec
 *
 * Spaces in a path or an argument are no spaces of commands. Arguments there have at
 * most 63 bytes, those of deny at most 15.
 *
 * The launch of the sandboxed command is not asked about. Neither is what the kernel
 * executes by itself: the interpreter of a script, and of a dynamic program. Lists are
 * about names: links are followed, and nothing is known of what is in a file. A digest
 * would not tell either, for a filter sees memory of the call alone, and the file may
 * be another when the kernel reads it; who may write listed programs is for others to
 * say, such as the filter paths. An interpreter, a dynamic linker among them, executes
 * whatever it is given, LD_PRELOAD in the environment adds to any program, and code
 * that is mapped and not executed is not asked about at all.
 *
 * Where arguments are looked at, calls of which those take more than 64 KiB fail with
 * EFAULT. Calls of other tables than x86-64's, which reach the filter only where a
 * guard was lifted, end the process.
 */
#include "../words.h"

/* field reads an argument here: a compiler would choose between the addresses of two. */
#define field(n)							\
	({								\
		__u64 ____arg = ctx->args[n];				\
		__asm__ volatile("" : "+r"(____arg));			\
		____arg;						\
	})

#define TEXT_MAX PORTCULLIS_PATH_SIZE
#define DENIED 16
#define ARG_MAX 16
/* How many arguments a command may be told by, and how long they may be. */
#define GIVEN 4
#define GIVEN_MAX 64
/* How many arguments a call may have with a list deny, with its name. */
#define ARGS 31

/* The programs that may be executed, with any arguments; a directory has a slash at its end. */
const volatile portcullis_paths allow = { .path = { "/usr/", "/bin/", "/sbin/" } };

#define COMMANDS 16

/* Programs that may be executed with these arguments first, behind a space each. */
const volatile char commands[COMMANDS][TEXT_MAX] __attribute__((aligned(8)));

/* Arguments that no call may have. */
const volatile char deny[DENIED][ARG_MAX] __attribute__((aligned(8)));

/* IS tells whether this is such a call: see filters/paths/paths.c. */
#define IS(call) (*(const volatile __s32 *)&ctx->nr == __NR_##call)

/*
 * Memory of one call: a thread's, for a filter may be preempted, and then the next one
 * on its processor would write into the same. What is volatile may be anything when it is
 * read back, to the proof, which otherwise goes on apart for each value that it may have.
 * What loops go along is at the end: where a processor guesses that one goes on, it does
 * not for long.
 */
struct scratch {
	__u64 text[TEXT_MAX / 8 + 2]; /* the path, and arguments with spaces in front */
	volatile __u64 entry, other, front; /* where an entry and text differ */
	volatile __u64 end;
	__u64 arg[ARG_MAX / 8]; /* an argument, as far as it matters */
	volatile __u64 argv[ARGS + 1]; /* where the arguments are, and 0 */
	volatile __u8 turns[ARGS + 1];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* A byte in the place of a space that parts no arguments. */
#define OTHER 1

/* up tells whether a path has a component that begins with "..". */
static __always_inline bool up(const __u8 *path)
{
	__u64 plain = HIGH, w;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < TEXT_MAX; i += 8, PORTCULLIS_STEP(path, 8)) {
		w = *(const __u64 *)path;
		plain &= nonzero((w ^ SLASHES) | (*(const __u64 *)(path + 1) ^ (EACH * '.')) |
				 (*(const __u64 *)(path + 2) ^ (EACH * '.')));
		if (nonzero(w) != HIGH)
			break;
	}
	return plain != HIGH;
}

/* unspaced replaces the spaces of the path. */
static __always_inline void unspaced(__u64 *text)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < TEXT_MAX; i += 8, PORTCULLIS_STEP(text, 8))
		*text ^= (nonzero(*text ^ (EACH * ' ')) ^ HIGH) / 0x80 * (' ' ^ OTHER);
}

/* longest is the length of the longest command: of what is longer than that, nothing is read. */
static __always_inline __u32 longest(void)
{
	const volatile char *entry = commands[0], *c;
	__u32 most = 0, n;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < COMMANDS && *entry; i++, PORTCULLIS_STEP(entry, TEXT_MAX)) {
		c = entry;
#pragma clang loop unroll(disable)
		for (n = 0; n < TEXT_MAX && *c; n++, PORTCULLIS_STEP(c, 1))
			;
		most = n > most ? n : most;
	}
	return most;
}

/* put adds a character to the text; false if there is no room behind it. */
static __always_inline bool put(struct scratch *s, __u64 c, __u32 room)
{
	__u64 end = s->end;

	if (end >= TEXT_MAX || end >= room)
		return false;
	((__u8 *)s->text)[end] = c;
	s->end = end + 1;
	return true;
}

/*
 * append adds an argument to the text, as far as there is room: 0, or an error. It is read
 * byte by byte, for a read of more than there is fails, and then so does the call.
 */
static __always_inline long append(struct scratch *s, __u64 from, __u32 room)
{
	__u8 c = 0;
	long e;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < GIVEN_MAX; i++) {
		e = bpf_safe_read_user(&c, 1, from + i);
		if (e || !c)
			return e;
		if (!put(s, c == ' ' ? OTHER : c, room))
			return 0;
	}
	put(s, OTHER, room); /* it goes on */
	return 0;
}

/* TURN begins a turn of a loop of n at most: see struct scratch. */
#define TURNS(s, n) ((s)->turns + ARGS + 1 - (n))
#define TURN(turn) ((void)*turn)

/*
 * gather adds the first arguments to the path, as many and as much of them as a command
 * has, and one character more: 0, or an error.
 */
static __always_inline long gather(struct scratch *s, __u64 argv)
{
	volatile __u8 *turn = TURNS(s, GIVEN + 1);
	__u32 room = longest() + 1;
	__u64 from = 0, end;
	long e = 0;

	unspaced(s->text);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i <= GIVEN; i++, PORTCULLIS_STEP(turn, 1)) {
		TURN(turn);
		e = bpf_safe_read_user(&from, 8, argv + 8 * i);
		if (e || !from)
			break;
		if (!i)
			continue;
		if (!put(s, ' ', room))
			break;
		e = append(s, from, room);
		if (e)
			break;
	}
	end = s->end;
	if (end > TEXT_MAX)
		return -EFAULT;
	*(__u64 *)((__u8 *)s->text + end) = 0;
	return e;
}

/*
 * goes_on tells whether an entry ends where it and the text differ first, and the text goes
 * on there as that of an entry may: with a space, or behind a slash.
 */
static __always_inline bool goes_on(const struct scratch *s, bool spaces)
{
	__u64 entry = s->entry, text = s->other, byte = differs_first(entry, text);

	if (entry & byte)
		return false;
	if (spaces)
		return (text & byte) == (EACH * ' ' & byte);
	return ((entry << 8 | s->front) & byte) == (SLASHES & byte);
}

/* same tells whether the text is an entry's. */
static __always_inline bool same(struct scratch *s, const volatile char *entry, bool spaces)
{
	const __u64 *text = s->text;
	__u64 front = 0, e, t;

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < TEXT_MAX; i += 8, PORTCULLIS_STEP(entry, 8), PORTCULLIS_STEP(text, 8)) {
		e = *(const volatile __u64 *)entry;
		t = *text;
		s->entry = e;
		s->other = t;
		s->front = front;
		front = e >> 56;
		if (e != t || !front)
			break;
	}
	return s->entry == s->other || goes_on(s, spaces);
}

/* in tells whether the text is one of n entries of a list. */
static __always_inline bool in(struct scratch *s, const volatile char *entry, __u32 n, bool spaces)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < n && *entry; i++, PORTCULLIS_STEP(entry, TEXT_MAX)) {
		if (same(s, entry, spaces))
			return true;
	}
	return false;
}

/* begins tells whether an argument that no call may have begins with a character. */
static __always_inline bool begins(char c)
{
	const volatile char *d = deny[0];

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < DENIED && *d; i++, PORTCULLIS_STEP(d, ARG_MAX)) {
		if (*d == c)
			return true;
	}
	return false;
}

/* fetch reads what matters of an argument: 0, or an error. Zeroes follow it. */
static __always_inline long fetch(struct scratch *s, __u64 from)
{
	__u8 *to = (__u8 *)s->arg, c = 0;
	long e;

	s->arg[0] = s->arg[1] = 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < ARG_MAX; i++, PORTCULLIS_STEP(to, 1)) {
		e = bpf_safe_read_user(&c, 1, from + i);
		*to = c;
		if (e || !c || (!i && !begins(c)))
			return e;
	}
	return 0;
}

/* denied tells whether an argument is one that no call may have. */
static __always_inline bool denied(const struct scratch *s)
{
	const volatile char *d = deny[0];

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < DENIED && *d; i++, PORTCULLIS_STEP(d, ARG_MAX)) {
		if (*(const volatile __u64 *)d == s->arg[0] && *(const volatile __u64 *)(d + 8) == s->arg[1])
			return true;
	}
	return false;
}

/* few finds out where the arguments are: 0, or an error if they are too many. */
static __always_inline long few(struct scratch *s, __u64 argv)
{
	volatile __u64 *to = s->argv;
	__u64 from = 0;

	s->argv[1] = 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i <= ARGS; i++, PORTCULLIS_STEP(to, 8)) {
		if (bpf_safe_read_user(&from, 8, argv + 8 * i))
			return -EFAULT;
		*to = from;
		if (!from)
			return 0;
	}
	return -E2BIG;
}

/*
 * arguments is the verdict on the arguments of a program that may be executed. They are
 * counted before one is looked at, since each look takes the longer the more there are.
 */
static __always_inline long arguments(struct scratch *s, __u64 argv)
{
	volatile __u8 *turn = TURNS(s, ARGS);
	volatile __u64 *at = s->argv + 1;
	__u64 from;
	long e;

	if (!deny[0][0])
		return SECCOMP_RET_ALLOW;
	e = few(s, argv);
	if (e == -E2BIG)
		PORTCULLIS_DENY(E2BIG); /* too many arguments to be looked at */
	if (e)
		PORTCULLIS_DENY(EFAULT);
#pragma clang loop unroll(disable)
	for (__u32 i = 1; i <= ARGS; i++, PORTCULLIS_STEP(turn, 1), PORTCULLIS_STEP(at, 8)) {
		TURN(turn);
		from = *at;
		if (!from)
			return SECCOMP_RET_ALLOW;
		if (fetch(s, from))
			PORTCULLIS_DENY(EFAULT);
		if (denied(s))
			PORTCULLIS_DENY(EACCES); /* an argument that is denied */
	}
	PORTCULLIS_DENY(EFAULT); /* not counted: cannot be */
}

/* judge is the verdict on executing a program. */
static __noinline long judge(__u64 path, __u64 argv)
{
	struct scratch *s = bpf_task_storage_get(&scratch, NULL, NULL,
						 BPF_LOCAL_STORAGE_GET_F_CREATE | PORTCULLIS_F_THREAD);
	__u64 last;
	bool may;

	if (!s)
		PORTCULLIS_DENY(ENOMEM);
	last = bpf_safe_read_user_str(s->text, TEXT_MAX, path) - 1;
	if (last == -EFAULT - 1ULL)
		PORTCULLIS_DENY(EFAULT);
	if (last >= TEXT_MAX)
		PORTCULLIS_DENY(EACCES); /* too long to be listed */
	*(__u64 *)((__u8 *)s->text + last) = 0; /* for words are compared */
	s->end = last;
	if (up((__u8 *)s->text))
		PORTCULLIS_DENY(EACCES); /* ".." */
	may = in(s, allow.path[0], PORTCULLIS_PATHS, false);
	if (!may && commands[0][0]) {
		if (gather(s, argv))
			PORTCULLIS_DENY(EFAULT);
		may = in(s, commands[0], COMMANDS, true);
	}
	if (!may)
		PORTCULLIS_DENY(EACCES); /* not listed */
	return arguments(s, argv);
}

SEC("seccomp/exec-list")
int exec_list(const struct seccomp_data *ctx)
{
	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	if (IS(execve))
		return judge(field(0), field(1));
	if (IS(execveat))
		return judge(field(1), field(2));
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
