//go:build linux && amd64

package sys

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A stage is what a target's process executes first: a program of a page, in
// assembly, that waits for a filter, installs it and becomes the target. It is
// not this program once more: it needs no runtime to be started, no cooperation
// of main, and leaves nothing behind in signal handlers, limits or threads that
// would have to be undone.

// Where a stage lies in memory, apart from what the kernel adds.
const (
	stageCodeAt  = 0x400000
	stagePathAt  = 0x500000
	stageBlockAt = 0x600000
)

// maxFilter is BPF_MAXINSNS.
const maxFilter = 4096

// stageBlock is the memory of a stage. Its first part is in the image; the
// assembly knows the fields by name.
type stageBlock struct {
	path    uint64 // address
	first   uint32 // of the descriptors that are the stage's own: the socket
	files   uint32 // how many they are
	message stageMessage
	iov     struct{ base, len uint64 }
	pause   struct{ sec, nsec uint64 }
	rights  stageRights
	report  StageReport
	// What follows is zero in the image.
	installed uint32
	gate      uint32
	failed    uint32
	_         uint32
	order     stageOrder
	stack     [1024]byte
}

// stageMessage is the kernel's struct msghdr.
type stageMessage struct{ name, nameLen, iov, iovLen, control, controlLen, flags uint64 }

// stageRights is the kernel's struct cmsghdr with the listener's descriptor.
type stageRights struct {
	len         uint64
	level, kind uint32
	listener    uint32
	_           uint32
}

// stageOrder is the message that a stage waits for.
type stageOrder struct {
	token uint64
	flags uint64
	prog  struct{ len, insns uint64 } // the kernel's struct sock_fprog
	insns [maxFilter]FilterInsn
}

// StageReport is what a stage has to say.
type StageReport struct {
	Step  StageStep
	Errno uint32 // 0: Step has been done
}

// StageStep is how far a stage has come.
type StageStep uint32

// The steps that are reported.
const (
	StagePrivs   StageStep = 1 + iota // prctl(PR_SET_NO_NEW_PRIVS)
	StageThread                       // clone
	StageInstall                      // seccomp; its success brings the listener
	StageExec                         // execveat
)

// stageProgram is the code of every stage; see stage_linux_amd64.s.
func stageProgram()

// stageAddress is where it is: the value of stageProgram would be another
// function, which calls it.
var stageAddress uintptr

// stageMark ends it.
const stageMark = "\x0f\x0b\x0f\x0b\x0f\x0b\x0f\x0b" // UD2

// maxCode bounds the code: it shares a page with the headers.
const maxCode = 2048

func stageCode() []byte {
	code := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&stageAddress))), maxCode)
	return code[:bytes.Index(code, []byte(stageMark))]
}

// NewStage is a program that executes path with its own arguments and
// environment under the filter it is sent as StageOrder. Descriptor first, of
// its files own ones, is the socket for that. The file can be executed, by a
// child, and not be read by ordinary users: the kernel makes a process that
// executes such a file non-dumpable before its first instruction (would_dump in
// fs/exec.c), so nobody can take the token or the listener from it.
func NewStage(path string, first, files int) (*os.File, error) {
	if strings.IndexByte(path, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	f, err := executable()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Write(stageImage(path, first, files)); err != nil {
		return nil, err
	}
	return unreadable(f)
}

func newStageBlock(first, files int) *stageBlock {
	b := &stageBlock{first: uint32(first), files: uint32(files)}
	at := func(offset uintptr) uint64 { return stageBlockAt + uint64(offset) }
	b.path = stagePathAt + pathOffset
	b.message.iov, b.message.iovLen = at(unsafe.Offsetof(b.iov)), 1
	b.message.control, b.message.controlLen = at(unsafe.Offsetof(b.rights)), uint64(unix.CmsgSpace(4))
	b.iov.base, b.iov.len = at(unsafe.Offsetof(b.report)), uint64(unsafe.Sizeof(b.report))
	b.pause.nsec = 200_000
	b.rights.len = uint64(unix.CmsgLen(4))
	b.rights.level, b.rights.kind = unix.SOL_SOCKET, unix.SCM_RIGHTS
	return b
}

// pathOffset is where the path is in its page, behind what the image has of the block.
const pathOffset = 256

// stageImage is the ELF file: a page with headers and code, then the block as
// far as it is not zero, then the path.
func stageImage(path string, first, files int) []byte {
	const headers, page = 64 + 4*56, 4096
	block := newStageBlock(first, files)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(block)), unsafe.Offsetof(block.installed))
	var b bytes.Buffer
	write := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a Buffer takes all
	code := stageCode()
	write(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: stageCodeAt + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 4,
	})
	write(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: stageCodeAt,
		Filesz: headers + uint64(len(code)), Memsz: headers + uint64(len(code)), Align: page,
	})
	write(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Off: page + pathOffset, Vaddr: stagePathAt + pathOffset,
		Filesz: uint64(len(path) + 1), Memsz: uint64(len(path) + 1), Align: page,
	})
	write(elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: page, Vaddr: stageBlockAt,
		Filesz: uint64(len(memory)), Memsz: uint64(unsafe.Sizeof(*block)), Align: page,
	})
	write(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)})
	b.Write(code)
	b.Write(make([]byte, page-b.Len()))
	b.Write(memory)
	b.Write(make([]byte, page+pathOffset-b.Len()))
	b.WriteString(path)
	b.WriteByte(0)
	return b.Bytes()
}

// StageOrder tells a stage to install insns with flags, see InstallFilter; the
// token goes into the sixth argument of its execveat, which the kernel ignores
// and the filter may recognise. With FlagNewListener the stage then sends the
// listener with its report, and waits for a message before it executes.
func StageOrder(insns []FilterInsn, flags uint, token uint64) ([]byte, error) {
	if len(insns) > maxFilter {
		return nil, syscall.EINVAL // as the kernel says
	}
	o := stageOrder{token: token, flags: uint64(flags)}
	o.prog.len = uint64(len(insns))
	o.prog.insns = stageBlockAt + uint64(unsafe.Offsetof(stageBlock{}.order)+unsafe.Offsetof(o.insns))
	copy(o.insns[:], insns)
	size := unsafe.Offsetof(o.insns) + uintptr(len(insns))*unsafe.Sizeof(insns[0])
	return unsafe.Slice((*byte)(unsafe.Pointer(&o)), size), nil
}

// ReadStageReport reads a stage's message.
func ReadStageReport(b []byte) (StageReport, error) {
	var r StageReport
	if len(b) != int(unsafe.Sizeof(r)) {
		return r, fmt.Errorf("the stage said %q: expected a report", b)
	}
	r.Step, r.Errno = StageStep(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint32(b[4:])
	if r.Step > StageExec || r.Errno > math.MaxInt16 {
		return r, fmt.Errorf("the stage said %+v: expected a step and an errno", r)
	}
	return r, nil
}

// executable is a new anonymous file that may be executed.
func executable() (*os.File, error) {
	fd, err := unix.MemfdCreate("portcullis", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before 6.3 the flag is unknown, and its meaning the only one
		fd, err = unix.MemfdCreate("portcullis", unix.MFD_CLOEXEC)
	}
	if err == nil {
		return os.NewFile(uintptr(fd), "portcullis"), nil
	}
	f, tempErr := os.CreateTemp("", "portcullis") // vm.memfd_noexec may be 2
	if tempErr != nil {
		return nil, fmt.Errorf("memfd_create: %w, and %v", err, tempErr)
	}
	return f, os.Remove(f.Name())
}

// unreadable is f for nothing but execution; a file that is open for writing
// cannot be executed, and it is the caller who closes f.
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
