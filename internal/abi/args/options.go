package args

// fs/fcntl.c and fs/ioctl.c. The commands of ioctl that are listed are those that
// the kernel has for every file, and the oldest of terminals, whose numbers are no
// driver's own.
var byOption = []Call{
	{Name: "fcntl", Args: [6]Arg{u32, u32, option}, cases: fcntl},
	{Name: "ioctl", Args: [6]Arg{u32, u32, driver}, cases: ioctl},
	{Name: "prctl", Args: [6]Arg{u32, option, option, option, option}, cases: prctl},
	{Name: "arch_prctl", Args: [6]Arg{u32, option}, cases: archPrctl},
	{Name: "modify_ldt", Args: [6]Arg{u32, option, u64}, cases: []Case{
		// arch/x86/kernel/ldt.c: of struct user_desc, any other size is refused.
		{1, []When{{0, low, 0}}, out},
		{1, []When{{0, low, 1}}, Arg{Shape: Struct, Dir: In, Size: 16}},
		{1, []When{{0, low, 2}}, out},
		{1, []When{{0, low, 0x11}}, Arg{Shape: Struct, Dir: In, Size: 16}},
	}},
	{Name: "ptrace", Args: [6]Arg{u64, u64, option, option}, cases: ptrace},
}

var fcntl = []Case{
	{2, []When{{1, low, 5}}, inout},                                 // F_GETLK
	{2, []When{{1, low, 6}}, flock},                                 // F_SETLK
	{2, []When{{1, low, 7}}, flock},                                 // F_SETLKW
	{2, []When{{1, low, 36}}, inout},                                // F_OFD_GETLK
	{2, []When{{1, low, 37}}, flock},                                // F_OFD_SETLK
	{2, []When{{1, low, 38}}, flock},                                // F_OFD_SETLKW
	{2, []When{{1, low, 15}}, Arg{Shape: Struct, Dir: In, Size: 8}}, // F_SETOWN_EX
	{2, []When{{1, low, 16}}, out},                                  // F_GETOWN_EX
	{2, []When{{1, low, 17}}, out},                                  // F_GETOWNER_UIDS
	{2, []When{{1, low, 1035}}, out},                                // F_GET_RW_HINT
	{2, []When{{1, low, 1036}}, word},                               // F_SET_RW_HINT
	// Those that take a number.
	{2, []When{{1, low, 0}}, u32},    // F_DUPFD
	{2, []When{{1, low, 1}}, u32},    // F_GETFD
	{2, []When{{1, low, 2}}, u32},    // F_SETFD
	{2, []When{{1, low, 3}}, u32},    // F_GETFL
	{2, []When{{1, low, 4}}, u32},    // F_SETFL
	{2, []When{{1, low, 8}}, u32},    // F_SETOWN
	{2, []When{{1, low, 10}}, u32},   // F_SETSIG
	{2, []When{{1, low, 1024}}, u32}, // F_SETLEASE
	{2, []When{{1, low, 1026}}, u32}, // F_NOTIFY
	{2, []When{{1, low, 1030}}, u32}, // F_DUPFD_CLOEXEC
	{2, []When{{1, low, 1031}}, u32}, // F_SETPIPE_SZ
	{2, []When{{1, low, 1033}}, u32}, // F_ADD_SEALS
}

