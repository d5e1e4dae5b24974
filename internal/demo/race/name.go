//go:build linux && amd64

package main

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// The names of the files. One store of eight bytes makes the one of the other.
const (
	allowed = "allowed"
	secret  = "secret"
)

// word is how many bytes the kernel reads at once, and a store writes.
const word = 8

// name is a path in memory that changes while calls use it. It begins and its last part
// begins at a multiple of a word, so that nobody sees a part of the one name with a part
// of the other: what is opened is either.
type name struct {
	path            []uint64
	at              int // of the last part
	allowed, secret uint64
}

func newName(dir string) (*name, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("%q: expected an absolute path", dir)
	}
	dir = strings.TrimRight(dir, "/") + "/"
	dir += strings.Repeat("/", -len(dir)&(word-1))
	n := &name{at: len(dir) / word, allowed: wordOf(allowed), secret: wordOf(secret)}
	for i := 0; i < len(dir); i += word {
		n.path = append(n.path, wordOf(dir[i:i+word]))
	}
	n.path = append(n.path, n.allowed)
	return n, nil
}

// wordOf is a text as it is in memory, with zeroes behind it.
func wordOf(text string) uint64 {
	var b [word]byte
	copy(b[:], text)
	return binary.LittleEndian.Uint64(b[:])
}

// change makes the one name of the other, and back, until it is over. Mostly it does so
// as fast as it goes, and sometimes it sleeps: where there are fewer processors than
// threads, who sleeps is woken between check and use, and who runs is not.
func (n *name) change(over *atomic.Bool) {
	const often, pause = 256, 20 // microseconds
	last := &n.path[n.at]
	for i := 0; !over.Load(); i++ {
		atomic.StoreUint64(last, n.secret)
		if i%often == 0 {
			sleep(pause)
		}
		atomic.StoreUint64(last, n.allowed)
		if i%often == often/2 {
			sleep(pause)
		}
	}
}

func sleep(microseconds int64) {
	_ = syscall.Nanosleep(&syscall.Timespec{Nsec: microseconds * 1000}, nil)
}

// outcome is what came of one call.
type outcome uint8

const (
	openedAllowed outcome = iota
	openedSecret
	refused
	failed
)

// open opens what the name then says.
func (n *name) open() outcome {
	const here, flags = ^uintptr(99), syscall.O_RDONLY | syscall.O_CLOEXEC // AT_FDCWD
	fd, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, here,
		uintptr(unsafe.Pointer(&n.path[0])), flags, 0, 0, 0)
	switch errno {
	case 0:
		defer syscall.Close(int(fd))
		return which(int(fd))
	case syscall.EACCES:
		return refused
	}
	return failed
}

// which looks at what was opened.
func which(fd int) outcome {
	var b [1]byte
	n, err := syscall.Read(fd, b[:])
	switch {
	case err != nil || n != 1:
		return failed
	case b[0] == allowed[0]:
		return openedAllowed
	}
	return openedSecret
}
