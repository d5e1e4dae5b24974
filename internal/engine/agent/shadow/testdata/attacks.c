// What a target can try at its shadow memory.
#include "victim.h"
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/shm.h>
#include <sys/uio.h>

static sigjmp_buf back;
static void fault(int sig) { siglongjmp(back, sig); }

// store writes as a program does.
static void store(const char *name, char *to) {
	signal(SIGSEGV, fault);
	signal(SIGBUS, fault);
	int sig = sigsetjmp(back, 1);
	if (!sig)
		*(volatile char *)to = 'X';
	printf("%s %s\n", name, sig ? sigabbrev_np(sig) : "ok");
}

static long mem(void) {
	int fd = syscall(SYS_open, "/proc/self/mem", O_RDWR);
	return fd < 0 ? -1 : pwrite(fd, "X", 1, (off_t)at);
}

static long vm_writev(void) {
	struct iovec local = {"X", 1}, remote = {at, 1};
	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

// into lets the kernel write there.
static long into(void) {
	int fds[2];
	if (pipe(fds) || write(fds[1], "X", 1) != 1)
		return 0;
	return read(fds[0], at, 1);
}

static long segment(void) {
	int id = shmget(IPC_PRIVATE, size, 0600);
	void *p = shmat(id, at, SHM_REMAP);
	int e = errno;
	shmctl(id, IPC_RMID, 0);
	errno = e;
	return p == (void *)-1 ? -1 : 0;
}

// fill would answer faults of pages that were never written.
static long fill(void) {
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.range = {(unsigned long)at, size & ~4095ul}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (fd < 0)
		return -1;
	if (ioctl(fd, UFFDIO_API, &api))
		return 0;
	return ioctl(fd, UFFDIO_REGISTER, &reg);
}

#define TRY(name, ...) show(name, (long)(__VA_ARGS__))

void attacks(void) {
	char *inner = at + 65536, *beyond = at + size - 4096;
	store("store", at);
	store("store-inner", inner);
	store("store-beyond", beyond);
	TRY("munmap", munmap(at, size));
	TRY("munmap-part", munmap(inner, 4096));
	TRY("munmap-around", munmap(at - 4096, size + 8192));
	TRY("mremap-away", mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at + (64 << 20)) == MAP_FAILED ? -1 : 0);
	TRY("mremap-shrink", mremap(at, size, 4096, 0) == MAP_FAILED ? -1 : 0);
	TRY("mprotect-write", mprotect(at, size, PROT_READ | PROT_WRITE));
	TRY("mprotect-none", mprotect(inner, 4096, PROT_NONE));
	TRY("pkey_mprotect", syscall(SYS_pkey_mprotect, at, size, PROT_READ | PROT_WRITE, -1));
	TRY("remove", madvise(at, 65536, MADV_REMOVE));
	TRY("dontneed", madvise(at, 65536, MADV_DONTNEED));
	TRY("populate-write", madvise(at, 65536, MADV_POPULATE_WRITE));
	TRY("wipe-on-fork", madvise(at, 65536, MADV_WIPEONFORK));
	TRY("map-over", mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
	TRY("map-part-over", mmap(inner, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
	TRY("map-beyond", mmap(beyond, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
	TRY("remap_file_pages", syscall(SYS_remap_file_pages, at, 4096, 0, 16, 0));
	TRY("shmat", segment());
	TRY("process_vm_writev", vm_writev());
	TRY("proc-mem", mem());
	TRY("kernel-write", into());
	TRY("userfaultfd", fill());
	TRY("request", syscall(SYS_vserver));
	TRY("read-slot", access(at, F_OK));
	TRY("read-beyond", access(beyond, F_OK));
	printf("content %s\n", at);
}

// descriptor is what can be tried with a lent descriptor that another thread kept.
void descriptor(void) {
	char path[64];
	void *p;
	if (kept < 0)
		return;
	TRY("write-lent", write(kept, "X", 1));
	TRY("map-lent", (p = mmap(0, 4096, PROT_READ, MAP_SHARED, kept, 0)) == MAP_FAILED ? -1 : 0);
	TRY("mprotect-lent", mprotect(p, 4096, PROT_READ | PROT_WRITE));
	snprintf(path, sizeof path, "/proc/self/fd/%d", kept);
	int fd = syscall(SYS_open, path, O_RDWR);
	TRY("reopen", fd);
	TRY("write", pwrite(fd, "X", 1, 0));
	TRY("map-write", mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	TRY("map-read", (p = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED ? -1 : 0);
	TRY("mprotect", mprotect(p, 4096, PROT_READ | PROT_WRITE));
	TRY("shrink", ftruncate(fd, 0));
	TRY("grow", ftruncate(fd, size));
	TRY("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	TRY("allocate", fallocate(fd, 0, 0, size));
	TRY("reseal", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	printf("content %s\n", at);
}
