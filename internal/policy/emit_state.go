package policy

import (
	"math"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/policy/asm"
	"portcullis/internal/prog"
)

// eagain is the error of calls that a limit with a window denies.
const eagain = 11

// steps emits what state asks of a call, and goes to end where nothing denies it. What is
// asked of earlier calls comes before what this call changes, so that one which is denied
// changes nothing but the limits that it has been counted for.
func (c *compiler) steps(s *steps, end asm.Label) {
	k := &keeper{compiler: c}
	c.b.At(c.line(c.m.Pos))
	k.fetch(s)
	k.checkPrograms(s.programs.denied)
	if s.phase != nil && k.checkPhase(s.phase) == ends {
		return
	}
	for _, o := range s.orders {
		k.checkOrder(o)
	}
	for _, f := range s.flows {
		if k.checkFlow(f) == ends {
			return
		}
	}
	for _, l := range s.limits {
		k.take(l)
	}
	for _, o := range s.orders {
		k.mark(o)
	}
	for _, f := range s.flows {
		k.follow(f)
	}
	if s.phase != nil {
		k.move(s.phase)
	}
	k.execute(s.programs.tests)
	k.await(s.waits)
	c.b.Jump(end)
}

// keeper emits steps.
type keeper struct {
	*compiler
}

// flowing tells whether code goes on behind a step.
type flowing bool

// A step goes on to the next, or ends in an answer whatever the state is.
const (
	goesOn flowing = true
	ends   flowing = false
)

// denial is the label of the answer of state that says no.
func (c *compiler) denial(a Action, at Pos, otherwise uint16) asm.Label {
	if a.Kind == NoAction {
		a = Action{Kind: Errno, Data: otherwise}
	}
	return c.returns(a, at)
}

// fetch finds the storages that steps need, and keeps their addresses.
func (k *keeper) fetch(s *steps) {
	needs := k.owners(s)
	if at := needs[Process]; at != nil {
		k.taskStorage(k.state.stores[Process].m, 0, *at)
		k.b.Store(prog.SizeDW, asm.R10, frameProcess, asm.R0)
	}
	if at := needs[Thread]; at != nil {
		k.taskStorage(k.state.stores[Thread].m, helper.StorageThread, *at)
		k.b.Store(prog.SizeDW, asm.R10, frameThread, asm.R0)
	}
}

// owners are whose storages steps need, each with the place of the first that does.
func (k *keeper) owners(s *steps) (needs [3]*Pos) {
	need := func(o Owner, at *Pos) {
		if needs[o] == nil {
			needs[o] = at
		}
	}
	switch denied := s.programs.denied; {
	case len(denied) > 0:
		need(Process, &k.state.programs[denied[0]].Pos)
	case s.programs.tests != nil:
		need(Process, &k.state.programs[0].Pos)
	case s.phase != nil && len(k.state.phases) > 1:
		need(Process, &k.state.phases[0].Pos)
	}
	for _, o := range s.orders {
		need(o.Per, &o.Pos)
	}
	for _, f := range s.flows {
		need(f.Per, &f.Pos)
	}
	for _, l := range s.limits {
		if l.bucket == nil {
			need(l.Per, &l.Pos)
		}
	}
	return needs
}

// taskStorage emits R0 = storage of the caller, which is made where there is none, for what
// stands at a place of the policy.
func (c *compiler) taskStorage(m *prog.Map, flags uint64, at Pos) {
	c.b.Map(asm.R1, m)
	c.b.Imm(prog.OpMov, asm.R2, 0)
	c.b.Imm(prog.OpMov, asm.R3, 0)
	c.b.Imm(prog.OpMov, asm.R4, int32(flags|helper.StorageCreate))
	c.b.Call(helper.TaskStorageGet)
	c.b.If(prog.OpJeq, asm.R0, 0, c.fails(NoRoom, at))
}

// address emits r = where a state of an owner is, and gives the offset there.
func (k *keeper) address(r asm.Reg, o Owner, at int16) int16 {
	switch o {
	case Process:
		k.b.Load(prog.SizeDW, r, asm.R10, frameProcess)
		return at
	case Thread:
		k.b.Load(prog.SizeDW, r, asm.R10, frameThread)
		return at
	}
	k.b.Value(r, k.state.stores[Tree].m, int32(at))
	return 0
}

// value emits r = a state.
func (k *keeper) value(r asm.Reg, o Owner, at int16) {
	off := k.address(r, o, at)
	k.b.Load(prog.SizeDW, r, r, off)
}

// set emits a state = v.
func (k *keeper) set(o Owner, at int16, v int32) {
	off := k.address(asm.R1, o, at)
	k.b.StoreImm(prog.SizeDW, asm.R1, off, v)
}

