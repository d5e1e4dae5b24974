package abi_test

import (
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
)

// dependent is the table by name.
const dependent = `
read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2
open creat openat openat2 truncate poll select pselect6 ppoll ioctl pause nanosleep clock_nanosleep
restart_syscall sendfile splice tee vmsplice copy_file_range connect accept accept4
sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg clone vfork clone3 execve execveat
wait4 waitid semop semtimedop msgsnd msgrcv mq_timedsend mq_timedreceive fcntl flock ptrace
rt_sigtimedwait rt_sigsuspend futex futex_waitv futex_wait io_destroy io_getevents io_submit
io_pgetevents io_uring_enter epoll_wait_old epoll_wait epoll_pwait epoll_pwait2
`

func TestDependent(t *testing.T) {
	named := map[uint32]bool{}
	for _, name := range strings.Fields(dependent) {
		nr, ok := syscalls.Number(name)
		if !ok {
			t.Fatalf("no call is named %s", name)
		}
		named[nr] = true
	}
	for nr := uint32(0); nr < 1024; nr++ {
		if name, _ := syscalls.Name(nr); abi.Dependent(nr) != named[nr] {
			t.Errorf("%s (%d): dependent %v, expected %v", name, nr, abi.Dependent(nr), named[nr])
		}
	}
}
