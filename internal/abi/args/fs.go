package args

// fs/open.c. A path of 0 is an error, except where named.
var fsOpen = []Call{
	{Name: "open", Args: [6]Arg{path, u32, u16}},
	{Name: "creat", Args: [6]Arg{path, u16}},
	{Name: "openat", Args: [6]Arg{u32, path, u32, u16}},
	{Name: "openat2", Args: [6]Arg{u32, path, {Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: pageSize}, u64}},
	{Name: "access", Args: [6]Arg{path, u32}},
	{Name: "faccessat", Args: [6]Arg{u32, path, u32}},
	{Name: "faccessat2", Args: [6]Arg{u32, path, u32, u32}},
	{Name: "truncate", Args: [6]Arg{path, u64}},
	{Name: "chdir", Args: [6]Arg{path}},
	{Name: "chroot", Args: [6]Arg{path}},
	{Name: "chmod", Args: [6]Arg{path, u16}},
	{Name: "fchmodat", Args: [6]Arg{u32, path, u16}},
	{Name: "fchmodat2", Args: [6]Arg{u32, path, u16, u32}},
	{Name: "chown", Args: [6]Arg{path, u32, u32}},
	{Name: "lchown", Args: [6]Arg{path, u32, u32}},
	{Name: "fchownat", Args: [6]Arg{u32, path, u32, u32, u32}},
}

// fs/namei.c.
var fsNamei = []Call{
	{Name: "mkdir", Args: [6]Arg{path, u16}},
	{Name: "mkdirat", Args: [6]Arg{u32, path, u16}},
	{Name: "mknod", Args: [6]Arg{path, u16, u32}},
	{Name: "mknodat", Args: [6]Arg{u32, path, u16, u32}},
	{Name: "rmdir", Args: [6]Arg{path}},
	{Name: "unlink", Args: [6]Arg{path}},
	{Name: "unlinkat", Args: [6]Arg{u32, path, u32}},
	{Name: "symlink", Args: [6]Arg{path, path}},
	{Name: "symlinkat", Args: [6]Arg{path, u32, path}},
	{Name: "link", Args: [6]Arg{path, path}},
	{Name: "linkat", Args: [6]Arg{u32, path, u32, path, u32}},
	{Name: "rename", Args: [6]Arg{path, path}},
	{Name: "renameat", Args: [6]Arg{u32, path, u32, path}},
	{Name: "renameat2", Args: [6]Arg{u32, path, u32, path, u32}},
}

// fs/stat.c, fs/statfs.c, fs/d_path.c, fs/readdir.c. Kernels from 6.11 on take a
// path of 0 with AT_EMPTY_PATH for the empty one; older ones read there, so Null is
// not said.
var fsStat = []Call{
	{Name: "stat", Args: [6]Arg{path, out}},
	{Name: "lstat", Args: [6]Arg{path, out}},
	{Name: "fstat", Args: [6]Arg{u32, out}},
	{Name: "newfstatat", Args: [6]Arg{u32, path, out, u32}},
	{Name: "statx", Args: [6]Arg{u32, path, u32, u32, out}},
	{Name: "readlink", Args: [6]Arg{path, out, u32}},
	{Name: "readlinkat", Args: [6]Arg{u32, path, out, u32}},
	{Name: "statfs", Args: [6]Arg{path, out}},
	{Name: "fstatfs", Args: [6]Arg{u32, out}},
	{Name: "ustat", Args: [6]Arg{u32, out}},
	{Name: "getcwd", Args: [6]Arg{out, u64}},
	{Name: "getdents", Args: [6]Arg{u32, out, u32}},
	{Name: "getdents64", Args: [6]Arg{u32, out, u32}},
}

