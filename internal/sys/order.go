//go:build linux && amd64

package sys

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// What an order has room for: classic filters of BPF_MAXINSNS instructions,
// eBPF ones with bitmaps of both tables and what is read of some calls, and less than a
// socket takes at once.
const (
	maxInstalls  = 64
	maxOrderData = 64 << 10
)

// stageOrder is the message that a stage waits for.
type stageOrder struct {
	token    uint64
	traced   uint64 // not 0: it waits for a tracer
	count    uint64 // of installs
	installs [maxInstalls]stageInstall
	data     [maxOrderData]byte
}

// stageInstall is the arguments of a call of seccomp(2).
type stageInstall struct{ flags, arg uint64 }

// StageOrder tells a stage which filters to install, in this order, before it
// executes. Its zero value installs none.
type StageOrder struct {
	// Token goes into the sixth argument of execveat, which the kernel ignores
	// and a filter may recognise.
	Token uint64

	traced   uint64
	flags    uint
	installs []stageInstall
	data     []byte
}

// AwaitTracer makes the stage wait, under its filters, for a tracer: it reports
// StageTraced, and executes after a message. Between them every process of its user
// may look into it, so it has forgotten the order, Token and all, and the listener:
// it is for the tracer to write the token into the call.
func (o *StageOrder) AwaitTracer() { o.traced = 1 }

// LogDenials has the kernel log what the filters that are added from here on deny, with
// FlagLog.
func (o *StageOrder) LogDenials() { o.flags |= FlagLog }

// Classic adds a classic filter, installed with flags as by InstallFilter. With
// FlagNewListener, which one install may have, the stage sends the listener with
// its report, and waits for a message before it executes.
func (o *StageOrder) Classic(insns []FilterInsn, flags uint) {
	var code []byte
	for _, in := range insns {
		code = binary.LittleEndian.AppendUint16(code, in.Code)
		code = append(code, in.Jt, in.Jf)
		code = binary.LittleEndian.AppendUint32(code, in.K)
	}
	at := o.add(code)
	prog := binary.LittleEndian.AppendUint64(nil, uint64(len(insns))) // struct sock_fprog
	o.install(flags, binary.LittleEndian.AppendUint64(prog, at))
}

// Extension is how an eBPF filter is installed: Native and Compat are bitmaps as
// ExtendedAttr.Allow takes them, the others are ExtendedAttr's fields.
type Extension struct {
	Native, Compat []byte
	WaitMS, Flags  uint32
	Pins           []Pin
}

// Extended adds an eBPF filter: the program behind fd, a descriptor of the stage,
// with ExemptLaunch and with x.
func (o *StageOrder) Extended(fd int, x Extension) {
	attr := NewExtendedAttr(fd, ExemptLaunch|x.Flags)
	le := binary.LittleEndian
	var pins []byte
	for _, p := range x.Pins {
		pins = le.AppendUint32(le.AppendUint32(pins, p.Nr), p.Args)
	}
	var b []byte
	for _, v := range []uint32{attr.Size, attr.ProgFD, attr.Flags, attr.Reserved} {
		b = le.AppendUint32(b, v)
	}
	for _, bits := range [][]byte{x.Native, x.Compat} {
		b = le.AppendUint64(b, o.add(bits))
	}
	for _, v := range []uint32{uint32(8 * len(x.Native)), uint32(8 * len(x.Compat)), x.WaitMS, attr.Reserved2} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, o.add(pins))
	for _, v := range []uint32{uint32(len(x.Pins)), attr.Reserved3} {
		b = le.AppendUint32(b, v)
	}
	o.install(FlagExtended, b)
}

func (o *StageOrder) install(flags uint, arg []byte) {
	o.installs = append(o.installs, stageInstall{uint64(flags | o.flags), o.add(arg)})
}

// add is the address data will have in the stage; 0 for no data.
func (o *StageOrder) add(data []byte) uint64 {
	if len(data) == 0 {
		return 0
	}
	at := stageBlockAt + uint64(unsafe.Offsetof(stageBlock{}.order)+unsafe.Offsetof(stageOrder{}.data)) + uint64(len(o.data))
	o.data = append(o.data, data...)
	for len(o.data)%8 != 0 {
		o.data = append(o.data, 0)
	}
	return at
}

// Message is what to send to the stage; the error is an *OrderError.
func (o *StageOrder) Message() ([]byte, error) {
	if len(o.installs) > maxInstalls || len(o.data) > maxOrderData {
		return nil, &OrderError{len(o.installs), len(o.data)}
	}
	m := &stageOrder{token: o.Token, traced: o.traced, count: uint64(len(o.installs))}
	copy(m.installs[:], o.installs)
	copy(m.data[:], o.data)
	size := int(unsafe.Offsetof(m.data)) + len(o.data)
	return unsafe.Slice((*byte)(unsafe.Pointer(m)), size), nil
}

// OrderError is filters that are more than a stage takes.
type OrderError struct{ Filters, Bytes int }

// Error is one line.
func (e *OrderError) Error() string {
	return fmt.Sprintf("%d filters of %d bytes: expected at most %d of %d bytes together: take some away",
		e.Filters, e.Bytes, maxInstalls, maxOrderData)
}
