package prefilter

import (
	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/split"
)

// spec is what a prefilter must answer, written as the ABI describes it and
// not as the compiler computes it: every filter of a stack as the kernel would
// run it, guards as filters that are older than the stack.
type spec struct {
	stack           []*fakeTree
	o               Options
	dynamic, traced bool
}

func (s *spec) answer(d *abi.SeccompData) abi.Verdict {
	lifted := map[Guard]bool{}
	for _, g := range s.o.Lift {
		lifted[g] = true
	}
	nr := uint32(d.Nr)
	x32 := d.Arch == abi.ArchX86_64 && nr&0x40000000 != 0 && nr != 0xffffffff
	switch {
	case d.Arch != abi.ArchX86_64 && d.Arch != abi.ArchI386,
		d.Arch == abi.ArchI386 && !lifted["i386"],
		x32 && !lifted["x32"]:
		return abi.KillProcess
	case s.o.Token != 0 && d.Arch == abi.ArchX86_64 && nr == 322 && d.Args[5] == s.o.Token:
		return abi.Allow
	}
	if v, ok := s.tracers(d); ok {
		return v
	}
	v, kind := s.ask(d)
	plain := nr
	if x32 {
		plain = nr - 0x40000000
	}
	seccomp := d.Arch == abi.ArchX86_64 && plain == 317 || d.Arch == abi.ArchI386 && nr == 354
	switch {
	case plain >= 425 && plain <= 427 && !lifted["io_uring"]:
		return s.under(v, kind, abi.Errno(38))
	case s.dynamic && seccomp && uint32(d.Args[0]) == 1 && d.Args[1]&8 != 0:
		return s.under(v, kind, abi.Errno(16))
	case s.traced && nr == 435:
		return s.under(v, kind, abi.Errno(38))
	case s.traced && (nr == 101 || nr == 56 && d.Args[0]&0x800000 != 0 || s.o.Slots == SlotsGuarded && remaps(d)):
		return s.under(v, kind, abi.Errno(1))
	case kind == split.Trace:
		return abi.Trace | 0x5043
	case countedOn(d):
		return s.unfailed(v, kind)
	case kind == split.Notify || watched(s.o.Observe, v):
		return abi.UserNotif
	}
	return v
}

// countedOn tells whether a program takes for granted that the call does not fail.
func countedOn(d *abi.SeccompData) bool {
	nr := uint32(d.Nr)
	if d.Arch == abi.ArchI386 {
		return nr == 1 || nr == 119 || nr == 173 || nr == 252
	}
	switch nr {
	case 15, 60, 231, 0x4000003c, 0x400000e7, 0x40000201, 0x4000000f:
		return true
	}
	return false
}

// unfailed is the answer to a call that nothing may interrupt.
func (s *spec) unfailed(v abi.Verdict, kind split.Kind) abi.Verdict {
	seen := watched(s.o.Observe, v)
	switch {
	case kind == split.Notify, seen && s.o.Observe == ObservePermissive:
		return abi.Trace | 0x5043
	case seen && v != abi.Allow && v != abi.Log:
		return abi.UserNotif
	}
	return v
}

// tracers is the answer to what a tracer makes a target do.
func (s *spec) tracers(d *abi.SeccompData) (abi.Verdict, bool) {
	if !s.traced || d.Arch != abi.ArchX86_64 {
		return 0, false
	}
	at := d.InstructionPointer>>32 == 1<<31
	switch d.Nr {
	case 3, 7, 9, 11, 28, 462:
		return abi.Allow, at
	case 236:
		return abi.UserNotif, at
	case 400:
		return abi.KillProcess, true
	case 401:
		return abi.KillThread, true
	case 402:
		return abi.Trap, true
	}
	return 0, false
}

// remaps tells whether a call could change the place of copies.
func remaps(d *abi.SeccompData) bool {
	low := func(i int) bool { return d.Args[i]&0x81ffffffffffffff < 0x400000 }
	switch d.Nr {
	case 9:
		return d.Args[3]&0x100010 != 0 && low(0)
	case 10, 11, 28, 216, 329:
		return low(0)
	case 25:
		return low(0) || d.Args[3]&2 != 0 && low(4)
	case 30:
		return low(1) && uint32(d.Args[1]) != 0
	case 157:
		return uint32(d.Args[0]) == 35
	}
	return d.Nr == 134 || d.Nr == 440
}

// ask is what the stack answers by itself, and who else is needed for the answer.
func (s *spec) ask(d *abi.SeccompData) (abi.Verdict, split.Kind) {
	v, kind := abi.Allow, split.Static
	for _, f := range s.stack {
		l := f.leaf(d)
		if l.Kind != split.Static {
			kind = max(kind, l.Kind)
			continue
		}
		v = abi.Strictest(l.Verdict, v)
	}
	if a := v.Action(); kind == split.Notify && (a == abi.Trap || a == abi.KillThread) {
		kind = split.Trace
	}
	switch v = v.Effective(); v.Action() {
	case abi.UserNotif:
		v = abi.Errno(38)
	case abi.Trace:
		if s.traced {
			v = abi.Errno(38)
		}
	case abi.Allow:
		v = abi.Allow
	}
	return v, kind
}

func (s *spec) under(v abi.Verdict, kind split.Kind, guard abi.Verdict) abi.Verdict {
	if kind != split.Static || s.o.Observe == ObservePermissive {
		return guard
	}
	return abi.Strictest(v, guard)
}

func watched(o Observe, v abi.Verdict) bool {
	allowed := v == abi.Allow || v == abi.Log
	exact := v.Action() == abi.Trap || v.Action() == abi.Trace || v.Action() == abi.KillThread
	switch o {
	case ObserveDenials:
		return !allowed && !exact
	case ObserveAll:
		return !exact
	case ObservePermissive:
		return !allowed
	}
	return false
}

// tied tells whether some filter tests an argument of the call that may hold a pointer.
func (s *spec) tied(d *abi.SeccompData) bool {
	call, known := args.Of(uint32(d.Nr))
	var tests func(d *split.Decision) bool
	tests = func(d *split.Decision) bool {
		if d.Then == nil {
			return false
		}
		i := (d.Test.Off - abi.OffArgs) / 8
		value := known && call.Args[i].Shape <= args.Value && len(call.Cases()) == 0
		return !value || tests(d.Then) || tests(d.Else)
	}
	for _, f := range s.stack {
		for _, r := range f.rs[d.Arch] {
			if r.From <= uint32(d.Nr) && uint32(d.Nr) <= r.To && r.Decision != nil && tests(r.Decision) {
				return true
			}
		}
	}
	return false
}
