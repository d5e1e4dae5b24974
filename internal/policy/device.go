package policy

import (
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/symbol"
)

// Types of files in mode_t: S_IFMT, S_IFCHR and S_IFBLK of <linux/stat.h>.
const (
	fileType        = 0xf000
	characterDevice = 0x2000
	blockDevice     = 0x6000
)

// withoutDevices is the test of a rule that permits a call. Where that makes files and the test is
// of paths, it does not hold for device nodes, unless it is about the type or the number of the
// device: what may be written below a directory is a file's worth of harm, a device node there is
// the whole disk.
func withoutDevices(t *test, nr uint32) *test {
	name, _ := syscalls.Name(nr)
	if name != "mknod" && name != "mknodat" || !t.ofPaths() {
		return t
	}
	mode, hasMode := symbol.Find(nr, "mode")
	dev, hasDev := symbol.Find(nr, "dev")
	if !hasMode || !hasDev || t.names(func(t *test) bool { return t.ofType(mode.Index, dev.Index) }, All) {
		return t
	}
	device := test{
		op: Test, pos: t.pos, subject: Argument, arg: mode.Index, bits: mode.Bits(),
		compare: MaskedIs, mask: fileType, values: []uint64{characterDevice, blockDevice},
	}
	return &test{op: All, pos: t.pos, sub: []test{{op: Not, pos: t.pos, sub: []test{device}}, *t}}
}

// ofPaths tells whether a test, or one in it, is of a path.
func (t *test) ofPaths() bool {
	for i := range t.sub {
		if t.sub[i].ofPaths() {
			return true
		}
	}
	return t.op == Test && t.subject == Path
}

// ofType tells whether a test of a number says which devices may be made: it is of the device,
// or of the bits of the mode that say what is made. Permissions alone say nothing of that.
func (t *test) ofType(mode, dev int) bool {
	if t.subject != Argument || t.arg != mode && t.arg != dev {
		return false
	}
	looked := t.mask
	if t.compare != MaskedIs {
		for _, v := range t.values {
			looked |= v
		}
	}
	return t.arg == dev || t.compare == Is || looked&fileType != 0
}
