package kernel

import (
	"os/exec"

	"portcullis/internal/cbpf"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// Start loads stack, the first filter first, and starts the target that cmd
// describes under guards and stack. It is cmd that is started: its pipes,
// context, streams and Wait are its own; SysProcAttr.Chroot and Ptrace are
// refused. Once the target runs, no descriptor of a filter or map is left, so it
// outlives this process. Errors are those of this package, or what cmd.Start
// would have returned of the target.
func Start(stack []*verify.Verified, guards cbpf.Program, cmd *exec.Cmd) error {
	programs := make([]*prog.Program, len(stack))
	for i, v := range stack {
		programs[i] = v.Program()
		if err := supported(programs[i]); err != nil {
			return err
		}
	}
	return start(programs, guards, cmd)
}

// supported refuses what the patch series does not have, in better words than
// the kernel's verifier.
func supported(p *prog.Program) error {
	for pc := 0; pc < len(p.Insns); pc++ {
		in := p.Insns[pc]
		if in.IsLoadImm64() {
			pc++
			continue
		}
		if in.Op != prog.OpCallInsn || in.Src != 0 {
			continue
		}
		sig, known := helper.Lookup(helper.ID(in.Imm))
		if known && (sig.Effect&(helper.Pins|helper.Waits) != 0 || sig.ID == helper.TracePrintk) {
			where := p.LineOf(pc).String()
			if where != "" {
				where = " (" + where + ")"
			}
			return &UnsupportedError{
				What:   "program " + p.Name + ": " + sig.Name + where,
				Remedy: "this kernel's filters do without it",
			}
		}
	}
	return nil
}
