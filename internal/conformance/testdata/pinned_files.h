// SPDX-License-Identifier: Apache-2.0
// The cases of calls on files, for pinned.c.

static const char *self; // this program

// ---- what files there are, each made where a case needs it ------------------------------

static const char *file(const char *name)
{
	int fd = MUST(open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644));

	MUST(write(fd, "hello, world\n", 13));
	close(fd);
	return name;
}

static const char *directory(const char *name)
{
	MUST(mkdir(name, 0755));
	return name;
}

static const char *fifo(const char *name)
{
	MUST(mkfifo(name, 0644));
	return name;
}

static const char *linked(const char *name, const char *to)
{
	MUST(symlink(to, name));
	return name;
}

static const char *shut(const char *name)
{
	MUST(chmod(file(name), 0));
	return name;
}

static int opened(const char *name, int how)
{
	return MUST(open(name, how, 0644));
}

// An open file, of which place and content are shown.
static int seen(int how)
{
	return watched = opened(file("file"), how);
}

static int place(void)
{
	return opened(".", O_RDONLY | O_DIRECTORY);
}

static int piped(int end, int how)
{
	int fd[2];

	MUST(pipe2(fd, how));
	return fd[end];
}

// The other end of a full pipe.
static int full_pipe(void)
{
	static char block[page];
	int fd = piped(1, O_NONBLOCK);

	while (write(fd, block, sizeof(block)) > 0)
		;
	return fd;
}

// A path in memory that a key keeps the process from reading, where there are keys.
static long keyed(const char *name)
{
	int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
	long at = (long)strcpy(edge(5), file(name));

	unreadable[5] = key >= 0 && !pkey_mprotect(edge(5), 2 * page, PROT_READ | PROT_WRITE, key);
	return at;
}

static void stay(void)
{
	struct stat st;

	if (stat(".", &st))
		say(" lost");
	char *now = getcwd(NULL, 0);
	say(" in %s", now ? strrchr(now, '/') : strerrorname_np(errno));
}

// What of a file can be shown, as it is the same in every run.
static void state(const char *name)
{
	struct stat st;
	char to[16] = "";

	if (lstat(name, &st)) {
		say(" %s %s", name, strerrorname_np(errno));
		return;
	}
	if (S_ISLNK(st.st_mode) && readlink(name, to, sizeof(to) - 1) > 0)
		say(" -> %s", to);
	say(" %s %o, %ld bytes, %ld links, at %ld.%09ld", name, st.st_mode, S_ISREG(st.st_mode) ? st.st_size : 0L,
	    S_ISDIR(st.st_mode) ? 0L : (long)st.st_nlink,
	    st.st_mtim.tv_sec < 1000000000 ? st.st_mtim.tv_sec : 0L,
	    st.st_mtim.tv_sec < 1000000000 ? st.st_mtim.tv_nsec : 0L);
}

static void states(void)
{
	state("file");
	state("new");
}

static void show_stat(const void *p, size_t n)
{
	const struct stat *st = p;

	(void)n;
	say("mode %o size %ld", st->st_mode, S_ISDIR(st->st_mode) ? 0L : st->st_size);
}

static void show_statx(const void *p, size_t n)
{
	const struct statx *st = p;

	(void)n;
	say("mode %o size %lld mask %x", st->stx_mode, S_ISDIR(st->stx_mode) ? 0 : st->stx_size, st->stx_mask & 0x7ff);
}

static long out_stat(void)
{
	return shown(sizeof(struct stat), show_stat);
}

// ---- paths ------------------------------------------------------------------------------

