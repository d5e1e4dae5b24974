// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Lets files be read, changed and executed only below listed paths.
 *
 * A call that names a file needs a path of the list read, write or exec in front of
 * that name, by what it does: opening for reading or writing; creating, removing,
 * renaming a file or giving it other attributes, which are writes; executing it.
 * Otherwise it fails with EACCES, or the error that is set. By default everything is
 * read and executed, and of what is written only a few devices:
 *
 *	--set paths.write=/tmp,/srv/me/project --set paths.relative=true
 *	--set paths.read=/usr,/lib,/lib64,/etc,/proc,/dev --set paths.exec=/usr/bin
 *	--set paths.write=+/tmp
 *
 * An entry is a file, or a directory with all that is below; with a slash at its end it
 * is only what is below. A name that leads to an entry, such as /srv to /srv/me, may be
 * looked at by stat and readlink, which otherwise need what read has. A list that has /
 * restricts nothing, and costs nothing: calls that need it alone are decided without a
 * look at memory. Names of others are copied first, and what was judged is what the call
 * is made with.
 *
 * A filter sees names, and does not look them up. So:
 *
 * - ".." is refused where it matters, for what is in front of it may be a link to
 *   elsewhere, or be renamed while the kernel is in it. dotdot=true takes it back with
 *   the name in front of it; compilers need that below restricted directories. It keeps
 *   them from accidents, and keeps nobody from evil who may make links or rename
 *   directories. openat2 with RESOLVE_BENEATH or RESOLVE_IN_ROOT always may.
 * - A name relative to a directory is below it. It may be read, since directories were
 *   opened or entered by names that may be read; start a command where it may read. It
 *   is not written or executed: what the directory's descriptor stands for is unknown.
 *   With relative=true names relative to the working directory are written, and then no
 *   call leads it out of write; start the command there. With descriptors=true all that
 *   is done through a descriptor is let through, also below a directory's. Many
 *   programs need it to copy or remove trees: it keeps them from accidents, and keeps
 *   nobody from evil who can open a directory for reading. Without it, what changes a
 *   file by a descriptor that may have been opened for reading (fchmod, fchown,
 *   futimens, fsetxattr) is refused as well.
 * - Symbolic links that are there are followed, also when they have been moved: lists are
 *   about names. New ones lead to where at least as much is granted as at their own place,
 *   or, relative, to something in their directory, of which the same holds; unless
 *   symlinks=true. Neither renaming nor linking gives a file a name that grants more than
 *   its old one, or more than names beside the new one have, for it may be a relative link:
 *   nothing is renamed or linked to the very name of an entry. What may be read is not
 *   renamed to where it may not: a directory that is open goes on being read.
 * - Links in /proc to what processes have open (root, cwd, exe, fd, map_files), and
 *   those in /dev to such, are not in an entry in front of them: an entry has to name
 *   them, but to readlink them. With an entry /proc or /dev, relative names that begin
 *   like these are refused too, for they cannot be told from those. An instance of proc
 *   that is mounted elsewhere has no such protection.
 * - Device nodes are not made where write restricts: who makes one below a directory of
 *   its own reads and writes a whole disk by it.
 * - What gives names another meaning is refused with EPERM: chroot, mounts, setns into
 *   another mount namespace, handles. So are calls newer than this filter, with ENOSYS.
 *
 * Paths longer than 2047 bytes are refused, and those longer than 253 bytes that have
 * empty components, "." or "..". A list takes 32 entries.
 *
 * Not asked about: the interpreter of a script and of a dynamic program, which the
 * kernel opens, and code that a program maps from what it may read; names of Unix
 * sockets; descriptors that were inherited or received; ioctls of file systems that
 * take names; io_uring, where its guard was lifted. Calls of other tables than
 * x86-64's, which reach the filter only where a guard was lifted, end the process.
 */
#include "portcullis.h"

/* What a call does with the name it gives. */
#define READ 1u   /* looks at what is in a file or a directory */
#define WRITE 2u  /* changes a file, or a directory's entries */
#define EXEC 4u   /* executes */
#define LOOK 8u   /* looks at what a name is */
#define STAY 16u  /* does not follow it where it is a link */

#define ANY (READ | WRITE | EXEC)
#define ALL (ANY | LOOK)

