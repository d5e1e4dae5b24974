package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// bootLimit is how long a guest may take until its init speaks. A second is
// usual; an emulated guest on a host with twenty others at work has taken minutes.
const bootLimit = 10 * time.Minute

// machine is a running QEMU with the host's end of the port. Three goroutines
// belong to it and end with QEMU: the one that waits for QEMU, the one that
// reads the port, and a watch on the context. A fourth copies standard input;
// like exec.Cmd's it stays until its reader returns.
type machine struct {
	console *console
	job     *job
	port    *os.File
	frames  *frameWriter
	qemu    *exec.Cmd
	stderr  *tailBuffer
	cancel  context.CancelFunc
	ctx     context.Context

	ready   chan struct{} // closed when init has spoken
	exited  chan struct{} // closed when QEMU is gone; then qemuErr is set
	qemuErr error
	done    chan struct{} // closed when the port has been read to its end; then end, readErr
	end     *exit
	readErr error
}

// boot starts QEMU.
func boot(ctx context.Context, cfg Config, j *job) (*machine, error) {
	path, err := exec.LookPath(qemuName)
	if err != nil {
		return nil, &NeedError{Need: qemuNeed, Cause: err}
	}
	image, err := initrd()
	if err != nil {
		return nil, err
	}
	archive, err := unlinked(image)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	m := newMachine(ctx, cfg, j, ours)
	m.qemu = exec.Command(path, qemuArgs(cfg, j.Shares)...)
	m.qemu.ExtraFiles = []*os.File{portFD - 3: theirs, initrdFD - 3: archive}
	m.qemu.Stdout, m.qemu.Stderr = m.console, m.stderr
	m.qemu.SysProcAttr = dieWithParent()
	if err := m.launch(); err != nil {
		ours.Close()
		m.cancel()
		return nil, fmt.Errorf("guest: start %s: %w", path, err)
	}
	go m.watch()
	return m, nil
}

func newMachine(ctx context.Context, cfg Config, j *job, port *os.File) *machine {
	m := &machine{
		console: newConsole(cfg.Console), job: j, port: port, frames: &frameWriter{w: port}, stderr: &tailBuffer{},
		ready: make(chan struct{}), exited: make(chan struct{}), done: make(chan struct{}),
	}
	if cfg.Timeout > 0 {
		m.ctx, m.cancel = context.WithTimeoutCause(ctx, cfg.Timeout, &limitError{cfg.Timeout})
	} else {
		m.ctx, m.cancel = context.WithCancel(ctx)
	}
	return m
}

// limitError is the cause of a context that ends by Config.Timeout.
type limitError struct{ after time.Duration }

func (e *limitError) Error() string { return fmt.Sprintf("limit of %v", e.after) }

// Timeout reports true, as net.Error does.
func (e *limitError) Timeout() bool { return true }

// launch starts QEMU and the goroutine that waits for it. That goroutine keeps
// its thread, for the parent-death signal is bound to the thread that forked:
// a thread that ends earlier would take the guest with it.
func (m *machine) launch() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := m.qemu.Start()
		started <- err
		if err != nil {
			return
		}
		m.qemuErr = m.qemu.Wait()
		close(m.exited)
	}()
	return <-started
}

// watch kills QEMU when the context ends or init does not speak in time.
func (m *machine) watch() {
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	select {
	case <-m.ready:
	case <-limit.C:
		m.kill()
	case <-m.ctx.Done():
	case <-m.exited:
	}
	select {
	case <-m.ctx.Done():
		m.kill()
	case <-m.exited:
	}
}

// kill ends QEMU; what it is told after its end does not matter.
func (m *machine) kill() { _ = m.qemu.Process.Kill() }

// abandon ends a machine that nothing was attached to.
func (m *machine) abandon() {
	m.kill()
	<-m.exited
	m.cancel()
	m.port.Close()
}

