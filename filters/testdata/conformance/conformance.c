// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * The programs of the conformance suite, which both engines must run alike.
 *
 * Most of them judge getppid and let everything else through. Those that
 * report or choose judge numbers no kernel has, from NOWHERE on: let through,
 * such a call fails with ENOSYS, and the answer carries what the filter saw.
 */
#include "portcullis.h"

#define NOWHERE 600

/* How many calls of getppid succeed before the first is denied. */
const volatile __u64 limit = 3;

/* until lets a call through while fewer than limit were counted before it. */
static __always_inline __u32 until(__u64 before)
{
	return before < limit ? SECCOMP_RET_ALLOW : PORTCULLIS_ERRNO(EPERM);
}

/* answer is an errno that carries a number; 0 lets the caller see success. */
static __always_inline __u32 answer(__u64 number)
{
	return SECCOMP_RET_ERRNO | (number & 0xfff);
}

/* outcome lets a call through after a helper's 0, else fails it with its error. */
static __always_inline __u32 outcome(long error)
{
	return error ? answer(-error) : SECCOMP_RET_ALLOW;
}

#define ONLY(number)					\
	if (ctx->nr != (number))			\
		return SECCOMP_RET_ALLOW

/* ---- counting --------------------------------------------------------- */

static __u64 global;

/* One count for the whole tree. */
SEC("seccomp/global-count")
int global_count(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	return until(__sync_fetch_and_add(&global, 1));
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} array SEC(".maps");

/* The same in an array. */
SEC("seccomp/array-count")
int array_count(const struct seccomp_data *ctx)
{
	__u32 key = 2;
	__u64 *n;

	ONLY(__NR_getppid);
	n = bpf_map_lookup_elem(&array, &key);
	return n ? until(__sync_fetch_and_add(n, 1)) : answer(EINVAL);
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, __u64);
} by_process SEC(".maps");

/* One count a process id, in a hash. */
SEC("seccomp/hash-count")
int hash_count(const struct seccomp_data *ctx)
{
	__u64 zero = 0, *n;
	__u32 tgid;

	ONLY(__NR_getppid);
	tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_map_update_elem(&by_process, &tgid, &zero, BPF_NOEXIST);
	n = bpf_map_lookup_elem(&by_process, &tgid);
	return n ? until(__sync_fetch_and_add(n, 1)) : answer(ENOMEM);
}

struct locked {
	__u32 pad;
	struct bpf_spin_lock lock;
	__u64 n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct locked);
} locked SEC(".maps");

/* The same under a lock, without an atomic instruction. */
SEC("seccomp/locked-count")
int locked_count(const struct seccomp_data *ctx)
{
	struct locked *v;
	__u32 key = 0;
	__u64 before;

	ONLY(__NR_getppid);
	v = bpf_map_lookup_elem(&locked, &key);
	if (!v)
		return answer(EINVAL);
	bpf_spin_lock(&v->lock);
	before = v->n;
	v->n = before + 1;
	bpf_spin_unlock(&v->lock);
	return until(before);
}

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} recent SEC(".maps");

/* One count for the whole tree in a hash that forgets. */
SEC("seccomp/lru-count")
int lru_count(const struct seccomp_data *ctx)
{
	__u64 zero = 0, *n;
	__u32 key = 1;

	ONLY(__NR_getppid);
	bpf_map_update_elem(&recent, &key, &zero, BPF_NOEXIST);
	n = bpf_map_lookup_elem(&recent, &key);
	return n ? until(__sync_fetch_and_add(n, 1)) : answer(ENOMEM);
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} percpu SEC(".maps");

/* A count a processor: only sums are meaningful, so nothing is denied. */
SEC("seccomp/percpu-count")
int percpu_count(const struct seccomp_data *ctx)
{
	__u32 key = 0;
	__u64 *n;

	ONLY(__NR_getppid);
	n = bpf_map_lookup_elem(&percpu, &key);
	if (!n)
		return answer(EINVAL);
	*n += 1;
	return SECCOMP_RET_ALLOW;
}

