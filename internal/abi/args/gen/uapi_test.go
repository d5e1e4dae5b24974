package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
)

// sized are structures of the kernel's uapi, and an argument that holds them where
// the registers are as given: its Size, or the Unit of an array.
func sized() []struct {
	ctype, call string
	arg         int
	regs        [6]uint64
} {
	type r = [6]uint64
	return []struct {
		ctype, call string
		arg         int
		regs        [6]uint64
	}{
		{"struct __kernel_timespec", "nanosleep", 0, r{}},
		{"struct __kernel_itimerspec", "timerfd_settime", 2, r{}},
		{"struct __kernel_old_timeval", "settimeofday", 0, r{}},
		{"struct timezone", "settimeofday", 1, r{}},
		{"struct __kernel_old_itimerval", "setitimer", 1, r{}},
		{"struct __kernel_timespec[2]", "utimensat", 2, r{}},
		{"struct __kernel_old_timeval[2]", "utimes", 1, r{}},
		{"struct utimbuf", "utime", 1, r{}},
		{"struct iovec", "writev", 1, r{}},
		{"struct sigaction", "rt_sigaction", 1, r{}},
		{"sigset_t", "rt_sigprocmask", 1, r{}},
		{"stack_t", "sigaltstack", 0, r{}},
		{"siginfo_t", "rt_sigqueueinfo", 2, r{}},
		{"struct sigevent", "timer_create", 1, r{}},
		{"struct rlimit64", "prlimit64", 2, r{}},
		{"struct epoll_event", "epoll_ctl", 3, r{0, 1}},
		{"struct mq_attr", "mq_open", 3, r{}},
		{"struct semid64_ds", "semctl", 3, r{0, 0, 1}},
		{"struct shmid64_ds", "shmctl", 2, r{0, 1}},
		{"struct msqid64_ds", "msgctl", 2, r{0, 1}},
		{"struct sembuf", "semop", 1, r{}},
		{"struct futex_waitv", "futex_waitv", 0, r{}},
		{"struct futex_waitv[2]", "futex_requeue", 0, r{}},
		{"struct kexec_segment", "kexec_load", 2, r{}},
		{"struct user_desc", "modify_ldt", 1, r{1}},
		{"struct flock", "fcntl", 2, r{0, 6}},
		{"struct flock", "fcntl", 2, r{0, 38}},
		{"struct f_owner_ex", "fcntl", 2, r{0, 15}},
		{"struct file_clone_range", "ioctl", 2, r{0, 0x4020940d}},
		{"struct fsxattr", "ioctl", 2, r{0, 0x401c5820}},
		{"struct termios", "ioctl", 2, r{0, 0x5402}},
		{"struct winsize", "ioctl", 2, r{0, 0x5414}},
		{"struct sock_fprog", "seccomp", 2, r{1}},
		{"struct sock_fprog", "prctl", 2, r{22, 2}},
		{"struct prctl_mm_map", "prctl", 2, r{35, 14}},
		{"struct keyctl_dh_params", "keyctl", 1, r{23}},
		{"struct keyctl_kdf_params", "keyctl", 4, r{23}},
		{"struct keyctl_pkey_params", "keyctl", 1, r{28}},
		{"struct landlock_path_beneath_attr", "landlock_add_rule", 2, r{0, 1}},
		{"struct if_dqinfo", "quotactl", 3, r{0x800006 << 8}},
		{"struct if_dqblk", "quotactl_fd", 3, r{0, 0x800008 << 8}},
		{"struct fs_disk_quota", "quotactl", 3, r{0x5804 << 8}},
		{"struct kcmp_epoll_slot", "kcmp", 4, r{0, 0, 7}},
		{"struct io_uring_getevents_arg", "io_uring_enter", 4, r{0, 0, 0, 8}},
		{"struct ptrace_peeksiginfo_args", "ptrace", 2, r{0x4209}},
		{"struct file_handle_head", "open_by_handle_at", 1, r{}},
	}
}

// The kernel's own structures: libc has others of the same names.
const uapiIncludes = `
#include <linux/types.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/utime.h>
#include <linux/uio.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <linux/resource.h>
#include <linux/eventpoll.h>
#include <linux/mqueue.h>
#include <linux/sem.h>
#include <linux/shm.h>
#include <linux/msg.h>
#include <linux/futex.h>
#include <linux/kexec.h>
#include <asm/ldt.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <asm/termbits.h>
#include <asm/termios.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/quota.h>
#include <linux/dqblk_xfs.h>
#include <linux/kcmp.h>
#include <linux/io_uring.h>
#include <asm/ptrace.h>
#include <linux/ptrace.h>
struct file_handle_head { __u32 handle_bytes; int handle_type; };
`

// TestSizesAreThoseOfTheUapi compiles the table above against the kernel's headers.
func TestSizesAreThoseOfTheUapi(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc: to compile the sizes of structures")
	}
	if _, err := os.Stat("/usr/include/linux/landlock.h"); err != nil {
		t.Skip("needs linux-libc-dev: the kernel's headers")
	}
	var b strings.Builder
	b.WriteString(uapiIncludes)
	for _, s := range sized() {
		fmt.Fprintf(&b, "_Static_assert(sizeof(%s) == %d, %q);\n", s.ctype, sizeOf(t, s.call, s.arg, s.regs), s.ctype)
	}
	src := filepath.Join(t.TempDir(), "sizes.c")
	if err := os.WriteFile(src, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("gcc", "-fsyntax-only", src).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func sizeOf(t *testing.T, call string, i int, regs [6]uint64) uint32 {
	t.Helper()
	nr, ok := syscalls.Number(call)
	if !ok {
		t.Fatalf("no call %s", call)
	}
	c, _ := args.Of(nr)
	a := c.Arg(i, regs)
	if a.Dir != args.In {
		t.Errorf("%s.%d with %#x is %+v: want input", call, i, regs, a)
	}
	if a.Unit != 0 {
		return a.Unit
	}
	return a.Size
}