// attach connects the command's standard streams and begins to read the port;
// stop is called when that has ended.
func (m *machine) attach(stdin io.Reader, stdout, stderr io.Writer, stop func()) {
	go func() {
		defer close(m.done)
		defer stop()
		defer m.kill()
		m.end, m.readErr = m.serve(stdin, orDiscard(stdout), orDiscard(stderr))
	}()
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// serve reads frames to the last one. The first error of an output writer is
// returned at the end: the guest must not block on an output nobody takes.
func (m *machine) serve(stdin io.Reader, stdout, stderr io.Writer) (*exit, error) {
	in := bufio.NewReader(m.port)
	var failed error
	for started := false; ; {
		kind, payload, err := readFrame(in)
		if err != nil {
			return nil, err
		}
		switch {
		case kind == frameReady && !started:
			started = true
			close(m.ready)
			if err := m.frames.sendJSON(frameJob, m.job); err != nil {
				return nil, err
			}
			go m.feed(stdin)
		case kind == frameStdout:
			failed = firstError(failed, writeAll(stdout, payload))
		case kind == frameStderr:
			failed = firstError(failed, writeAll(stderr, payload))
		case kind == frameExit:
			end := new(exit)
			if err := json.Unmarshal(payload, end); err != nil {
				return nil, err
			}
			return end, failed
		default:
			return nil, fmt.Errorf("guest: frame %q from the guest: not one that may come now", kind)
		}
	}
}

func writeAll(w io.Writer, p []byte) error {
	_, err := w.Write(p)
	return err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// feed sends the command its standard input; a closed port ends it.
func (m *machine) feed(stdin io.Reader) {
	if stdin != nil {
		if _, err := io.Copy(stream{m.frames, frameInput}, stdin); err != nil {
			return
		}
	}
	_ = m.frames.send(frameEOF, nil)
}

// wait joins the machine and turns its end into an error.
func (m *machine) wait() error {
	<-m.done
	<-m.exited
	defer m.cancel()
	defer m.port.Close()
	if m.end != nil {
		return firstError(m.end.err(m.job.Path, m.console), m.readErr)
	}
	return m.fault()
}

// err is the error of a guest that came to its regular end.
func (e *exit) err(path string, c *console) error {
	switch {
	case e.Fault != "":
		return &MachineError{Fault: BootFailed, Detail: e.Fault, Console: c.tail()}
	case e.Start != "":
		return &StartError{Path: path, Reason: e.Start, Errno: syscall.Errno(e.Errno)}
	case e.Signal != 0 || e.Code != 0:
		return &ExitError{Code: e.Code, Signal: syscall.Signal(e.Signal)}
	}
	return nil
}

// fault is the error of a guest that ended without a word.
func (m *machine) fault() error {
	err := &MachineError{Fault: Died, Console: m.console.tail(), Cause: m.qemuErr}
	var killed *exec.ExitError
	if errors.As(m.qemuErr, &killed) && !killed.Exited() {
		err.Cause = nil // we did
	}
	select {
	case <-m.ready:
	default:
		err.Fault = BootFailed
	}
	var limit *limitError
	switch cause := context.Cause(m.ctx); {
	case errors.As(cause, &limit):
		err.Fault, err.Detail, err.Cause = TimedOut, m.console.halted(), cause
	case cause != nil:
		err.Fault, err.Cause = Cancelled, cause
	case m.console.panicked() != "":
		err.Fault, err.Detail = Panicked, m.console.panicked()
	case m.stderr.last() != "":
		err.Detail = m.stderr.last()
	case !errors.Is(m.readErr, io.EOF) && !errors.Is(m.readErr, syscall.ECONNRESET):
		err.Cause = firstError(err.Cause, m.readErr)
	}
	return err
}

// tailBuffer keeps the end of what QEMU says. It is read after QEMU's end alone.
type tailBuffer struct{ text []byte }

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.text = append(b.text, p...)
	if extra := len(b.text) - 4096; extra > 0 {
		b.text = b.text[extra:]
	}
	return len(p), nil
}

// last returns the last line.
func (b *tailBuffer) last() string {
	text := strings.TrimSpace(string(b.text))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
