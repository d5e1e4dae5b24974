// SPDX-License-Identifier: Apache-2.0
// The variants of a call, and how one is made and shown, for pinned.c.
#include "pinned.h"

// ---- variants of a call ----------------------------------------------------------------

// How a case is to be made and shown.
enum {
	NOVALUE = 1, // a result that is no error differs between runs
	ONCE = 2,    // not a second time
	PLAIN = 4,   // no variants
	EXECUTES = 8, // on success nothing comes back
};

static int variant; // how many are to be passed by
static int few; // calls are wanted: no variants
static int row; // not the first of its call, of which all variants are wanted
static char variant_name[64];

// One variant of those that there are.
static int pick(const char *format, ...)
{
	va_list list;

	if (variant-- != 0)
		return 0;
	__builtin_va_start(list, format);
	vsnprintf(variant_name, sizeof(variant_name), format, list);
	__builtin_va_end(list);
	return 1;
}

static const struct portcullis_arg *shape_of(long nr, const long *arg, int i)
{
	for (int at = portcullis_args_at[nr]; at < portcullis_args_at[nr + 1]; at++) {
		const struct portcullis_arg *a = &portcullis_args[at];
		int holds = a->arg == i;

		for (int w = 0; w < 2; w++)
			holds = holds && ((arg[a->when[w].arg] & a->when[w].mask) == a->when[w].value || !a->when[w].mask);
		if (holds)
			return a->dir == PORTCULLIS_DIR_IN ? a : NULL;
	}
	return NULL;
}

static size_t count_of(const struct portcullis_arg *a, const long *arg)
{
	return a->count_bytes == 4 ? (unsigned)arg[a->count_arg] : (size_t)arg[a->count_arg];
}

// How long an argument is as it was given.
static size_t length_of(const struct portcullis_arg *a, const long *arg)
{
	const char *p = (const char *)arg[a->arg];
	size_t n = 0;

	switch (a->shape) {
	case PORTCULLIS_SHAPE_STRING:
		return strlen(p) + 1;
	case PORTCULLIS_SHAPE_STRINGS:
		while (((const long *)p)[n++])
			;
		return 8 * n;
	case PORTCULLIS_SHAPE_READABLE:
		return 16;
	case PORTCULLIS_SHAPE_SIZED:
		return a->size + *(const unsigned *)p;
	case PORTCULLIS_SHAPE_NODES:
		return (count_of(a, arg) + 62) / 64 * 8;
	case PORTCULLIS_SHAPE_STRUCT:
	case PORTCULLIS_SHAPE_MSGHDR:
		return a->size;
	}
	return a->size + count_of(a, arg) * a->unit;
}

static long at_edge(int i, const void *from, size_t n, size_t shift)
{
	char *to = edge(i) + 2 * page - n + shift;

	memcpy(to, from, n - shift);
	return (long)to;
}

// A path of the same meaning that is n bytes long with its NUL.
static long lengthen(const char *s, size_t n)
{
	char *to = keep(n + 2, 1), *p = to;
	size_t rest = strlen(s) + 1;

	if (*s == '/') {
		*p++ = '/';
		s++;
		rest--;
	}
	while ((size_t)(p - to) + rest + 2 <= n) {
		*p++ = '.';
		*p++ = '/';
	}
	if ((size_t)(p - to) + rest < n)
		*p++ = '/';
	memcpy(p, s, rest);
	return (long)to;
}

static long letters(size_t n)
{
	char *to = keep(n + 1, 1);

	memset(to, 'a', n);
	to[n] = 0;
	return (long)to;
}

