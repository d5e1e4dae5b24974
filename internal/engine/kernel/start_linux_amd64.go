package kernel

import (
	"os/exec"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// Start loads the filters of stack, the first one first, and starts the target
// that cmd describes under guards and stack. It is cmd that is started: its
// pipes, context, streams and Wait are its own; SysProcAttr.Chroot and Ptrace are
// refused. Once the target runs, no descriptor of a filter or map is left, so it
// outlives this process. Errors are those of this package and of package launch,
// or what cmd.Start would have returned of the target.
func Start(stack []*split.Tree, guards cbpf.Program, cmd *exec.Cmd) error {
	return StartAs(Options{}, stack, guards, cmd)
}

// Options say how filters are installed.
type Options struct {
	// WaitLimit is how long a call waits for others; 0 is the kernel's limit.
	WaitLimit time.Duration
	// Log has the kernel log what the filters and guards deny.
	Log bool
}

// StartAs is Start with options.
func StartAs(o Options, stack []*split.Tree, guards cbpf.Program, cmd *exec.Cmd) error {
	filters, err := newFilters(stack)
	if err != nil {
		return err
	}
	l, err := load(filters)
	if err != nil {
		return err
	}
	defer l.close() // the target must not reach them by way of this process
	l.options = o
	return l.launch(guards, cmd)
}

// ExecAs loads the filters of stack and executes path in place of this process,
// under guards and stack, with options; see launch.Exec.
func ExecAs(o Options, stack []*split.Tree, guards cbpf.Program, path string, argv, env []string) error {
	filters, err := newFilters(stack)
	if err != nil {
		return err
	}
	l, err := load(filters)
	if err != nil {
		return err
	}
	defer l.close()
	l.options = o
	return l.execute(guards, path, argv, env)
}

func newFilters(stack []*split.Tree) ([]filter, error) {
	filters := make([]filter, len(stack))
	for i, t := range stack {
		filters[i] = newFilter(t)
		for _, v := range t.Verified().Programs() {
			if err := supported(v.Program()); err != nil {
				return nil, err
			}
			filters[i].waits = filters[i].waits || asksFor(v.Program(), helper.Waits)
			filters[i].reads = filters[i].reads || asksFor(v.Program(), helper.Pins)
		}
		if err := holdsArrays(t.Verified()); err != nil {
			return nil, err
		}
	}
	return filters, nil
}

// filter is a program, and the calls of either table that it always allows: the
// kernel does not ask it about them again where the rest of the chain agrees.
type filter struct {
	program *prog.Program
	// verified is what program is of; nil if it has no tail calls.
	verified *verify.Verified
	// waits tells that it orders calls, or what it goes on in does; reads likewise,
	// that it pins arguments.
	waits, reads bool
	// extension says what it always allows, and of which calls it may read something.
	// The kernel believes that.
	extension sys.Extension
}

func newFilter(t *split.Tree) filter {
	native := t.Ranges(abi.ArchX86_64)
	f := filter{program: t.Verified().Program(), verified: t.Verified()}
	f.extension.Native, f.extension.Compat = allowed(native), allowed(t.Ranges(abi.ArchI386))
	switch pins := pinned(native); len(pins) {
	case 0:
		f.extension.Flags = sys.NoPins
	case tableSize: // which is what the kernel takes silence for
	default:
		f.extension.Pins = pins
	}
	return f
}

// tableSize is above every number of the kernel's two tables; it ignores the excess.
const tableSize = 512

// allowed is the bitmap of the numbers that are allowed by constants.
func allowed(ranges []split.Range) []byte {
	bits := make([]byte, tableSize/8)
	for _, r := range ranges {
		if r.Leaf.Kind != split.Static || r.Leaf.Verdict.Action() != abi.Allow {
			continue
		}
		for nr := r.From; nr <= r.To && nr < tableSize; nr++ {
			bits[nr/8] |= 1 << (nr % 8)
		}
	}
	return bits
}

// pinned are the calls whose arguments a filter may read.
func pinned(ranges []split.Range) (pins []sys.Pin) {
	for _, r := range ranges {
		for nr := r.From; r.Leaf.Pins && nr <= r.To && nr < tableSize; nr++ {
			pins = append(pins, sys.Pin{Nr: nr, Args: sys.PinAll})
		}
	}
	return pins
}

// supported refuses what the patch series does not have, in better words than
// the kernel's verifier.
func supported(p *prog.Program) error {
	pc := callOf(p, func(sig *helper.Signature) bool { return sig.ID == helper.TracePrintk })
	if pc < 0 {
		return nil
	}
	sig, _ := helper.Lookup(helper.ID(p.Insns[pc].Imm))
	where := p.LineOf(pc).String()
	if where != "" {
		where = " (" + where + ")"
	}
	return &UnsupportedError{
		What:   "program " + p.Name + ": " + sig.Name + where,
		Remedy: "this kernel's filters do without it",
	}
}

// asksFor tells whether a helper with an effect is called.
func asksFor(p *prog.Program, effect helper.Effect) bool {
	return callOf(p, func(sig *helper.Signature) bool { return sig.Effect&effect != 0 }) >= 0
}

// callOf is the first call of a helper that is so, or -1.
func callOf(p *prog.Program, so func(*helper.Signature) bool) int {
	for pc := 0; pc < len(p.Insns); pc++ {
		in := p.Insns[pc]
		if in.IsLoadImm64() {
			pc++
			continue
		}
		if in.Op != prog.OpCallInsn || in.Src != 0 {
			continue
		}
		if sig, known := helper.Lookup(helper.ID(in.Imm)); known && so(sig) {
			return pc
		}
	}
	return -1
}