// checkPrograms emits the test whether a program that was executed denies a call.
func (k *keeper) checkPrograms(denied []int) {
	for n, i := range denied {
		p := &k.state.programs[i]
		k.b.At(k.line(p.Pos))
		if n == 0 {
			k.value(asm.R1, Process, k.state.executed)
		}
		k.b.If(prog.OpJset, asm.R1, 1<<i, k.denial(p.Action, p.Pos, eperm))
	}
}

// execute emits the note of the programs that a call executes. Whether it will succeed is not
// known: so they are never taken back. It is added in one step, or one of two threads that
// execute something at the same time would take back the other's.
func (k *keeper) execute(tests []*test) {
	var in registers
	for i, t := range tests {
		p := &k.state.programs[i]
		k.b.At(k.line(p.Pos))
		yes, no := k.b.Label(), k.b.Label()
		_, in = k.test(t, exits{yes: yes, no: no, unknown: yes, next: yes}, in)
		k.b.Bind(yes)
		off := k.address(asm.R1, Process, k.state.executed)
		k.b.Imm32(prog.OpMov, asm.R2, 1<<i)
		k.b.Atomic(prog.AtomicOr, asm.R1, off, asm.R2)
		k.b.Bind(no)
	}
}

// checkPhase emits the test whether a call is of the phase. The action of a phase is its
// own, so calls that several phases refuse by different ones are told apart by them.
func (k *keeper) checkPhase(p *phaseStep) flowing {
	n := len(k.state.phases)
	if p.in == 1<<n-1 {
		return goesOn
	}
	refusal := func(i int) asm.Label {
		ph := &k.state.phases[i]
		return k.denial(ph.Phase.Action, ph.Pos, eperm)
	}
	if n == 1 {
		k.b.Jump(refusal(0))
		return ends
	}
	k.b.At(k.line(k.state.phases[0].Pos))
	k.value(asm.R1, Process, 0)
	// A phase beyond the last cannot be: what is not asked for is the last that refuses.
	last := -1
	for i := 0; i < n; i++ {
		if p.in>>i&1 == 0 {
			last = i
		}
	}
	for i := 0; i < last; i++ {
		if p.in>>i&1 == 0 {
			k.b.If(prog.OpJeq, asm.R1, int32(i), refusal(i))
		}
	}
	k.b.If(prog.OpJeq, asm.R1, int32(last), refusal(last))
	return goesOn
}

// move emits the way to other phases.
func (k *keeper) move(p *phaseStep) {
	if len(p.moves) == 0 {
		return
	}
	done := k.b.Label()
	for i := 0; i < len(p.moves); {
		j := i + 1
		for j < len(p.moves) && p.moves[j].from == p.moves[i].from {
			j++
		}
		k.movesFrom(p.moves[i:j], done)
		i = j
	}
	k.b.Bind(done)
}

// movesFrom emits the ways out of one phase.
func (k *keeper) movesFrom(moves []move, done asm.Label) {
	other := k.b.Label()
	k.b.At(k.line(moves[0].at))
	k.value(asm.R1, Process, 0)
	k.b.If(prog.OpJne, asm.R1, int32(moves[0].from), other)
	var in registers
	for _, m := range moves {
		k.b.At(k.line(m.at))
		yes, no := k.b.Label(), k.b.Label()
		if m.test != nil {
			// A phase is gone over to only if that is certain.
			_, in = k.test(m.test, exits{yes: yes, no: no, unknown: no, next: yes}, in)
		}
		k.b.Bind(yes)
		k.goOver(m, done)
		k.b.Bind(no)
		if m.test == nil {
			break
		}
	}
	k.b.Bind(other)
}

// goOver emits the step to another phase, and goes to done. Where another thread has just
// stepped somewhere else, the call is refused: it must not lead back from there.
func (k *keeper) goOver(m move, done asm.Label) {
	from := &k.state.phases[m.from]
	off := k.address(asm.R1, Process, 0)
	k.b.Imm32(prog.OpMov, asm.R0, int32(m.from))
	k.b.Imm32(prog.OpMov, asm.R2, int32(m.to))
	k.b.Atomic(prog.AtomicCmpXchg, asm.R1, off, asm.R2)
	k.b.If(prog.OpJeq, asm.R0, int32(m.from), done)
	k.b.If(prog.OpJeq, asm.R0, int32(m.to), done)
	k.b.Jump(k.denial(from.Phase.Action, from.Pos, eperm))
}

// checkOrder emits the test whether a call comes in time.
func (k *keeper) checkOrder(o orderStep) {
	if !o.judged {
		return
	}
	k.b.At(k.line(o.Pos))
	denied := k.denial(o.Action, o.Pos, eperm)
	k.value(asm.R1, o.Per, o.at)
	if o.Kind == After {
		k.b.If(prog.OpJeq, asm.R1, 0, denied)
		return
	}
	k.b.If(prog.OpJne, asm.R1, 0, denied)
}