/* Granted of where a symbolic link leads: what its own directory grants. */
#define BESIDE 32u

/* Below these paths files may be read; / is everywhere. */
const volatile portcullis_paths read = { .path = { "/" } };

/* Below these paths files may be written, created, removed, renamed and given other attributes. */
const volatile portcullis_paths write = { .path = { "/dev/null", "/dev/zero", "/dev/full", "/dev/tty" } };

/* Below these paths programs may be executed. */
const volatile portcullis_paths exec = { .path = { "/" } };

/* Whether names relative to the working directory may change files; then it must be below write. */
const volatile bool relative = false;

/* Whether what is done through a descriptor is let through, names below a directory's among it. */
const volatile bool descriptors = false;

/* Whether ".." in a path takes back the name before it, though that may be a symbolic link. */
const volatile bool dotdot = false;

/* Whether symbolic links may be made that lead to where less is allowed than at their own place. */
const volatile bool symlinks = false;

/* The error of calls that need a path of a list: 13 is EACCES, 2 ENOENT, 30 EROFS. */
const volatile __u16 error = EACCES;

/* PORTCULLIS_DENY for an error that the compiler does not know, with an instruction for
 * messages to name the line of. */
#define DENY_WITH(e)						\
	do {							\
		__s64 ____verdict = PORTCULLIS_ERRNO(e);	\
		__asm__ volatile("%0 = %0" : "+r"(____verdict)); \
		return ____verdict;				\
	} while (0)

#define PATH_MAX 4096
#define SCAN_MAX 2048 /* how long a path may be */
#define CLEAN_MAX 256 /* and one that has to be spelled more plainly */

/*
 * What is asked of one path. What is volatile may be anything when it is read back, to
 * the proof, which otherwise goes on apart for each value that it may have.
 */
struct asked {
	volatile __u32 need;    /* what has to be granted */
	volatile __u32 resolve; /* how of openat2: RESOLVE_* */
	volatile __s32 dirfd;   /* the directory that a relative path is below */
	volatile __u32 len;     /* of the path, with its NUL */
	volatile __u32 odd;     /* whether it can be spelled more plainly */
	volatile __u32 at;      /* where in struct scratch its plain spelling is */
	volatile __u32 magic;   /* where a link to a process's files begins */
	volatile __u32 lists;   /* which of them matter */
	volatile __u32 granted; /* what the lists say of the path */
	volatile __u32 around;  /* what they say of all that is in its directory */
	volatile __u32 below;   /* what they say of something below it, if not of the path */
};

/*
 * The words in which an entry of a list and a path differ first, the byte in front of them,
 * and where they are.
 */
struct difference {
	volatile __u64 entry, path, front;
	volatile __u32 at;
};

/*
 * Memory of one call: a thread's, for a filter may be preempted, and then the next
 * one on its processor would write into the same.
 */
struct scratch {
	__u64 path[2][PATH_MAX / 8 + 1];
	__u8 clean[CLEAN_MAX + 32];
	__u16 parent[CLEAN_MAX + 32];
	struct asked of[2];
	struct difference differs;
	__u32 kind;
	volatile __u32 lists; /* what is restricted */
	volatile __u64 slash, end, tail, above, dotdot, relative; /* of clean */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* How two paths of one call belong together. */
enum { ONE, LINK, RENAME, EXCHANGE, SYMLINK };

long first(const struct seccomp_data *ctx);
long second(const struct seccomp_data *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, long(const struct seccomp_data *));
} parts SEC(".maps") = { .values = { [0] = first, [1] = second } };

#define AT_FDCWD (-100)

/* <asm-generic/fcntl.h> and <linux/openat2.h>. */
#define O_ACCMODE 03
#define O_WRONLY 01
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_PATH 010000000
#define O_TMPFILE_BIT 020000000
#define RESOLVE_BENEATH 0x08
#define RESOLVE_IN_ROOT 0x10

struct open_how {
	__u64 flags, mode, resolve;
};

/*
 * IS tells whether this is such a call. The number is read each time, for else a compiler
 * makes one test of many, by arithmetic in which the splitter does not see calls any more.
 */
#define IS(call) (*(const volatile __s32 *)&ctx->nr == __NR_##call)