/* ---- task storage ----------------------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

/* One count a process. */
SEC("seccomp/process-count")
int process_count(const struct seccomp_data *ctx)
{
	__u64 *n;

	ONLY(__NR_getppid);
	n = bpf_task_storage_get(&storage, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	return n ? until(__sync_fetch_and_add(n, 1)) : answer(ENOMEM);
}

/* One count a thread. */
SEC("seccomp/thread-count")
int thread_count(const struct seccomp_data *ctx)
{
	__u64 *n;

	ONLY(__NR_getppid);
	n = bpf_task_storage_get(&storage, NULL, NULL,
				 BPF_LOCAL_STORAGE_GET_F_CREATE | PORTCULLIS_F_THREAD);
	return n ? until(__sync_fetch_and_add(n, 1)) : answer(ENOMEM);
}

/* Both in one map: EAGAIN once the thread, EPERM once the process has used up
 * its share, which is three times that of a thread. */
SEC("seccomp/process-and-thread-count")
int process_and_thread_count(const struct seccomp_data *ctx)
{
	__u64 *process, *thread;

	ONLY(__NR_getppid);
	process = bpf_task_storage_get(&storage, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	thread = bpf_task_storage_get(&storage, NULL, NULL,
				      BPF_LOCAL_STORAGE_GET_F_CREATE | PORTCULLIS_F_THREAD);
	if (!process || !thread)
		return answer(ENOMEM);
	if (__sync_fetch_and_add(process, 1) >= 3 * limit)
		return answer(EPERM);
	if (__sync_fetch_and_add(thread, 1) >= limit)
		return answer(EAGAIN);
	return SECCOMP_RET_ALLOW;
}

static __u64 storage_step;

/* Absent: ENOENT. Created with 7: EBUSY carries it. Deleted: allowed. Deleted
 * again: ENOENT. Then from the start. */
SEC("seccomp/storage-life")
int storage_life(const struct seccomp_data *ctx)
{
	__u64 seven = 7, *n;

	ONLY(__NR_getppid);
	switch (__sync_fetch_and_add(&storage_step, 1) & 3) {
	case 0:
		n = bpf_task_storage_get(&storage, NULL, NULL, 0);
		return n ? answer(EEXIST) : answer(ENOENT);
	case 1:
		n = bpf_task_storage_get(&storage, NULL, &seven, BPF_LOCAL_STORAGE_GET_F_CREATE);
		return n && *n == 7 ? answer(EBUSY) : answer(EIO);
	default:
		return outcome(bpf_task_storage_delete(&storage, NULL));
	}
}

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, __u64);
} inherited SEC(".maps");

/* One count a process, with which a child starts. */
SEC("seccomp/inherited-count")
int inherited_count(const struct seccomp_data *ctx)
{
	__u64 *n;

	ONLY(__NR_getppid);
	n = bpf_task_storage_get(&inherited, NULL, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	return n ? until(__sync_fetch_and_add(n, 1)) : answer(ENOMEM);
}

/* ---- maps: errors ------------------------------------------------------ */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u64);
} small SEC(".maps");

static __u64 next_key;

/* A new key each time, until the map is full: E2BIG. */
SEC("seccomp/hash-full")
int hash_full(const struct seccomp_data *ctx)
{
	__u64 key;

	ONLY(__NR_getppid);
	key = __sync_fetch_and_add(&next_key, 1);
	return outcome(bpf_map_update_elem(&small, &key, &key, BPF_ANY));
}

static __u64 hash_step;

/* Replace an absent key: ENOENT. Insert: allowed. Insert again: EEXIST.
 * Replace: allowed. Read: EBUSY if it is what was stored. Delete: allowed.
 * Delete again: ENOENT. Look up: ESRCH as it is absent. */
SEC("seccomp/hash-life")
int hash_life(const struct seccomp_data *ctx)
{
	__u64 key = 77, value, *found;

	ONLY(__NR_getppid);
	value = __sync_fetch_and_add(&hash_step, 1) & 7;
	switch (value) {
	case 0:
		return outcome(bpf_map_update_elem(&small, &key, &value, BPF_EXIST));
	case 1:
	case 2:
		return outcome(bpf_map_update_elem(&small, &key, &value, BPF_NOEXIST));
	case 3:
		return outcome(bpf_map_update_elem(&small, &key, &value, BPF_EXIST));
	case 4:
		found = bpf_map_lookup_elem(&small, &key);
		return found && *found == 3 ? answer(EBUSY) : answer(EIO);
	case 5:
	case 6:
		return outcome(bpf_map_delete_elem(&small, &key));
	default:
		found = bpf_map_lookup_elem(&small, &key);
		return found ? answer(EEXIST) : answer(ESRCH);
	}
}

