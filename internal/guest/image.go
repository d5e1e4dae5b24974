package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Flavour is one of the kernels that linux/build makes.
type Flavour int

const (
	// Plain is small and fast.
	Plain Flavour = iota
	// Debug checks itself (KASAN, lockdep), and so is slow and large.
	Debug
	// Measure has the jump labels that distributions' kernels have. Its machine
	// runs one processor at a time: where they run side by side, QEMU 7.2 executes
	// what such a jump has been a moment ago, and the kernel panics.
	Measure
	// Unpatched is Measure without the patches, for comparison.
	Unpatched
)

// The environment variables that override a flavour's image.
const (
	KernelEnv          = "PORTCULLIS_KERNEL"
	DebugKernelEnv     = "PORTCULLIS_KERNEL_DEBUG"
	MeasureKernelEnv   = "PORTCULLIS_KERNEL_MEASURE"
	UnpatchedKernelEnv = "PORTCULLIS_KERNEL_UNPATCHED"
)

// flavours are what the script and users call them, and what their machines have by
// default: an accelerator of QEMU, and memory in MiB. KASAN takes an eighth of that, and as
// much again for what was freed.
var flavours = [...]struct {
	env    string
	args   []string
	accel  string
	memory int
}{
	Plain:     {KernelEnv, nil, "tcg", 512},
	Debug:     {DebugKernelEnv, []string{"--debug"}, "tcg", 2048},
	Measure:   {MeasureKernelEnv, []string{"--measure"}, "tcg,thread=single", 512},
	Unpatched: {UnpatchedKernelEnv, []string{"--measure", "--unpatched"}, "tcg,thread=single", 512},
}

func (f Flavour) env() string { return flavours[f].env }

// BuildArgs are the arguments of linux/build that make f.
func (f Flavour) BuildArgs() []string { return flavours[f].args }

// command is the build script's command line as a person types it.
func (f Flavour) command() string {
	return strings.Join(append([]string{"linux/build"}, f.BuildArgs()...), " ")
}

// Image is Plain's.
func Image() (string, error) { return Plain.Image() }

// Image returns the path of the kernel image: what the flavour's environment
// variable names, else what linux/build of the repository around the current
// directory has built. The error is a *NeedError.
func (f Flavour) Image() (string, error) {
	if path := os.Getenv(f.env()); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", &NeedError{Need: "the kernel image (" + f.env() + ")", Cause: err}
		}
		return path, nil
	}
	root, err := repository()
	if err != nil {
		return "", &NeedError{Need: "the kernel image (" + f.env() + ", or " + f.command() + " in the repository)", Cause: err}
	}
	path, err := f.built(root)
	if err != nil {
		return "", &NeedError{Need: "the kernel image (" + f.command() + ")", Cause: err}
	}
	return path, nil
}

// built asks the build script where its image is.
func (f Flavour) built(root string) (string, error) {
	ask := exec.Command(filepath.Join(root, "linux", "build"), append(f.BuildArgs(), "--path")...)
	out, err := ask.Output()
	path := strings.TrimSpace(string(out))
	if i := strings.LastIndexByte(path, '\n'); i >= 0 {
		path = path[i+1:]
	}
	if err != nil {
		return "", fmt.Errorf("%s is not built", path)
	}
	return path, nil
}

// repository walks up from the current directory to the folder with linux/build.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "linux", "build")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no linux/build above %s", dir)
		}
	}
}

// initrd returns the initial file system: this executable as /init, or beside
// one where it cannot be that, and the places that init needs before it has
// mounted anything.
func initrd() ([]byte, error) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	entries := []entry{
		{name: "dev", mode: os.ModeDir | 0o755},
		{name: "proc", mode: os.ModeDir | 0o755},
		{name: "sys", mode: os.ModeDir | 0o755},
		{name: "root", mode: os.ModeDir | 0o755},
		{name: "host", mode: os.ModeDir | 0o755},
		{name: "init", mode: 0o755, data: exe},
	}
	if dynamic, err := isDynamic(exe); err != nil {
		return nil, err
	} else if dynamic {
		init, err := buildInit()
		if err != nil {
			return nil, &NeedError{Need: "a static executable (CGO_ENABLED=0), or Go and the source repository", Cause: err}
		}
		entries[len(entries)-1].data = init
		entries = append(entries, entry{name: "self", mode: 0o755, data: exe})
	}
	var out bytes.Buffer
	err = writeCPIO(&out, entries)
	return out.Bytes(), err
}

// isDynamic tells whether an executable wants a dynamic loader. It cannot be
// init: the initial file system has none, and the kernel would only say "No
// working init found". In the guest proper it runs, with the host's loader.
func isDynamic(exe []byte) (bool, error) {
	f, err := elf.NewFile(bytes.NewReader(exe))
	if err != nil {
		return false, err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return true, nil
		}
	}
	return false, nil
}

// buildInit builds the program in init, static.
func buildInit() ([]byte, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "portcullis-init-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-o", path, "./internal/guest/init")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.ReadFile(path)
}
