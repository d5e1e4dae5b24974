package verify

import (
	"portcullis/internal/abi"
	"portcullis/internal/absint"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// MayTrace tells whether some decision of the program, or of one that its tail calls
// go on in, may take a tracer: it pins arguments, orders calls, returns what only a
// tracer delivers, or has storage that is copied at fork. It is what the proof has
// seen on some path, whichever call that is of, and costs nothing to ask.
func (v *Verified) MayTrace() bool {
	for _, w := range v.Programs() {
		if w.mayTrace || w.clones() {
			return true
		}
	}
	return false
}

// Clones tells whether the program, or one that its tail calls go on in, refers to
// storage that is copied to a forked child.
func (v *Verified) Clones() bool {
	for _, w := range v.Programs() {
		if w.clones() {
			return true
		}
	}
	return false
}

func (v *Verified) clones() bool {
	for _, m := range v.Program().Maps {
		if m.Type == prog.TaskStorage && m.Flags&prog.FlagClone != 0 {
			return true
		}
	}
	return false
}

// TracedAction finds an action that a verdict may have and that a notification cannot
// deliver: only the kernel itself can, for a constant verdict or for a tracer.
func TracedAction(r0 absint.Scalar) (abi.Verdict, bool) {
	for _, a := range [...]abi.Verdict{abi.Trap, abi.Trace, abi.KillThread} {
		data := absint.Between(uint64(a), uint64(a)|abi.DataMask)
		if _, _, may := absint.Refine(prog.OpJeq, absint.W32, r0.Truncate(), data); may {
			return a, true
		}
	}
	return 0, false
}

// trace notes what only a tracer can do.
func (c *check) trace(in prog.Insn) {
	if sig := c.code.Signature(in); sig != nil && sig.Effect&(helper.Pins|helper.Waits) != 0 {
		c.mayTrace = true
	}
}
