package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// What the villains of TestGuestBystanders do. Each says that it is held; what it says
// afterwards is that it is not.

const (
	gales = 2 // processes of a storm

	sysSeccomp, setModeFilter = 317, 1
	lastingMS                 = 24 * 60 * 60 * 1000 // the longest wait that there is
)

func villainy(what string) []string {
	does := map[string]func() error{
		"fault": heldByFaults, "load": heldInLoad, "install": heldInInstalls, "turn": heldByTurns, "storm": heldByNobody, "gale": gale,
		"file": heldByFiles, "server": serveFile, "reader": readFile,
	}[what]
	if does == nil {
		return []string{"what is " + what + "?"}
	}
	return []string{fmt.Sprint(does())}
}

// underTop makes a call from a thread that has a filter, which it reports the end of.
func underTop(f filter, call func() syscall.Errno) {
	runtime.LockOSThread()
	if err := sys.NoNewPrivs(); err != nil {
		fmt.Println(err)
	}
	if err := onTop(f); err != nil {
		fmt.Println(err)
	}
	fmt.Println("the call has ended:", call())
}

// missingPage is memory that is never given, and who hears of each access.
func missingPage() (mem []byte, fd int, err error) {
	mem, err = syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err == nil {
		fd, err = faultsOf(mem)
	}
	return mem, fd, err
}

// afterFaults says that so many are held, and stays.
func afterFaults(fd, n int) error {
	event := make([]byte, 32) // struct uffd_msg
	for i := 0; i < n; i++ {
		if _, err := syscall.Read(fd, event); err != nil {
			return err
		}
	}
	fmt.Println("held")
	_, err := syscall.Read(fd, event) // for ever
	return err
}

// heldByFaults has threads be in the copy of what they write.
func heldByFaults() error {
	const threads = 4
	mem, fd, err := missingPage()
	if err != nil {
		return err
	}
	for i := 0; i < threads; i++ {
		go underTop(plain(dataFilter())[0], func() syscall.Errno { return writeNowhere(&mem[0]) })
	}
	return afterFaults(fd, threads)
}

// dataFilter reads what write writes.
func dataFilter() *prog.Program {
	a := newAssembler().unless(syscall.SYS_WRITE, "allow").load64(3, 1, abi.OffArgs+8)
	a.copy(1, 10).add(1, -8).mov(2, 8).call(helper.SafeReadUser)
	return a.label("allow").answer(abi.Allow).program("data")
}

// writeNowhere fails before it looks at memory, but for what is copied for filters.
func writeNowhere(page *byte) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_WRITE, ^uintptr(0), uintptr(unsafe.Pointer(page)), 8)
	return errno
}

// heldInLoad has the verifier be held, as a test of its own has it.
func heldInLoad() error { return errors.New(hold()) }

// heldInInstalls has threads be in what is copied of an installation: what it is, which
// calls are allowed, and what is read.
func heldInInstalls() error {
	mem, fd, err := missingPage()
	if err != nil {
		return err
	}
	l, err := load(plain(pathFilter()))
	if err != nil {
		return err
	}
	allowed, pinned := sys.NewExtendedAttr(l.progs[0], 0), sys.NewExtendedAttr(l.progs[0], 0)
	allowed.Allow(mem[:8], nil)
	pinned.Pins, pinned.PinCount = (*sys.Pin)(unsafe.Pointer(&mem[0])), 8
	attrs := []*sys.ExtendedAttr{(*sys.ExtendedAttr)(unsafe.Pointer(&mem[0])), &allowed, &pinned}
	for _, attr := range attrs {
		attr := attr
		go underTop(plain(constant("below", abi.Allow))[0], func() syscall.Errno {
			_, _, errno := syscall.Syscall(sysSeccomp, setModeFilter, sys.FlagExtended|tsync, uintptr(unsafe.Pointer(attr)))
			return errno
		})
	}
	return afterFaults(fd, len(attrs))
}

// heldByTurns has this process wait for one that is in a call for ever.
func heldByTurns() error {
	l, err := load([]filter{ppidAfterReadv()})
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := sys.NoNewPrivs(); err != nil {
			return err
		}
		attr := sys.NewExtendedAttr(l.progs[0], 0)
		attr.WaitMS = lastingMS
		if _, err := sys.InstallExtended(&attr, 0); err != nil {
			return err
		}
		return turns()
	})
}

// turns is that with the filter there, which a child has as well.
func turns() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	child := victim("inside-nothing")
	child.Stdin = r
	if err := child.Start(); err != nil {
		return err
	}
	if err := until(child.Process.Pid, readv, nil); err != nil {
		return err
	}
	go func() {
		if err := until(os.Getpid(), getppid, nil); err != nil {
			fmt.Println(err)
		}
		fmt.Println("held")
	}()
	return fmt.Errorf("the wait has ended: %s", blocking(getppid, 0, 0, 0))
}

// heldByNobody starts a storm.
func heldByNobody() error {
	ended := make(chan error)
	for i := 0; i < gales; i++ {
		cmd := victim("villain", "gale")
		cmd.Stdout = os.Stdout
		go func() { ended <- cmd.Run() }()
	}
	return <-ended
}

