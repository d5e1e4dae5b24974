package policy

import (
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/asm"
	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

// enosys is the error of calls that nobody knows.
const enosys = 38

// maxInsns is how many instructions a policy may become: what the kernel engine takes of an
// ordinary user.
const maxInsns = 32768

// Compile makes the program of a policy. An error is of type *Error.
func Compile(m *Model) (*prog.Program, error) {
	c, err := newCompiler(m)
	if err != nil {
		return nil, err
	}
	if err := c.classify(); err != nil {
		return nil, err
	}
	if err := c.checkLinks(); err != nil {
		return nil, err
	}
	c.b.Func("policy")
	c.begin()
	for len(c.bodies) > 0 && c.b.Len() <= maxInsns { // what is longer is refused
		next := c.bodies[0]
		c.bodies = c.bodies[1:]
		next()
	}
	c.endings()
	for _, f := range c.functions {
		f.emit()
	}
	return c.finish()
}

// finish puts the program together.
func (c *compiler) finish() (*prog.Program, error) {
	if c.b.Len() > maxInsns {
		return nil, Wrong(c.m.Pos, "make it simpler", "the policy becomes more than %d instructions", maxInsns)
	}
	p, err := c.b.Program()
	if err != nil {
		return nil, &Error{Pos: c.m.Pos, Reason: err.Error(), Err: err}
	}
	p.Name, p.Source, p.License = c.m.program(), c.m.Pos.File, "Dual BSD/GPL"
	if c.looks() {
		return p, c.proven(p)
	}
	return p, nil
}

// proven refuses what takes more steps to be proven safe than there are, as loops over
// memory do if they are many. What has none never does.
func (c *compiler) proven(p *prog.Program) error {
	_, err := verify.Program(p, verify.Options{})
	if err == nil {
		return nil
	}
	at := c.m.Pos
	var v *verify.Error
	if errors.As(err, &v) && v.Line.Line > 0 {
		at = Pos{File: v.Line.File, Line: v.Line.Line, Col: 1}
	}
	return &Error{
		Pos: at, Reason: "the rules look at memory in more ways than can be proven safe",
		Remedy: "have one rule for calls that are asked the same, and fewer tests of memory", Err: err,
	}
}

// program is the name of the policy's program.
func (m *Model) program() string {
	if m.Name != "" {
		return m.Name
	}
	base := path.Base(m.Pos.File)
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".yml"), ".yaml")
	if base == "" || base == "." || base == "/" {
		return "policy"
	}
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, base)
}

// rule is a Rule whose names are numbers.
type rule struct {
	*Rule
	calls *callset
}

// compiler makes one program.
type compiler struct {
	m        *Model
	names    *resolver
	rules    []rule
	state    *state
	b        asm.Builder
	classes  []asm.Label          // of each number up to the newest
	unknown  asm.Label            // of numbers without a name
	known    map[string]asm.Label // of a class, by its key
	bodies   []func()             // emit classes that have a label and no place
	verdicts map[verdict]asm.Label
	order    []verdict // of verdicts
	tests    int       // what resolve has counted
	// functions are what bodies call.
	functions []*function
	sections  map[Pos]string // see Model.sections
	scratch   *prog.Map
}

// verdict is an answer and the place in the policy that gives it.
type verdict struct {
	is abi.Verdict
	at Pos
	// why is what a call failed by that no rule denies.
	why Failure
}

func newCompiler(m *Model) (*compiler, error) {
	names, err := newResolver(m)
	if err != nil {
		return nil, err
	}
	c := &compiler{m: m, names: names, sections: m.sections(), known: map[string]asm.Label{}, verdicts: map[verdict]asm.Label{}}
	for i := range m.Rules {
		set, err := names.calls(m.Rules[i].Calls)
		if err != nil {
			return nil, err
		}
		c.rules = append(c.rules, rule{&m.Rules[i], set})
	}
	c.state, err = newState(c)
	return c, err
}