/* everywhere tells whether a list holds the root. */
static __always_inline bool everywhere(const volatile portcullis_paths *list)
{
	const volatile char *entry = list->path[0];
	__u16 begins;

	for (__u32 i = 0; i < PORTCULLIS_PATHS; i++, PORTCULLIS_STEP(entry, PORTCULLIS_PATH_SIZE)) {
		begins = *(const volatile __u16 *)entry;
		if (begins == '/')
			return true;
		if (!begins)
			return false;
	}
	return false;
}

/* restricted is what the lists restrict: what they do not is not asked about. */
static __always_inline __u32 restricted(void)
{
	return (everywhere(&read) ? 0 : READ | LOOK | STAY) | (everywhere(&write) ? 0 : WRITE) | (everywhere(&exec) ? 0 : EXEC);
}

/* opens is what a call with these flags does. O_PATH outdoes all others. */
static __always_inline __u32 opens(__u64 flags)
{
	if (flags & O_PATH)
		return READ;
	if (flags & (O_CREAT | O_TRUNC | O_TMPFILE_BIT))
		return (flags & O_ACCMODE) == O_WRONLY ? WRITE : READ | WRITE;
	if (!(flags & O_ACCMODE))
		return READ;
	return (flags & O_ACCMODE) == O_WRONLY ? WRITE : READ | WRITE;
}

static __always_inline struct scratch *memory(__u64 flags)
{
	return bpf_task_storage_get(&scratch, NULL, NULL, flags | PORTCULLIS_F_THREAD);
}

/* take copies a path: 0, or a verdict if there is none to be copied. */
static __always_inline long take(struct scratch *s, __u32 i, __u32 need, __u64 dirfd, __u64 resolve, __u64 path)
{
	long n = bpf_safe_read_user_str(s->path[i], PATH_MAX, path);
	__u64 last = n - 1;

	s->of[i].need = need;
	s->of[i].dirfd = dirfd;
	s->of[i].resolve = resolve;
	s->of[i].len = n;
	if (last < PATH_MAX) {
		*(__u64 *)((__u8 *)s->path[i] + last) = 0; /* for words are compared */
		return 0;
	}
	if (n == -E2BIG)
		PORTCULLIS_DENY(ENAMETOOLONG);
	PORTCULLIS_DENY(EFAULT); /* as the kernel would */
}

/* judge goes on in the other programs: they are the same whatever the call. */
static __always_inline long judge(const struct seccomp_data *ctx)
{
	bpf_tail_call(ctx, &parts, 0);
	PORTCULLIS_DENY(EACCES);
}

/* one asks about a call with one path, which needs something that is restricted. */
static __always_inline long one(const struct seccomp_data *ctx, __u32 lists, __u32 need, __u64 dirfd, __u64 resolve, __u64 path)
{
	struct scratch *s;
	long e;

	need &= lists;
	if (!need)
		return SECCOMP_RET_ALLOW;
	s = memory(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!s)
		PORTCULLIS_DENY(ENOMEM);
	s->kind = ONE;
	s->lists = lists;
	e = take(s, 0, need, dirfd, resolve, path);
	return e ? e : judge(ctx);
}

/* two asks about a call with two paths, of which the second is changed. */
static __always_inline long two(const struct seccomp_data *ctx, __u32 lists, __u32 kind, __u64 dirfd, __u64 path,
			       __u64 dirfd2, __u64 path2)
{
	struct scratch *s;
	long e;

	if (!(lists & (kind == SYMLINK ? ANY : READ | WRITE)))
		return SECCOMP_RET_ALLOW;
	s = memory(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!s)
		PORTCULLIS_DENY(ENOMEM);
	s->kind = kind;
	s->lists = lists;
	e = take(s, 0, kind == RENAME || kind == EXCHANGE ? lists & WRITE : 0, dirfd, 0, path);
	if (!e)
		e = take(s, 1, lists & WRITE, dirfd2, 0, path2);
	return e ? e : judge(ctx);
}

/* through asks about what is done by a descriptor alone. */
static __always_inline long through(__u32 need)
{
	if (descriptors || !need)
		return SECCOMP_RET_ALLOW;
	PORTCULLIS_DENY(EACCES); /* by descriptor */
}

