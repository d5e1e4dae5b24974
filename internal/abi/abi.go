// Package abi defines what a filter is asked and what it answers: the kernel's
// struct seccomp_data, its actions and their precedence, and the audit
// architectures. Sources: include/uapi/linux/seccomp.h, include/uapi/linux/audit.h
// and kernel/seccomp.c of Linux 6.12.
package abi

import "encoding/binary"

// DataSize is the size in bytes of struct seccomp_data.
const DataSize = 64

// Byte offsets of the fields of struct seccomp_data.
const (
	OffNr                 = 0
	OffArch               = 4
	OffInstructionPointer = 8
	OffArgs               = 16
)

// SeccompData is the kernel's struct seccomp_data, field for field.
type SeccompData struct {
	Nr                 int32
	Arch               Arch
	InstructionPointer uint64
	Args               [6]uint64
}

// Bytes lays d out as the kernel does on a little-endian machine.
func (d *SeccompData) Bytes() [DataSize]byte {
	var b [DataSize]byte
	binary.LittleEndian.PutUint32(b[OffNr:], uint32(d.Nr))
	binary.LittleEndian.PutUint32(b[OffArch:], uint32(d.Arch))
	binary.LittleEndian.PutUint64(b[OffInstructionPointer:], d.InstructionPointer)
	for i, a := range d.Args {
		binary.LittleEndian.PutUint64(b[OffArgs+8*i:], a)
	}
	return b
}

// Data reads a struct seccomp_data laid out as the kernel does.
func Data(b [DataSize]byte) SeccompData {
	d := SeccompData{
		Nr:                 int32(binary.LittleEndian.Uint32(b[OffNr:])),
		Arch:               Arch(binary.LittleEndian.Uint32(b[OffArch:])),
		InstructionPointer: binary.LittleEndian.Uint64(b[OffInstructionPointer:]),
	}
	for i := range d.Args {
		d.Args[i] = binary.LittleEndian.Uint64(b[OffArgs+8*i:])
	}
	return d
}

// Arch is an AUDIT_ARCH_* value.
type Arch uint32

// The architectures an x86-64 kernel reports. An x32 call reports ArchX86_64
// with X32Bit set in its number.
const (
	ArchX86_64 Arch = 0xc000003e
	ArchI386   Arch = 0x40000003
)

// X32Bit is __X32_SYSCALL_BIT, set in the number of every x32 call.
const X32Bit = 0x40000000

// String names the architecture as ausyscall does.
func (a Arch) String() string {
	switch a {
	case ArchX86_64:
		return "x86_64"
	case ArchI386:
		return "i386"
	}
	return "unknown"
}
