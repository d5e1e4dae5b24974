//go:build linux && amd64

package sys

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel engine adds to the kernel's ABI; linux/README.md.
const (
	// ProgTypeSeccomp is BPF_PROG_TYPE_SECCOMP.
	ProgTypeSeccomp = 33
	// FlagExtended is SECCOMP_FILTER_FLAG_EXTENDED: the argument of seccomp(2) is
	// an ExtendedAttr.
	FlagExtended = 1 << 16
	// ExemptLaunch is SECCOMP_EXTENDED_EXEMPT_LAUNCH: execve, execveat and seccomp
	// of the installing thread are not the filter's until its first execve.
	ExemptLaunch = 1 << 0
	// JoinWaits is SECCOMP_EXTENDED_JOIN: the filter counts calls together with the
	// eBPF filter that the same launch installed before it.
	JoinWaits = 1 << 1
	// NoPins is SECCOMP_EXTENDED_NO_PINS: the filter reads no arguments. It goes
	// with no Pins; without either, all of every call can be read.
	NoPins = 1 << 2
	// PinAll is what a Pin says of a call of which all may be read.
	PinAll = 1<<18 - 1
)

// Pin is the kernel's struct seccomp_extended_pin: what a filter reads of the
// arguments of x86-64's call Nr. The kernel copies no more than that.
type Pin struct{ Nr, Args uint32 }

// ExtendedAttr is the kernel's struct seccomp_extended_attr. Size is its size.
// The bitmaps name the calls of x86-64 and of i386 that the filter always
// allows and need not see: call nr is bit nr%8 of byte nr/8. WaitMS limits how long
// a call waits because the filter asks for it; 0 is the kernel's 10 seconds. Pins,
// PinCount of them, say what it reads.
type ExtendedAttr struct {
	Size       uint32
	ProgFD     uint32
	Flags      uint32
	Reserved   uint32
	Native     *byte
	Compat     *byte
	NativeBits uint32
	CompatBits uint32
	WaitMS     uint32
	Reserved2  uint32
	Pins       *Pin
	PinCount   uint32
	Reserved3  uint32
}

// NewExtendedAttr asks for the program behind fd as a filter that sees every call.
func NewExtendedAttr(fd int, flags uint32) ExtendedAttr {
	return ExtendedAttr{Size: uint32(unsafe.Sizeof(ExtendedAttr{})), ProgFD: uint32(fd), Flags: flags}
}

// Allow sets the bitmaps, which may be nil.
func (a *ExtendedAttr) Allow(native, compat []byte) {
	a.Native, a.NativeBits = (*byte)(pointer(native)), uint32(8*len(native))
	a.Compat, a.CompatBits = (*byte)(pointer(compat)), uint32(8*len(compat))
}

// InstallExtended puts an eBPF program on the calling thread, which the caller
// must have locked and for which NoNewPrivs must be set; with FlagNewListener
// the result is the listener, otherwise what the kernel returned (with TSYNC the
// tid of a thread that could not follow).
func InstallExtended(attr *ExtendedAttr, flags uint) (int, error) {
	r, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		uintptr(flags|FlagExtended), uintptr(unsafe.Pointer(attr)))
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// MapAttr is what BPF_MAP_CREATE is told. The BTF fields are 0 without BTF.
type MapAttr struct {
	Type, KeySize, ValueSize, MaxEntries, Flags uint32
	Name                                        string // at most 15 bytes: letters, digits, '_' and '.'
	BTF                                         int    // descriptor
	BTFKey, BTFValue                            uint32 // type ids in it
}

// bpfMapCreate is the head of union bpf_attr for BPF_MAP_CREATE.
type bpfMapCreate struct {
	mapType, keySize, valueSize, maxEntries, mapFlags uint32
	innerMapFD, numaNode                              uint32
	name                                              [unix.BPF_OBJ_NAME_LEN]byte
	ifindex, btfFD, btfKey, btfValue                  uint32
}

