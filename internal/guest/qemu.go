package guest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// qemuName is the emulator, and qemuNeed what a host without it is told.
const (
	qemuName = "qemu-system-x86_64"
	qemuNeed = "qemu-system-x86_64 (the package qemu-system-x86)"
)

// Descriptors that QEMU inherits, by their order in ExtraFiles.
const (
	portFD   = 3
	initrdFD = 4
)

// Words of the kernel command line. initEnv has no dot, so that the kernel hands
// it to init's environment; markWord has one, so that it stays the kernel's.
const (
	initEnv  = "PORTCULLIS_GUEST_INIT"
	markWord = "portcullis.guest=1"
)

// qemuArgs is QEMU's command line for cfg. Nothing is in the machine but its
// console, the port, and the host's file system.
func qemuArgs(cfg Config, shares []string) []string {
	args := []string{
		"-accel", flavours[cfg.Flavour].accel, "-cpu", "max",
		"-m", strconv.Itoa(orDefault(cfg.Memory, flavours[cfg.Flavour].memory)),
		"-smp", strconv.Itoa(orDefault(cfg.CPUs, 1)),
		"-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
		"-chardev", "stdio,id=console", "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=port,fd=%d", portFD),
		"-device", "virtserialport,chardev=port,name=" + portName,
		"-device", "virtio-rng-pci",
		"-virtfs", virtfs("root", "/") + ",readonly=on",
		"-kernel", cfg.Kernel,
		"-initrd", fmt.Sprintf("/proc/self/fd/%d", initrdFD),
		"-append", strings.Join(kernelWords(cfg), " "),
	}
	if cfg.Clock == Counted {
		args = append(args, "-icount", "shift=0")
	}
	for i, dir := range shares {
		args = append(args, "-virtfs", virtfs(shareTag(i), dir))
	}
	return args
}

// kernelWords is the kernel's command line. A panic restarts at once, which
// ends QEMU. Warnings reach the console, so that a complaint is seen. Time comes
// from the HPET, which QEMU derives from its own clock: the TSC is calibrated by
// a race with the host's load, and has been several times too fast.
func kernelWords(cfg Config) []string {
	words := []string{
		"console=ttyS0", "loglevel=5", "panic=-1", "reboot=t", "clocksource=hpet", "no_timer_check", "acpi=noirq",
		"random.trust_cpu=on", "rdinit=/init", initEnv + "=1", markWord,
	}
	return append(words, cfg.Append...)
}

// virtfs is the option of one shared directory. Inodes of several host devices
// are kept apart; a comma in a path is doubled, QEMU's escape.
func virtfs(tag, dir string) string {
	return fmt.Sprintf("local,id=%s,mount_tag=%s,path=%s,security_model=none,multidevs=remap",
		tag, tag, strings.ReplaceAll(dir, ",", ",,"))
}

// shareTag is the mount tag of the i-th shared directory.
func shareTag(i int) string { return "share" + strconv.Itoa(i) }

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// unlinked returns a file with content and no name, at its start.
func unlinked(content []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "portcullis-initrd-*")
	if err != nil {
		return nil, err
	}
	if err = os.Remove(f.Name()); err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
