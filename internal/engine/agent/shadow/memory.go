//go:build linux && amd64

package shadow

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"portcullis/internal/sys"
)

// SlotSize is the bytes of a slot: what one call may pin, with its paths.
const SlotSize = 96 << 10

// pageSize is x86-64's.
const pageSize = 4096

// Memory is shadow memory for one address space, from New until Close. It is in no
// address space of a target before Map. Lend may be called from any goroutine at any
// time, all else from one at a time.
type Memory struct {
	mu     sync.Mutex // of lent: a number that was closed is soon another file's
	lent   *os.File   // open for reading; nil once it is not needed
	bytes  []byte     // the one writable mapping
	used   []int      // how many bytes of each slot may differ from zero
	file   identity
	sealed Sealing
}

// Sealing says what keeps the mapping in its place.
type Sealing uint8

// The ways.
const (
	// Unsealed: nothing does on this kernel, which is older than 6.10. Then the
	// prefilter must refuse Slots' addresses to mmap, munmap, mremap, mprotect,
	// pkey_mprotect, madvise, remap_file_pages, shmat and brk.
	Unsealed Sealing = iota
	// Sealed: mseal(2).
	Sealed
)

// New is shadow memory of a number of slots. It takes a descriptor until a target has
// it, and memory for what is put there.
func New(slots int) (*Memory, error) {
	name, err := randomName()
	if err != nil {
		return nil, err
	}
	f, err := sys.Memfd(name, int64(slots)*SlotSize)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	defer f.Close()
	m := &Memory{used: make([]int, slots)}
	if sys.MsealKnown() {
		m.sealed = Sealed
	}
	if m.bytes, err = sys.MapShared(f, slots*SlotSize); err != nil {
		return nil, fmt.Errorf("mmap of %d slots: %w", slots, err)
	}
	if err := m.seal(f, name); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// seal ends what can be done with f by descriptors, and opens the one for targets.
// A writable one would not do: mappings of it could be made writable before the
// seal, and a look at them afterwards would be one at flags alone.
func (m *Memory) seal(f *os.File, name string) error {
	if err := sys.SealContent(f); err != nil {
		return fmt.Errorf("fcntl(F_ADD_SEALS): %w", err)
	}
	lent, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return err
	}
	m.lent = lent
	m.file, err = identify(lent, name)
	return err
}

func randomName() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return "portcullis-" + hex.EncodeToString(b[:]), nil
}

// Sealing says what keeps the mapping in its place, wherever it will be.
func (m *Memory) Sealing() Sealing { return m.sealed }

// Size is the bytes of the mapping: the slots and the page that faults.
func (m *Memory) Size() uint64 { return uint64(len(m.bytes)) + pageSize }

// Close gives up the supervisor's side. A target that has the memory keeps it as
// it is.
func (m *Memory) Close() error {
	m.keep()
	return sys.Unmap(m.bytes)
}

// keep ends lending.
func (m *Memory) keep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lent != nil {
		m.lent.Close()
		m.lent = nil
	}
}

// Lend answers a request. What fails there, such as EMFILE, is the result of the
// call, and reported by its Mapping; the error is a listener that cannot be used.
func (m *Memory) Lend(listener int, n *sys.Notif) error {
	refused, err := m.lend(listener, n)
	if err != nil || refused == 0 {
		return err
	}
	err = sys.NotifSend(listener, &sys.NotifResp{ID: n.ID, Error: -int32(refused)})
	if err == syscall.ENOENT || err == syscall.EINPROGRESS { // gone, or stopped and will ask again
		return nil
	}
	return err
}

func (m *Memory) lend(listener int, n *sys.Notif) (refused syscall.Errno, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lent == nil { // the tracer has given up meanwhile
		return syscall.ECANCELED, nil
	}
	fd, at := int(m.lent.Fd()), unused(int(n.Pid))
	number, err := sys.NotifLend(listener, n.ID, fd, at)
	if err == syscall.EBADF && at >= 0 {
		number, err = sys.NotifLend(listener, n.ID, fd, -1)
	}
	if err == nil {
		err = sys.NotifSend(listener, &sys.NotifResp{ID: n.ID, Val: int64(number)})
	}
	if refused, ok := err.(syscall.Errno); ok && refused != syscall.EBADF {
		return refused, nil
	}
	return 0, err
}

const (
	// usual is the soft limit of open files that nearly all processes have at least.
	usual = 1024
	// tries are at numbers below it.
	tries = 64
)

// unused is a high number that no descriptor of a thread has, or -1. The lowest free
// one is what the target's other threads expect of their own next call, and what they
// replace with dup2 after they have closed it.
func unused(tid int) int {
	limit, err := sys.OpenFilesOf(tid)
	if err != nil {
		return -1
	}
	for at := int(min(limit, usual)) - 1; at >= 0 && at >= int(min(limit, usual))-tries; at-- {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", tid, at)); errors.Is(err, os.ErrNotExist) {
			return at
		}
	}
	return -1
}