static __always_inline long open_how(const struct seccomp_data *ctx, __u32 lists)
{
	struct open_how how = {};

	if (!(lists & (READ | WRITE)))
		return SECCOMP_RET_ALLOW;
	if (ctx->args[3] < sizeof(how))
		PORTCULLIS_DENY(EINVAL);
	if (bpf_safe_read_user(&how, sizeof(how), ctx->args[2]))
		PORTCULLIS_DENY(EFAULT);
	return one(ctx, lists, opens(how.flags), ctx->args[0], how.resolve, ctx->args[1]);
}

#define RENAME_EXCHANGE 2

static __always_inline long paired(const struct seccomp_data *ctx, __u32 lists)
{
	const __u64 *args = ctx->args;

	if (IS(rename))
		return two(ctx, lists, RENAME, AT_FDCWD, args[0], AT_FDCWD, args[1]);
	if (IS(renameat))
		return two(ctx, lists, RENAME, args[0], args[1], args[2], args[3]);
	if (IS(renameat2))
		return two(ctx, lists, args[4] & RENAME_EXCHANGE ? EXCHANGE : RENAME, args[0], args[1], args[2], args[3]);
	if (IS(link))
		return two(ctx, lists, LINK, AT_FDCWD, args[0], AT_FDCWD, args[1]);
	if (IS(linkat))
		return two(ctx, lists, LINK, args[0], args[1], args[2], args[3]);
	if (IS(symlink))
		return two(ctx, lists, SYMLINK, AT_FDCWD, args[0], AT_FDCWD, args[1]);
	return two(ctx, lists, SYMLINK, AT_FDCWD, args[0], args[1], args[2]);
}

/* Commands of ioctl that change a file's attributes through any descriptor. */
#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC32_SETFLAGS 0x40046602
#define FS_IOC_FSSETXATTR 0x401c5820
#define FS_IOC_ENABLE_VERITY 0x40806685
#define BPF_OBJ_PIN 6
#define BPF_OBJ_GET 7
#define CLONE_NEWNS 0x20000

/* sideways asks about calls that reach files without a name that this could see. */
static __always_inline long sideways(const struct seccomp_data *ctx, __u32 lists)
{
	__u32 arg0 = ctx->args[0], arg1 = ctx->args[1];

	if (IS(ioctl)) {
		if (arg1 == FS_IOC_SETFLAGS || arg1 == FS_IOC32_SETFLAGS || arg1 == FS_IOC_FSSETXATTR ||
		    arg1 == FS_IOC_ENABLE_VERITY)
			return through(lists & WRITE);
		return SECCOMP_RET_ALLOW;
	}
	if (IS(fchmod) || IS(fchown) || IS(fsetxattr) || IS(fremovexattr) || (relative && IS(fchdir)))
		return through(lists & WRITE);
	if (IS(chroot) || IS(pivot_root) || IS(mount) || IS(umount2) || IS(open_tree) || IS(open_tree_attr) ||
	    IS(move_mount) || IS(mount_setattr) || IS(fsopen) || IS(fsconfig) || IS(fsmount) || IS(fspick) ||
	    IS(swapon) || IS(swapoff) || IS(acct) || IS(uselib) || IS(quotactl) || IS(quotactl_fd) ||
	    IS(open_by_handle_at))
		PORTCULLIS_DENY(EPERM); /* changes what names mean */
	if (IS(setns) && (!arg1 || arg1 & CLONE_NEWNS))
		PORTCULLIS_DENY(EPERM); /* another place's names */
	if (IS(bpf) && (arg0 == BPF_OBJ_PIN || arg0 == BPF_OBJ_GET))
		PORTCULLIS_DENY(EPERM); /* a path that cannot be pinned */
	return SECCOMP_RET_ALLOW;
}

/* unknown is the verdict on calls of other tables, and on what is newer than this. */
static __always_inline long unknown(const struct seccomp_data *ctx)
{
	if (ctx->nr == -1)
		return SECCOMP_RET_ALLOW;
	if (!portcullis_native(ctx))
		return SECCOMP_RET_KILL_PROCESS;
	PORTCULLIS_DENY(ENOSYS); /* may take a path */
}