static void paths_to_open(void)
{
	struct {
		uint64_t flags, mode, resolve;
	} how = { O_RDONLY, 0, 0 };

	CASE(open, "a file", text(file("file")), O_RDONLY, 0);
	CASE(open, "no file", text("none"), O_RDONLY, 0);
	CASE(open, "a new file", text("new"), O_CREAT | O_EXCL | O_RDWR, 0640);
	CASE(open, "no directory", text((file("file"), "file/x")), O_RDONLY, 0);
	CASE(open, "a loop", text(linked("loop", "loop")), O_RDONLY, 0);
	CASE(open, "a shut file", text(shut("file")), O_RDONLY, 0);
	CASE(open, "absolutely", text("/dev/null"), O_RDWR, 0);
	CASE(open, "a busy fifo", text(fifo("fifo")), O_WRONLY | O_NONBLOCK, 0);
	CASE_AS(PLAIN | ONCE, open, "behind a key", keyed("file"), O_RDONLY, 0);
	CASE(creat, "a new file", text("new"), 0600);
	CASE(creat, "a directory", text(directory("dir")), 0600);
	CASE(openat, "a file", AT_FDCWD, text(file("file")), O_RDONLY, 0);
	CASE(openat, "in a directory", place(), text(file("file")), O_RDWR | O_APPEND, 0);
	CASE(openat, "nowhere", -1, text("none"), O_RDONLY, 0);
	CASE(openat, "in a file", opened(file("file"), O_RDONLY), text("x"), O_RDONLY, 0);
	CASE(openat, "a new file", AT_FDCWD, text("new"), O_CREAT | O_WRONLY, 0600);
	CASE(openat, "a directory to write", AT_FDCWD, text(directory("dir")), O_WRONLY, 0);
	CASE(openat, "a link", AT_FDCWD, text((file("file"), linked("link", "file"))), O_NOFOLLOW, 0);
	CASE(openat2, "a file", AT_FDCWD, text(file("file")), bytes(&how, sizeof(how)), sizeof(how));
	CASE(openat2, "no file", AT_FDCWD, text("none"), bytes(&how, sizeof(how)), sizeof(how));
	how.resolve = 8; // RESOLVE_BENEATH
	CASE(openat2, "beneath", place(), text("../x"), bytes(&how, sizeof(how)), sizeof(how));
	how.resolve = 1 << 20;
	CASE(openat2, "unknown", place(), text("x"), bytes(&how, sizeof(how)), sizeof(how));
	how.resolve = 0;
	CASE(openat2, "an extended structure", AT_FDCWD, text(file("file")), bytes((char[4096]){ 0 }, 4096), 4096);
	CASE(openat2, "a long structure", AT_FDCWD, text(file("file")), bytes((char[5000]){ 0 }, 5000), 5000);
	CASE(openat2, "a structure from the future", AT_FDCWD, text(file("file")), bytes((char[40]){ [39] = 1 }, 40), 40);
	CASE(access, "a file", text(file("file")), R_OK);
	CASE(access, "a shut file", text(shut("file")), W_OK);
	CASE(access, "no file", text("none"), F_OK);
	CASE(faccessat, "a file", AT_FDCWD, text(file("file")), R_OK);
	CASE(faccessat, "nowhere", 77, text("file"), R_OK);
	CASE(faccessat2, "a file", AT_FDCWD, text(file("file")), R_OK, AT_EACCESS);
	CASE(faccessat2, "itself", opened(file("file"), O_RDONLY), text(""), R_OK, AT_EMPTY_PATH);
	CASE_AS(NOVALUE | ONCE, open_by_handle_at, "a bad handle", AT_FDCWD,
		ARRAY(unsigned, 8, 1, 0x11111111, 0x22222222), O_RDONLY);
	CASE(open_by_handle_at, "none", AT_FDCWD, ARRAY(unsigned, 0, 1, 0), O_RDONLY);
	CASE(open_by_handle_at, "a long one", AT_FDCWD, ARRAY(unsigned, 129, 1, 0), O_RDONLY);
	// The second time there is room for a handle, of a number that no other file has.
	CASE(name_to_handle_at, "a file", AT_FDCWD, text(file("file")),
	     output((void *)ARRAY(unsigned, [33] = 0), 34 * sizeof(unsigned), NULL), hidden(8), 0);
}