static int mutate_string(const struct portcullis_arg *a, long *arg)
{
	int i = a->arg;
	const char *s = (const char *)arg[i];
	size_t max = a->max, n = strlen(s);

	if (row)
		return 0;
	else if (pick("%d empty", i))
		arg[i] = text("");
	else if (max && pick("%d of %zu letters", i, max - 1))
		arg[i] = letters(max - 1);
	else if (max && pick("%d of %zu letters", i, max))
		arg[i] = letters(max);
	else if (max && pick("%d without an end at the edge", i))
		arg[i] = at_edge(i, (void *)letters(max), max, 0);
	else if (max && max < page && pick("%d of %zu letters", i, max - 2))
		arg[i] = letters(max - 2);
	else if (max && max < page && pick("%d of %zu letters", i, max + 1))
		arg[i] = letters(max + 1);
	else if (max == page && n && pick("%d of 4096 bytes at the edge", i))
		arg[i] = at_edge(i, (void *)lengthen(s, 4096), 4096, 0);
	else if (max == page && n && pick("%d of 4097 bytes", i))
		arg[i] = lengthen(s, 4097);
	else
		return 0;
	return 1;
}

// Above all else, so that an array that goes too far covers nothing else.
static long above(const struct portcullis_arg *a, const long *arg)
{
	size_t n = length_of(a, arg);

	return (long)memcpy(edge(5), (void *)arg[a->arg], n < page ? n : page);
}

static int mutate_count(const struct portcullis_arg *a, long *arg)
{
	int i = a->arg, c = a->count_arg;

	if (!a->count_bytes)
		return 0;
	if (pick("%d none at nowhere", i)) {
		arg[c] = 0;
		arg[i] = UNMAPPED;
	} else if (row) {
		return 0;
	} else if (pick("%d none", i)) {
		arg[c] = 0;
	} else if (pick("%d too many", i)) {
		arg[i] = above(a, arg);
		arg[c] = a->count_bytes == 4 ? 0xffffffffL : -1L;
	} else if (pick("%d none at 0", i)) {
		arg[c] = arg[i] = 0;
	} else if (pick("%d very many", i)) {
		arg[i] = above(a, arg);
		arg[c] = 0x7fffffff;
	} else if (pick("%d many", i)) {
		arg[i] = above(a, arg);
		arg[c] = 70000;
	} else if (pick("%d a thousand", i)) {
		arg[c] = 1025;
	} else if (arg[c] > 1 && pick("%d one less", i)) {
		arg[c]--;
	} else if (pick("%d one more", i)) {
		arg[c]++;
	} else if (a->count_bytes == 4 && pick("%d more in the upper half", i)) {
		arg[c] |= 0x5a5a5a5aL << 32;
	} else {
		return 0;
	}
	return 1;
}

