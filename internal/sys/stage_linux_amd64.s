#include "textflag.h"
#include "go_asm.h"

// Numbers of system calls.
#define READ      0
#define CLOSE     3
#define WRITEV    20
#define NANOSLEEP 35
#define SENDMSG   46
#define CLONE     56
#define FCNTL     72
#define PRCTL     157
#define EXIT      231 // exit_group
#define YIELD     24  // sched_yield
#define SECCOMP   317
#define EXECVEAT  322

#define CALL(nr) MOVL $nr, AX; SYSCALL

// CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM
#define THREAD 0x50f00

// The code of a stage. It is copied into an ELF file of its own, see stage.go,
// and refers to nothing but itself and its memory, at a fixed address, in BX. It
// starts as the kernel starts programs: the stack holds argc, argv, 0, envp, 0.
//
// One thread installs the filter and makes no call from there to execveat, for
// it might not be allowed to or not be answered; the other is not filtered and
// speaks to the supervisor. The kernel ends it when the first one executes.
// R12 to R15 are kept from one call to the next, as the kernel keeps them; R15
// tells whether there is to be a tracer.
TEXT ·stageProgram(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ SP, R12
	MOVQ $const_stageBlockAt, BX
	MOVL $4, DI // PR_SET_DUMPABLE, for root, to whom every file is readable
	XORL SI, SI
	CALL(PRCTL)
	MOVQ stageBlock_own(BX), R13
	MOVL stageBlock_owned(BX), R14
closeOnExec:
	MOVL (R13), DI
	MOVL $2, SI // F_SETFD
	MOVL $1, DX // FD_CLOEXEC
	CALL(FCNTL)
	ADDQ $4, R13
	DECL R14
	JNZ  closeOnExec
	MOVL stageBlock_socket(BX), DI
	LEAQ stageBlock_order(BX), SI
	MOVL $stageOrder__size, DX
	CALL(READ)
	TESTQ AX, AX
	JLE  gone
	MOVQ AX, stageBlock_ordered(BX)
	MOVQ stageBlock_order+stageOrder_traced(BX), R15
	MOVL $const_StagePrivs, stageBlock_report+StageReport_Step(BX)
	MOVL $38, DI // PR_SET_NO_NEW_PRIVS
	MOVL $1, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	CALL(PRCTL)
	TESTL AX, AX
	JNZ  report
	MOVL $const_StageThread, stageBlock_report+StageReport_Step(BX)
	MOVL $THREAD, DI
	LEAQ stageBlock_stack+1024(BX), SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	CALL(CLONE)
	TESTL AX, AX
	JZ   attend
	JS   report

	// From here on the filtered thread.
	LEAQ stageBlock_order+stageOrder_installs(BX), R13
	MOVQ stageBlock_order+stageOrder_count(BX), R14
	TESTQ R14, R14
	JZ   execute
install:
	MOVL $1, DI // SECCOMP_SET_MODE_FILTER
	MOVQ stageInstall_flags(R13), SI
	MOVQ stageInstall_arg(R13), DX
	CALL(SECCOMP)
	TESTL AX, AX
	JS   failed
	TESTL $8, stageInstall_flags(R13) // SECCOMP_FILTER_FLAG_NEW_LISTENER
	JZ   installed
	MOVL AX, stageBlock_rights+stageRights_listener(BX)
installed:
	INCL stageBlock_report+StageReport_Installed(BX)
	ADDQ $stageInstall__size, R13
	DECQ R14
	JNZ  install
	TESTQ R15, R15
	JNZ  gate
	MOVL stageBlock_rights+stageRights_listener(BX), AX
	TESTL AX, AX
	JS   execute
gate: // until the supervisor has the listener, or traces
	PAUSE
	MOVL stageBlock_gate(BX), AX
	TESTL AX, AX
	JZ   gate
execute:
	MOVQ (R12), R10
	LEAQ 8(R12), DX            // argv
	LEAQ 8(DX)(R10*8), R10     // envp
	MOVQ $-100, DI             // AT_FDCWD
	MOVQ stageBlock_path(BX), SI
	XORL R8, R8
	MOVQ stageBlock_order+stageOrder_token(BX), R9
	CALL(EXECVEAT)
failed:
	NEGL AX
	MOVL AX, stageBlock_failed(BX)
spin:
	PAUSE
	JMP  spin

	// From here on the other one.
attend:
	MOVL $const_StageInstall, stageBlock_report+StageReport_Step(BX)
installing:
	CALL(YIELD)
	MOVL stageBlock_failed(BX), AX // before what tells which call it was
	MOVL stageBlock_report+StageReport_Installed(BX), CX
	CMPL CX, stageBlock_order+stageOrder_count(BX)
	JE   installedAll
	NEGL AX
	JNZ  report
	JMP  installing
installedAll:
	MOVL stageBlock_rights+stageRights_listener(BX), DI
	TESTL DI, DI
	JS   unheard // there is no listener
	MOVL stageBlock_socket(BX), DI
	LEAQ stageBlock_message(BX), SI
	MOVL $0x4000, DX // MSG_NOSIGNAL
	CALL(SENDMSG)
	TESTL AX, AX
	JS   gone
	TESTQ R15, R15
	JZ   await
unheard:
	TESTQ R15, R15
	JZ   open

	// Any process of this user may look into one that a tracer may seize, and
	// change it: until it executes nothing worth it is left, and this thread too
	// is filtered.
	MOVL $const_StageTraced, stageBlock_report+StageReport_Step(BX)
	MOVL stageBlock_rights+stageRights_listener(BX), DI
	CALL(CLOSE)
	LEAQ stageBlock_order(BX), DI
	MOVQ stageBlock_ordered(BX), CX
	XORL AX, AX
	CLD
	REP; STOSB
	MOVL $1, DI // SECCOMP_SET_MODE_FILTER
	XORL SI, SI
	MOVQ stageBlock_confine(BX), DX
	CALL(SECCOMP)
	TESTL AX, AX
	JNZ  report
	MOVL $4, DI // PR_SET_DUMPABLE
	MOVL $1, SI
	CALL(PRCTL)
	TESTL AX, AX
	JNZ  report
	MOVL stageBlock_socket(BX), DI
	LEAQ stageBlock_message(BX), SI
	MOVQ $0, stageMessage_controlLen(SI) // no listener with it
	MOVL $0x4000, DX
	CALL(SENDMSG)
	TESTL AX, AX
	JS   gone
await: // the word
	MOVL stageBlock_socket(BX), DI
	LEAQ stageBlock_order+stageOrder_data(BX), SI
	MOVL $1, DX
	CALL(READ)
	TESTL AX, AX
	JLE  gone
open:
	MOVL $const_StageExec, stageBlock_report+StageReport_Step(BX)
	MOVQ $0, stageBlock_said+(stageIovec__size+stageIovec_len)(BX) // that it is installing
	MOVL $1, stageBlock_gate(BX)
executing:
	LEAQ stageBlock_pause(BX), DI
	XORL SI, SI
	CALL(NANOSLEEP)
	MOVL stageBlock_failed(BX), AX
	NEGL AX
	JZ   executing

	// A thread that is not filtered, and a negative errno.
report:
	NEGL AX
	MOVL AX, stageBlock_report+StageReport_Errno(BX)
	MOVQ stageBlock_texts(BX), R13
	TESTQ R13, R13
	JNZ  say
	MOVL stageBlock_socket(BX), DI
	LEAQ stageBlock_message(BX), SI
	MOVQ $0, stageMessage_controlLen(SI) // no listener with it
	MOVL $0x4000, DX
	CALL(SENDMSG)
gone:
	MOVL $125, DI
	CALL(EXIT)

	// Nobody is there: print the text of the errno in AX.
say:
	CMPL AX, $const_errnos
	JB   known
	XORL AX, AX
known:
	SHLQ $6, AX // errnoText__size
	ADDQ AX, R13
	MOVBLZX errnoText_len(R13), AX
	MOVQ AX, stageBlock_said+(2*stageIovec__size+stageIovec_len)(BX)
	LEAQ errnoText_line(R13), AX
	MOVQ AX, stageBlock_said+(2*stageIovec__size+stageIovec_base)(BX)
	MOVL $2, DI // standard error
	LEAQ stageBlock_said(BX), SI
	MOVL $3, DX
	CALL(WRITEV)
	MOVL stageBlock_report+StageReport_Step(BX), AX
	CMPL AX, $const_StageExec
	JNE  gone
	MOVBLZX errnoText_exit(R13), DI
	CALL(EXIT)
	// stageMark
	UD2
	UD2
	UD2
	UD2

DATA ·stageAddress(SB)/8, $·stageProgram(SB)
GLOBL ·stageAddress(SB), NOPTR|RODATA, $8