// line is a place as the lines of programs have it.
func (c *compiler) line(p Pos) prog.Line {
	l := prog.Line{File: p.File, Line: p.Line}
	if lines := c.m.Lines[p.File]; p.Line > 0 && p.Line <= len(lines) {
		l.Text = shownLine(c.sections[p], lines[p.Line-1])
	}
	if l.File == "" && p.Line > 0 {
		l.File = "policy"
	}
	return l
}

// returns is the label of code that answers with an action. What is let go on nobody asks the
// reason of: all rules share that answer, and calls that any of them allows share a class.
func (c *compiler) returns(a Action, at Pos) asm.Label {
	if a.Kind == Allow {
		at = c.m.Pos
	}
	return c.answers(verdict{is: a.Verdict(), at: at})
}

// fails is the label of code that answers with an error where no rule denies the call.
func (c *compiler) fails(why Failure, at Pos) asm.Label {
	return c.answers(verdict{why.verdict(), at, why})
}

// ending is the line of an answer, which says so if it is no rule's.
func (c *compiler) ending(v verdict) prog.Line {
	l := c.line(v.at)
	l.Text = v.why.shown(l.Text)
	return l
}

func (c *compiler) answers(v verdict) asm.Label {
	l, ok := c.verdicts[v]
	if !ok {
		l = c.b.Label()
		c.verdicts[v] = l
		c.order = append(c.order, v)
	}
	return l
}

// endings emits the code of all answers.
func (c *compiler) endings() {
	for _, v := range c.order {
		if !c.b.Used(c.verdicts[v]) {
			continue // nothing that is not reached is verified
		}
		c.b.At(c.ending(v))
		c.b.Bind(c.verdicts[v])
		c.b.Imm32(prog.OpMov, asm.R0, int32(uint32(v.is)))
		c.b.Exit()
	}
}

// link is a rule of a chain, for one call.
type link struct {
	action Action
	at     Pos
	test   *test // nil is always
}

// chain is the rules that matter to a call, in order; the last always matches.
func (c *compiler) chain(nr uint32) ([]link, error) {
	var links []link
	for _, r := range c.rules {
		if !r.calls.has(nr) {
			continue
		}
		l := link{action: r.Action, at: r.Pos}
		if r.If == nil {
			return append(links, l), nil
		}
		t, err := c.resolve(r.If, nr)
		if err != nil {
			return nil, err
		}
		if l.test = t; l.action.Permits() {
			l.test = withoutDevices(t, nr)
		}
		links = append(links, l)
	}
	return append(links, c.fallback(c.m.Default, eperm)), nil
}

// maxTests is how many tests, values among them, all conditions for all calls may have:
// twice what there are instructions for.
const maxTests = 2 * maxInsns

// resolve is resolveTest within what a policy may cost.
func (c *compiler) resolve(cond *Condition, nr uint32) (*test, error) {
	if c.tests += cond.weight(); c.tests > maxTests {
		return nil, Wrong(cond.Pos, "name fewer calls in rules with conditions", "the conditions of all calls have more than %d tests", maxTests)
	}
	return resolveTest(cond, nr)
}

// weight is how many tests a condition has.
func (c *Condition) weight() int {
	n := 1 + len(c.Values) + len(c.Argv)
	for i := range c.Sub {
		n += c.Sub[i].weight()
	}
	return n
}

// fallback is what happens to calls that no rule matches.
func (c *compiler) fallback(a Action, otherwise uint16) link {
	at := a.Pos
	if a.Kind == NoAction {
		a = Action{Kind: Errno, Data: otherwise}
	}
	if at.Line == 0 {
		at = c.m.Pos
	}
	return link{action: a, at: at}
}

// noName is a number that no call has, and that is in sets of what is not denied: state that
// lists what is left denies it.
const noName = 64*setWords - 1