/* What an array refuses: NOWHERE a new element, +1 a deletion, +2 an index
 * behind the end (E2BIG), +3 its lookup (ESRCH). */
SEC("seccomp/array-errors")
int array_errors(const struct seccomp_data *ctx)
{
	__u32 inside = 1, outside = 4;
	__u64 value = 1;

	switch (ctx->nr) {
	case NOWHERE:
		return outcome(bpf_map_update_elem(&array, &inside, &value, BPF_NOEXIST));
	case NOWHERE + 1:
		return outcome(bpf_map_delete_elem(&array, &inside));
	case NOWHERE + 2:
		return outcome(bpf_map_update_elem(&array, &outside, &value, BPF_ANY));
	case NOWHERE + 3:
		return bpf_map_lookup_elem(&array, &outside) ? answer(EIO) : answer(ESRCH);
	}
	return SECCOMP_RET_ALLOW;
}

/* ---- verdicts ---------------------------------------------------------- */

/* Every action, from NOWHERE on, known without state. */
SEC("seccomp/static-verdicts")
int static_verdicts(const struct seccomp_data *ctx)
{
	switch (ctx->nr) {
	case NOWHERE:
		return PORTCULLIS_ERRNO(EPERM);
	case NOWHERE + 1:
		return SECCOMP_RET_KILL_PROCESS;
	case NOWHERE + 2:
		return SECCOMP_RET_LOG;
	case NOWHERE + 3:
		return SECCOMP_RET_ALLOW;
	case NOWHERE + 4:
		return PORTCULLIS_ERRNO(0);
	case NOWHERE + 5:
		return PORTCULLIS_ERRNO(5000); /* delivered as 4095 */
	case NOWHERE + 6:
		return 0x12340000; /* no action: kills the process */
	case NOWHERE + 7:
		return SECCOMP_RET_USER_NOTIF; /* no listener: ENOSYS */
	case NOWHERE + 8:
		return SECCOMP_RET_TRAP | 9;
	case NOWHERE + 9:
		return SECCOMP_RET_KILL_THREAD;
	case NOWHERE + 10:
		return SECCOMP_RET_TRACE; /* no tracer: ENOSYS */
	}
	return SECCOMP_RET_ALLOW;
}

static __u64 decisions;

/* The same actions where each decision is counted first, without those that
 * only the kernel itself can carry out. */
SEC("seccomp/dynamic-verdicts")
int dynamic_verdicts(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (nr < NOWHERE || nr > NOWHERE + 7)
		return SECCOMP_RET_ALLOW;
	__sync_fetch_and_add(&decisions, 1);
	switch (nr) {
	case NOWHERE:
		return PORTCULLIS_ERRNO(EPERM);
	case NOWHERE + 1:
		return SECCOMP_RET_KILL_PROCESS;
	case NOWHERE + 2:
		return SECCOMP_RET_LOG;
	case NOWHERE + 3:
		return SECCOMP_RET_ALLOW;
	case NOWHERE + 4:
		return PORTCULLIS_ERRNO(0);
	case NOWHERE + 5:
		return PORTCULLIS_ERRNO(5000);
	case NOWHERE + 6:
		return 0x12340000;
	default:
		return SECCOMP_RET_USER_NOTIF;
	}
}

/* TRAP after a decision with state. */
SEC("seccomp/dynamic-trap")
int dynamic_trap(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	if (__sync_fetch_and_add(&decisions, 1) < limit)
		return SECCOMP_RET_ALLOW;
	return SECCOMP_RET_TRAP | 5;
}

/* KILL_PROCESS from the call on that the limit denies. */
SEC("seccomp/dynamic-kill")
int dynamic_kill(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	if (__sync_fetch_and_add(&decisions, 1) < limit)
		return SECCOMP_RET_ALLOW;
	return SECCOMP_RET_KILL_PROCESS;
}

/* ---- stacks ------------------------------------------------------------ */

static __u64 first, second;

/* Below: EPERM from the third getppid on. */
SEC("seccomp/stack-a")
int stack_a(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	return __sync_fetch_and_add(&first, 1) < 2 ? SECCOMP_RET_ALLOW : answer(EPERM);
}

/* Above: EACCES from the second on; logged before. */
SEC("seccomp/stack-b")
int stack_b(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	return __sync_fetch_and_add(&second, 1) < 1 ? SECCOMP_RET_LOG : answer(EACCES);
}

