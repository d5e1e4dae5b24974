package object

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// errPanic is the cause of an error where the reader of types gave up with a
// panic.
var errPanic = errors.New("the reader panicked")

// shielded runs a third-party reader over untrusted bytes.
func shielded(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return read()
}

// types is an object's BTF: its types and its strings.
type types struct {
	spec    *btf.Spec
	strings string
}

// btfHeader is struct btf_header of include/uapi/linux/btf.h.
type btfHeader struct {
	Magic             uint16
	Version, Flags    uint8
	HdrLen            uint32
	TypeOff, TypeLen  uint32
	StringOff, StrLen uint32
}

const btfMagic = 0xeb9f

// readTypes reads .BTF; an object without it has no types.
func (o *object) readTypes() error {
	_, s := o.section(".BTF")
	if s == nil {
		return nil
	}
	if s.size > MaxTypes {
		return o.failIn(s.name, fmt.Sprintf("%d bytes of types: expected at most %d", s.size, MaxTypes),
			"declare no types that the filter does not use")
	}
	raw, err := o.contents(s)
	if err != nil {
		return err
	}
	strs, err := btfStrings(raw)
	if err != nil {
		return &Error{
			Path: o.path, Section: s.name, Reason: "not readable type information", Err: err,
			Remedy: damaged,
		}
	}
	o.types = &types{strings: string(strs)}
	err = shielded(func() (err error) {
		o.types.spec, err = btf.LoadSpecFromReader(bytes.NewReader(raw))
		return err
	})
	if err != nil {
		return &Error{
			Path: o.path, Section: s.name, Reason: "not readable type information", Err: err,
			Remedy: "compile it with clang 14 or newer",
		}
	}
	return nil
}

// btfStrings checks the header of raw BTF and returns its string table. The
// lengths are checked here because the reader of types allocates by them.
func btfStrings(raw []byte) ([]byte, error) {
	var h btfHeader
	if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	if h.Magic != btfMagic || h.Version != 1 {
		return nil, fmt.Errorf("magic %#x, version %d: expected %#x and 1", h.Magic, h.Version, btfMagic)
	}
	size := uint64(len(raw))
	typeEnd := uint64(h.HdrLen) + uint64(h.TypeOff) + uint64(h.TypeLen)
	strStart := uint64(h.HdrLen) + uint64(h.StringOff)
	if typeEnd > size || strStart+uint64(h.StrLen) > size {
		return nil, fmt.Errorf("types or strings end behind its %d bytes", size)
	}
	return raw[strStart : strStart+uint64(h.StrLen)], nil
}

// text is the string at off of the string table; empty where there is none.
func (t *types) text(off uint32) string {
	if t == nil {
		return ""
	}
	return stringAt(t.strings, off)
}

// datasec is the type of a section of variables; nil if BTF has none.
func (t *types) datasec(name string) *btf.Datasec {
	if t == nil {
		return nil
	}
	var ds *btf.Datasec
	err := shielded(func() error { return t.spec.TypeByName(name, &ds) })
	if err != nil {
		return nil
	}
	return ds
}

// sizeOf is the size of a type in bytes; false where it has none or is larger
// than a map value can be.
func sizeOf(t btf.Type) (uint32, bool) {
	n := -1
	err := shielded(func() (err error) {
		n, err = btf.Sizeof(t)
		return err
	})
	return uint32(n), err == nil && n >= 0 && n <= 1<<30
}