static void paths_to_look_at(void)
{
	CASE(stat, "a file", text(file("file")), out_stat());
	CASE(stat, "no file", text("none"), out_stat());
	CASE(stat, "into the path", text(file("file")), UNMAPPED);
	CASE(stat, "over the path", output((void *)text(file("file")), sizeof(struct stat), show_stat), (long)ARENA);
	CASE(lstat, "a link", text(linked("link", "nowhere")), out_stat());
	CASE(newfstatat, "a file", AT_FDCWD, text(file("file")), out_stat(), 0);
	CASE(newfstatat, "itself", opened(file("file"), O_RDONLY), text(""), out_stat(), AT_EMPTY_PATH);
	CASE(newfstatat, "bad flags", AT_FDCWD, text(file("file")), out_stat(), 0x80);
	CASE(statx, "a file", AT_FDCWD, text(file("file")), 0, 0x7ff, shown(256, show_statx));
	CASE(statx, "itself", opened(file("file"), O_RDONLY), text(""), AT_EMPTY_PATH, 0x7ff, shown(256, show_statx));
	CASE(statx, "badly", AT_FDCWD, text(file("file")), 0, 0x80000000, shown(256, show_statx));
	CASE(readlink, "a link", text(linked("link", "somewhere")), out(100), 100);
	CASE(readlink, "a short buffer", text(linked("link", "somewhere")), out(4), 4);
	CASE(readlink, "a file", text(file("file")), out(4), 4);
	CASE(readlink, "no room", text(linked("link", "somewhere")), out(4), 0);
	CASE(readlinkat, "a link", place(), text(linked("link", "somewhere")), out(100), 100);
	CASE(statfs, "here", text("."), hidden(120));
	CASE(statfs, "no file", text("none"), hidden(120));
	CASE(inotify_add_watch, "here", MUST(syscall(SYS_inotify_init1, 0)), text("."), 0x100);
	CASE(inotify_add_watch, "no file", MUST(syscall(SYS_inotify_init1, 0)), text("none"), 0x100);
	CASE(inotify_add_watch, "a file", opened(file("file"), O_RDONLY), text("."), 0x100);
	CASE(fanotify_mark, "no group", opened(file("file"), O_RDONLY), 1, 0x20, AT_FDCWD, text("."));
	CASE(fanotify_mark, "here", syscall(SYS_fanotify_init, 0x200, 0), 1, 0x100, AT_FDCWD, text("."));
	CASE(fanotify_mark, "itself", syscall(SYS_fanotify_init, 0x200, 0), 1, 0x100, place(), 0);
	CASE(sysfs, "a file system", 1, text("proc"));
	CASE(sysfs, "no file system", 1, text("prock"));
	also = stay;
	CASE(chdir, "a directory", text(directory("dir")));
	CASE(chdir, "a file", text(file("file")));
	CASE(chdir, "no file", text("none"));
	CASE(chroot, "a directory", text(directory("dir")));
	CASE(chroot, "no file", text("none"));
	also = NULL;
}

