//go:build linux && amd64

package observe

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"portcullis/internal/prefilter"
	"portcullis/internal/record"
)

// Observer is the programs in the kernel. It is for one command at a time.
type Observer struct {
	collection *ebpf.Collection
	links      []link.Link
	tgid       uint32
	taken      sums // up to the last Take
}

// An Error says what the kernel does not let this user do.
type Error struct {
	Doing string
	Err   error
}

// Error is one line.
func (e *Error) Error() string {
	return fmt.Sprintf("observing by eBPF: %s: %v: expected CAP_BPF and CAP_PERFMON (root), and a kernel with BTF; the agent observes without", e.Doing, e.Err)
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// New loads the programs and attaches them. Errors are of type *Error.
func New() (*Observer, error) { return observing(most) }

// observing has as many tasks keep their memory in live, a power of 2.
func observing(live uint32) (*Observer, error) {
	l, err := kernelLayout()
	if err != nil {
		return nil, &Error{"reading the kernel's types", err}
	}
	watched := record.Watch()
	o := &Observer{}
	if o.collection, err = ebpf.NewCollection(spec(l, watched, live)); err != nil {
		return nil, &Error{"loading", err}
	}
	if err = o.describe(watched); err == nil {
		err = o.attach()
	}
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

// spec is the programs, by the tracepoints that they belong to, and their maps.
func spec(l layout, watched []record.Watched, live uint32) *ebpf.CollectionSpec {
	s := &ebpf.CollectionSpec{Maps: maps(live), Programs: map[string]*ebpf.ProgramSpec{}}
	for point, is := range map[string]asm.Instructions{
		"sys_enter": enter(l, watched, live), "sched_process_fork": forked(l, live),
		"sched_process_exec": executed(l, live), "sched_process_exit": exited(l, live),
	} {
		s.Programs[point] = &ebpf.ProgramSpec{
			Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: point, Instructions: is, License: "Dual BSD/GPL",
		}
	}
	return s
}

// describe fills by_number.
func (o *Observer) describe(watched []record.Watched) error {
	bits := slotBits()
	for _, nr := range prefilter.Unfailing() {
		bits[nr] |= bitSkipped
	}
	for _, nr := range record.Ordered() {
		bits[nr] |= bitFlow
	}
	for i, w := range watched {
		bits[w.Nr] |= uint32(i+1) << bitsChoice
	}
	for nr, b := range bits {
		if err := o.collection.Maps[mapCalls].Put(nr, b); err != nil {
			return &Error{"describing the calls", err}
		}
	}
	return nil
}

// attach attaches the one that counts last, and then has it see who this process is.
func (o *Observer) attach() error {
	for _, point := range []string{"sched_process_exit", "sched_process_exec", "sched_process_fork", "sys_enter"} {
		l, err := link.AttachTracing(link.TracingOptions{Program: o.collection.Programs[point], AttachType: ebpf.AttachTraceRawTp})
		if err != nil {
			return &Error{"attaching to " + point, err}
		}
		o.links = append(o.links, l)
	}
	return o.introduce()
}

// config is the value of that map.
type config struct {
	Cookie      uint64
	Tgid, Armed uint32
}

// introduce finds the number by which the kernel knows this process, which is another one
// than its own where it has a namespace of numbers: the programs are told by an argument that
// getpid does not look at.
func (o *Observer) introduce() error {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return err
	}
	cookie := binary.LittleEndian.Uint64(raw[:]) | 1
	if err := o.configure(config{Cookie: cookie}); err != nil {
		return err
	}
	syscall.RawSyscall(syscall.SYS_GETPID, uintptr(cookie), 0, 0)
	var c config
	if err := o.collection.Maps[mapConfig].Lookup(uint32(0), &c); err != nil {
		return &Error{"asking who this process is", err}
	}
	if o.tgid = c.Tgid; o.tgid == 0 {
		return &Error{"asking who this process is", errors.New("the programs see no calls of it")}
	}
	return nil
}

func (o *Observer) configure(c config) error {
	if err := o.collection.Maps[mapConfig].Put(uint32(0), c); err != nil {
		return &Error{"configuring", err}
	}
	return nil
}

// Start calls start, which starts the command as a child of this process: what it executes
// first, and all that comes of that, is followed. Nothing else may be started meanwhile.
func (o *Observer) Start(start func() error) error {
	if err := o.configure(config{Tgid: o.tgid, Armed: 1}); err != nil {
		return err
	}
	return errors.Join(start(), o.configure(config{Tgid: o.tgid}))
}

// Close takes the programs out of the kernel.
func (o *Observer) Close() error {
	var err error
	for _, l := range o.links {
		err = errors.Join(err, l.Close())
	}
	if o.collection != nil {
		o.collection.Close()
	}
	return err
}
