//go:build linux && amd64

package sys

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ExecuteOnly is the running program as an anonymous file that ordinary users
// can execute and not read: the kernel makes a process that executes such a file
// non-dumpable before its first instruction (would_dump in fs/exec.c), which
// NotDumpable, called by the process itself, can only do later. The program must
// be executed by a child of this process.
func ExecuteOnly() (*os.File, error) {
	program, err := os.Open(selfExe)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	if selfContained(program) {
		return anonymous(bytes.NewReader(stub()))
	}
	return anonymous(program)
}

// selfExe names, while a child executes, the program of its parent.
const selfExe = "/proc/self/exe"

// selfContained tells whether the kernel alone can load a program, so that it
// can stand as the interpreter of another.
func selfContained(program *os.File) bool {
	f, err := elf.NewFile(program)
	if err != nil || f.Type != elf.ET_EXEC {
		return false
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}

// stubAt is where the stub lies in memory: below every program, at the lowest
// address that may be mapped (vm.mmap_min_addr).
const stubAt = 0x10000

// stub is an empty ELF program whose interpreter is the running one: the kernel
// maps both and starts the interpreter. A copy of a whole program, which it
// replaces, costs several milliseconds.
func stub() []byte {
	const headers = 64 + 2*56
	path := selfExe + "\x00"
	size := uint64(headers + len(path))
	var b bytes.Buffer
	write := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a Buffer takes all
	write(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: stubAt, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	})
	write(elf.Prog64{
		Type: uint32(elf.PT_INTERP), Flags: uint32(elf.PF_R), Off: headers, Vaddr: stubAt + headers,
		Filesz: uint64(len(path)), Memsz: uint64(len(path)), Align: 1,
	})
	write(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Vaddr: stubAt, Filesz: size, Memsz: size, Align: 4096,
	})
	b.WriteString(path)
	return b.Bytes()
}

// anonymous is a file with the bytes of from and no use but execution.
func anonymous(from io.Reader) (*os.File, error) {
	fd, err := unix.MemfdCreate("portcullis", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before 6.3 the flag is unknown, and its meaning the only one
		fd, err = unix.MemfdCreate("portcullis", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	to := os.NewFile(uintptr(fd), "portcullis")
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return nil, err
	}
	return unreadable(to)
}

// unreadable is f for nothing but execution; a file that is open for writing
// cannot be executed.
func unreadable(f *os.File) (*os.File, error) {
	only, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, err
	}
	if err := only.Chmod(0o111); err != nil {
		only.Close()
		return nil, err
	}
	return only, nil
}