/* A static denial to put on either side of a counter. */
SEC("seccomp/deny-getppid")
int deny_getppid(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	return answer(EBUSY);
}

/* Nothing denied. */
SEC("seccomp/allow")
int allow(const struct seccomp_data *ctx __attribute__((unused)))
{
	return SECCOMP_RET_ALLOW;
}

/* A static SIGSYS for getppid. */
SEC("seccomp/trap-getppid")
int trap_getppid(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	return SECCOMP_RET_TRAP | 7;
}

/* ---- the caller ---------------------------------------------------------- */

/* Who calls, modulo 4096: NOWHERE the process, +1 the thread, +2 the user, +3
 * the group, +4 the first byte of the command's name, +5 the name's length. */
SEC("seccomp/identity")
int identity(const struct seccomp_data *ctx)
{
	char comm[16];
	int i;

	switch (ctx->nr) {
	case NOWHERE:
		return answer(bpf_get_current_pid_tgid() >> 32);
	case NOWHERE + 1:
		return answer(bpf_get_current_pid_tgid());
	case NOWHERE + 2:
		return answer(bpf_get_current_uid_gid());
	case NOWHERE + 3:
		return answer(bpf_get_current_uid_gid() >> 32);
	case NOWHERE + 4:
	case NOWHERE + 5:
		if (bpf_get_current_comm(comm, sizeof(comm)))
			return answer(EIO);
		if (ctx->nr == NOWHERE + 4)
			return answer(comm[0]);
		for (i = 0; i < 16 && comm[i]; i++)
			;
		return answer(i);
	}
	return SECCOMP_RET_ALLOW;
}

/* What the call carries, modulo 4096, each time with a decision counted:
 * NOWHERE+i argument i, +6 the architecture, +7 whether there is an
 * instruction pointer. */
SEC("seccomp/context")
int context(const struct seccomp_data *ctx)
{
	__u32 nr = ctx->nr;

	if (nr < NOWHERE || nr > NOWHERE + 7)
		return SECCOMP_RET_ALLOW;
	__sync_fetch_and_add(&decisions, 1);
	switch (nr - NOWHERE) {
	case 0:
		return answer(ctx->args[0]);
	case 1:
		return answer(ctx->args[1]);
	case 2:
		return answer(ctx->args[2]);
	case 3:
		return answer(ctx->args[3]);
	case 4:
		return answer(ctx->args[4]);
	case 5:
		return answer(ctx->args[5]);
	case 6:
		return answer(ctx->arch);
	default:
		return answer(ctx->instruction_pointer != 0);
	}
}

/* A denial that depends on an argument alone: NOWHERE with 7, or with a high
 * half of 1, fails with EACCES. */
SEC("seccomp/argument")
int argument(const struct seccomp_data *ctx)
{
	ONLY(NOWHERE);
	if (ctx->args[0] == 7 || ctx->args[0] >> 32 == 1)
		return answer(EACCES);
	return SECCOMP_RET_ALLOW;
}

static __u64 last_time;

/* The clocks: EBUSY if they advance and agree, else EIO. */
SEC("seccomp/time")
int time(const struct seccomp_data *ctx)
{
	__u64 before, now, boot;

	ONLY(__NR_getppid);
	now = bpf_ktime_get_ns();
	boot = bpf_ktime_get_boot_ns();
	before = __sync_lock_test_and_set(&last_time, now);
	return now && before <= now && boot >= now ? answer(EBUSY) : answer(EIO);
}

static __u64 window_start, window_count;

/* At most limit calls in any hour, which a test does not live to see. */
SEC("seccomp/window-count")
int window_count_of_calls(const struct seccomp_data *ctx)
{
	__u64 now, start;

	ONLY(__NR_getppid);
	now = bpf_ktime_get_ns();
	start = window_start;
	if (!start || now - start > 3600000000000ULL) {
		if (__sync_val_compare_and_swap(&window_start, start, now) == start)
			window_count = 0;
	}
	return until(__sync_fetch_and_add(&window_count, 1));
}

/* Chance: EBUSY if three draws are not all equal. */
SEC("seccomp/random")
int chance(const struct seccomp_data *ctx)
{
	__u64 a, b, c;

	ONLY(__NR_getppid);
	a = bpf_get_prandom_u32();
	b = bpf_get_prandom_u32();
	c = bpf_get_prandom_u32();
	if (a >> 32 || b >> 32 || c >> 32)
		return answer(EIO);
	return a == b && b == c ? answer(EAGAIN) : answer(EBUSY);
}

