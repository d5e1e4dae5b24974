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

// KernelEnv names the environment variable that overrides Image.
const KernelEnv = "PORTCULLIS_KERNEL"

// Image returns the path of the kernel image: what KernelEnv names, else what
// linux/build of the repository around the current directory has built. The
// error is a *NeedError.
func Image() (string, error) {
	if path := os.Getenv(KernelEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", &NeedError{Need: "the kernel image (" + KernelEnv + ")", Cause: err}
		}
		return path, nil
	}
	root, err := repository()
	if err != nil {
		return "", &NeedError{Need: "the kernel image (" + KernelEnv + ", or linux/build in the repository)", Cause: err}
	}
	path, err := built(root)
	if err != nil {
		return "", &NeedError{Need: "the kernel image (linux/build)", Cause: err}
	}
	return path, nil
}

// built asks the build script where its image is.
func built(root string) (string, error) {
	out, err := exec.Command(filepath.Join(root, "linux", "build"), "--path").Output()
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

// initrd returns the initial file system: this executable as /init, and the
// places that init needs before it has mounted anything.
func initrd() ([]byte, error) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	if err := static(exe); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = writeCPIO(&out, []entry{
		{name: "dev", mode: os.ModeDir | 0o755},
		{name: "proc", mode: os.ModeDir | 0o755},
		{name: "sys", mode: os.ModeDir | 0o755},
		{name: "root", mode: os.ModeDir | 0o755},
		{name: "host", mode: os.ModeDir | 0o755},
		{name: "init", mode: 0o755, data: exe},
	})
	return out.Bytes(), err
}

// static refuses an executable that wants a dynamic loader: the initial file
// system has none, and the kernel would only say "No working init found".
func static(exe []byte) error {
	f, err := elf.NewFile(bytes.NewReader(exe))
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return &NeedError{Need: "a static executable: this program is to be built with CGO_ENABLED=0"}
		}
	}
	return nil
}
