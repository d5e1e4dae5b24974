package args

// kernel/signal.c and arch/x86/kernel/signal_64.c. A sigset of another size than 8 is
// refused before it is read.
var kernelSignal = []Call{
	{Name: "rt_sigaction", Args: [6]Arg{u32, {Shape: Struct, Dir: In, Size: 32, Null: true}, out, u64}},
	{Name: "rt_sigprocmask", Args: [6]Arg{u32, sigsetOrNull, out, u64}},
	{Name: "rt_sigpending", Args: [6]Arg{out, u64}},
	{Name: "rt_sigtimedwait", Args: [6]Arg{sigset, out, timespecOrNull, u64}},
	{Name: "rt_sigqueueinfo", Args: [6]Arg{u32, u32, siginfo}},
	{Name: "rt_tgsigqueueinfo", Args: [6]Arg{u32, u32, u32, siginfo}},
	{Name: "rt_sigsuspend", Args: [6]Arg{sigset, u64}},
	{Name: "sigaltstack", Args: [6]Arg{{Shape: Struct, Dir: In, Size: 24, Null: true}, out}},
	{Name: "pidfd_send_signal", Args: [6]Arg{u32, u32, siginfoOrNull, u32}},
}

// kernel/time. nanosleep keeps where the rest of the time goes, for its restart.
var kernelTime = []Call{
	{Name: "nanosleep", Args: [6]Arg{timespec, out}},
	{Name: "clock_nanosleep", Args: [6]Arg{u32, u32, timespec, out}},
	{Name: "clock_settime", Args: [6]Arg{u32, timespec}},
	{Name: "clock_gettime", Args: [6]Arg{u32, out}},
	{Name: "clock_getres", Args: [6]Arg{u32, out}},
	{Name: "clock_adjtime", Args: [6]Arg{u32, inout}},
	{Name: "adjtimex", Args: [6]Arg{inout}},
	{Name: "getitimer", Args: [6]Arg{u32, out}},
	{Name: "setitimer", Args: [6]Arg{u32, twoTimes, out}},
	{Name: "timer_create", Args: [6]Arg{u32, sigevent, out}},
	{Name: "timer_settime", Args: [6]Arg{u32, u32, {Shape: Struct, Dir: In, Size: 32, Null: true}, out}},
	{Name: "timer_gettime", Args: [6]Arg{u32, out}},
	{Name: "time", Args: [6]Arg{out}},
	{Name: "gettimeofday", Args: [6]Arg{out, out}},
	{Name: "settimeofday", Args: [6]Arg{timevalOrNull, {Shape: Struct, Dir: In, Size: 8, Null: true}}},
}

// kernel/sys.c, kernel/groups.c, kernel/printk/printk.c, kernel/reboot.c,
// kernel/kcmp.c. A host name longer than __NEW_UTS_LEN is refused.
var kernelSys = []Call{
	{Name: "sethostname", Args: [6]Arg{{Shape: Array, Dir: In, Unit: 1, Count: Count{1, 4}, Max: 64}, u32}},
	{Name: "setdomainname", Args: [6]Arg{{Shape: Array, Dir: In, Unit: 1, Count: Count{1, 4}, Max: 64}, u32}},
	{Name: "uname", Args: [6]Arg{out}},
	{Name: "getrlimit", Args: [6]Arg{u32, out}},
	{Name: "setrlimit", Args: [6]Arg{u32, rlimit}},
	{Name: "prlimit64", Args: [6]Arg{u32, u32, {Shape: Struct, Dir: In, Size: 16, Null: true}, out}},
	{Name: "getrusage", Args: [6]Arg{u32, out}},
	{Name: "sysinfo", Args: [6]Arg{out}},
	{Name: "times", Args: [6]Arg{out}},
	{Name: "getresuid", Args: [6]Arg{out, out, out}},
	{Name: "getresgid", Args: [6]Arg{out, out, out}},
	{Name: "getcpu", Args: [6]Arg{out, out, address}}, // the third is unused
	{Name: "getgroups", Args: [6]Arg{u32, out}},
	{Name: "setgroups", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 4, Count: Count{0, 4}, Max: 4 * 65536}}},
	{Name: "syslog", Args: [6]Arg{u32, out, u32}},
	{Name: "reboot", Args: [6]Arg{u32, u32, u32, address}, cases: []Case{
		{3, []When{{2, low, 0xa1b2c3d4}}, Arg{Shape: String, Dir: In, Max: 255}}, // LINUX_REBOOT_CMD_RESTART2
	}},
	{Name: "kcmp", Args: [6]Arg{u32, u32, u32, u64, u64}, cases: []Case{
		{4, []When{{2, low, 7}}, Arg{Shape: Struct, Dir: In, Size: 12}}, // KCMP_EPOLL_TFD
	}},
	{Name: "getrandom", Args: [6]Arg{out, u64, u32}}, // drivers/char/random.c
}

// kernel/fork.c, kernel/exit.c, kernel/rseq.c. The address of a thread's id is
// written when it ends. clone_args grows with kernels; one longer than a page is
// refused. What its fields point at is not pinned. The child of clone3 starts with the
// registers of the call: who redirected one must put it back in the child, too.
var kernelFork = []Call{
	{Name: "clone", Args: [6]Arg{u64, u64, out, kept, u64}},
	{Name: "clone3", Args: [6]Arg{{Shape: Array, Dir: In, Unit: 1, Count: Count{1, 8}, Max: pageSize}, u64}},
	{Name: "set_tid_address", Args: [6]Arg{kept}},
	{Name: "wait4", Args: [6]Arg{u32, out, u32, out}},
	{Name: "waitid", Args: [6]Arg{u32, u32, out, u32, out}},
	{Name: "rseq", Args: [6]Arg{kept, u32, u32, u32}},
}

