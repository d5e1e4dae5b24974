// SPDX-License-Identifier: Apache-2.0
/*
 * The measured policy of decisions about paths, once: filters/held.c compiles it
 * to a filter, and the floors of floor.c decide by it too.
 */
#ifndef HELD_H
#define HELD_H

/* What is denied with EACCES, and all that begins with it. */
#define FORBIDDEN "/portcullis-forbidden"

/* How much of a path is looked at; a longer one is denied. */
#define PATH_SIZE 256

/*
 * The calls of which the built-in filter paths pins what is read and what is
 * written, and a bit for each argument that is a path.
 */
#define PATH_CALLS(X) \
	X(open, 1) X(openat, 2) X(openat2, 2) X(creat, 1) X(newfstatat, 2) X(statx, 2) \
	X(stat, 1) X(lstat, 1) X(statfs, 1) X(access, 1) X(faccessat, 2) X(faccessat2, 2) \
	X(readlink, 1) X(readlinkat, 2) X(getxattr, 1) X(lgetxattr, 1) X(listxattr, 1) \
	X(llistxattr, 1) X(chdir, 1) X(truncate, 1) X(unlink, 1) X(unlinkat, 2) X(rmdir, 1) \
	X(mkdir, 1) X(mkdirat, 2) X(mknod, 1) X(mknodat, 2) X(chmod, 1) X(fchmodat, 2) \
	X(chown, 1) X(lchown, 1) X(fchownat, 2) X(utime, 1) X(utimes, 1) X(utimensat, 2) \
	X(setxattr, 1) X(lsetxattr, 1) X(removexattr, 1) X(lremovexattr, 1) X(rename, 1 | 2) \
	X(renameat, 2 | 8) X(renameat2, 2 | 8) X(link, 1 | 2) X(linkat, 2 | 8) \
	X(symlink, 1 | 2) X(symlinkat, 1 | 4)

/* Where the measured program maps the tracer's slot. */
#define SLOT 0x7e0000000000UL
#define SLOT_SIZE 4096

#endif
