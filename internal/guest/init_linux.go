package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// MaybeInit becomes the guest's init, and never returns, in the process that the
// guest's kernel starts as such; elsewhere it does nothing. Call it first in main.
func MaybeInit() {
	if os.Getpid() != 1 || os.Getenv(initEnv) == "" {
		return
	}
	if err := runInit(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
	syscall.Sync()
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	select {} // the end of init would be a kernel panic
}

// Inside reports whether this process runs in a guest of this package.
func Inside() bool {
	words, err := os.ReadFile("/proc/cmdline")
	return err == nil && strings.Contains(" "+strings.TrimSpace(string(words))+" ", " "+markWord+" ")
}

// dieWithParent makes the kernel kill QEMU with the thread that starts it, and
// keeps the terminal's ^C from it: the guest ends by our hand.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// runInit is the life of the guest: one job.
func runInit() error {
	if err := plainMounts(""); err != nil {
		return err
	}
	if err := detachInput(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	out := &frameWriter{w: port}
	if err := out.send(frameReady, nil); err != nil {
		return err
	}
	end, err := serveJob(bufio.NewReader(port), out)
	if err != nil {
		end = &exit{Fault: err.Error()}
	}
	syscall.Sync()
	return out.sendJSON(frameExit, end)
}

// detachInput takes the console away as standard input. Outputs stay, for the
// runtime's last words, and are used for nothing else: a console that is polled
// can lose the poller's wake-ups, so no file of init's is ever polled but pipes.
func detachInput() error {
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /dev/null", err)
	}
	return syscall.Dup3(null, 0, 0)
}

// openPort waits for the port: the driver learns of it by a message of the
// device, some time after the device itself is there.
func openPort() (*os.File, error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, name := range names {
			if text, _ := os.ReadFile(name); strings.TrimSpace(string(text)) != portName {
				continue
			}
			// Blocking, and so outside the poller; see detachInput.
			dev := "/dev/" + filepath.Base(filepath.Dir(name))
			fd, err := syscall.Open(dev, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
			if err == nil {
				return os.NewFile(uintptr(fd), dev), nil
			}
		}
	}
	return nil, fmt.Errorf("no virtio port %q: is CONFIG_VIRTIO_CONSOLE on?", portName)
}

// serveJob reads the job, makes its world and runs it.
func serveJob(in *bufio.Reader, out *frameWriter) (*exit, error) {
	kind, payload, err := readFrame(in)
	if err != nil {
		return nil, err
	}
	j := new(job)
	if err := json.Unmarshal(payload, j); kind != frameJob || err != nil {
		return nil, fmt.Errorf("frame %q: a job expected: %v", kind, err)
	}
	if err := enterRoot(j); err != nil {
		return nil, err
	}
	if err := settle(); err != nil {
		return nil, err
	}
	return run(j, in, out)
}

// settle sets what belongs to the running kernel and not to a mount.
func settle() error {
	if err := loopbackUp(); err != nil {
		return err
	}
	_ = syscall.Sethostname([]byte("guest"))
	// Unprivileged filters, where the kernel has the engine.
	err := os.WriteFile("/proc/sys/kernel/seccomp/ebpf", []byte("3"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// run starts the command and waits for it. Its end is the guest's: what it left
// behind is killed, so that its outputs are known to be complete.
func run(j *job, in *bufio.Reader, out *frameWriter) (*exit, error) {
	s, err := newStreams(j.Terminal)
	if err != nil {
		return nil, err
	}
	pid, end := start(j, s)
	s.closeChild()
	if end != nil {
		return end, nil
	}
	go s.feed(in)
	var outputs sync.WaitGroup
	for kind, from := range s.outputs {
		outputs.Add(1)
		go pump(&outputs, stream{out, kind}, from)
	}
	end, err = reapUntil(pid)
	_ = syscall.Kill(-1, syscall.SIGKILL) // everyone but init
	outputs.Wait()
	return end, err
}

// streams are the command's standard streams: our ends, by the kind of frame
// they become, and the child's.
type streams struct {
	stdin    io.WriteCloser
	outputs  map[byte]io.Reader
	child    []*os.File
	terminal *os.File // the master of the command's terminal, or nil
}

// newStreams are pipes, or a terminal of a size.
func newStreams(terminal *winsize) (*streams, error) {
	if terminal != nil {
		return newTerminal(terminal)
	}
	var ends [6]*os.File
	for i := 0; i < len(ends); i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		ends[i], ends[i+1] = r, w
	}
	return &streams{
		stdin: ends[1], outputs: map[byte]io.Reader{frameStdout: ends[2], frameStderr: ends[4]},
		child: []*os.File{ends[0], ends[3], ends[5]},
	}, nil
}

func (s *streams) closeChild() {
	for _, f := range s.child {
		f.Close()
	}
}

// start starts the command; a non-nil exit says why it could not.
func start(j *job, s *streams) (int, *exit) {
	path, err := lookPath(j.Path, j.Env)
	if err == nil {
		// Before the user changes: the directory may be closed to it from above.
		err = os.Chdir(j.Dir)
	}
	if err != nil {
		return 0, startFailure(err)
	}
	attr := &syscall.ProcAttr{Env: j.Env, Files: []uintptr{s.child[0].Fd(), s.child[1].Fd(), s.child[2].Fd()}}
	attr.Sys = &syscall.SysProcAttr{Setsid: true, Setctty: s.terminal != nil}
	if j.UID != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(j.UID), Gid: uint32(j.UID)}
	}
	pid, err := syscall.ForkExec(path, j.Args, attr)
	if err != nil {
		return 0, startFailure(err)
	}
	return pid, nil
}

func startFailure(err error) *exit {
	end := &exit{Start: err.Error()}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		end.Errno = int(errno)
	}
	return end
}

// lookPath finds a command as exec.LookPath does, in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		key, value, _ := cut(kv)
		if key != "PATH" {
			continue
		}
		for _, dir := range filepath.SplitList(value) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %q is not in the PATH of its environment", syscall.ENOENT, name)
}

// feed passes standard input and the terminal's sizes on. A child that no longer
// reads does not stop the stream. A terminal stays open at the end of input, for
// closing it would hang the command up.
func (s *streams) feed(in *bufio.Reader) {
	for {
		kind, payload, err := readFrame(in)
		switch {
		case err != nil:
			return
		case kind == frameInput:
			_, _ = s.stdin.Write(payload)
		case kind == frameEOF && s.terminal == nil:
			s.stdin.Close()
		case kind == frameSize:
			size := new(winsize)
			if json.Unmarshal(payload, size) == nil {
				s.resize(size)
			}
		}
	}
}

// pump passes an output on until its last writer is gone.
func pump(wg *sync.WaitGroup, to io.Writer, from io.Reader) {
	defer wg.Done()
	_, _ = io.Copy(to, from)
}

// reapUntil reaps what init inherits until pid has ended, and says how that did.
func reapUntil(pid int) (*exit, error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR || (err == nil && got != pid):
		case err != nil:
			return nil, os.NewSyscallError("wait4", err)
		case status.Signaled():
			return &exit{Code: -1, Signal: int(status.Signal())}, nil
		default:
			return &exit{Code: status.ExitStatus()}, nil
		}
	}
}