// kernel/sched/syscalls.c. sched_setattr writes the size it knows when it refuses
// one. An affinity is cut to the size of the kernel's, 8192 bits at most.
var kernelSched = []Call{
	{Name: "sched_setparam", Args: [6]Arg{u32, schedParam}},
	{Name: "sched_getparam", Args: [6]Arg{u32, out}},
	{Name: "sched_setscheduler", Args: [6]Arg{u32, u32, schedParam}},
	{Name: "sched_setattr", Args: [6]Arg{u32, inout, u32}},
	{Name: "sched_getattr", Args: [6]Arg{u32, out, u32, u32}},
	{Name: "sched_setaffinity", Args: [6]Arg{u32, u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{1, 4}, Max: 1024}}},
	{Name: "sched_getaffinity", Args: [6]Arg{u32, u32, out}},
	{Name: "sched_rr_get_interval", Args: [6]Arg{u32, out}},
}

// kernel/futex/syscalls.c. A futex is its address. The fourth argument of futex is a
// time for the commands that wait, else a number; the private and the clock bit are
// not part of a command.
var kernelFutex = []Call{
	{Name: "futex", Args: [6]Arg{address, u32, u32, address, address, u32}, cases: []Case{
		{3, []When{{1, futexCommand, 0}}, timespecOrNull},  // FUTEX_WAIT
		{3, []When{{1, futexCommand, 6}}, timespecOrNull},  // FUTEX_LOCK_PI
		{3, []When{{1, futexCommand, 9}}, timespecOrNull},  // FUTEX_WAIT_BITSET
		{3, []When{{1, futexCommand, 11}}, timespecOrNull}, // FUTEX_WAIT_REQUEUE_PI
		{3, []When{{1, futexCommand, 13}}, timespecOrNull}, // FUTEX_LOCK_PI2
	}},
	{Name: "futex_waitv", Args: [6]Arg{{Shape: Array, Dir: In, Unit: 24, Count: Count{1, 4}, Max: 128 * 24, Null: true}, u32, u32, timespecOrNull, u32}},
	{Name: "futex_wake", Args: [6]Arg{address, u64, u32, u32}},
	{Name: "futex_wait", Args: [6]Arg{address, u64, u64, u32, timespecOrNull, u32}},
	{Name: "futex_requeue", Args: [6]Arg{{Shape: Struct, Dir: In, Size: 48, Null: true}, u32, u32, u32}},
	{Name: "set_robust_list", Args: [6]Arg{kept, u64}},
	{Name: "get_robust_list", Args: [6]Arg{u32, out, out}},
}

// futexCommand is FUTEX_CMD_MASK.
const futexCommand = low &^ (128 | 256)

// kernel/module/main.c, kernel/kexec.c, kernel/kexec_file.c. Parameters of a module
// have no limit but memory; KEXEC_SEGMENT_MAX is 16, COMMAND_LINE_SIZE 2048.
var kernelModule = []Call{
	{Name: "init_module", Args: [6]Arg{{Shape: Array, Dir: In, Unit: 1, Count: Count{1, 8}}, u64, {Shape: String, Dir: In}}},
	{Name: "finit_module", Args: [6]Arg{u32, {Shape: String, Dir: In}, u32}},
	{Name: "delete_module", Args: [6]Arg{{Shape: String, Dir: In, Max: 55}, u32}},
	{Name: "kexec_load", Args: [6]Arg{u64, u64, {Shape: Array, Dir: In, Unit: 32, Count: Count{1, 8}, Max: 16 * 32}, u64}},
	{Name: "kexec_file_load", Args: [6]Arg{u32, u32, u64, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 8}, Max: 2048}, u64}},
}

// kernel/capability.c, kernel/seccomp.c, kernel/bpf/syscall.c, kernel/events/core.c.
// capset writes the version it knows into the header, whose version says how long the
// data are. Commands of bpf write into their attributes; perf_event_open writes the
// size it knows when it refuses one.
var kernelPrivilege = []Call{
	{Name: "capget", Args: [6]Arg{inout, out}},
	{Name: "capset", Args: [6]Arg{inout, memory}},
	{Name: "bpf", Args: [6]Arg{u32, inout, u32}},
	{Name: "perf_event_open", Args: [6]Arg{inout, u32, u32, u32, u64}},
	{Name: "seccomp", Args: [6]Arg{u32, u32, option}, cases: []Case{
		{2, []When{{0, low, 0}}, address}, // SECCOMP_SET_MODE_STRICT
		{2, []When{{0, low, 1}, {1, 1 << 16, 1 << 16}}, Arg{Shape: Sized, Dir: In, Max: pageSize}}, // … with SECCOMP_FILTER_FLAG_EXTENDED
		{2, []When{{0, low, 1}}, fprog},   // SECCOMP_SET_MODE_FILTER
		{2, []When{{0, low, 2}}, integer}, // SECCOMP_GET_ACTION_AVAIL
		{2, []When{{0, low, 3}}, out},     // SECCOMP_GET_NOTIF_SIZES
	}},
}