static void paths_to_change(void)
{
	also = states;
	CASE(truncate, "a file", text(file("file")), 5);
	CASE(truncate, "a directory", text(directory("dir")), 5);
	CASE(truncate, "badly", text(file("file")), -1);
	CASE(mkdir, "new", text("new"), 0750);
	CASE(mkdir, "a file", text(file("file")), 0750);
	CASE(mkdirat, "new", place(), text("new"), 0700);
	CASE(mkdirat, "nowhere", 77, text("new"), 0700);
	CASE(mknod, "a fifo", text("new"), S_IFIFO | 0600, 0);
	CASE(mknod, "a device", text("new"), S_IFCHR | 0600, 0x103);
	CASE(mknodat, "a file", AT_FDCWD, text("new"), S_IFREG | 0600, 0);
	CASE(rmdir, "a directory", text(directory("new")));
	CASE(rmdir, "a full one", text((mkdir("new", 0755), file("new/file"), "new")));
	CASE(rmdir, "itself", text("."));
	CASE(unlink, "a file", text(file("file")));
	CASE(unlink, "a directory", text(directory("new")));
	CASE(unlinkat, "a file", AT_FDCWD, text(file("file")), 0);
	CASE(unlinkat, "a directory", AT_FDCWD, text(directory("new")), AT_REMOVEDIR);
	CASE(symlink, "a link", text("to"), text("new"));
	CASE(symlink, "a file", text("to"), text(file("file")));
	CASE(symlinkat, "a link", text("to"), place(), text("new"));
	CASE(link, "a file", text(file("file")), text("new"));
	CASE(link, "no file", text("none"), text("new"));
	CASE(linkat, "a file", AT_FDCWD, text(file("file")), AT_FDCWD, text("new"), 0);
	CASE(linkat, "badly", AT_FDCWD, text(file("file")), AT_FDCWD, text("new"), 1);
	CASE(rename, "a file", text(file("file")), text("new"));
	CASE(rename, "onto a directory", text(file("file")), text(directory("new")));
	CASE(rename, "the same name twice", text(file("file")), (long)ARENA);
	CASE(renameat, "a file", AT_FDCWD, text(file("file")), place(), text("new"));
	CASE(renameat2, "a file", AT_FDCWD, text(file("file")), AT_FDCWD, text("new"), 1);
	CASE(renameat2, "two files", AT_FDCWD, text(file("file")), AT_FDCWD, text(file("new")), 2);
	CASE(chmod, "a file", text(file("file")), 0600);
	CASE(fchmodat, "a file", AT_FDCWD, text(file("file")), 0606);
	CASE(fchmodat2, "a file", AT_FDCWD, text(file("file")), 0606, 0);
	CASE(fchmodat2, "itself", opened(file("file"), O_RDONLY), text(""), 0606, AT_EMPTY_PATH);
	CASE(chown, "a file", text(file("file")), getuid(), -1);
	CASE(chown, "away", text(file("file")), getuid() + 1, -1);
	CASE(lchown, "a link", text(linked("new", "nowhere")), -1, getgid());
	CASE(fchownat, "a file", AT_FDCWD, text(file("file")), getuid(), getgid(), 0);
	CASE(utime, "a file", text(file("file")), ARRAY(long, 1000, 2000));
	CASE(utimes, "a file", text(file("file")), ARRAY(long, 1000, 10, 2000, 20));
	CASE(utimes, "badly", text(file("file")), ARRAY(long, 1000, 10, 2000, 2000000));
	CASE(futimesat, "a file", AT_FDCWD, text(file("file")), ARRAY(long, 1000, 10, 2000, 20));
	CASE(futimesat, "itself", opened(file("file"), O_RDONLY), 0, ARRAY(long, 1000, 10, 2000, 20));
	CASE(utimensat, "a file", AT_FDCWD, text(file("file")), ARRAY(long, 1000, 10, 2000, 20), 0);
	CASE(utimensat, "itself", opened(file("file"), O_RDONLY), 0, ARRAY(long, 1000, 10, 2000, 20), 0);
	CASE(utimensat, "omitted", AT_FDCWD, text(file("file")), ARRAY(long, 0, UTIME_OMIT, 7, 20), 0);
	CASE(utimensat, "badly", AT_FDCWD, text(file("file")), ARRAY(long, 0, -1, 7, 20), 0);
	also = NULL;
}

static void files(void)
{
	paths_to_open();
	paths_to_look_at();
	paths_to_change();
}

// ---- extended attributes --------------------------------------------------------------

static void show_attributes(void)
{
	char list[200];
	ssize_t n = syscall(SYS_listxattr, "file", list, sizeof(list));

	say(" attributes %zd", n);
	n = syscall(SYS_getxattr, "file", "user.name", list, sizeof(list));
	if (n > 0)
		show_hex(list, n);
}

static const char *attributed(const char *name)
{
	syscall(SYS_setxattr, file(name), "user.name", "value", 5, 0);
	return name;
}