/* opening asks about the calls that say what they open a file for. */
static __always_inline long opening(const struct seccomp_data *ctx, __u32 lists)
{
	const __u64 *args = ctx->args;

	if (IS(openat))
		return one(ctx, lists, opens(args[2]), args[0], 0, args[1]);
	if (IS(open))
		return one(ctx, lists, opens(args[1]), AT_FDCWD, 0, args[0]);
	return open_how(ctx, lists);
}

#define S_IFMT 0170000
#define S_IFBLK 0060000
#define S_IFCHR 0020000

/* of_device tells modes of device nodes. */
static __always_inline bool of_device(__u64 mode)
{
	return (mode & S_IFMT) == S_IFBLK || (mode & S_IFMT) == S_IFCHR;
}

SEC("seccomp/paths")
long paths(const struct seccomp_data *ctx)
{
	const __u64 *args = ctx->args;
	__u32 lists = restricted();

	if (ctx->arch != AUDIT_ARCH_X86_64 || (__u32)ctx->nr > PORTCULLIS_NEWEST)
		return unknown(ctx);
	if (IS(openat) || IS(open) || IS(openat2))
		return opening(ctx, lists);
	if (IS(newfstatat) || IS(statx) || IS(faccessat) || IS(faccessat2) || IS(name_to_handle_at) || IS(file_getattr))
		return one(ctx, lists, LOOK, args[0], 0, args[1]);
	if (IS(stat) || IS(access) || IS(statfs))
		return one(ctx, lists, LOOK, AT_FDCWD, 0, args[0]);
	if (IS(readlinkat))
		return one(ctx, lists, LOOK | STAY, args[0], 0, args[1]);
	if (IS(readlink) || IS(lstat))
		return one(ctx, lists, LOOK | STAY, AT_FDCWD, 0, args[0]);
	if (IS(getxattr) || IS(lgetxattr) || IS(listxattr) || IS(llistxattr))
		return one(ctx, lists, READ, AT_FDCWD, 0, args[0]);
	if (IS(getxattrat) || IS(listxattrat))
		return one(ctx, lists, READ, args[0], 0, args[1]);
	if (IS(inotify_add_watch))
		return one(ctx, lists, READ, AT_FDCWD, 0, args[1]);
	if (IS(fanotify_mark))
		return one(ctx, lists, READ, args[3], 0, args[4]);
	if (IS(chdir))
		return one(ctx, lists, relative ? READ | WRITE : READ, AT_FDCWD, 0, args[0]);
	if ((lists & WRITE) && ((IS(mknod) && of_device(args[1])) || (IS(mknodat) && of_device(args[2]))))
		PORTCULLIS_DENY(EACCES); /* a device */
	if (IS(creat) || IS(rmdir) || IS(unlink) || IS(mkdir) || IS(mknod) || IS(truncate) || IS(chmod) || IS(chown) ||
	    IS(lchown) || IS(utime) || IS(utimes) || IS(setxattr) || IS(lsetxattr) || IS(removexattr) || IS(lremovexattr))
		return one(ctx, lists, WRITE, AT_FDCWD, 0, args[0]);
	if (IS(unlinkat) || IS(mkdirat) || IS(mknodat) || IS(fchmodat) || IS(fchmodat2) || IS(fchownat) ||
	    IS(setxattrat) || IS(removexattrat) || IS(file_setattr))
		return one(ctx, lists, WRITE, args[0], 0, args[1]);
	if (IS(utimensat) || IS(futimesat))
		return args[1] ? one(ctx, lists, WRITE, args[0], 0, args[1]) : through(lists & WRITE);
	if (IS(rename) || IS(renameat) || IS(renameat2) || IS(link) || IS(linkat) || IS(symlink) || IS(symlinkat))
		return paired(ctx, lists);
	if (IS(execve))
		return one(ctx, lists, EXEC, AT_FDCWD, 0, args[0]);
	if (IS(execveat))
		return one(ctx, lists, EXEC, args[0], 0, args[1]);
	return sideways(ctx, lists);
}

#include "spelling.h"
#include "entry.h"

/* elsewhere tells of most entries at once that they have nothing to do with a path. */
static __always_inline bool elsewhere(__u64 entry, __u64 path)
{
	return (path & 0xff00) && ((entry ^ path) & 0xff00);
}

