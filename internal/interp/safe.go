package interp

import (
	"encoding/binary"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/maps"
)

// safeRead is safe_read_user(dst, size, uaddr): all of it, or zeroes and an error.
func (m *Machine) safeRead() bool {
	dst, ok := m.writable(m.r[1], m.r[2])
	if !ok {
		return false
	}
	m.r[0] = 0
	if len(dst) == 0 {
		return true
	}
	if e := m.env.SafeRead(dst, m.r[3]); e != maps.OK {
		clear(dst)
		m.r[0] = negative(e)
	}
	return true
}

// safeReadStr is safe_read_user_str(dst, size, uaddr): the length of the string
// with its NUL, which is more than 0. A string that does not fit size is an error,
// for a filter that overlooks that it was cut decides on another one.
func (m *Machine) safeReadStr() bool {
	dst, ok := m.writable(m.r[1], m.r[2])
	if !ok {
		return false
	}
	n, e := m.env.SafeReadStr(dst, m.r[3])
	if e == maps.OK && (n <= 0 || n > len(dst)) {
		e = maps.EFAULT // programs rely on the range that the verifier knows
	}
	if e != maps.OK {
		clear(dst)
		m.r[0] = negative(e)
		return true
	}
	clear(dst[n:])
	m.r[0] = uint64(n)
	return true
}

// await is wait_syscall(curr_nr, target_nr). Who waits under another number than
// its own would not be seen by those that wait for it.
func (m *Machine) await(curr, target uint64) maps.Errno {
	ctx := m.ld[regionCtx] // of a program that a tail call found, too
	if len(ctx) < abi.DataSize {
		return maps.EINVAL
	}
	nr := binary.LittleEndian.Uint32(ctx[abi.OffNr:])
	arch := abi.Arch(binary.LittleEndian.Uint32(ctx[abi.OffArch:]))
	newest := uint64(syscalls.Newest())
	switch {
	case arch != abi.ArchX86_64: // its numbers are those of other calls
		return maps.EINVAL
	case curr != uint64(nr) || curr > newest || target&^abi.WaitAny > newest:
		return maps.EINVAL
	case target&abi.WaitAny == 0 && abi.Dependent(uint32(target)):
		return maps.EINVAL
	}
	return m.env.Await(curr, target)
}