/* ---- memory --------------------------------------------------------------- */

/* What a write begins with, unpinned: EACCES for "deny". */
SEC("seccomp/peek")
int peek(const struct seccomp_data *ctx)
{
	char head[4];

	if (ctx->nr != __NR_write || ctx->args[0] != 1)
		return SECCOMP_RET_ALLOW;
	if (bpf_probe_read_user(head, sizeof(head), ctx->args[1]))
		return SECCOMP_RET_ALLOW;
	if (head[0] == 'd' && head[1] == 'e' && head[2] == 'n' && head[3] == 'y')
		return answer(EACCES);
	return SECCOMP_RET_ALLOW;
}

/* The length of the string behind the first argument, with its NUL; the error
 * where there is none. */
SEC("seccomp/length")
int length(const struct seccomp_data *ctx)
{
	char text[64];
	long n;

	ONLY(NOWHERE);
	n = bpf_probe_read_user_str(text, sizeof(text), ctx->args[0]);
	return answer(n < 0 ? -n : n);
}

/* A verdict over pinned memory: paths below /proc cannot be opened. */
SEC("seccomp/pinned")
int pinned(const struct seccomp_data *ctx)
{
	char path[8];
	long n;

	ONLY(__NR_openat);
	n = bpf_safe_read_user_str(path, sizeof(path), ctx->args[1]);
	if (n == -EFAULT)
		return SECCOMP_RET_ALLOW;
	if (path[0] == '/' && path[1] == 'p' && path[2] == 'r' && path[3] == 'o' && path[4] == 'c')
		return answer(EACCES);
	return SECCOMP_RET_ALLOW;
}

/* getppid never runs beside another getppid. */
SEC("seccomp/serial")
int serial(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	bpf_wait_syscall(__NR_getppid, __NR_getppid);
	return SECCOMP_RET_ALLOW;
}

/* ---- reports --------------------------------------------------------------- */

/* A line for the log at every getppid. */
SEC("seccomp/print")
int print(const struct seccomp_data *ctx)
{
	ONLY(__NR_getppid);
	bpf_printk("getppid %d %llx", ctx->nr, 0xfedcba9876543210ULL);
	return SECCOMP_RET_ALLOW;
}

struct report {
	__u64 pattern;
	__s32 nr;
	char text[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, struct report);
} ring SEC(".maps");

/* A record at every getppid. */
SEC("seccomp/ring")
int report(const struct seccomp_data *ctx)
{
	struct report *record;

	ONLY(__NR_getppid);
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return answer(EAGAIN);
	record->pattern = 0x1122334455667788;
	record->nr = ctx->nr;
	__builtin_memcpy(record->text, "reported", 9);
	bpf_ringbuf_submit(record, 0);
	return SECCOMP_RET_ALLOW;
}

/* ---- tail calls ------------------------------------------------------------- */

int tail_static(const struct seccomp_data *ctx);
int tail_state(const struct seccomp_data *ctx);
int tail_chain(const struct seccomp_data *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__array(values, int(const struct seccomp_data *));
} tails SEC(".maps") = { .values = { [0] = tail_static, [1] = tail_state, [3] = tail_chain } };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, int(const struct seccomp_data *));
} known_tails SEC(".maps") = { .values = { tail_static } };

static __u32 tail_count, hops;

/* Goes on in the program of index nr - 600; EACCES if there is none. */
SEC("seccomp/tail-calls")
int tail_calls(const struct seccomp_data *ctx)
{
	__u32 i = ctx->nr - 600;

	if (i >= 8)
		return SECCOMP_RET_ALLOW;
	if (i == 7) /* only the lower half of the index counts */
		bpf_tail_call(ctx, &tails, 1ULL << 32);
	hops = 0;
	bpf_tail_call(ctx, &tails, i);
	return answer(EACCES);
}

/* Is decided without being run. */
SEC("seccomp/tail-known")
int tail_known(const struct seccomp_data *ctx)
{
	if (ctx->nr == 600)
		bpf_tail_call(ctx, &known_tails, 0);
	if (ctx->nr == 602)
		bpf_tail_call(ctx, &known_tails, 1);
	return SECCOMP_RET_ALLOW;
}

SEC("seccomp/tail-static")
int tail_static(const struct seccomp_data *ctx)
{
	return answer(EPERM + 0 * ctx->nr);
}