// classify finds the class of each number.
func (c *compiler) classify() error {
	unknown := c.fallback(c.m.Unknown, enosys)
	steps, err := c.state.of(c, noName)
	if err != nil {
		return err
	}
	newest := syscalls.Newest()
	c.unknown = c.action(unknown.action, unknown.at, steps)
	c.classes = make([]asm.Label, newest+2)
	for nr := range c.classes {
		c.classes[nr] = c.unknown
		if _, ok := syscalls.Name(uint32(nr)); !ok {
			continue
		}
		links, err := c.chain(uint32(nr))
		if err != nil {
			return err
		}
		steps, err := c.state.of(c, uint32(nr))
		if err != nil {
			return err
		}
		c.classes[nr] = c.class(links, steps)
	}
	return nil
}

// class is the label of the code for calls with these rules and steps.
func (c *compiler) class(links []link, steps *steps) asm.Label {
	if len(links) == 1 {
		return c.action(links[0].action, links[0].at, steps)
	}
	var b strings.Builder // there may be thousands
	b.WriteString(steps.key())
	for _, l := range links {
		fmt.Fprintf(&b, "%v %d", l.at, l.action.Verdict())
		if l.test != nil {
			l.test.write(&b)
		}
	}
	key := b.String()
	l, ok := c.known[key]
	if !ok {
		l = c.b.Label()
		c.known[key] = l
		c.bodies = append(c.bodies, func() {
			c.b.Bind(l)
			c.body(links, steps)
		})
	}
	return l
}

// action is the label of code for a call that a rule has decided.
func (c *compiler) action(a Action, at Pos, steps *steps) asm.Label {
	if !a.Permits() || steps.empty() {
		return c.returns(a, at)
	}
	key := fmt.Sprint("then ", a.Kind, steps.key())
	l, ok := c.known[key]
	if !ok {
		l = c.b.Label()
		c.known[key] = l
		end := c.returns(a, at)
		c.bodies = append(c.bodies, func() {
			c.b.Bind(l)
			c.steps(steps, end)
		})
	}
	return l
}

// body emits a chain of rules.
func (c *compiler) body(links []link, steps *steps) {
	in := registers{}
	for _, l := range links {
		to := c.action(l.action, l.at, steps)
		if l.test == nil {
			c.b.Jump(to)
			return
		}
		c.b.At(c.line(l.at))
		next := c.b.Label()
		unknown := to
		if l.action.Permits() {
			unknown = next
		}
		_, in = c.test(l.test, exits{yes: to, no: next, unknown: unknown, next: next}, in)
		c.b.Bind(next)
	}
}

// Registers that keep what they hold through a program: the context, the number, what is
// known of a path, and where its bytes are.
const (
	regCtx   = asm.R6
	regNr    = asm.R7
	regPath  = asm.R8
	regBytes = asm.R9
)

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// x32Bit marks the numbers of another table, and those are negative ones too.
const x32Bit = abi.X32Bit

// begin emits what every call goes through, up to its class.
func (c *compiler) begin() {
	b := &c.b
	foreign, high := b.Label(), b.Label()
	b.At(c.line(c.m.Pos))
	b.Reg(prog.OpMov, regCtx, asm.R1)
	b.Load(prog.SizeW, regNr, regCtx, offNr)
	b.Load(prog.SizeW, asm.R1, regCtx, offArch)
	arch := uint32(abi.ArchX86_64)
	b.If32(prog.OpJne, asm.R1, int32(arch), foreign)
	newest := len(c.classes) - 2
	b.If32(prog.OpJgt, regNr, int32(newest), high)
	c.dispatch()
	b.Bind(high)
	b.If32(prog.OpJlt, regNr, x32Bit, c.unknown)
	b.Bind(foreign)
	b.If32(prog.OpJeq, regNr, -1, c.answers(verdict{is: abi.Allow, at: c.m.Pos}))
	b.Jump(c.answers(verdict{is: abi.KillProcess, at: c.m.Pos}))
}