/* look adds what a list grants. */
static __noinline void look(struct difference *d, struct asked *a, const volatile portcullis_paths *list, __u32 grants,
			    const __u64 *path)
{
	const volatile char *entry = list->path[0];
	__u64 begins;
	__u32 how;

	if (!(a->lists & grants))
		return;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < PORTCULLIS_PATHS; i++, PORTCULLIS_STEP(entry, PORTCULLIS_PATH_SIZE)) {
		begins = *(const volatile __u64 *)entry;
		if (!begins)
			return;
		if (elsewhere(begins, *(const volatile __u64 *)path))
			continue;
		how = compare(d, entry, path, a->magic);
		if (how == EXACT)
			a->granted |= grants | LOOK;
		if (how == ABOVE) {
			a->granted |= grants | LOOK;
			a->around |= grants;
		}
		if (how == BELOW) {
			a->granted |= LOOK;
			a->below |= grants;
		}
	}
}

/* inside is what is granted of names below a directory that a task has open. */
static __always_inline __u32 inside(const struct asked *a)
{
	if (a->dirfd == AT_FDCWD)
		return relative ? READ | LOOK | WRITE : READ | LOOK;
	return descriptors ? READ | LOOK | WRITE | EXEC : READ | LOOK;
}

/* by_number tells whether a path names a descriptor, /proc/self/fd/N, or one below it. */
static __always_inline bool by_number(const __u64 *path)
{
	return path[0] == 0x65732f636f72702fULL && (path[1] & 0xffffffffffffULL) == 0x2f64662f666cULL;
}

/* in_links tells whether a directory that is open may be one of those. */
static __always_inline bool in_links(void)
{
	return holds_links(&read) || holds_links(&write) || holds_links(&exec);
}

/* slashed tells whether path i begins with a slash: read again each time, as above. */
static __always_inline bool slashed(const struct scratch *s, __u32 i)
{
	return *(const volatile __u8 *)s->path[i] == '/';
}

/*
 * PLACED sets p to where a path is, with room behind it, or returns. To the proof it may be
 * at the very end: so where a processor guesses that a loop goes on, it does not for long.
 */
#define PLACED(p, room)						\
	({							\
		__u64 ____at = a->at;				\
		if (____at > sizeof(*s) - (room))		\
			return false;				\
		p = (void *)s + ____at;				\
	})

/* odd tells whether path i can be spelled more plainly. */
static __always_inline bool odd(struct scratch *s, __u32 i)
{
	struct asked *a = &s->of[i];
	__u8 *path;

	PLACED(path, SCAN_MAX + 16);
	return scan(a, path) || edges(a, (__u8 *)s->path[i]) || (a->magic < NOWHERE && !slashed(s, i));
}

/* spelled finds the plain spelling of path i, whose place is a->at; false if there is none. */
static __always_inline bool spelled(struct scratch *s, __u32 i)
{
	struct asked *a = &s->of[i];
	__u8 *path;

	a->at = __builtin_offsetof(struct scratch, path) + i * sizeof(s->path[0]);
	if (a->len > SCAN_MAX)
		return false;
	a->odd = odd(s, i);
	if (!a->odd)
		return true;
	PLACED(path, CLEAN_MAX);
	if (!clean(s, path))
		return false;
	a->at = __builtin_offsetof(struct scratch, clean);
	return true;
}

/*
 * leads is what is granted of where a relative symbolic link leads: not of its directory
 * itself, which may be no entry's though all that is in it is.
 */
static __always_inline __u32 leads(const struct scratch *s, const struct asked *a)
{
	return a->odd && s->end == 1 ? 0 : BESIDE;
}

/* matter tells which lists matter for path i: of a file that is opened, not what else they say. */
static __always_inline __u32 matter(const struct scratch *s, const struct asked *a)
{
	return s->kind == ONE && !(a->need & LOOK) ? a->need : s->lists;
}

/*
 * weigh finds out what is granted of path i. Of what cannot be told, nothing is, and
 * anything may be below it.
 */