static void attributes(void)
{
	also = show_attributes;
	CASE(setxattr, "new", text(file("file")), text("user.name"), text("some value"), 10, 0);
	CASE(setxattr, "there is one", text(attributed("file")), text("user.name"), text("some value"), 10, 1);
	CASE(setxattr, "none is there", text(file("file")), text("user.other"), text("some value"), 10, 2);
	CASE(setxattr, "a large one", text(file("file")), text("user.name"), letters(2000), 2000, 0);
	CASE(setxattr, "the largest", text(file("file")), text("user.name"), letters(65536), 65536, 0);
	CASE(setxattr, "too large", text(file("file")), text("user.name"), letters(65537), 65537, 0);
	CASE(setxattr, "of no kind", text(file("file")), text("name"), text("some value"), 10, 0);
	CASE(lsetxattr, "a link", text(linked("link", "file")), text("user.name"), text("some value"), 10, 0);
	CASE(lsetxattr, "a file", text(file("file")), text("user.name"), text("some value"), 10, 0);
	CASE(fsetxattr, "a file", opened(file("file"), O_RDONLY), text("user.name"), text("some value"), 10, 0);
	CASE(fsetxattr, "no file", 77, text("user.name"), text("some value"), 10, 0);
	CASE(getxattr, "one", text(attributed("file")), text("user.name"), out(10), 10);
	CASE(getxattr, "its size", text(attributed("file")), text("user.name"), 0, 0);
	CASE(getxattr, "no room", text(attributed("file")), text("user.name"), out(2), 2);
	CASE(getxattr, "none", text(attributed("file")), text("user.none"), out(10), 10);
	CASE(getxattr, "over its name", text(attributed("file")), output((void *)text("user.name"), 10, show_hex),
	     (long)ARENA + 16, 10);
	CASE(lgetxattr, "one", text(attributed("file")), text("user.name"), out(10), 10);
	CASE(fgetxattr, "one", opened(attributed("file"), O_RDONLY), text("user.name"), out(10), 10);
	CASE(listxattr, "one", text(attributed("file")), out(30), 30);
	CASE(listxattr, "no room", text(attributed("file")), out(3), 3);
	CASE(llistxattr, "one", text(attributed("file")), out(30), 30);
	CASE(removexattr, "one", text(attributed("file")), text("user.name"));
	CASE(lremovexattr, "one", text(attributed("file")), text("user.name"));
	CASE(fremovexattr, "one", opened(attributed("file"), O_RDONLY), text("user.name"));
	struct {
		uint64_t value;
		uint32_t size, flags;
	} value = { 0, 5, 0 };
	CASE(setxattrat, "new", AT_FDCWD, text(file("file")), 0, text("user.name"),
	     (value.value = text("value"), bytes(&value, sizeof(value))), sizeof(value));
	CASE(getxattrat, "one", AT_FDCWD, text(attributed("file")), 0, text("user.name"),
	     (value.value = out(5), bytes(&value, sizeof(value))), sizeof(value));
	CASE(getxattrat, "itself", opened(attributed("file"), O_RDONLY), 0, AT_EMPTY_PATH, text("user.name"),
	     (value.value = out(5), bytes(&value, sizeof(value))), sizeof(value));
	CASE(listxattrat, "one", AT_FDCWD, text(attributed("file")), 0, out(30), 30);
	CASE(removexattrat, "one", AT_FDCWD, text(attributed("file")), 0, text("user.name"));
	also = NULL;
}

// ---- writing ----------------------------------------------------------------------------

static int direct_file(void)
{
	return watched = opened(file("file"), O_RDWR | O_DIRECT);
}

static long aligned(size_t n, size_t shift)
{
	return (long)memset((char *)keep(n + shift, page) + shift, 'd', n);
}

static struct iovec vec(const char *s)
{
	return (struct iovec){ (void *)text(s), strlen(s) };
}

#define IOV(...) ARRAY(struct iovec, __VA_ARGS__)

static int readable(void)
{
	int fd = seen(O_RDWR);

	return fd;
}

// Memory that a process has and nobody else can get at as easily.

static long below_the_stack(void)
{
	return ((long)__builtin_frame_address(0) & -page) - 64 * page;
}

static long of_the_kernel(const char *area)
{
	char l[256], *found = NULL;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (fgets(l, sizeof(l), maps) && !(found = strstr(l, area)))
		;
	fclose(maps);
	return found ? strtol(l, NULL, 16) : 0;
}