// mark emits the note that a call was made. Of two that may be made once only one finds that
// it is the first.
func (k *keeper) mark(o orderStep) {
	if !o.marks || o.Kind == After && o.judged {
		return // one that is judged finds the mark made
	}
	k.b.At(k.line(o.Pos))
	if !o.judged {
		k.set(o.Per, o.at, 1)
		return
	}
	off := k.address(asm.R1, o.Per, o.at)
	k.b.Imm32(prog.OpMov, asm.R2, 1)
	k.b.Atomic(prog.AtomicXchg, asm.R1, off, asm.R2)
	k.b.If(prog.OpJne, asm.R2, 0, k.denial(o.Action, o.Pos, eperm))
}

// checkFlow emits the test whether an edge leads to a call.
func (k *keeper) checkFlow(f flowStep) flowing {
	k.b.At(k.line(f.Pos))
	denied := k.denial(f.Action, f.Pos, eperm)
	in := f.in[f.node]
	if in == 0 {
		k.b.Jump(denied)
		return ends
	}
	if f.anyCall(f.node) {
		return goesOn
	}
	k.value(asm.R1, f.Per, f.at)
	k.b.Const(asm.R2, in)
	k.b.Reg(prog.OpRsh, asm.R2, asm.R1)
	k.b.Imm(prog.OpAnd, asm.R2, 1)
	k.b.If(prog.OpJeq, asm.R2, 0, denied)
	return goesOn
}

// anyCall tells whether edges lead to a node from all others.
func (f *flow) anyCall(node int) bool { return f.in[node] == uint64(1)<<(len(f.in)+1)-1 }

// follow emits the note of the call that was made last.
func (k *keeper) follow(f flowStep) {
	k.b.At(k.line(f.Pos))
	if f.anyCall(f.node) {
		k.set(f.Per, f.at, int32(f.node+1))
		return
	}
	off := k.address(asm.R1, f.Per, f.at)
	k.b.Imm(prog.OpAdd, asm.R1, int32(off))
	k.b.Const(asm.R2, f.in[f.node])
	k.b.Imm32(prog.OpMov, asm.R3, int32(f.node+1))
	k.b.CallFunc(k.function("follow", k.followFunction))
	k.b.If(prog.OpJeq, asm.R0, 0, k.denial(f.Action, f.Pos, eperm))
}

// followTries is how often other threads may come between.
const followTries = 16

// followFunction emits the function that makes R3 the last call at R1, if the one before is
// in R2, and says whether it has: of two threads that follow the same call only one does.
func (c *compiler) followFunction() {
	b := &c.b
	loop, yes, no := b.Label(), b.Label(), b.Label()
	b.Imm32(prog.OpMov, asm.R4, followTries)
	b.Bind(loop)
	b.Load(prog.SizeDW, asm.R0, asm.R1, 0)
	b.Reg(prog.OpMov, asm.R5, asm.R2)
	b.Reg(prog.OpRsh, asm.R5, asm.R0)
	b.Imm(prog.OpAnd, asm.R5, 1)
	b.If(prog.OpJeq, asm.R5, 0, no)
	b.IfReg(prog.OpJeq, asm.R0, asm.R3, yes)
	b.Reg(prog.OpMov, asm.R5, asm.R0)
	b.Atomic(prog.AtomicCmpXchg, asm.R1, 0, asm.R3)
	b.IfReg(prog.OpJeq, asm.R0, asm.R5, yes)
	b.Imm(prog.OpSub, asm.R4, 1)
	b.If(prog.OpJne, asm.R4, 0, loop)
	b.Bind(no)
	c.returnValue(0)
	b.Bind(yes)
	c.returnValue(1)
}

// take emits the count of a call, and denies what is too much.
func (k *keeper) take(l limitStep) {
	k.b.At(k.line(l.Pos))
	done := k.b.Label()
	if l.test != nil {
		counts := k.b.Label()
		k.test(l.test, exits{yes: counts, no: done, unknown: counts, next: counts}, registers{})
		k.b.Bind(counts)
	}
	if l.bucket != nil {
		k.takeToken(l)
	} else {
		k.count(l)
	}
	k.b.Bind(done)
}

// count emits a count for ever. It has 64 bits, so that denied attempts cannot wrap it
// around.
func (k *keeper) count(l limitStep) {
	denied := k.denial(l.Action, l.Pos, eperm)
	off := k.address(asm.R1, l.Per, l.at)
	k.b.Imm32(prog.OpMov, asm.R2, 1)
	k.b.Atomic(prog.AtomicAdd|prog.AtomicFetch, asm.R1, off, asm.R2)
	if l.Max <= math.MaxInt32 {
		k.b.If(prog.OpJge, asm.R2, int32(l.Max), denied)
		return
	}
	k.b.Const(asm.R3, l.Max)
	k.b.IfReg(prog.OpJge, asm.R2, asm.R3, denied)
}

