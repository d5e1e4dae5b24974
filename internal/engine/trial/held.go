package trial

import (
	"fmt"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/pin"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/split"
)

// held is what an engine would hold a call for: memory that its filters read, and
// calls of others that it has to wait for.
type held struct {
	traced bool
	pins   pin.Set
	waits  []uint32
	slot   [pin.SlotBytes]byte // as the call would be given it
}

// hold is the call of a thread as the engine decides it. Only a call that a tracer
// would hold can have memory pinned.
func (w *World) hold(d *abi.SeccompData, t *thread) *decide.Call {
	h := &w.held
	c := &decide.Call{Data: *d, Caller: caller{w, t}}
	h.pins.Reset(d, caller{w, t})
	h.waits = h.waits[:0]
	if h.traced = w.pre.Decide(d).Kind == split.Trace; h.traced {
		c.Pins = &h.pins
	}
	return c
}

// SafeRead reads a pinned argument.
func (c caller) SafeRead(dst []byte, addr uint64) maps.Errno {
	if !c.w.held.traced {
		return interp.EOPNOTSUPP
	}
	return c.w.held.pins.Read(dst, addr)
}

// SafeReadStr reads a pinned string.
func (c caller) SafeReadStr(dst []byte, addr uint64) (int, maps.Errno) {
	if !c.w.held.traced {
		return 0, interp.EOPNOTSUPP
	}
	return c.w.held.pins.ReadString(dst, addr)
}

// Await notes what the call would wait for. Here calls take no time, so that nothing
// is ever waited for.
func (c caller) Await(_, target uint64) maps.Errno {
	h := &c.w.held
	switch {
	case !h.traced:
		return maps.EINVAL
	case len(h.waits) == interp.MaxAwaits:
		return maps.E2BIG
	}
	h.waits = append(h.waits, uint32(target))
	return maps.OK
}

// Made is what a call would be made with, if the verdict lets it go on.
type Made struct {
	// Pins are the arguments, counted from 0, of which the kernel is given copies.
	Pins []int `json:"pins,omitempty"`
	// Faults are those of which a filter could not read all it asked for: they are
	// redirected to an address that faults, so that the call fails with EFAULT.
	Faults []int `json:"faults,omitempty"`
	// Waits are the calls that it would wait for, in order.
	Waits []string `json:"waits,omitempty"`
}

// Where slots would be: far from all memory.
const (
	slot     = 1 << 62
	faulting = slot + pin.SlotBytes
)

// Made is what the last call would be made with.
func (w *World) Made() Made {
	var m Made
	_, regs := w.held.pins.Place(w.held.slot[:], slot, faulting)
	for i, to := range regs.Args {
		switch {
		case regs.Mask&(1<<i) == 0:
		case to == faulting:
			m.Faults = append(m.Faults, i)
		default:
			m.Pins = append(m.Pins, i)
		}
	}
	for _, nr := range w.held.waits {
		m.Waits = append(m.Waits, callName(nr))
	}
	return m
}

func callName(nr uint32) string {
	if name, ok := syscalls.Name(nr); ok {
		return name
	}
	return fmt.Sprint(nr)
}

// lines are m in the form of the lines below a call.
func (m *Made) lines() map[string]string {
	return map[string]string{"pins": join(m.Pins), "faults": join(m.Faults), "waits": join(m.Waits)}
}

func join[T any](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, " ")
}

// String is what else there is to say about a call that goes on, "" for nothing.
func (m *Made) String() string {
	if len(m.Faults) == 0 {
		return ""
	}
	return fmt.Sprintf("it will fail with EFAULT, for a filter could not read argument %s", strings.ReplaceAll(join(m.Faults), " ", " and "))
}