// MapCreate creates a map and returns its descriptor, closed on exec.
func MapCreate(m MapAttr) (int, error) {
	attr := bpfMapCreate{
		mapType: m.Type, keySize: m.KeySize, valueSize: m.ValueSize, maxEntries: m.MaxEntries,
		mapFlags: m.Flags, btfKey: m.BTFKey, btfValue: m.BTFValue,
	}
	if m.BTFKey != 0 || m.BTFValue != 0 {
		attr.btfFD = uint32(m.BTF)
	}
	copy(attr.name[:unix.BPF_OBJ_NAME_LEN-1], m.Name)
	return BPF(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// bpfMapElem is union bpf_attr for BPF_MAP_*_ELEM.
type bpfMapElem struct {
	fd    uint32
	_     uint32
	key   unsafe.Pointer
	value unsafe.Pointer
	flags uint64
}

// MapLookup reads the value under key into value, which has the map's value
// size (of a per-CPU map: that, rounded up to eight, for each possible CPU).
func MapLookup(fd int, key, value []byte) error {
	return mapElem(unix.BPF_MAP_LOOKUP_ELEM, fd, key, value, 0)
}

// MapUpdate stores value under key; flags are BPF_ANY, BPF_NOEXIST, BPF_EXIST.
func MapUpdate(fd int, key, value []byte, flags uint64) error {
	return mapElem(unix.BPF_MAP_UPDATE_ELEM, fd, key, value, flags)
}

// MapDelete removes key.
func MapDelete(fd int, key []byte) error {
	return mapElem(unix.BPF_MAP_DELETE_ELEM, fd, key, nil, 0)
}

func mapElem(cmd uintptr, fd int, key, value []byte, flags uint64) error {
	attr := bpfMapElem{fd: uint32(fd), key: pointer(key), value: pointer(value), flags: flags}
	_, err := BPF(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return err
}

// MapFreeze forbids further changes of a map by system calls.
func MapFreeze(fd int) error {
	attr := struct{ fd uint32 }{uint32(fd)}
	_, err := BPF(unix.BPF_MAP_FREEZE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// bpfBTFLoad is the head of union bpf_attr for BPF_BTF_LOAD.
type bpfBTFLoad struct {
	btf, log            unsafe.Pointer
	size, logSize, logL uint32
	_                   uint32
}

// BTFLoad loads type information and returns its descriptor, closed on exec.
func BTFLoad(data []byte) (int, error) {
	attr := bpfBTFLoad{btf: pointer(data), size: uint32(len(data))}
	fd, err := BPF(unix.BPF_BTF_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(data)
	return fd, err
}

// ProgAttr is what BPF_PROG_LOAD is told.
type ProgAttr struct {
	Type    uint32
	Insns   []byte // eight bytes each
	License string
	Name    string // as MapAttr.Name
	Log     []byte // receives the verifier's log, NUL-terminated, when not empty
}

// bpfProgLoad is the head of union bpf_attr for BPF_PROG_LOAD.
type bpfProgLoad struct {
	progType, insnCount        uint32
	insns, license             unsafe.Pointer
	logLevel, logSize          uint32
	log                        unsafe.Pointer
	kernVersion, progFlags     uint32
	name                       [unix.BPF_OBJ_NAME_LEN]byte
	ifindex, expectedAttachTyp uint32
}

// ProgLoad has the kernel verify a program and returns its descriptor, closed
// on exec. ENOSPC may mean that Log is too short.
func ProgLoad(p ProgAttr) (int, error) {
	license := append([]byte(p.License), 0)
	attr := bpfProgLoad{
		progType: p.Type, insnCount: uint32(len(p.Insns) / 8), insns: pointer(p.Insns), license: pointer(license),
	}
	copy(attr.name[:unix.BPF_OBJ_NAME_LEN-1], p.Name)
	if len(p.Log) > 0 {
		attr.logLevel, attr.logSize, attr.log = 1, uint32(len(p.Log)), pointer(p.Log)
	}
	fd, err := BPF(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(p.Insns)
	runtime.KeepAlive(license)
	runtime.KeepAlive(p.Log)
	return fd, err
}

// ProgBindMap has a program count as one that uses a map.
func ProgBindMap(prog, m int) error {
	attr := struct{ prog, m, flags uint32 }{uint32(prog), uint32(m), 0}
	_, err := BPF(unix.BPF_PROG_BIND_MAP, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// BPF is bpf(2). EAGAIN is the verifier interrupted by a signal, such as the Go
// scheduler's: it is asked again, as libbpf does, though not for ever.
func BPF(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	const attempts = 50
	for try := 1; ; try++ {
		r, _, errno := syscall.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch {
		case errno == 0:
			return int(r), nil
		case errno == syscall.EAGAIN && cmd == unix.BPF_PROG_LOAD && try < attempts:
		default:
			return -1, errno
		}
	}
}

// pointer is the address of the first byte, or NULL.
func pointer(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}
