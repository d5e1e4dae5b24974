package guest

import (
	"fmt"
	"io"
	"io/fs"
	"sort"
)

// entry is one file of an archive: a regular file or, with fs.ModeDir, a directory.
type entry struct {
	name string // without a leading slash
	mode fs.FileMode
	data []byte
}

// Types of a file in the mode field (Documentation/driver-api/early-userspace/buffer-format.rst).
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
)

// writeCPIO writes entries as a "newc" archive, the kernel's initramfs format,
// in the order of their names: a directory has to precede what it holds.
func writeCPIO(w io.Writer, entries []entry) error {
	sorted := append([]entry(nil), entries...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].name < sorted[j].name })
	for i, e := range sorted {
		if err := writeEntry(w, i+1, e); err != nil {
			return err
		}
	}
	return writeEntry(w, 0, entry{name: "TRAILER!!!"})
}

func writeEntry(w io.Writer, ino int, e entry) error {
	if _, err := io.WriteString(w, header(ino, e)); err != nil {
		return err
	}
	// The header is 110 bytes; name and data are each padded to four.
	if err := padded(w, 110, append([]byte(e.name), 0)); err != nil {
		return err
	}
	return padded(w, 0, e.data)
}

// header is the magic and thirteen numbers of eight hexadecimal digits: inode,
// mode, uid, gid, links, mtime, size, device and rdev (two each), length of the
// name with its NUL, checksum.
func header(ino int, e entry) string {
	mode, links := cpioFile|uint32(e.mode.Perm()), 1
	if e.mode.IsDir() {
		mode, links = cpioDir|uint32(e.mode.Perm()), 2
	}
	if ino == 0 {
		mode = 0
	}
	return fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		ino, mode, 0, 0, links, 0, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0)
}

// padded writes b, and zeros until before+len(b) is a multiple of four.
func padded(w io.Writer, before int, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, -(before+len(b))&3))
	return err
}
