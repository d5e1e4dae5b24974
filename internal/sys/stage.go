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
	stageTextAt  = 0x500000
	stageBlockAt = 0x600000
)

// stageBlock is the memory of a stage. Its first part is in the image; the
// assembly knows the fields by name.
type stageBlock struct {
	path    uint64 // address
	own     uint64 // address of the descriptors that are the stage's own
	owned   uint32 // how many they are
	socket  uint32 // the first of them
	texts   uint64 // address of stageTexts, 0 for a stage that reports to the socket
	confine uint64 // address of a struct sock_fprog with stageFilter
	said    [3]stageIovec
	message stageMessage
	iov     stageIovec
	pause   struct{ sec, nsec uint64 }
	rights  stageRights
	report  StageReport
	// What follows is zero in the image.
	gate    uint32
	failed  uint32
	ordered uint64 // bytes of the order
	order   stageOrder
	stack   [1024]byte
}

// stageIovec is the kernel's struct iovec.
type stageIovec struct{ base, len uint64 }

// stageMessage is the kernel's struct msghdr.
type stageMessage struct{ name, nameLen, iov, iovLen, control, controlLen, flags uint64 }

// stageRights is the kernel's struct cmsghdr with the listener's descriptor.
type stageRights struct {
	len         uint64
	level, kind uint32
	listener    int32
	_           uint32
}

// StageReport is what a stage has to say.
type StageReport struct {
	Step      StageStep
	Installed uint32 // how many filters are in place
	Errno     uint32 // 0: Step has been done
}

// StageStep is how far a stage has come.
type StageStep uint32

// The steps that are reported.
const (
	StagePrivs   StageStep = 1 + iota // prctl(PR_SET_NO_NEW_PRIVS)
	StageThread                       // clone
	StageInstall                      // seccomp; its success brings the listener
	StageTraced                       // seccomp and prctl(PR_SET_DUMPABLE); it waits for a tracer
	StageExec                         // execveat
)

// stageProgram is the code of every stage; see stage_linux_amd64.s.
//
//lint:ignore U1000 its text is copied
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
// environment under the filters it is sent as a StageOrder. The descriptors own
// are the stage's and not the target's; the first is the socket for that, to
// which it reports. The file can be executed, by a child, and not be read by
// ordinary users: the kernel makes a process that executes such a file
// non-dumpable before its first instruction (would_dump in fs/exec.c), so nobody
// can take the token or the listener from it. EINVAL: path has a NUL.
func NewStage(path string, own []int) (*os.File, error) {
	return newStage(path, own, "")
}

// NewLastStage is NewStage for a process that nobody waits for: what fails is
// printed behind prefix on standard error, and the process exits as a shell
// does, with 125 where the target is not to blame.
func NewLastStage(path string, own []int, prefix string) (*os.File, error) {
	return newStage(path, own, prefix)
}

func newStage(path string, own []int, prefix string) (*os.File, error) {
	if strings.IndexByte(path, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	// What a child forked meanwhile has open for writing could not be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := executable()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Write(stageImage(path, own, prefix)); err != nil {
		return nil, err
	}
	return unreadable(f)
}

// textOffset is where a stage's texts are in their page, behind what the image
// has of the block.
const textOffset = 512

// stageText is what a stage only reads.
type stageText struct{ bytes.Buffer }

// add is the address of data.
func (t *stageText) add(data any) uint64 {
	at := uint64(stageTextAt + textOffset + t.Len())
	_ = binary.Write(t, binary.LittleEndian, data) // a Buffer takes all
	return at
}

func (t *stageText) iovec(s string) stageIovec { return stageIovec{t.add([]byte(s)), uint64(len(s))} }

func newStageBlock(path string, own []int, prefix string) (*stageBlock, []byte) {
	var text stageText
	at := func(offset uintptr) uint64 { return stageBlockAt + uint64(offset) }
	b := &stageBlock{owned: uint32(len(own)), socket: uint32(own[0])}
	b.confine = text.add(stageFilter())
	b.confine = text.add([2]uint64{uint64(len(stageFilter())), b.confine})
	b.path = text.add([]byte(path + "\x00"))
	b.own = text.add(descriptors(own))
	if prefix != "" {
		b.texts = text.add(stageTexts())
		b.said[0], b.said[1] = text.iovec(prefix), text.iovec("installing the filter: ")
	}
	b.message.iov, b.message.iovLen = at(unsafe.Offsetof(b.iov)), 1
	b.message.control, b.message.controlLen = at(unsafe.Offsetof(b.rights)), uint64(unix.CmsgSpace(4))
	b.iov = stageIovec{at(unsafe.Offsetof(b.report)), uint64(unsafe.Sizeof(b.report))}
	b.pause.nsec = 200_000
	b.rights = stageRights{len: uint64(unix.CmsgLen(4)), level: unix.SOL_SOCKET, kind: unix.SCM_RIGHTS, listener: -1}
	return b, text.Bytes()
}

