#include "textflag.h"
#include "go_asm.h"

// func runLaunch(l *Launch)
//
// In assembly so that it is plain to see that the filtered thread makes no call
// but the two: no stack check, no write barrier, no instrumentation.
TEXT ·runLaunch(SB), NOSPLIT, $0-8
	MOVQ l+0(FP), BX // the kernel keeps it
	MOVL $317, AX    // seccomp
	MOVL $1, DI      // SECCOMP_SET_MODE_FILTER
	MOVQ Launch_flags(BX), SI
	LEAQ Launch_prog(BX), DX
	SYSCALL
	TESTQ AX, AX
	JS   refused
	MOVL AX, Launch_listener(BX)
	MOVL $1, Launch_installed(BX)
gate:
	PAUSE
	MOVL Launch_gate(BX), AX
	TESTL AX, AX
	JZ   gate
	MOVL $322, AX    // execveat
	MOVQ $-100, DI   // AT_FDCWD
	MOVQ Launch_path(BX), SI
	MOVQ Launch_argv(BX), DX // the slices' first words
	MOVQ Launch_env(BX), R10
	XORL R8, R8
	MOVQ Launch_token(BX), R9
	SYSCALL
	NEGL AX
	MOVL AX, Launch_failed(BX)
spin:
	PAUSE
	JMP  spin
refused:
	NEGL AX
	MOVL AX, Launch_failed(BX)
	RET

// func openLaunch(l *Launch, pause *unix.Timespec)
//
// Nor may the thread that waits beside it ever meet the scheduler, see Open.
TEXT ·openLaunch(SB), NOSPLIT, $0-16
	MOVQ l+0(FP), BX
	MOVL $1, Launch_gate(BX)
wait:
	MOVL Launch_failed(BX), AX
	TESTL AX, AX
	JNZ  failed
	MOVL $35, AX     // nanosleep
	MOVQ pause+8(FP), DI
	XORL SI, SI
	SYSCALL
	JMP  wait
failed:
	RET
