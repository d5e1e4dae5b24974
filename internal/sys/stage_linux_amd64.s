#include "textflag.h"
#include "go_asm.h"

// Numbers of system calls.
#define READ      0
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
// R12, R13 and R14 are kept from one call to the next, as the kernel keeps them.
TEXT ·stageProgram(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ SP, R12
	MOVQ $const_stageBlockAt, BX
	MOVL $4, DI // PR_SET_DUMPABLE, for root, to whom every file is readable
	XORL SI, SI
	CALL(PRCTL)
	MOVL stageBlock_first(BX), R13
	MOVL stageBlock_files(BX), R14
closeOnExec:
	MOVL R13, DI
	MOVL $2, SI // F_SETFD
	MOVL $1, DX // FD_CLOEXEC
	CALL(FCNTL)
	INCL R13
	DECL R14
	JNZ  closeOnExec
	MOVL stageBlock_first(BX), DI
	LEAQ stageBlock_order(BX), SI
	MOVL $stageOrder__size, DX
	CALL(READ)
	TESTQ AX, AX
	JLE  gone
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
	MOVL $1, DI // SECCOMP_SET_MODE_FILTER
	MOVQ stageBlock_order+stageOrder_flags(BX), SI
	LEAQ stageBlock_order+stageOrder_prog(BX), DX
	CALL(SECCOMP)
	TESTL AX, AX
	JS   failed
	MOVL AX, stageBlock_rights+stageRights_listener(BX) // the listener, if there is one
	MOVL $1, stageBlock_installed(BX)
gate:
	PAUSE
	MOVL stageBlock_gate(BX), AX
	TESTL AX, AX
	JZ   gate
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
	MOVL stageBlock_failed(BX), AX
	NEGL AX
	JNZ  report
	MOVL stageBlock_installed(BX), AX
	TESTL AX, AX
	JZ   installing
	MOVQ stageBlock_order+stageOrder_flags(BX), AX
	TESTL $8, AX // SECCOMP_FILTER_FLAG_NEW_LISTENER
	JZ   open
	MOVL stageBlock_first(BX), DI
	LEAQ stageBlock_message(BX), SI
	MOVL $0x4000, DX // MSG_NOSIGNAL
	CALL(SENDMSG)
	TESTL AX, AX
	JS   gone
	MOVL stageBlock_first(BX), DI // wait for the word
	LEAQ stageBlock_order+stageOrder_insns(BX), SI
	MOVL $1, DX
	CALL(READ)
	TESTL AX, AX
	JLE  gone
open:
	MOVL $const_StageExec, stageBlock_report+StageReport_Step(BX)
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
	MOVL stageBlock_first(BX), DI
	LEAQ stageBlock_message(BX), SI
	MOVQ $0, stageMessage_controlLen(SI) // no listener with it
	MOVL $0x4000, DX
	CALL(SENDMSG)
gone:
	MOVL $125, DI
	CALL(EXIT)
	// stageMark
	UD2
	UD2
	UD2
	UD2

DATA ·stageAddress(SB)/8, $·stageProgram(SB)
GLOBL ·stageAddress(SB), NOPTR|RODATA, $8
