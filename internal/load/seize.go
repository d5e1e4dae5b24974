package load

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A server that starts nothing by itself has a program executed by who has taken it over: its
// code that accepts a connection is replaced from outside, and does what an intruder's would.

// triedStatus is the status with which the code ends the server if nothing was executed.
const triedStatus = 77

// seizing is code for x86-64: execve of a shell that says something, and else exit_group. It
// needs nothing of the code that it replaces.
func seizing() []byte {
	const path, option, script = "/bin/sh\x00", "-c\x00", "echo from a shell >&2\x00"
	code := []byte{
		0x48, 0x8d, 0x3d, 0, 0, 0, 0, // lea path(%rip), %rdi
		0x31, 0xc0, // xor %eax, %eax
		0x50,                         // push %rax
		0x48, 0x8d, 0x15, 0, 0, 0, 0, // lea script(%rip), %rdx
		0x52,                         // push %rdx
		0x48, 0x8d, 0x15, 0, 0, 0, 0, // lea option(%rip), %rdx
		0x52,             // push %rdx
		0x57,             // push %rdi
		0x48, 0x89, 0xe6, // mov %rsp, %rsi
		0x31, 0xd2, // xor %edx, %edx
		0xb8, 59, 0, 0, 0, // mov $execve, %eax
		0x0f, 0x05, // syscall
		0xbf, triedStatus, 0, 0, 0, // mov $77, %edi
		0xb8, 231, 0, 0, 0, // mov $exit_group, %eax
		0x0f, 0x05, // syscall
	}
	for at, text := range map[int]int{3: 0, 13: len(path + option), 21: len(path)} {
		binary.LittleEndian.PutUint32(code[at:], uint32(len(code)+text-at-4))
	}
	return append(code, path+option+script...)
}

// seize replaces the code of accept4 in the C library of processes.
func seize(pids ...int) error {
	for _, pid := range pids {
		if err := seizeOne(pid); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return nil
}

func seizeOne(pid int) error {
	at, err := libraryCode(pid, "accept4", uint64(len(seizing())))
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return &LockedError{err}
	}
	defer mem.Close()
	if _, err = mem.WriteAt(seizing(), int64(at)); err != nil {
		return &LockedError{err}
	}
	return nil
}

// LockedError is a machine that lets nobody, or not this user, change the code of a program
// that was started.
type LockedError struct{ Err error }

func (e *LockedError) Error() string {
	return fmt.Sprintf("needs to change code of a program that it has started: %v: expected root, or kernel.yama.ptrace_scope of 0 or 1", e.Err)
}

// libraryCode is where a process has a function of the C library, of at least a size.
func libraryCode(pid int, name string, size uint64) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(text), "\n") {
		var from, to, offset, inode uint64
		var perms, device, path string
		n, _ := fmt.Sscanf(line, "%x-%x %s %x %s %d %s", &from, &to, &perms, &offset, &device, &inode, &path)
		if n != 7 || perms != "r-xp" || filepath.Base(path) != "libc.so.6" {
			continue
		}
		at, err := codeOffset(path, name, size)
		if err == nil && (at < offset || at+size > offset+to-from) {
			err = fmt.Errorf("%s: expected %s in what is mapped", path, name)
		}
		return from + at - offset, err
	}
	return 0, errors.New("expected that it has mapped libc.so.6")
}

// codeOffset is where a library has a function, of at least a size.
func codeOffset(path, name string, size uint64) (uint64, error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		return 0, fmt.Errorf("%s: expected code of x86-64, found %v", path, f.Machine)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		for _, p := range f.Progs {
			if s.Name == name && s.Size >= size && p.Type == elf.PT_LOAD && s.Value >= p.Vaddr && s.Value-p.Vaddr < p.Filesz {
				return s.Value - p.Vaddr + p.Off, nil
			}
		}
	}
	return 0, fmt.Errorf("%s: expected a function %s of at least %d bytes", path, name, size)
}

// touch makes a connection, for which the server has to accept it. Nobody answers, and who
// accepts it may be gone before it is there.
func touch(address string) error {
	c, err := dial("tcp", address)
	if err == nil {
		err = c.Close()
	}
	if isReset(err) {
		return nil
	}
	return err
}

// intrudeAt seizes a server of one process that has started, has it accept a connection, and
// tells whether a shell came of that. It ends in either case.
func (s *session) intrudeAt(address string) (bool, error) {
	if err := first(func() error { return seize(s.process.Pid()) }, func() error { return touch(address) }); err != nil {
		return false, err
	}
	err := s.await("from a shell")
	if silent := (*silentError)(nil); errors.As(err, &silent) {
		return false, tried(silent.end)
	}
	return true, first(func() error { return err }, s.end)
}

// tried is an error unless a process has ended as the code ends it.
func tried(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == triedStatus {
		return nil
	}
	return fmt.Errorf("it ended (%v): expected a shell, or status %d", err, triedStatus)
}