static __always_inline bool weigh(struct scratch *s, __u32 i)
{
	struct asked *a = &s->of[i];
	__u64 *path;
	__u32 from;

	a->granted = a->around = ALL & ~s->lists;
	a->below = ANY;
	a->lists = matter(s, a);
	if (a->len == 1 || a->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) {
		a->granted |= inside(a);
		return true;
	}
	a->magic = !slashed(s, i) && in_links() ? 0 : NOWHERE;
	if (!spelled(s, i))
		return false;
	PLACED(path, PORTCULLIS_PATH_SIZE + 8);
	if (slashed(s, i))
		a->magic = linked((__u8 *)path);
	from = a->magic % 8;
	if (a->magic < NOWHERE)
		a->magic = from + magic(&s->tail, (__u8 *)path + from);
	if (a->need & STAY && !a->odd && a->len - a->magic <= sizeof("root"))
		a->magic = NOWHERE; /* the link itself, such as /proc/self/exe */
	if (a->magic >= NOWHERE)
		a->below = 0;
	if (descriptors && by_number(path))
		a->granted = a->around = ALL;
	if (slashed(s, i)) {
		look(&s->differs, a, &read, READ, path);
		look(&s->differs, a, &write, WRITE, path);
		look(&s->differs, a, &exec, EXEC, path);
	} else if (a->magic >= NOWHERE) {
		a->granted |= s->kind == SYMLINK && !i ? leads(s, a) : inside(a);
		a->around = a->granted;
	}
	return true;
}

/* Asks about the only path of a call, or the first. */
SEC("seccomp/first")
long first(const struct seccomp_data *ctx)
{
	struct scratch *s = memory(0);
	__u32 lacks;

	if (!s)
		PORTCULLIS_DENY(EACCES);
	weigh(s, 0);
	lacks = s->of[0].need & ~s->of[0].granted & ~STAY;
	if (lacks & WRITE)
		DENY_WITH(error); /* not below write */
	if (lacks & EXEC)
		DENY_WITH(error); /* not below exec */
	if (lacks)
		DENY_WITH(error); /* not below read */
	if (s->kind == ONE)
		return SECCOMP_RET_ALLOW;
	bpf_tail_call(ctx, &parts, 1);
	PORTCULLIS_DENY(EACCES);
}

/* gains is what may be granted of a file by a name, or below it, that old does not grant. */
static __always_inline __u32 gains(const struct asked *name, __u32 old)
{
	return (name->granted | name->below) & ~old & ANY;
}

/*
 * led is the verdict on a symbolic link. A relative one leads to what is in its directory,
 * of which less may be granted than of its own place.
 */
static __always_inline long led(const struct asked *to, const struct asked *link)
{
	if (!symlinks && gains(link, to->granted & BESIDE ? link->around : to->granted))
		PORTCULLIS_DENY(EACCES); /* the link leads to less */
	return SECCOMP_RET_ALLOW;
}

/*
 * moved is the verdict on a file that gets a name. It may be a relative symbolic link, which
 * then leads to what is beside that.
 */
static __always_inline long moved(const struct asked *old, const struct asked *name)
{
	if (gains(name, old->granted) & (READ | WRITE))
		PORTCULLIS_DENY(EACCES); /* the new name grants more */
	if (gains(name, name->around) & (READ | WRITE))
		PORTCULLIS_DENY(EACCES); /* the new name grants more than those beside it */
	return SECCOMP_RET_ALLOW;
}

/* both is the verdict on a call with two paths. */
static __noinline long both(const struct scratch *s)
{
	const struct asked *a = &s->of[0], *b = &s->of[1];
	long e;

	if (b->need & ~b->granted)
		DENY_WITH(error); /* the second is not below write */
	if (s->kind == SYMLINK)
		return led(a, b);
	e = moved(a, b);
	if (e != SECCOMP_RET_ALLOW)
		return e;
	if (s->kind == EXCHANGE)
		return moved(b, a);
	if (s->kind == RENAME && gains(a, b->granted) & READ)
		PORTCULLIS_DENY(EACCES); /* a directory that is open would go on being read */
	return SECCOMP_RET_ALLOW;
}

/* Asks about the second path of a call, and about both. */
SEC("seccomp/second")
long second(const struct seccomp_data *ctx)
{
	struct scratch *s = memory(0);

	(void)ctx;
	if (!s)
		PORTCULLIS_DENY(EACCES);
	weigh(s, 1);
	return both(s);
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