func descriptors(fds []int) []uint32 {
	list := make([]uint32, len(fds))
	for i, fd := range fds {
		list[i] = uint32(fd)
	}
	return list
}

// stageFilter is what the thread that is not the target's is under while it can be
// traced: it waits for a word, reports and ends. Whoever else comes first and
// changes its code gets no further.
func stageFilter() []FilterInsn {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	calls := []uint32{unix.SYS_READ, unix.SYS_SENDMSG, unix.SYS_NANOSLEEP, unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT_GROUP}
	f := []FilterInsn{
		{Code: load, K: 4}, // arch
		{Code: equal, Jf: uint8(len(calls)) + 4, K: unix.AUDIT_ARCH_X86_64},
		{Code: load, K: 0}, // nr
	}
	for i, nr := range calls {
		f = append(f, FilterInsn{Code: equal, Jt: uint8(len(calls)-i) + 3, K: nr})
	}
	return append(f,
		FilterInsn{Code: equal, Jf: 2, K: unix.SYS_PRCTL},
		FilterInsn{Code: load, K: 16}, // the lower half of its first argument
		FilterInsn{Code: equal, Jt: 1, K: unix.PR_SET_DUMPABLE},
		FilterInsn{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS},
		FilterInsn{Code: ret, K: unix.SECCOMP_RET_ALLOW})
}

// errnos is above every errno that is not a filter's invention.
const errnos = 134

// errnoText is a line for an errno, and the exit status where it says why the
// target could not be executed.
type errnoText struct {
	len, exit uint8
	line      [62]byte
}

// stageTexts is a line for each errno; the first is for all others.
func stageTexts() []byte {
	var texts [errnos]errnoText
	for i := range texts {
		line := syscall.Errno(i).Error() + "\n"
		if i == 0 {
			line = "an error without a name\n"
		}
		texts[i] = errnoText{len: uint8(len(line)), exit: exitNotExecuted}
		copy(texts[i].line[:], line)
	}
	texts[syscall.ENOENT].exit = exitNotFound
	return unsafe.Slice(&texts[0].len, unsafe.Sizeof(texts))
}

// The exit statuses of a shell, and of env(1), for what it cannot execute.
const (
	exitNotExecuted = 126
	exitNotFound    = 127
)

// stageImage is the ELF file: a page with headers and code, then the block as
// far as it is not zero, then the texts.
func stageImage(path string, own []int, prefix string) []byte {
	const headers, page = 64 + 4*56, 4096
	block, text := newStageBlock(path, own, prefix)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(block)), unsafe.Offsetof(block.gate))
	var b bytes.Buffer
	write := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	code := stageCode()
	write(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: stageCodeAt + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 4,
	})
	write(segment(elf.PF_R|elf.PF_X, 0, stageCodeAt, headers+len(code), 0))
	write(segment(elf.PF_R, page+textOffset, stageTextAt+textOffset, len(text), 0))
	write(segment(elf.PF_R|elf.PF_W, page, stageBlockAt, len(memory), int(unsafe.Sizeof(*block))-len(memory)))
	write(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W)})
	b.Write(code)
	b.Write(make([]byte, page-b.Len()))
	b.Write(memory)
	b.Write(make([]byte, page+textOffset-b.Len()))
	b.Write(text)
	return b.Bytes()
}

// segment maps size bytes of the file, and zeroes behind them.
func segment(flags elf.ProgFlag, offset, at uint64, size, zeroes int) elf.Prog64 {
	return elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(flags), Off: offset, Vaddr: at,
		Filesz: uint64(size), Memsz: uint64(size + zeroes), Align: 4096,
	}
}

// ReadStageReport reads a stage's message.
func ReadStageReport(b []byte) (StageReport, error) {
	var r StageReport
	if len(b) != int(unsafe.Sizeof(r)) {
		return r, fmt.Errorf("the stage said %q: expected a report", b)
	}
	r.Step = StageStep(binary.LittleEndian.Uint32(b))
	r.Installed, r.Errno = binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
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
	f, tempErr := temporary() // vm.memfd_noexec may be 2
	if tempErr != nil {
		return nil, fmt.Errorf("memfd_create: %w, and %v", err, tempErr)
	}
	return f, nil
}

// temporary is a new file without a name, in the directory for such files.
func temporary() (*os.File, error) {
	f, err := os.CreateTemp("", "portcullis")
	if err != nil {
		return nil, err
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