var ioctl = []Case{
	{2, []When{{1, low, 0x5421}}, integer},                                   // FIONBIO
	{2, []When{{1, low, 0x5452}}, integer},                                   // FIOASYNC
	{2, []When{{1, low, 0x4020940d}}, Arg{Shape: Struct, Dir: In, Size: 32}}, // FICLONERANGE
	{2, []When{{1, low, 0x40086602}}, integer},                               // FS_IOC_SETFLAGS: an int, though its number says 8 bytes
	{2, []When{{1, low, 0x401c5820}}, Arg{Shape: Struct, Dir: In, Size: 28}}, // FS_IOC_FSSETXATTR
	{2, []When{{1, low, 0x5402}}, termios},                                   // TCSETS
	{2, []When{{1, low, 0x5403}}, termios},                                   // TCSETSW
	{2, []When{{1, low, 0x5404}}, termios},                                   // TCSETSF
	{2, []When{{1, low, 0x5410}}, integer},                                   // TIOCSPGRP
	{2, []When{{1, low, 0x5412}}, Arg{Shape: Struct, Dir: In, Size: 1}},      // TIOCSTI
	{2, []When{{1, low, 0x5414}}, Arg{Shape: Struct, Dir: In, Size: 8}},      // TIOCSWINSZ
	{2, []When{{1, low, 0x5401}}, out},                                       // TCGETS
	{2, []When{{1, low, 0x540f}}, out},                                       // TIOCGPGRP
	{2, []When{{1, low, 0x5413}}, out},                                       // TIOCGWINSZ
	{2, []When{{1, low, 0x541b}}, out},                                       // FIONREAD
	{2, []When{{1, low, 0x541c}}, inout},                                     // TIOCLINUX
	{2, []When{{1, low, 0x80086601}}, out},                                   // FS_IOC_GETFLAGS
	{2, []When{{1, low, 0x801c581f}}, out},                                   // FS_IOC_FSGETXATTR
	{2, []When{{1, low, 0xc020660b}}, inout},                                 // FS_IOC_FIEMAP
	{2, []When{{1, low, 0xc0189436}}, inout},                                 // FIDEDUPERANGE
	{2, []When{{1, low, 0x40049409}}, u32},                                   // FICLONE: a descriptor
	{2, []When{{1, low, 0x5450}}, u32},                                       // FIONCLEX
	{2, []When{{1, low, 0x5451}}, u32},                                       // FIOCLEX
}

// termios is the kernel's struct termios, which is shorter than that of libc.
var termios = Arg{Shape: Struct, Dir: In, Size: 36}

// prctl are its options, from kernel/sys.c. PR_SET_NAME takes 15 bytes and cuts the
// rest; the kernel reads the selector of PR_SET_SYSCALL_USER_DISPATCH at every call.
var prctl = []Case{
	{1, []When{{0, low, 15}}, Arg{Shape: String, Dir: In, Max: 15}},                                                // PR_SET_NAME
	{2, []When{{0, low, 22}, {1, all, 2}}, fprog},                                                                  // PR_SET_SECCOMP, SECCOMP_MODE_FILTER
	{2, []When{{0, low, 35}, {1, low, 12}}, Arg{Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: maxAuxv}}, // PR_SET_MM, PR_SET_MM_AUXV
	{2, []When{{0, low, 35}, {1, low, 14}}, Arg{Shape: Struct, Dir: In, Size: 104}},                                // PR_SET_MM_MAP
	{2, []When{{0, low, 35}, {1, low, 15}}, out},                                                                   // PR_SET_MM_MAP_SIZE
	{4, []When{{0, low, 0x53564d41}, {1, all, 0}}, Arg{Shape: String, Dir: In, Max: 80, Null: true}},               // PR_SET_VMA, PR_SET_VMA_ANON_NAME
	{4, []When{{0, low, 59}}, kept},                                                                                // PR_SET_SYSCALL_USER_DISPATCH
	{4, []When{{0, low, 62}}, out},                                                                                 // PR_SCHED_CORE
	{1, []When{{0, low, 2}}, out},                                                                                  // PR_GET_PDEATHSIG
	{1, []When{{0, low, 16}}, out},                                                                                 // PR_GET_NAME
	{1, []When{{0, low, 25}}, out},                                                                                 // PR_GET_TSC
	{1, []When{{0, low, 37}}, out},                                                                                 // PR_GET_CHILD_SUBREAPER
	{1, []When{{0, low, 40}}, out},                                                                                 // PR_GET_TID_ADDRESS
	{1, []When{{0, low, 0x41555856}}, out},                                                                         // PR_GET_AUXV
	// The most common of those that take numbers alone.
	{1, []When{{0, low, 1}}, u64},  // PR_SET_PDEATHSIG
	{1, []When{{0, low, 4}}, u64},  // PR_SET_DUMPABLE
	{1, []When{{0, low, 8}}, u64},  // PR_SET_KEEPCAPS
	{1, []When{{0, low, 23}}, u64}, // PR_CAPBSET_READ
	{1, []When{{0, low, 24}}, u64}, // PR_CAPBSET_DROP
	{1, []When{{0, low, 29}}, u64}, // PR_SET_TIMERSLACK
	{1, []When{{0, low, 36}}, u64}, // PR_SET_CHILD_SUBREAPER
	{1, []When{{0, low, 38}}, u64}, // PR_SET_NO_NEW_PRIVS
}