static long secret(void)
{
	int fd = syscall(NR_memfd_secret, 0);
	char *p = edge(5);

	if (fd >= 0 && !ftruncate(fd, page))
		p = (char *)MUST(mmap(edge(5), page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	return (long)strcpy(p, "secret");
}

static void data(void)
{
	CASE(write, "a file", seen(O_RDWR), text("text"), 4);
	CASE(write, "at the end", seen(O_RDWR | O_APPEND), text("text"), 4);
	CASE(write, "600 bytes", seen(O_RDWR), letters(600), 600);
	CASE(write, "60000 bytes", seen(O_RDWR), letters(60000), 60000);
	CASE(write, "65536 bytes", seen(O_RDWR), letters(65536), 65536);
	CASE(write, "65537 bytes", seen(O_RDWR), letters(65537), 65537);
	CASE(write, "200000 bytes", seen(O_RDWR), letters(200000), 200000);
	CASE(write, "to read only", seen(O_RDONLY), text("text"), 4);
	CASE(write, "no file", 77, text("text"), 4);
	CASE(write, "a pipe", piped(1, O_NONBLOCK), text("text"), 4);
	CASE(write, "a full pipe", full_pipe(), text("text"), 4);
	CASE(write, "a broken pipe", ({
		     int fd[2];
		     MUST(pipe(fd));
		     close(fd[0]);
		     signal(SIGPIPE, SIG_DFL);
		     handle_by(SIGPIPE, 0);
		     fd[1];
	     }), text("text"), 4);
	CASE(write, "an event", MUST(syscall(SYS_eventfd2, 0, 0)), THE(long, 3), 8);
	CASE(write, "a short event", MUST(syscall(SYS_eventfd2, 0, 0)), THE(long, 3), 4);
	CASE(write, "a device", opened("/dev/null", O_WRONLY), text("text"), 4);
	CASE(write, "a full device", opened("/dev/full", O_WRONLY), text("text"), 4);
	CASE(write, "directly", direct_file(), aligned(page, 0), page);
	CASE(write, "directly, half a page", direct_file(), aligned(512, 512), 512);
	CASE(write, "directly, not aligned", direct_file(), aligned(page, 8), page);
	CASE(write, "directly, 16 pages", direct_file(), aligned(16 * page, 0), 16 * page);
	CASE_AS(PLAIN, write, "from below the stack", seen(O_RDWR), below_the_stack(), 5000);
	CASE_AS(PLAIN, write, "from the vdso", seen(O_RDWR), of_the_kernel("[vdso]"), 1000);
	CASE_AS(PLAIN, write, "from the vvar page", piped(1, 0), of_the_kernel("[vvar]"), 1000);
	CASE_AS(PLAIN, write, "from secret memory", seen(O_RDWR), secret(), 6);
	CASE(pwrite64, "a file", seen(O_RDWR), text("text"), 4, 3);
	CASE(pwrite64, "badly", seen(O_RDWR), text("text"), 4, -1);
	CASE(pwrite64, "a pipe", piped(1, 0), text("text"), 4, 0);
	CASE(writev, "a file", seen(O_RDWR), IOV(vec("some"), vec("thing")), 2);
	CASE(writev, "nothing between", seen(O_RDWR), IOV(vec("some"), { 0, 0 }, { (void *)UNMAPPED, 0 }, vec("thing")), 4);
	CASE(writev, "nowhere", seen(O_RDWR), IOV(vec("some"), { (void *)UNMAPPED, 3 }), 2);
	CASE(writev, "nowhere first", seen(O_RDWR), IOV({ (void *)UNMAPPED, 3 }, vec("some")), 2);
	CASE(writev, "too much", seen(O_RDWR), IOV(vec("some"), { (void *)0x7ffffffef000, -1 }), 2);
	CASE(writev, "more than can be pinned", seen(O_RDWR), IOV({ (void *)letters(50000), 50000 }, { ARENA + 100 * page, 50000 }), 2);
	CASE(writev, "the same twice", seen(O_RDWR), IOV({ (void *)text("text"), 4 }, { ARENA, 3 }), 2);
	CASE(writev, "its own array", seen(O_RDWR), IOV({ ARENA + 8, 8 }), 1);
	CASE(writev, "directly", direct_file(), IOV({ (void *)aligned(page, 0), page }), 1);
	CASE(writev, "1024 buffers", seen(O_RDWR), bytes((struct iovec[1024]){ [1023] = { ARENA, 5 } }, 1024 * 16), 1024);
	CASE(pwritev, "a file", seen(O_RDWR), IOV(vec("some"), vec("thing")), 2, 4, 0);
	CASE(pwritev2, "a file", seen(O_RDWR), IOV(vec("some"), vec("thing")), 2, -1, -1, 0);
	CASE(pwritev2, "badly", seen(O_RDWR), IOV(vec("some"), vec("thing")), 2, -1, -1, 1 << 30);
	CASE(readv, "a file", readable(), IOV({ (void *)out(5), 5 }, { (void *)out(20), 20 }), 2);
	CASE(readv, "nothing", piped(0, O_NONBLOCK), IOV({ (void *)out(5), 5 }), 1);
	CASE(readv, "over its array", readable(), output((void *)IOV({ ARENA, 16 }), 16, show_hex), 1);
	CASE(preadv, "a file", readable(), IOV({ (void *)out(5), 5 }, { (void *)out(20), 20 }), 2, 3, 0);
	CASE(preadv2, "a file", readable(), IOV({ (void *)out(5), 5 }, { (void *)out(20), 20 }), 2, -1, -1, 0);
	CASE(vmsplice, "a pipe", piped(1, 0), IOV(vec("some"), vec("thing")), 2, 0);
	CASE(vmsplice, "a file", seen(O_RDWR), IOV(vec("some")), 1, 0);
	CASE(vmsplice, "a full pipe", full_pipe(), IOV(vec("some")), 1, 2);
	CASE_AS(ONCE, process_vm_readv, "itself", getpid(), IOV({ (void *)out(8), 8 }), 1, IOV(vec("something")), 1, 0);
	CASE(process_vm_readv, "nobody", 0, IOV({ (void *)out(8), 8 }), 1, IOV(vec("something")), 1, 0);
	CASE(process_vm_writev, "itself", getpid(), IOV(vec("something")), 1, IOV({ (void *)out(8), 8 }), 1, 0);
	CASE(process_vm_writev, "badly", getpid(), IOV(vec("something")), 1, IOV({ (void *)out(8), 8 }), 1, 1);
	CASE(process_madvise, "itself", MUST(syscall(SYS_pidfd_open, getpid(), 0)), IOV({ ARENA + 20 * page, page }), 1, 20,
	     0);
	CASE(process_madvise, "no process", 77, IOV({ ARENA + 20 * page, page }), 1, 20, 0);
	CASE(memfd_create, "one", text("name"), 1);
	CASE(memfd_create, "badly", text("name"), 1 << 20);
	CASE(cachestat, "a file", opened(file("file"), O_RDONLY), ARRAY(long, 0, 100), hidden(40), 0);
	CASE(fcntl, "a lock", seen(O_RDWR), F_SETLK, THE(struct flock, .l_type = F_WRLCK, .l_len = 5));
	CASE(fcntl, "a bad lock", seen(O_RDONLY), F_SETLK, THE(struct flock, .l_type = F_WRLCK, .l_len = 5));
	CASE(fcntl, "a lock of the file", seen(O_RDWR), 37, THE(struct flock, .l_type = F_WRLCK));
	CASE(fcntl, "an owner", piped(0, 0), 15, ARRAY(int, 1, 0));
	CASE(fcntl, "a bad owner", piped(0, 0), 15, ARRAY(int, 9, 0));
	CASE(fcntl, "a hint", seen(O_RDWR), 1036, THE(long, 2));
	CASE(fcntl, "a copy", seen(O_RDWR), F_DUPFD, 40);
	CASE(fcntl, "the lock of another", seen(O_RDWR), F_GETLK,
	     output((void *)THE(struct flock, .l_type = F_WRLCK), sizeof(struct flock), show_hex));
	CASE(ioctl, "not to block", piped(0, 0), 0x5421, THE(int, 1));
	CASE(ioctl, "signals", piped(0, 0), 0x5452, THE(int, 0));
	CASE(ioctl, "flags", opened(file("file"), O_RDONLY), 0x40086602, THE(int, 0x80040));
	CASE(ioctl, "attributes", opened(file("file"), O_RDONLY), 0x401c5820, bytes((char[28]){ 0 }, 28));
	CASE(ioctl, "a clone", seen(O_RDWR), 0x4020940d, bytes((char[32]){ 0 }, 32));
	CASE(ioctl, "a terminal", opened("/dev/ptmx", O_RDWR | O_NOCTTY), 0x5402, bytes((char[36]){ 0 }, 36));
	CASE(ioctl, "the size of a terminal", opened("/dev/ptmx", O_RDWR | O_NOCTTY), 0x5414, ARRAY(short, 1, 2, 3, 4));
	CASE(ioctl, "no terminal", seen(O_RDWR), 0x5414, ARRAY(short, 1, 2, 3, 4));
	CASE(ioctl, "bytes to read", piped(0, 0), 0x541b, out(4));
}
