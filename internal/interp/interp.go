// Package interp runs a verified filter in user space: it lowers the program
// once to a form that is quick to dispatch, and evaluates it against an Env
// that stands for the calling task.
//
// Memory is a set of regions, and an address is region<<32 | offset. Every
// access is checked against the region's bytes, whatever the verifier has
// proved, so that no program can reach the memory of the process that runs it.
package interp

import (
	"fmt"

	"portcullis/internal/abi"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// Task is the caller of the system call as helpers see it. Each method is
// called only when a program asks, and may be slow.
type Task interface {
	// PidTgid is tgid<<32 | tid in the installer's pid namespace.
	PidTgid() uint64
	// UidGid is gid<<32 | uid in the installer's user namespace.
	UidGid() uint64
	// Comm is the thread's command name, padded with NUL.
	Comm() [16]byte
	// Process and Thread are keys that are unique while the process or
	// thread lives, and not used again before its storage is forgotten.
	Process() uint64
	Thread() uint64
	// Now and BootNow are nanoseconds since boot, without and with suspend.
	Now() uint64
	BootNow() uint64
	// Rand is 32 pseudo-random bits.
	Rand() uint32
	// ReadUser reads the task's memory as it is at this moment. It fills dst
	// as far as memory is readable and returns how far that is.
	ReadUser(dst []byte, addr uint64) (n int, err error)
	// SafeRead fills dst from a pinned argument of the call: all of it, or an
	// error and zeroes. The errors are EFAULT, E2BIG and EOPNOTSUPP.
	SafeRead(dst []byte, addr uint64) maps.Errno
	// SafeReadStr reads a pinned string: n is its length with the NUL. What is
	// left of dst is zeroed, and all of it with an error, as those of SafeRead.
	SafeReadStr(dst []byte, addr uint64) (n int, e maps.Errno)
	// Await records that the call, if it goes on, is to be made when no task is
	// inside target, and counts as being inside curr from then on. Both are
	// numbers of x86-64 calls, at most syscalls.Newest, and curr is that of the
	// call at hand; target has abi.WaitAny set where the filter did, which it has to
	// where abi.Dependent. The errors are E2BIG, for more than MaxAwaits of one
	// call, and EINVAL.
	Await(curr, target uint64) maps.Errno
}

// EOPNOTSUPP says that an argument cannot be pinned.
const EOPNOTSUPP maps.Errno = 95

// MaxAwaits is how many targets one call may wait for.
const MaxAwaits = 32

// Env is what a program can ask and tell.
type Env interface {
	Task
	// Printk takes a line for the log. It must not keep line.
	Printk(line []byte)
}

// Machine is one program ready to run, with its maps. It is not for concurrent
// use, and neither are machines that share maps.
type Machine struct {
	p      *prog.Program
	code   []insn
	pcs    []int32
	r      [16]uint64 // 11 registers; regZero; the rest is room for 4-bit indexes
	frames [prog.MaxCallFrames - 1]frame
	depth  int             // frames in use
	steps  int64           // what is left of stepBudget
	why    int32           // the instruction that last gave R0 a whole value
	ld, st [regions][]byte // what may be read and written, by region
	maps   []bound
	grows  []int // indexes of maps whose arena can be replaced
	env    Env
	tails  int      // tail calls made so far in this run
	next   *Machine // what a tail call goes on in
	fault  faultKind
	ctx    [abi.DataSize]byte
	line   [printkSize]byte
}

// frame is what a call saves: where to return to, and R6 to R10.
type frame struct {
	ret   uint32
	saved [5]uint64
}

// bound is a map as a program sees it.
type bound struct {
	m     maps.Map
	array *maps.Array   // m if it is one, else nil
	hash  *maps.HashMap // m if it is one, else nil
	store *maps.Storage // m if it is one, else nil
	ring  *maps.Ring    // m if it is one, else nil
	progs map[uint32]*Machine
	spec  *prog.Map
}

// Result is the outcome of a run.
type Result struct {
	// Ret is the verdict as the program returned it; after a fault, a
	// verdict that kills.
	Ret uint32
	// PC is the instruction that best explains the verdict: where R0 got its
	// value, as far as that is known, or where the program failed.
	PC int
	// Program is the one that PC is in: tail calls end in others.
	Program *prog.Program
	// Fault is nil or a *Fault.
	Fault error
}

// stepBudget is how many backward jumps and calls one run may take. Verified
// programs end by themselves; this is for the day when verification is wrong.
const stepBudget = 1 << 20

// New readies a verified program, and those that its tail calls can go on in. ms
// must hold a map for each that they refer to, constants excepted; see
// maps.NewSet.
func New(v *verify.Verified, ms map[*prog.Map]maps.Map) (*Machine, error) {
	all := v.Programs()
	ready := make(map[*verify.Verified]*Machine, len(all))
	for _, w := range all {
		m, err := newMachine(w.Program(), ms)
		if err != nil {
			return nil, err
		}
		ready[w] = m
	}
	for _, w := range all {
		for i := range ready[w].maps {
			ready[w].maps[i].addTails(w, ready)
		}
	}
	return ready[v], nil
}

// addTails readies what a PROG_ARRAY of v holds.
func (b *bound) addTails(v *verify.Verified, ready map[*verify.Verified]*Machine) {
	for _, t := range b.spec.Tails {
		if b.progs == nil {
			b.progs = make(map[uint32]*Machine, len(b.spec.Tails))
		}
		b.progs[t.Index] = ready[v.Tail(b.spec, t.Index)]
	}
}

// newMachine relies on nothing the verifier proves, so that tests may run
// programs of other types.
func newMachine(p *prog.Program, ms map[*prog.Map]maps.Map) (*Machine, error) {
	l, err := lower(p)
	if err != nil {
		return nil, err
	}
	m := &Machine{p: p, code: l.code, pcs: l.pcs}
	stack := make([]byte, prog.MaxCallFrames*prog.StackSize)
	m.ld[regionCtx], m.ld[regionStack], m.st[regionStack] = m.ctx[:], stack, stack
	if len(p.Maps) > maxMaps {
		return nil, fmt.Errorf("program %s: %d maps: expected at most %d", p.Name, len(p.Maps), maxMaps)
	}
	for i, spec := range p.Maps {
		mp := ms[spec]
		if mp == nil && spec.Frozen { // constants are nobody else's business
			if mp, err = maps.New(spec); err != nil {
				return nil, err
			}
		}
		if mp == nil {
			return nil, fmt.Errorf("program %s: map %s has no instance: expected one from maps.NewSet", p.Name, spec.Name)
		}
		m.bind(i, spec, mp)
	}
	return m, nil
}

// bind makes a map's arena a region, not writable if the map is a constant.
func (m *Machine) bind(i int, spec *prog.Map, mp maps.Map) {
	b := bound{m: mp, spec: spec}
	b.array, _ = mp.(*maps.Array)
	b.hash, _ = mp.(*maps.HashMap)
	b.store, _ = mp.(*maps.Storage)
	b.ring, _ = mp.(*maps.Ring)
	m.maps = append(m.maps, b)
	m.remap(i)
	if b.array == nil && b.ring == nil {
		m.grows = append(m.grows, i)
	}
}

// remap enters the current arena of map i into the region tables.
func (m *Machine) remap(i int) {
	b := &m.maps[i]
	m.ld[regionMaps+i] = b.m.Mem()
	if !readOnly(b.spec) {
		m.st[regionMaps+i] = b.m.Mem()
	}
}

func readOnly(spec *prog.Map) bool { return spec.Frozen || spec.Flags&prog.FlagRdonlyProg != 0 }

// Run asks the program about one system call. It allocates nothing unless the
// program faults or a map grows.
func (m *Machine) Run(env Env, d *abi.SeccompData) Result {
	m.ctx = d.Bytes()
	return m.start(env)
}

// RunRaw runs the program with any bytes as its context, which the program may
// not write: for programs that are not filters.
func (m *Machine) RunRaw(env Env, ctx []byte) Result {
	m.ld[regionCtx] = ctx
	defer func() { m.ld[regionCtx] = m.ctx[:] }()
	return m.start(env)
}

// start runs m, and what its tail calls go on in. Each program that is left has
// come to its end: nothing of it is used again, so one may even go on in itself.
func (m *Machine) start(env Env) Result {
	m.tails, m.steps = 0, stepBudget
	for {
		ret, source, ok := m.enter(env)
		next := m.next
		if next == nil {
			return m.result(ret, source, ok)
		}
		m.next = nil
		next.ld[regionCtx] = m.ld[regionCtx]
		next.tails, next.steps = m.tails+1, m.steps
		m = next
	}
}

// enter runs m's program from its beginning.
func (m *Machine) enter(env Env) (ret uint32, source int32, ok bool) {
	m.settle()
	m.env, m.fault = env, faultNone
	m.depth, m.why = 0, -1
	m.r[1] = address(regionCtx, 0)
	m.r[10] = address(regionStack, prog.StackSize)
	ret, source, ok = m.run()
	m.env = nil
	return ret, source, ok
}

func (m *Machine) result(ret uint32, source int32, ok bool) Result {
	if !ok {
		return m.failed(int(source))
	}
	pc := -1
	if source >= 0 {
		pc = int(m.pcs[source])
	}
	return Result{Ret: ret, PC: pc, Program: m.p}
}

// settle adopts what other programs did to the maps since the last run.
func (m *Machine) settle() {
	for _, i := range m.grows {
		if s := m.maps[i].store; s != nil {
			s.Settle()
		}
		m.remap(i)
	}
}

// failed reports a fault at an instruction of the code.
func (m *Machine) failed(at int) Result {
	pc := int(m.pcs[at])
	return Result{Ret: uint32(abi.KillProcess), PC: pc, Program: m.p, Fault: &Fault{
		Program: m.p.Name, Insn: pc, Line: m.p.LineOf(pc), Reason: m.reason(at),
	}}
}
