package guest

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// Where the initial file system has the host's root, and where init builds its own.
const (
	hostAt = "/host"
	rootAt = "/root"
)

// ninep is the options of a 9p mount. The host's files do not change under a
// guest that lives for seconds, so what was read may be kept; loose also is what
// lets a file be mapped, and so executed.
const ninep = "trans=virtio,version=9p2000.L,cache=loose,msize=512000"

// ninepShared is the same for what both sides write: nothing is kept but what is mapped.
const ninepShared = "trans=virtio,version=9p2000.L,cache=mmap,msize=512000"

// mountPoint is one mount.
type mountPoint struct {
	source, target, kind string
	flags                uintptr
	options              string
}

// do mounts m below root.
func (m mountPoint) do(root string) error {
	if err := syscall.Mount(m.source, root+m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
	}
	return nil
}

// plainMounts mounts what every Linux program expects, below root.
func plainMounts(root string) error {
	return mountAll(root, []mountPoint{
		{"devtmpfs", "/dev", "devtmpfs", syscall.MS_NOSUID, ""},
		{"proc", "/proc", "proc", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC, ""},
	})
}

func mountAll(root string, list []mountPoint) error {
	for _, m := range list {
		if err := m.do(root); err != nil {
			return err
		}
	}
	return nil
}

// scratch are the directories that are empty, writable and the guest's own.
func scratch() []mountPoint {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV
	return []mountPoint{
		{"tmpfs", "/tmp", "tmpfs", flags, "mode=1777"},
		{"tmpfs", "/run", "tmpfs", flags, "mode=755"},
		{"tmpfs", "/var/tmp", "tmpfs", flags, "mode=1777"},
	}
}

// enterRoot builds the guest's root from the host's and enters it.
func enterRoot(j *job) error {
	steps := []func() error{
		func() error { return mountPoint{"root", hostAt, "9p", syscall.MS_RDONLY, ninep}.do("") },
		func() error { return mountPoint{hostAt, rootAt, "", syscall.MS_BIND, ""}.do("") },
		func() error { return plainMounts(rootAt) },
		devices,
		func() error { return mountAll(rootAt, present(scratch())) },
		func() error { return bindSelf(j.Self) },
		func() error { return mountShares(j.Shares) },
		func() error { return reveal(j.Dir, j.Shares) },
		moveRoot,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// present leaves out mount points that the host does not have.
func present(list []mountPoint) []mountPoint {
	var there []mountPoint
	for _, m := range list {
		if _, err := os.Stat(hostAt + m.target); err == nil {
			there = append(there, m)
		}
	}
	return there
}

// devices completes /dev by what udev would make.
func devices() error {
	for _, dir := range []string{"/dev/pts", "/dev/shm"} {
		if err := os.MkdirAll(rootAt+dir, 0o755); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		// The name may be there: /dev is one file system for all its mounts.
		if err := os.Symlink("/proc/self/fd"+to, rootAt+"/dev/"+name); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return mountAll(rootAt, []mountPoint{
		{"devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "mode=620,ptmxmode=666"},
		{"tmpfs", "/dev/shm", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=1777"},
	})
}

// bindSelf makes the executable that started the guest visible at Self, and by its name.
func bindSelf(name string) error {
	if err := os.MkdirAll(rootAt+selfDir, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(Self, rootAt+selfDir+"/"+name); err != nil {
		return err
	}
	f, err := os.OpenFile(rootAt+Self, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	f.Close()
	source := "/self"
	if _, err := os.Stat(source); err != nil {
		source = "/init" // which is it
	}
	return mountPoint{source, Self, "", syscall.MS_BIND, ""}.do(rootAt)
}

// mountShares mounts the directories that the guest may write to.
func mountShares(shares []string) error {
	for i, dir := range shares {
		if err := os.MkdirAll(rootAt+dir, 0o755); err != nil {
			return err
		}
		if err := (mountPoint{shareTag(i), dir, "9p", 0, ninepShared}).do(rootAt); err != nil {
			return err
		}
	}
	return nil
}

// reveal makes dir visible where a scratch directory hides it.
func reveal(dir string, shares []string) error {
	for _, s := range shares {
		if within(dir, s) {
			return nil
		}
	}
	for _, m := range scratch() {
		if !within(dir, m.target) || dir == m.target {
			continue
		}
		if err := os.MkdirAll(rootAt+dir, 0o755); err != nil {
			return err
		}
		return mountPoint{hostAt + dir, dir, "", syscall.MS_BIND, ""}.do(rootAt)
	}
	return nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// moveRoot makes rootAt the root of everything: pivot_root refuses the initial
// file system, so the new root is moved over it.
func moveRoot() error {
	if err := os.Chdir(rootAt); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return os.NewSyscallError("mount --move", err)
	}
	if err := syscall.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return os.Chdir("/")
}

// ifreq is struct ifreq of <linux/if.h> as far as its flags.
type ifreq struct {
	name  [syscall.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

// loopbackUp brings lo up, with the addresses the kernel then gives it.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	req := ifreq{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(req.name[:], "lo")
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return os.NewSyscallError("ioctl SIOCSIFFLAGS lo", errno)
	}
	return nil
}