static int mutate_place(const struct portcullis_arg *a, long *arg)
{
	int i = a->arg;
	size_t n = length_of(a, arg);
	void *p = (void *)arg[i];

	if (!n || n > 2 * page)
		return 0;
	if (pick("%d at the edge", i)) {
		arg[i] = at_edge(i, p, n, 0);
	} else if (row) {
		return 0;
	} else if (n > 1 && pick("%d over the edge", i)) {
		arg[i] = at_edge(i, p, n, 1);
	} else if (n > 1 && n < page && pick("%d across pages", i)) {
		arg[i] = (long)memcpy(edge(i) + page - n / 2, p, n);
	} else if (pick("%d of a file", i)) {
		int fd = MUST(memfd_create("memory", 0));
		memcpy(edge(i) + 100, p, n < page ? n : page);
		MUST(write(fd, edge(i), 2 * page));
		MUST(mmap(edge(i), 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
		close(fd);
		arg[i] = (long)edge(i) + 100;
	} else if (i && pick("%d behind a file", i)) {
		int fd = MUST(memfd_create("memory", 0));
		MUST(mmap(edge(i), 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
		close(fd);
		arg[i] = (long)edge(i);
		unreadable[i] = 1;
	} else {
		return 0;
	}
	return 1;
}

static int mutate_arg(const struct portcullis_arg *a, long *arg)
{
	int i = a->arg;

	if (pick("%d nowhere", i))
		arg[i] = UNMAPPED;
	else if (!row && pick("%d at 0", i))
		arg[i] = 0;
	else if (!row && pick("%d not canonical", i))
		arg[i] = 0x8000000000000000;
	else if (!arg[i])
		return 0;
	else if (a->shape == PORTCULLIS_SHAPE_STRING && mutate_string(a, arg))
		return 1;
	else
		return mutate_count(a, arg) || mutate_place(a, arg);
	return 1;
}

// Makes of the arguments those of the variant at hand; false if there are no more.
static int mutate(long nr, long *arg, int how)
{
	const struct portcullis_arg *a;
	int pointers = 0;

	if (pick("plain"))
		return 1;
	if (few || how & PLAIN)
		return 0;
	for (int i = 0; i < 6; i++)
		if ((a = shape_of(nr, arg, i))) {
			pointers++;
			if (mutate_arg(a, arg))
				return 1;
		}
	if (pointers > 1 && pick("all nowhere")) {
		for (int i = 0; i < 6; i++)
			if (shape_of(nr, arg, i))
				arg[i] = UNMAPPED;
		return 1;
	}
	return 0;
}

// ---- cases ----------------------------------------------------------------------------

static int watched = -1; // a file whose state is shown
static void (*cleanup)(void);
static void (*also)(void); // shows more

static void show_result(const struct frame *f, int how)
{
	if (f->result < 0 && f->result >= -4095)
		say("%s", strerrorname_np(-f->result));
	else if (how & NOVALUE)
		say("ok");
	else
		say("%ld", f->result);
	check_registers(f);
	show_memory();
	if (shared->handled)
		say(" handled %d code %d value %d from %d", shared->handled, shared->code, shared->value,
		    shared->from_parent);
	if (shared->wrong)
		say(" %d registers wrong in the handler", shared->wrong);
}

static void show_file(void)
{
	static char content[256 << 10];
	struct stat st;

	if (watched < 0 || fstat(watched, &st))
		return;
	say(" file at %ld of %ld ", lseek(watched, 0, SEEK_CUR), st.st_size);
	ssize_t n = pread(watched, content, sizeof(content), 0);
	show_hex(content, n > 0 ? n : 0);
}

static void one_call(long nr, const long *arg, int how)
{
	struct frame f;

	remember_memory();
	make(&f, nr, arg);
	current = NULL;
	show_result(&f, how);
}

static const char *row_name, *row_label;

// What outlives processes must not.
static void end(int status)
{
	if (cleanup)
		cleanup();
	_exit(status);
}

// Makes the variant at hand, and then the call as it was meant, and ends.
static void leave(long nr, const long *plain, int how)
{
	long arg[6];

	memcpy(arg, plain, sizeof(arg));
	if (!mutate(nr, arg, how))
		end(77);
	say("%s, %s, %s: ", row_name, row_label, variant_name);
	if (how & EXECUTES)
		end_line(); // it would be lost
	one_call(nr, arg, how);
	if (!(how & ONCE)) {
		say("; then ");
		one_call(nr, plain, how);
	}
	show_file();
	if (also)
		also();
	end_line();
	end(0);
}

static const char *only; // the one call that is wanted, or NULL
static int serial;

static void enter_place(void)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", serial);
	MUST(mkdir(name, 0777));
	MUST(chdir(name));
	umask(0);
	alarm(60); // nothing here takes that long
}

// In a child for each variant: 1. When there are no more: 0.
static int enter(const char *name, const char *label)
{
	int status;

	if (only && strcmp(only, name))
		return 0;
	row = row_name && !strcmp(row_name, name);
	row_name = name;
	row_label = label;
	for (int v = 0;; v++) {
		serial++;
		memset(shared, 0, sizeof(*shared));
		pid_t pid = MUST(fork());
		if (pid == 0) {
			variant = v;
			shared->pid = getpid();
			enter_place();
			return 1;
		}
		MUST(waitpid(pid, &status, 0));
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77) // there is no such variant
			return 0;
		if (status) {
			say("%s, %s, variant %d: ended with %x", name, label, v, status);
			end_line();
			if (WIFEXITED(status) && WEXITSTATUS(status) == 8) // it cannot be prepared
				return 0;
		}
	}
}

#define CASE_AS(how, call, label, ...)                                      \
	do {                                                                \
		if (enter(#call, label))                                    \
			leave(NR_##call, (long[6]){ __VA_ARGS__ }, how);    \
	} while (0)
#define CASE(call, label, ...) CASE_AS(0, call, label, __VA_ARGS__)
