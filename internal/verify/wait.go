package verify

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/absint"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// targetReg holds the second argument of wait_syscall.
const targetReg = 2

// wait refuses to wait for a call that may itself wait for the one that waits. A
// target that is not known here is checked when the program runs.
func (c *check) wait(s *absint.State, in prog.Insn) *absint.Problem {
	sig := c.code.Signature(in)
	if sig == nil || sig.ID != helper.WaitSyscall {
		return nil
	}
	target, known := s.Top().Regs[targetReg].Const()
	if !known || target&abi.WaitAny != 0 || target > abi.WaitAny || !abi.Dependent(uint32(target)) {
		return nil
	}
	name, _ := syscalls.Name(uint32(target))
	return &absint.Problem{
		Reason: fmt.Sprintf("%s argument 2: expected a call that ends by itself, found %s (%d), whose end can depend on the task that waits",
			sig.Name, name, target),
		State:  s.Describe(c.code.Prog, targetReg),
		Remedy: "wait for another call, or add PORTCULLIS_WAIT_ANY to its number if tasks that wait have no part in it",
	}
}