// fs/read_write.c. The buffers of the writing calls are input for every file that
// keeps to the contract of write; a driver that keeps user pages breaks it.
var fsReadWrite = []Call{
	{Name: "read", Args: [6]Arg{u32, out, u64}},
	{Name: "write", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 8}}, u64}},
	{Name: "pread64", Args: [6]Arg{u32, out, u64, u64}},
	{Name: "pwrite64", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 8}}, u64, u64}},
	{Name: "readv", Args: [6]Arg{u64, readIovec, u64}},
	{Name: "writev", Args: [6]Arg{u64, writeIovec, u64}},
	{Name: "preadv", Args: [6]Arg{u64, readIovec, u64, u64, u64}},
	{Name: "pwritev", Args: [6]Arg{u64, writeIovec, u64, u64, u64}},
	{Name: "preadv2", Args: [6]Arg{u64, readIovec, u64, u64, u64, u32}},
	{Name: "pwritev2", Args: [6]Arg{u64, writeIovec, u64, u64, u64, u32}},
	{Name: "sendfile", Args: [6]Arg{u32, u32, inout, u64}},
	{Name: "copy_file_range", Args: [6]Arg{u32, inout, u32, inout, u64, u32}},
}

// fs/pipe.c, fs/splice.c. vmsplice puts the pages themselves into the pipe.
var fsPipe = []Call{
	{Name: "pipe", Args: [6]Arg{out}},
	{Name: "pipe2", Args: [6]Arg{out, u32}},
	{Name: "splice", Args: [6]Arg{u32, inout, u32, inout, u64, u32}},
	{Name: "vmsplice", Args: [6]Arg{u32, {Shape: Iovec, Dir: In, Data: Kept, Unit: 16, Count: Count{2, 4}, Max: maxIovecs}, u64, u32}},
}

// fs/select.c, fs/eventpoll.c. select, pselect6 and ppoll write the rest of the
// time back; poll writes into the array it reads.
var fsPoll = []Call{
	{Name: "select", Args: [6]Arg{u32, inout, inout, inout, inout}},
	{Name: "pselect6", Args: [6]Arg{u32, inout, inout, inout, inout, sigsetPack}},
	{Name: "poll", Args: [6]Arg{inout, u32, u32}},
	{Name: "ppoll", Args: [6]Arg{inout, u32, inout, sigsetOrNull, u64}},
	{Name: "epoll_wait", Args: [6]Arg{u32, out, u32, u32}},
	{Name: "epoll_pwait", Args: [6]Arg{u32, out, u32, u32, sigsetOrNull, u64}},
	{Name: "epoll_pwait2", Args: [6]Arg{u32, out, u32, timespecOrNull, sigsetOrNull, u64}},
	{Name: "epoll_ctl", Args: [6]Arg{u32, u32, u32, epollEvent}, cases: []Case{
		{3, []When{{1, low, 2}}, address}, // EPOLL_CTL_DEL ignores it
	}},
}

// fs/xattr.c.
var fsXattr = []Call{
	{Name: "setxattr", Args: [6]Arg{path, xattr, {Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: xattrSize}, u64, u32}},
	{Name: "lsetxattr", Args: [6]Arg{path, xattr, {Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: xattrSize}, u64, u32}},
	{Name: "fsetxattr", Args: [6]Arg{u32, xattr, {Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: xattrSize}, u64, u32}},
	{Name: "getxattr", Args: [6]Arg{path, xattr, out, u64}},
	{Name: "lgetxattr", Args: [6]Arg{path, xattr, out, u64}},
	{Name: "fgetxattr", Args: [6]Arg{u32, xattr, out, u64}},
	{Name: "listxattr", Args: [6]Arg{path, out, u64}},
	{Name: "llistxattr", Args: [6]Arg{path, out, u64}},
	{Name: "flistxattr", Args: [6]Arg{u32, out, u64}},
	{Name: "removexattr", Args: [6]Arg{path, xattr}},
	{Name: "lremovexattr", Args: [6]Arg{path, xattr}},
	{Name: "fremovexattr", Args: [6]Arg{u32, xattr}},
	// 6.13. The struct xattr_args holds the address of the value, which is not pinned.
	// A path of 0 means something with AT_EMPTY_PATH alone.
	{Name: "setxattrat", Args: [6]Arg{u32, path, u32, xattr, {Shape: Array, Dir: In, Unit: 1, Count: Count{5, 8}, Max: pageSize}, u64}, cases: nullWithEmptyPath},
	{Name: "getxattrat", Args: [6]Arg{u32, path, u32, xattr, {Shape: Array, Dir: In, Unit: 1, Count: Count{5, 8}, Max: pageSize}, u64}, cases: nullWithEmptyPath},
	{Name: "listxattrat", Args: [6]Arg{u32, path, u32, out, u64}, cases: nullWithEmptyPath},
	{Name: "removexattrat", Args: [6]Arg{u32, path, u32, xattr}, cases: nullWithEmptyPath},
}

