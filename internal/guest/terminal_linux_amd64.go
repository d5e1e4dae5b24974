package guest

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"portcullis/internal/sys"
)

// size is the terminal's, for the job; an error if tty is none.
func terminalSize(tty *os.File) (*winsize, error) {
	w, err := sys.TerminalSize(int(tty.Fd()))
	if err != nil {
		return nil, os.NewSyscallError("size of "+tty.Name(), err)
	}
	return &winsize{Rows: w.Rows, Cols: w.Cols}, nil
}

// follow makes tty raw, so that the guest's terminal alone interprets what is
// typed, and tells the guest of its changes in size, until stop is called.
func follow(tty *os.File, out *frameWriter) (stop func(), err error) {
	restore, err := sys.RawTerminal(int(tty.Fd()))
	if err != nil {
		return nil, os.NewSyscallError("raw mode of "+tty.Name(), err)
	}
	changes, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changes, syscall.SIGWINCH)
	go func() {
		defer close(done)
		for range changes {
			if w, err := terminalSize(tty); err == nil {
				_ = out.sendJSON(frameSize, w)
			}
		}
	}()
	return func() {
		signal.Stop(changes)
		close(changes)
		<-done
		_ = restore()
	}, nil
}

// newTerminal is the command's terminal in the guest, the child's end thrice.
func newTerminal(size *winsize) (*streams, error) {
	master, terminal, err := sys.OpenTerminal()
	if err != nil {
		return nil, err
	}
	s := &streams{
		stdin: master, outputs: map[byte]io.Reader{frameStdout: master},
		child: []*os.File{terminal, terminal, terminal}, terminal: master,
	}
	s.resize(size)
	return s, nil
}

// resize sets the size of the command's terminal, which signals it.
func (s *streams) resize(size *winsize) {
	if s.terminal != nil {
		_ = sys.SetTerminalSize(int(s.terminal.Fd()), sys.Winsize{Rows: size.Rows, Cols: size.Cols})
	}
}