// maxAuxv is more than sizeof(mm->saved_auxv), which varies a little.
const maxAuxv = 512

// all is the mask of a 64-bit option.
const all = ^uint64(0)

// archPrctl are the options of arch/x86/kernel/process_64.c, process.c and
// fpu/xstate.c.
var archPrctl = []Case{
	{1, []When{{0, low, 0x1001}}, address}, // ARCH_SET_GS
	{1, []When{{0, low, 0x1002}}, address}, // ARCH_SET_FS
	{1, []When{{0, low, 0x1003}}, out},     // ARCH_GET_FS
	{1, []When{{0, low, 0x1004}}, out},     // ARCH_GET_GS
	{1, []When{{0, low, 0x1012}}, u64},     // ARCH_SET_CPUID
	{1, []When{{0, low, 0x1021}}, out},     // ARCH_GET_XCOMP_SUPP
	{1, []When{{0, low, 0x1022}}, out},     // ARCH_GET_XCOMP_PERM
	{1, []When{{0, low, 0x1023}}, u64},     // ARCH_REQ_XCOMP_PERM
	{1, []When{{0, low, 0x4001}}, out},     // ARCH_GET_UNTAG_MASK
	{1, []When{{0, low, 0x4003}}, out},     // ARCH_GET_MAX_TAG_BITS
	{1, []When{{0, low, 0x5005}}, out},     // ARCH_SHSTK_STATUS
}

// ptrace are the requests of kernel/ptrace.c and arch/x86/kernel/ptrace.c that have
// memory of the caller. The kernel compares all 64 bits.
var ptrace = []Case{
	{3, []When{{0, all, 13}}, Arg{Shape: Struct, Dir: In, Size: 216}},    // PTRACE_SETREGS
	{3, []When{{0, all, 15}}, Arg{Shape: Struct, Dir: In, Size: 512}},    // PTRACE_SETFPREGS
	{3, []When{{0, all, 0x4203}}, siginfo},                               // PTRACE_SETSIGINFO
	{3, []When{{0, all, 0x420b}}, sigset},                                // PTRACE_SETSIGMASK
	{2, []When{{0, all, 0x4209}}, Arg{Shape: Struct, Dir: In, Size: 16}}, // PTRACE_PEEKSIGINFO
	{3, []When{{0, all, 0x4209}}, out},
	{3, []When{{0, all, 0x4210}}, Arg{Shape: Struct, Dir: In, Size: 32}}, // PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG
	{3, []When{{0, all, 1}}, out},                                        // PTRACE_PEEKTEXT
	{3, []When{{0, all, 2}}, out},                                        // PTRACE_PEEKDATA
	{3, []When{{0, all, 3}}, out},                                        // PTRACE_PEEKUSR
	{3, []When{{0, all, 4}}, u64},                                        // PTRACE_POKETEXT
	{3, []When{{0, all, 5}}, u64},                                        // PTRACE_POKEDATA
	{3, []When{{0, all, 6}}, u64},                                        // PTRACE_POKEUSR
	{3, []When{{0, all, 12}}, out},                                       // PTRACE_GETREGS
	{3, []When{{0, all, 14}}, out},                                       // PTRACE_GETFPREGS
	{3, []When{{0, all, 0x4201}}, out},                                   // PTRACE_GETEVENTMSG
	{3, []When{{0, all, 0x4202}}, out},                                   // PTRACE_GETSIGINFO
	{3, []When{{0, all, 0x4204}}, inout},                                 // PTRACE_GETREGSET
	{3, []When{{0, all, 0x4205}}, inout},                                 // PTRACE_SETREGSET
	{3, []When{{0, all, 0x420a}}, out},                                   // PTRACE_GETSIGMASK
}
