//go:build linux && amd64

package shadow

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// identity is a file as memory maps name it.
type identity struct {
	device string // major:minor, in hexadecimal
	inode  string
	path   string
}

// identify is what maps show of an open Memfd.
func identify(f *os.File, name string) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, fmt.Errorf("fstat of %s: expected a device and an inode", name)
	}
	// The encoding of dev_t in user space, makedev(3).
	major := st.Dev>>8&0xfff | st.Dev>>32&^0xfff
	minor := st.Dev&0xff | st.Dev>>12&^0xff
	return identity{
		device: fmt.Sprintf("%02x:%02x", major, minor),
		inode:  fmt.Sprint(st.Ino),
		path:   "/memfd:" + name + " (deleted)",
	}, nil
}

// area is one mapping of a process, as /proc/PID/smaps describes it.
type area struct {
	line  string // the line that /proc/PID/maps has too
	flags string // behind VmFlags:
}

// findArea looks for the mapping that starts at an address. It reads no further:
// the kernel counts the pages of every mapping that is read. The zero area: there
// is none.
func findArea(tid int, addr uint64) (area, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", tid))
	if err != nil {
		return area{}, err
	}
	defer f.Close()
	return readArea(f, addr)
}

func readArea(r io.Reader, addr uint64) (area, error) {
	var a area
	start := fmt.Sprintf("%08x-", addr)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		flags, isFlags := strings.CutPrefix(line, "VmFlags: ")
		switch {
		case a.line == "" && strings.HasPrefix(line, start):
			a.line = line
		case a.line != "" && isFlags:
			a.flags = flags
			return a, nil
		}
	}
	return a, lines.Err()
}

// expect compares the area at an address with what Memory must be there; want is
// "" if it is that.
func (m *Memory) expect(a area, at uint64) (want, have string) {
	want = fmt.Sprintf("%08x-%08x r--s 00000000 %s %s %s", at, at+m.Size(), m.file.device, m.file.inode, m.file.path)
	if have = squeeze(a.line); have != want {
		return want, have
	}
	for _, flag := range m.flags() {
		if has(a.flags, flag.name) != flag.set {
			return flag.text, a.flags
		}
	}
	return "", ""
}

// vmFlag is a bit of vm_flags by its name in smaps (fs/proc/task_mmu.c).
type vmFlag struct {
	name string
	set  bool
	text string
}

func (m *Memory) flags() []vmFlag {
	return []vmFlag{
		{"ms", true, "VM_MAYSHARE: shared, so that a write by force makes no copy"},
		{"mw", false, "no VM_MAYWRITE: not to be made writable"},
		{"dc", true, "VM_DONTCOPY: not inherited"},
		{"sl", m.sealed == Sealed, "VM_SEALED as this kernel can"},
	}
}

func has(flags, name string) bool {
	for _, f := range strings.Fields(flags) {
		if f == name {
			return true
		}
	}
	return false
}

// squeeze makes single spaces of the padding before the path.
func squeeze(line string) string { return strings.Join(strings.Fields(line), " ") }
