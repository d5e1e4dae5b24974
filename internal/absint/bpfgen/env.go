package bpfgen

import (
	"math/rand"

	"portcullis/internal/maps"
)

// Env answers helpers at random: the caller that a random program is run for.
type Env struct{ R *rand.Rand }

// PidTgid is any.
func (e Env) PidTgid() uint64 { return e.R.Uint64() }

// UidGid is any.
func (e Env) UidGid() uint64 { return e.R.Uint64() }

// Comm is any, with its NUL.
func (e Env) Comm() (c [16]byte) { e.R.Read(c[:15]); return c }

// Process is one of three, so that storage is met again.
func (e Env) Process() uint64 { return uint64(e.R.Intn(3)) }

// Thread is one of three.
func (e Env) Thread() uint64 { return uint64(e.R.Intn(3)) }

// Now is any time, of any magnitude.
func (e Env) Now() uint64 { return e.R.Uint64() >> e.R.Intn(64) }

// BootNow is any time.
func (e Env) BootNow() uint64 { return e.R.Uint64() }

// Rand is any number, of any magnitude.
func (e Env) Rand() uint32 { return e.R.Uint32() >> e.R.Intn(32) }

// Printk prints nothing.
func (e Env) Printk([]byte) {}

// ReadUser reads a part of what was asked for.
func (e Env) ReadUser(dst []byte, _ uint64) (int, error) {
	n := e.R.Intn(len(dst) + 1)
	e.R.Read(dst[:n])
	return n, nil
}

// SafeRead reads, or fails in one of the ways.
func (e Env) SafeRead(dst []byte, _ uint64) maps.Errno {
	e.R.Read(dst)
	return e.failure()
}

// SafeReadStr reads a string that fits, or fails in one of the ways.
func (e Env) SafeReadStr(dst []byte, _ uint64) (int, maps.Errno) {
	if len(dst) == 0 {
		return 0, maps.E2BIG
	}
	n := e.R.Intn(len(dst))
	e.R.Read(dst[:n])
	return n + 1, e.failure()
}

// Await says yes or no.
func (e Env) Await(_, _ uint64) maps.Errno { return e.failure() }

// failure is none half of the time.
func (e Env) failure() maps.Errno {
	return [...]maps.Errno{0, 0, 0, maps.EFAULT, maps.E2BIG, maps.EINVAL}[e.R.Intn(6)]
}