// nullWithEmptyPath is getname_maybe_null with the flags in argument 2.
var nullWithEmptyPath = []Case{{1, []When{{2, 0x1000, 0x1000}}, pathOrNull}}

// fs/utimes.c. A path of 0 names the descriptor, but for AT_FDCWD.
var fsUtimes = []Call{
	{Name: "utime", Args: [6]Arg{path, {Shape: Struct, Dir: In, Size: 16, Null: true}}},
	{Name: "utimes", Args: [6]Arg{path, twoTimes}},
	{Name: "futimesat", Args: [6]Arg{u32, pathOrNull, twoTimes}, cases: []Case{{1, []When{{0, low, atFdcwd}}, path}}},
	{Name: "utimensat", Args: [6]Arg{u32, pathOrNull, twoTimes, u32}, cases: []Case{{1, []When{{0, low, atFdcwd}}, path}}},
}

// atFdcwd is AT_FDCWD as a 32-bit register.
const atFdcwd = 0xffffff9c

// fs/exec.c. Strings of argv and envp have a limit (MAX_ARG_STRLEN, 128 KiB) above
// that of a pin.
var fsExec = []Call{
	{Name: "execve", Args: [6]Arg{path, argv, argv}},
	{Name: "execveat", Args: [6]Arg{u32, path, argv, argv, u32}},
}

// fs/aio.c. The kernel gives the address of an iocb back in its completion and
// finds it by that in io_cancel; what the iocbs point at is kept. io_submit reads the
// array of addresses alone in full.
var fsAio = []Call{
	{Name: "io_setup", Args: [6]Arg{u32, inout}},
	{Name: "io_submit", Args: [6]Arg{u64, u64, {Shape: Array, Dir: In, Unit: 8, Count: Count{1, 8}}}},
	{Name: "io_cancel", Args: [6]Arg{u64, address, address}},
	{Name: "io_getevents", Args: [6]Arg{u64, u64, u64, out, timespecOrNull}},
	{Name: "io_pgetevents", Args: [6]Arg{u64, u64, u64, out, timespecOrNull, sigsetPack}},
}

// fs/notify, fs/fhandle.c, fs/filesystems.c, fs/signalfd.c, fs/timerfd.c,
// fs/file_attr.c (6.17).
var fsOther = []Call{
	{Name: "inotify_add_watch", Args: [6]Arg{u32, path, u32}},
	{Name: "fanotify_mark", Args: [6]Arg{u32, u32, u64, u32, pathOrNull}},
	{Name: "name_to_handle_at", Args: [6]Arg{u32, path, inout, out, u32}},
	// struct file_handle: handle_bytes, handle_type, and at most MAX_HANDLE_SZ bytes.
	{Name: "open_by_handle_at", Args: [6]Arg{u32, {Shape: Sized, Dir: In, Size: 8, Max: 8 + 128}, u32}},
	{Name: "sysfs", Args: [6]Arg{u32, option, option}, cases: []Case{
		{1, []When{{0, low, 1}}, path},
		{2, []When{{0, low, 2}}, out},
	}},
	{Name: "signalfd", Args: [6]Arg{u32, sigset, u64}},
	{Name: "signalfd4", Args: [6]Arg{u32, sigset, u64, u32}},
	{Name: "timerfd_settime", Args: [6]Arg{u32, u32, itimerspec, out}},
	{Name: "timerfd_gettime", Args: [6]Arg{u32, out}},
	{Name: "file_getattr", Args: [6]Arg{u32, path, out, u64, u32}, cases: fileAttr},
	{Name: "file_setattr", Args: [6]Arg{u32, path, {Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: pageSize}, u64, u32}, cases: fileAttr},
}

// fileAttr is getname_maybe_null with the flags in argument 4.
var fileAttr = []Case{{1, []When{{4, 0x1000, 0x1000}}, pathOrNull}}