SEC("seccomp/tail-state")
int tail_state(const struct seccomp_data *ctx)
{
	ONLY(601);
	return until(__sync_fetch_and_add(&tail_count, 1));
}

/* Calls itself as often as it can; the answer is how often it was run. */
SEC("seccomp/tail-chain")
int tail_chain(const struct seccomp_data *ctx)
{
	hops++;
	bpf_tail_call(ctx, &tails, 3);
	return answer(hops);
}

/* ---- instructions ------------------------------------------------------------ */

static __u64 word64;
static __u32 word32;

#define EXPECT(condition)			\
	if (step++, !(condition))		\
		return answer(step)

/* Every atomic instruction on both widths; the errno is the step that went
 * wrong, EBUSY (16) that none did. The words must not be shared while it runs. */
SEC("seccomp/atomics")
int atomics(const struct seccomp_data *ctx)
{
	__u32 step = 0;

	ONLY(__NR_getppid);
	__sync_lock_test_and_set(&word64, 0xffffffff);
	__sync_lock_test_and_set(&word32, 0xffffffff);
	EXPECT(__sync_fetch_and_add(&word64, 1) == 0xffffffff);
	EXPECT(__sync_fetch_and_add(&word32, 1) == 0xffffffff);
	EXPECT(word64 == 0x100000000 && word32 == 0);
	EXPECT(__sync_fetch_and_or(&word64, 0xf0) == 0x100000000);
	EXPECT(__sync_fetch_and_and(&word64, 0x3c) == 0x1000000f0);
	EXPECT(__sync_fetch_and_xor(&word64, -1ULL) == 0x30);
	EXPECT(__sync_val_compare_and_swap(&word64, 1, 2) == ~0x30ULL);
	EXPECT(__sync_val_compare_and_swap(&word64, ~0x30ULL, 2) == ~0x30ULL);
	EXPECT(__sync_lock_test_and_set(&word64, 5) == 2);
	EXPECT(__sync_val_compare_and_swap(&word32, 0, -1U) == 0);
	EXPECT(__sync_fetch_and_and(&word32, 6) == -1U);
	EXPECT(__sync_fetch_and_or(&word32, 9) == 6);
	EXPECT(__sync_fetch_and_xor(&word32, 5) == 15);
	EXPECT(__sync_lock_test_and_set(&word32, 1) == 10);
	return answer(EBUSY);
}

/* A function of its own, called twice over a loop. */
static __noinline __u32 weigh(__u64 x)
{
	__u32 n = 0;
	int i;

	for (i = 0; i < 64; i++)
		n += x >> i & 1;
	return n;
}

/* A function of another section, linked into each program that calls it. */
__noinline int twice(__u64 x)
{
	return weigh(x) + weigh(x ^ -1ULL);
}

/* Functions and loops: the answer is 64 plus the weight of the decisions. */
SEC("seccomp/functions")
int functions(const struct seccomp_data *ctx)
{
	__u64 before;

	ONLY(__NR_getppid);
	before = __sync_fetch_and_add(&decisions, 1);
	return answer(twice(before) + weigh(before));
}

static __u64 nothing;

/* Division, shifts and signs, on what no compiler can know; EBUSY if right. */
SEC("seccomp/arithmetic")
int arithmetic(const struct seccomp_data *ctx)
{
	__u64 zero, x;
	__u32 step = 0;
	__s64 minus;

	ONLY(__NR_getppid);
	zero = __sync_fetch_and_add(&nothing, 0);
	x = zero + 0x123456789abcdef0;
	minus = (__s64)(zero - 7);
	EXPECT(x / (zero + 10) == 131176846746379032ULL);
	EXPECT(x % (zero + 1000) == 320);
	EXPECT((__u32)x / ((__u32)zero + 7) == 0x9abcdef0U / 7);
	EXPECT(x << (zero + 4) == 0x23456789abcdef00);
	EXPECT(x >> (zero + 60) == 1);
	EXPECT(minus >> (zero + 1) == -4);
	EXPECT(minus < (__s64)zero && (__u64)minus > zero);
	EXPECT((__s32)minus >> ((__u32)zero + 1) == -4);
	EXPECT(__builtin_bswap32((__u32)x) == 0xf0debc9aU);
	EXPECT(__builtin_bswap64(x) == 0xf0debc9a78563412ULL);
	EXPECT((__s64)(__s8)(x & 0xff) == -16);
	return answer(EBUSY);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
