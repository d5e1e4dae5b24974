package decide

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
)

// engineName is the agent's in events.
const engineName = "agent"

// report emits an event for r where it is to be seen. It comes before the
// answer: as long as the caller waits, its process can be looked at.
func (in *Installation) report(c *Call, r *ruling) {
	if in.options.Events == nil || !in.observed(r) {
		return
	}
	e := event.Event{
		Kind: event.KindVerdict, Time: time.Now(), Engine: engineName, Leaf: leafOf(r),
		Insn: -1, Pid: c.Caller.Pid(), Tid: c.Caller.Tid(), Comm: text(c.Caller.Comm()),
		Call: event.CallOf(&c.Data, callName(&c.Data)), Verdict: r.verdict.Effective(),
		Program: string(r.leaf.Guard), Permitted: r.lifted,
	}
	if r.filter >= 0 {
		in.explain(c, r)
		in.attribute(&e, r)
	}
	if r.fault != nil {
		e.Text = r.fault.Error()
	}
	in.options.Events.Emit(&e)
}

// Expire emits an event for a call that was let go on and then, having waited for
// others for so long, failed with ETIMEDOUT.
func (in *Installation) Expire(c *Call, after time.Duration) {
	if in.options.Events == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	e := event.Event{
		Kind: event.KindVerdict, Time: time.Now(), Engine: engineName, Leaf: event.LeafTrace,
		Insn: -1, Pid: c.Caller.Pid(), Tid: c.Caller.Tid(), Comm: text(c.Caller.Comm()),
		Call: event.CallOf(&c.Data, callName(&c.Data)), Verdict: abi.Errno(etimedout),
		Text: fmt.Sprintf("waited %v for other calls to end", after),
	}
	if r := static(in.pre.Decide(&c.Data)); r.filter >= 0 { // the first that takes a tracer
		in.attribute(&e, &r)
	}
	in.options.Events.Emit(&e)
}

// etimedout is ETIMEDOUT.
const etimedout = 110

// observed tells whether r is to be seen. A fault and a LOG always are: saying
// so is what they are for. A caller that died is denied nothing.
func (in *Installation) observed(r *ruling) bool {
	action := r.verdict.Effective().Action()
	switch {
	case r.fault != nil:
		return !gone(r.fault)
	case action == abi.Log:
		return true
	case action == abi.Allow:
		return in.options.Observe == prefilter.ObserveAll
	}
	return in.options.Observe != prefilter.ObserveNone
}

func gone(err error) bool {
	var died interface{ Gone() bool }
	return errors.As(err, &died) && died.Gone()
}

// explain finds the instruction behind a static verdict by running the filter.
// That the leaf is static means that the run has no effect and asks the caller
// nothing.
func (in *Installation) explain(c *Call, r *ruling) {
	if !r.leaf.Observed || r.pc >= 0 {
		return
	}
	in.env.Caller, in.env.filter = c.Caller, r.filter
	if res := in.filters[r.filter].machine.Run(&in.env, &c.Data); res.Fault == nil {
		r.pc, r.program = res.PC, res.Program
	}
}

// attribute names the filter, and the line in it, that r comes from.
func (in *Installation) attribute(e *event.Event, r *ruling) {
	f := &in.filters[r.filter]
	e.Filter, e.Program = f.Hash, f.Name
	if r.pc < 0 {
		return
	}
	p := r.program
	if p == nil {
		p = f.Verified.Program()
	}
	if p != f.Verified.Program() { // where a tail call ended
		e.Program = p.Name
	}
	line := p.LineOf(r.pc)
	e.Insn, e.Line, e.Source = r.pc, line.String(), line.Text
}

func leafOf(r *ruling) event.Leaf {
	switch {
	case r.leaf.Guard != "":
		return event.LeafGuard
	case r.leaf.Observed, r.leaf.Kind == split.Static:
		return event.LeafStatic
	case r.leaf.Kind == split.Trace:
		return event.LeafTrace
	}
	return event.LeafNotify
}

// callName is the name of an x86-64 call, "" for others.
func callName(d *abi.SeccompData) string {
	if d.Arch != abi.ArchX86_64 {
		return ""
	}
	name, _ := syscalls.Name(uint32(d.Nr))
	return name
}

func text(comm [16]byte) string {
	b, _, _ := bytes.Cut(comm[:], []byte{0})
	return string(b)
}

// drain takes what f has just put into its ring buffers. It does so after each
// run and whether or not anybody looks: which filter wrote a record is known,
// and that a buffer is full depends on one evaluation alone.
func (in *Installation) drain(c *Call, f *filter) {
	for _, ring := range f.rings {
		if !ring.Empty() {
			ring.Drain(func(record []byte) { in.record(c, f, ring.Spec(), record) })
		}
		if n := ring.Refused(); n > 0 {
			in.refused(c, f, ring.Spec(), n)
		}
	}
}

// refused keeps the news that records found no room, whatever the filter makes
// of it.
func (in *Installation) refused(c *Call, f *filter, spec *prog.Map, n uint64) {
	if in.options.Events == nil {
		return
	}
	e := in.recorded(c, f, spec)
	e.Kind, e.Lost = event.KindLost, n
	in.records = append(in.records, e)
}

// recorded is what every event about a ring buffer says.
func (in *Installation) recorded(c *Call, f *filter, spec *prog.Map) event.Event {
	return event.Event{
		Kind: event.KindRecord, Time: time.Now(), Engine: engineName, Leaf: leafOfCall(c), Insn: -1,
		Filter: f.Hash, Program: f.Name, Call: event.CallOf(&c.Data, callName(&c.Data)), Map: spec.Name,
	}
}

func leafOfCall(c *Call) event.Leaf {
	if c.Pins != nil {
		return event.LeafTrace
	}
	return event.LeafNotify
}

// record keeps one record of a ring buffer until the filters have decided.
func (in *Installation) record(c *Call, f *filter, spec *prog.Map, record []byte) {
	if in.options.Events == nil {
		return
	}
	e := in.recorded(c, f, spec)
	if len(record) > event.MaxRecord {
		e.Text = fmt.Sprintf("the first %d of %d bytes", event.MaxRecord, len(record))
		record = record[:event.MaxRecord]
	}
	e.Data = append([]byte(nil), record...) // the ring takes its memory back
	e.Record = event.Fields(spec.Record, e.Data)
	in.records = append(in.records, e)
}

// deliver emits the records of a decision. They are given their caller only now:
// that it cannot be found out must not become a reason to kill it.
func (in *Installation) deliver(c *Call) {
	for i := range in.records {
		e := &in.records[i]
		e.Pid, e.Tid, e.Comm = c.Caller.Pid(), c.Caller.Tid(), text(c.Caller.Comm())
		in.options.Events.Emit(e)
		*e = event.Event{}
	}
	in.records = in.records[:0]
}

// Printk emits a line that the running filter prints.
func (e *env) Printk(line []byte) {
	if e.in.options.Events == nil {
		return
	}
	f := &e.in.filters[e.filter]
	e.in.options.Events.Emit(&event.Event{
		Kind: event.KindPrint, Time: time.Now(), Filter: f.Hash, Program: f.Name, Insn: -1,
		Engine: engineName, Tid: e.Tid(), Text: string(bytes.TrimRight(line, "\n")),
	})
}