// takeToken emits a bucket: it holds Burst tokens, of window parts each, and gains Max parts
// in each nanosecond. What is taken is at most full, so no sum wraps around.
func (k *keeper) takeToken(l limitStep) {
	b := &k.b
	denied := k.denial(l.Action, l.Pos, eagain)
	full, enough := l.Burst*l.window, uint64(math.MaxUint64)
	if l.Max > 0 {
		enough = full / l.Max
	}
	b.Call(helper.KtimeGetNs)
	b.Store(prog.SizeDW, asm.R10, frameTime, asm.R0)
	k.bucket(l)
	b.Store(prog.SizeDW, asm.R10, frameBucket, asm.R0)
	k.lock(helper.SpinLock, asm.R0)
	b.Load(prog.SizeDW, asm.R1, asm.R10, frameBucket)
	b.Load(prog.SizeDW, asm.R2, asm.R10, frameTime)
	b.Load(prog.SizeDW, asm.R3, asm.R1, bucketSeen)
	b.Load(prog.SizeDW, asm.R4, asm.R1, bucketTaken)
	same, empty, over := b.Label(), b.Label(), b.Label()
	b.IfReg(prog.OpJle, asm.R2, asm.R3, same) // a later call came here first
	b.Store(prog.SizeDW, asm.R1, bucketSeen, asm.R2)
	b.Reg(prog.OpSub, asm.R2, asm.R3)
	b.Const(asm.R3, enough)
	b.IfReg(prog.OpJgt, asm.R2, asm.R3, empty)
	b.Const(asm.R3, l.Max)
	b.Reg(prog.OpMul, asm.R2, asm.R3)
	b.IfReg(prog.OpJge, asm.R2, asm.R4, empty)
	b.Reg(prog.OpSub, asm.R4, asm.R2)
	b.Jump(same)
	b.Bind(empty)
	b.Imm32(prog.OpMov, asm.R4, 0)
	b.Bind(same)
	b.StoreImm(prog.SizeDW, asm.R10, frameTime, 0) // now: whether there was one
	b.Const(asm.R3, full-l.window)
	b.IfReg(prog.OpJgt, asm.R4, asm.R3, over)
	b.Const(asm.R3, l.window)
	b.Reg(prog.OpAdd, asm.R4, asm.R3)
	b.StoreImm(prog.SizeDW, asm.R10, frameTime, 1)
	b.Bind(over)
	b.Store(prog.SizeDW, asm.R1, bucketTaken, asm.R4)
	k.lock(helper.SpinUnlock, asm.R1)
	b.Load(prog.SizeDW, asm.R1, asm.R10, frameTime)
	b.If(prog.OpJeq, asm.R1, 0, denied)
}

// lock emits a call about the lock of the bucket at r.
func (k *keeper) lock(id helper.ID, r asm.Reg) {
	if r != asm.R1 {
		k.b.Reg(prog.OpMov, asm.R1, r)
	}
	k.b.Imm(prog.OpAdd, asm.R1, bucketLock)
	k.b.Call(id)
}

// bucket emits R0 = the bucket of a limit.
func (k *keeper) bucket(l limitStep) {
	switch l.Per {
	case Process:
		k.taskStorage(l.bucket, 0, l.Pos)
	case Thread:
		k.taskStorage(l.bucket, helper.StorageThread, l.Pos)
	default:
		k.b.StoreImm(prog.SizeDW, asm.R10, frameBucket, 0)
		k.b.Map(asm.R1, l.bucket)
		k.b.Reg(prog.OpMov, asm.R2, asm.R10)
		k.b.Imm(prog.OpAdd, asm.R2, frameBucket)
		k.b.Call(helper.MapLookupElem)
		k.b.If(prog.OpJeq, asm.R0, 0, k.fails(NoRoom, l.Pos))
	}
}

// await emits the waits of a call, and denies it where one is not possible. R8 is free here:
// what it says of a path is not asked any more.
func (k *keeper) await(waits []wait) {
	for i, w := range waits {
		k.b.At(k.line(w.at))
		k.b.Reg(prog.OpMov, asm.R1, regNr)
		target := uint64(w.nr)
		if w.any {
			target |= abi.WaitAny
		}
		k.b.Const(asm.R2, target)
		k.b.Call(helper.WaitSyscall)
		if i == 0 {
			k.b.Reg(prog.OpMov, regPath, asm.R0)
		} else {
			k.b.Reg(prog.OpOr, regPath, asm.R0)
		}
	}
	if len(waits) > 0 {
		k.b.At(k.line(waits[0].at))
		k.b.If(prog.OpJne, regPath, 0, k.denial(Action{}, waits[0].at, eperm))
	}
}