// gale loads filters for ever, each of which some processes install, and end.
func gale() error {
	const processes = 20
	said := false
	for {
		l, err := load(plain(constant("gale", abi.Errno(edom), getpgrp)))
		if err != nil {
			continue // there are tests that leave a user little machine code
		}
		attr := sys.NewExtendedAttr(l.progs[0], 0)
		for i := 0; i < processes; i++ {
			if err := installAndEnd(&attr); err != nil {
				return err
			}
		}
		l.close()
		if !said {
			fmt.Println("held")
		}
		said = true
	}
}

func installAndEnd(attr *sys.ExtendedAttr) error {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	switch {
	case errno != 0:
		return errno
	case pid == 0:
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(putAttr(attr)), 0, 0)
	}
	return reaped("who installs", pid)
}

// putAttr is in a child, as calls is.
//
//go:nosplit
func putAttr(attr *sys.ExtendedAttr) syscall.Errno {
	const setNoNewPrivs = 38
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0)
	if errno == 0 {
		_, _, errno = syscall.RawSyscall(sysSeccomp, setModeFilter, sys.FlagExtended, uintptr(unsafe.Pointer(attr)))
	}
	if errno == 0 {
		_, _, errno = syscall.RawSyscall(getpgrp, 0, 0, 0)
	}
	if errno == syscall.EDOM {
		return 0
	}
	return errno
}

// A file system of the user's own, with one file of one page that is never read.

// heldByFiles has it in a namespace.
func heldByFiles() error {
	server := victim("villain", "server")
	server.Stdout = os.Stdout
	server.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return server.Run()
}

const mountedAt, pagePath = "/tmp", "/tmp/page"

func serveFile() error {
	fd, err := mountFile()
	if err != nil {
		return err
	}
	reader := victim("villain", "reader")
	reader.Stdout = os.Stdout
	if err := reader.Start(); err != nil {
		return err
	}
	request := make([]byte, 1<<17)
	for {
		n, err := syscall.Read(fd, request)
		if err == nil {
			err = answerFile(fd, request[:n])
		}
		if err != nil {
			return err
		}
	}
}

// mountFile mounts it, and returns where it is asked for.
func mountFile() (int, error) {
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := syscall.Mount("fuse", mountedAt, "fuse", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return -1, fmt.Errorf("mount: %w", err)
	}
	return fd, nil
}

// readFile has threads be in the copy of that page.
func readFile() error {
	const threads = 2
	fd, err := syscall.Open(pagePath, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", pagePath, err)
	}
	mem, err := syscall.Mmap(fd, 0, 4096, syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := 0; i < threads; i++ {
		go underTop(plain(dataFilter())[0], func() syscall.Errno { return writeNowhere(&mem[0]) })
	}
	select {} // its threads are held
}

// answerFile answers a request of linux/fuse.h, other than one to read.
func answerFile(fd int, request []byte) error {
	const lookup, forget, getattr, open, read, initialize, interrupt, batchForget = 1, 2, 3, 14, 15, 26, 36, 42
	node, body, errno := binary.NativeEndian.Uint64(request[16:]), []byte(nil), syscall.Errno(0)
	switch binary.NativeEndian.Uint32(request[4:]) {
	case read:
		fmt.Println("held")
		return nil
	case forget, interrupt, batchForget:
		return nil
	case initialize:
		body = make([]byte, 64)
		binary.NativeEndian.PutUint32(body, 7)
		binary.NativeEndian.PutUint32(body[4:], 31)
		binary.NativeEndian.PutUint32(body[20:], 4096) // bytes of a write
	case lookup:
		body = append(binary.NativeEndian.AppendUint64(nil, pageNode), make([]byte, 32)...)
		body = append(body, fileAttr(pageNode)...)
	case getattr:
		body = append(make([]byte, 16), fileAttr(node)...)
	case open:
		body = make([]byte, 16)
	default:
		errno = syscall.ENOSYS
	}
	return reply(fd, request[8:16], errno, body)
}

const rootNode, pageNode = 1, 2

// fileAttr is a struct fuse_attr.
func fileAttr(node uint64) []byte {
	size, mode := uint64(4096), uint32(syscall.S_IFREG|0o644)
	if node == rootNode {
		size, mode = 0, syscall.S_IFDIR|0o755
	}
	b := make([]byte, 88)
	binary.NativeEndian.PutUint64(b, node)
	binary.NativeEndian.PutUint64(b[8:], size)
	binary.NativeEndian.PutUint32(b[60:], mode)
	binary.NativeEndian.PutUint32(b[64:], 1) // link
	binary.NativeEndian.PutUint32(b[80:], 4096)
	return b
}

// reply writes a struct fuse_out_header, and what is behind it.
func reply(fd int, unique []byte, errno syscall.Errno, body []byte) error {
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(body)))
	b = binary.NativeEndian.AppendUint32(b, uint32(-int32(errno)))
	_, err := syscall.Write(fd, append(append(b, unique...), body...))
	return err
}
