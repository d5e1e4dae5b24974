// Another thread rewrites the path of a call, over and over.
#include "victim.h"
#include <stdatomic.h>
#include <sys/stat.h>

enum { FLIPS = 100000, OPENS = 300, LIMIT = 100000 };

static char path[4096];
static int differs;
static char letters[2];
static atomic_long flips;
static atomic_int over;

static void *flip(void *unused) {
	while (!over)
		((volatile char *)path)[differs] = letters[++flips & 1];
	return unused;
}

static ino_t inode(const char *p) {
	struct stat st;
	return stat(p, &st) ? 0 : st.st_ino;
}

// a and b have the same length and one different letter. It goes on until there were
// enough flips and opens, and one that was "denied" or "won".
void race(const char *a, const char *b, const char *until) {
	pthread_t t;
	int denial = !strcmp(until, "denied");
	long opened[2] = {0, 0}, denied = 0, other = 0;
	ino_t is[2] = {inode(a), inode(b)};
	strcpy(path, a);
	while (a[differs] == b[differs])
		differs++;
	letters[0] = a[differs];
	letters[1] = b[differs];
	pthread_create(&t, 0, flip, 0); // of which the tracer does not know
	char c;
	if (read(0, &c, 1) != 1)
		exit(3);
	for (long n = 0; n < OPENS || flips < FLIPS || (!(denial ? denied : opened[1]) && n < LIMIT); n++) {
		struct stat st;
		int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
		if (fd < 0) {
			errno == EACCES ? denied++ : other++;
			continue;
		}
		fstat(fd, &st);
		st.st_ino == is[0] ? opened[0]++ : st.st_ino == is[1] ? opened[1]++ : other++;
		close(fd);
	}
	over = 1;
	pthread_join(t, 0);
	printf("%ld %ld %ld %ld\n", opened[0], opened[1], denied, other);
}