// span is numbers that go the same way, from first up to the next span's.
type span struct {
	first uint32
	to    asm.Label
}

func (c *compiler) spans() []span {
	var all []span
	for nr, l := range c.classes[:len(c.classes)-1] {
		if len(all) == 0 || all[len(all)-1].to != l {
			all = append(all, span{uint32(nr), l})
		}
	}
	return all
}

// dispatch emits the way from a number to its class: a search, or where that takes more
// instructions, a table with a search for what it holds.
func (c *compiler) dispatch() {
	spans := c.spans()
	table, short := c.table()
	if len(short) > maxTable || searched(spans) <= searched(short)+tableInsns {
		c.search(regNr, spans)
		return
	}
	c.b.Value(asm.R0, table, 0)
	c.b.Reg(prog.OpAdd, asm.R0, regNr)
	c.b.Load(prog.SizeB, asm.R0, asm.R0, 0)
	c.search(asm.R0, short)
}

// tableInsns is how many slots it takes to look into the table.
const tableInsns = 4

// maxTable is how many classes a table of bytes has room for.
const maxTable = 256

// table is the classes as an array of bytes, and what those bytes stand for. More than maxTable
// do not fit: then it is of no use.
func (c *compiler) table() (*prog.Map, []span) {
	seen := map[asm.Label]bool{}
	var labels []asm.Label
	for _, l := range c.classes[:len(c.classes)-1] {
		if !seen[l] {
			seen[l] = true
			labels = append(labels, l)
		}
	}
	sort.Slice(labels, func(i, j int) bool { return labels[i] < labels[j] })
	index := map[asm.Label]byte{}
	var short []span
	for i, l := range labels {
		index[l] = byte(i)
		short = append(short, span{uint32(i), l})
	}
	bytes := make([]byte, len(c.classes)-1)
	for nr := range bytes {
		bytes[nr] = index[c.classes[nr]]
	}
	return &prog.Map{
		Name: ".rodata", Type: prog.Array, KeySize: 4, ValueSize: uint32(len(bytes)), MaxEntries: 1,
		Contents: bytes, Frozen: true, SpinLock: -1,
	}, short
}

// searched is how many instructions search takes.
func searched(spans []span) int {
	switch n := len(spans); {
	case n <= 1:
		return n
	case n == 2:
		return 2
	case n == 3:
		return 3
	default:
		return 1 + searched(spans[:n/2]) + searched(spans[n/2:])
	}
}

// search emits a balanced search.
func (c *compiler) search(r asm.Reg, spans []span) {
	n := len(spans)
	switch n {
	case 1:
		c.b.Jump(spans[0].to)
		return
	case 2:
		c.b.If32(prog.OpJge, r, int32(spans[1].first), spans[1].to)
		c.b.Jump(spans[0].to)
		return
	case 3:
		c.b.If32(prog.OpJge, r, int32(spans[2].first), spans[2].to)
		c.search(r, spans[:2])
		return
	}
	right := c.b.Label()
	c.b.If32(prog.OpJge, r, int32(spans[n/2].first), right)
	c.search(r, spans[:n/2])
	c.b.Bind(right)
	c.search(r, spans[n/2:])
}

// looks tells whether a rule looks at memory.
func (c *compiler) looks() bool {
	for _, r := range c.rules {
		if r.If.memory() {
			return true
		}
	}
	for _, l := range c.m.Limits {
		if l.If.memory() {
			return true
		}
	}
	for _, p := range c.m.Phases {
		for _, n := range p.Next {
			if n.If.memory() {
				return true
			}
		}
	}
	return len(c.m.Programs) > 0
}

func (c *Condition) memory() bool {
	if c == nil {
		return false
	}
	for i := range c.Sub {
		if c.Sub[i].memory() {
			return true
		}
	}
	return c.Op == Test && (c.Subject == Path || c.Subject == Address || c.Subject == Arguments || c.Subject == Text)
}
