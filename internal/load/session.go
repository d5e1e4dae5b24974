package load

import (
	"bufio"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// session is one run of a load.
type session struct {
	path, dir string
	start     Start
	rand      *rand.Rand
	whole     bool // nothing is left out
	varied    bool // what else is fixed is drawn

	process Process
	out     *os.File
	lines   chan string
	drained chan struct{}

	mu   sync.Mutex
	said []string
}

// maxLines is how many lines wait for await, and how many are kept for a message.
const maxLines = 1000

// grace is how long what has failed has to end.
const grace = 10 * time.Second

// environment is what a program gets; nothing of the caller's decides what it does.
func (s *session) environment() []string {
	return []string{
		"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + s.dir, "TMPDIR=" + s.dir, "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "PYTHONDONTWRITEBYTECODE=1",
	}
}

// run starts the program.
func (s *session) run(args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	s.process, err = s.start(Command{Path: s.path, Args: args, Dir: s.dir, Env: s.environment(), Output: w})
	if err != nil {
		r.Close()
		return err
	}
	s.out, s.lines, s.drained = r, make(chan string, maxLines), make(chan struct{})
	go s.read(r)
	return nil
}

// read takes the output to its end. Lines that nobody waits for are dropped, where there
// are too many.
func (s *session) read(r io.Reader) {
	defer close(s.drained)
	defer close(s.lines)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		s.note(lines.Text())
		select {
		case s.lines <- lines.Text():
		default:
		}
	}
}

func (s *session) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.said) < maxLines {
		s.said = append(s.said, line)
	}
}

// log is what the program said, for a message.
func (s *session) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said[max(0, len(s.said)-40):], "\n")
}

// await reads what the program says up to a text.
func (s *session) await(text string) error {
	for line := range s.lines {
		if strings.Contains(line, text) {
			return nil
		}
	}
	return fmt.Errorf("it ended (%v) without saying %q", s.end(), text)
}

// signal sends a signal, and waits until the program says a text.
func (s *session) signal(sig os.Signal, text string) error {
	if err := s.process.Signal(sig); err != nil {
		return err
	}
	return s.await(text)
}

// stop ends the program by a signal, which it has to take as a reason to finish in order.
func (s *session) stop(sig os.Signal) error {
	if err := s.process.Signal(sig); err != nil {
		return err
	}
	return s.end()
}

// end waits for the program's end.
func (s *session) end() error {
	err := s.process.Wait()
	s.process = nil
	<-s.drained
	return err
}

// close ends what a failed load has left.
func (s *session) close() {
	if s.process != nil {
		// It may have ended by itself; what it then says is of no use. A server that is
		// killed leaves its workers behind, so it is asked first.
		_ = s.process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(grace, func() { _ = s.process.Signal(syscall.SIGKILL) })
		_ = s.process.Wait()
		kill.Stop()
	}
	if s.out != nil {
		s.out.Close()
	}
}

// file is the path of something in the directory.
func (s *session) file(name string) string { return filepath.Join(s.dir, name) }

// write writes a file, with the directories that it lies in, for everybody to read.
func (s *session) write(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(s.file(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(s.file(name), []byte(text), 0o644)
}

// text is one of random length, of at least least and less than most bytes.
func (s *session) text(least, most int) string {
	b := make([]byte, least+s.rand.Intn(most-least))
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz \n"[s.rand.Intn(28)]
	}
	return string(b)
}

// step is a part of a load.
type step struct {
	name string
	do   func() error
}

// some makes most of the steps, in any order, and some of them twice. The seed 0 makes each
// once.
func (s *session) some(steps ...step) error {
	var chosen []step
	for _, one := range steps {
		n := s.rand.Intn(4)
		if s.whole {
			n = 1
		}
		for ; n > 0; n = (n - 1) / 2 { // 0, 1, 1 or 2 times
			chosen = append(chosen, one)
		}
	}
	s.rand.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return inTurn(chosen...)
}

// few makes n of the steps, or with the seed 0 all.
func (s *session) few(n int, steps ...step) error {
	s.rand.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	if s.whole {
		n = len(steps)
	}
	return inTurn(steps[:min(n, len(steps))]...)
}

// inTurn makes steps one after the other.
func inTurn(steps ...step) error {
	for _, one := range steps {
		if err := one.do(); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

// first makes functions one after the other, up to the first that fails.
func first(all ...func() error) error {
	for _, f := range all {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// either is one of some words.
func (s *session) either(words ...string) string { return words[s.rand.Intn(len(words))] }
