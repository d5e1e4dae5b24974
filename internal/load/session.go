package load

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
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
	pipe    *os.File // the end that output reads
	output  *output
	kept    []io.Closer // until the program has ended
}

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
	p, err := s.start(Command{Path: s.path, Args: args, Dir: s.dir, Env: s.environment(), Output: w})
	if err != nil {
		r.Close()
		return err
	}
	s.process, s.pipe, s.output = p, r, &output{ended: make(chan struct{})}
	go s.output.read(r)
	return nil
}

// log is what the program said last, for a message.
func (s *session) log() string {
	if s.output == nil {
		return ""
	}
	return s.output.last(40)
}

// await reads what the program says up to a text.
func (s *session) await(text string) error { return s.hear(s.output.want(text)) }

// hear waits until the program says what is wanted.
func (s *session) hear(w *wanted) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-w.said:
		return nil
	case <-s.output.ended:
	case <-limit.C:
		return fmt.Errorf("expected it to say %q within %v", w.text, patience)
	}
	select {
	case <-w.said: // as the last it said
		return nil
	default:
		return &silentError{w.text, s.end()}
	}
}

// silentError is a program that has ended without saying a text.
type silentError struct {
	text string
	end  error
}

func (e *silentError) Error() string {
	return fmt.Sprintf("it ended (%v): expected it to say %q before", e.end, e.text)
}

// signal sends a signal, and waits until the program says a text.
func (s *session) signal(sig os.Signal, text string) error {
	return s.signalAmid(sig, text, func() error { return nil })
}

// signalAmid sends a signal, goes on with something else, and then waits for the text.
func (s *session) signalAmid(sig os.Signal, text string, amid func() error) error {
	answer := s.output.expect(text)
	return first(
		func() error { return s.send(sig) },
		amid,
		func() error { return s.hear(answer) },
	)
}

// stop ends the program by a signal, which it has to take as a reason to finish in order.
func (s *session) stop(sig os.Signal) error {
	if err := s.send(sig); err != nil {
		return err
	}
	return s.end()
}

// send sends a signal to the program, which has to be there: else the error says how it ended.
func (s *session) send(sig os.Signal) error {
	err := s.process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("expected it to run, and to be sent %v: it has ended: %v", sig, s.end())
	}
	return err
}

// end waits for the program's end.
func (s *session) end() error { return s.endWithin(patience) }

// endWithin waits for the program's end for a while, and then kills it.
func (s *session) endWithin(limit time.Duration) error {
	p, ended := s.process, make(chan error, 1)
	s.process = nil
	go func() { ended <- p.Wait() }()
	err, came := within(ended, limit)
	if !came {
		err = fmt.Errorf("expected it to end within %v: killed", limit)
		s.kill(p, ended)
	}
	return s.drain(err)
}

// kill ends a program with what it has started: a server that is killed alone leaves its
// workers behind, for which Wait waits too. While Wait waits, somebody of the group is left,
// and the number is nobody else's.
func (s *session) kill(p Process, ended <-chan error) {
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	within(ended, grace) // who has left the group as well is not waited for
}

// drain takes the rest of what was said by a program that has ended with an error, or nil.
func (s *session) drain(err error) error {
	if _, came := within(s.output.ended, grace); !came && err == nil {
		err = errors.New("expected nobody to be left who could write to its output")
	}
	s.pipe.Close() // which ends the reading
	return err
}

// within waits for something for a while at most, and tells whether it came.
func within[T any](c <-chan T, limit time.Duration) (v T, came bool) {
	over := time.NewTimer(limit)
	defer over.Stop()
	select {
	case v = <-c:
		return v, true
	case <-over.C:
		return v, false
	}
}

// anyStatus is an error unless the program has ended, in whatever way.
func anyStatus(err error) error {
	if errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}

// byItself is an error unless the program has ended by itself, with whatever status.
func byItself(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return nil
	}
	return err
}

// close ends what a failed load has left, and what was kept.
func (s *session) close() {
	defer func() {
		for _, c := range s.kept {
			_ = c.Close()
		}
	}()
	if s.process == nil {
		return
	}
	// It may have ended by itself; what it then says is of no use. A server that is
	// asked takes its workers with it.
	_ = s.process.Signal(syscall.SIGTERM)
	_ = s.endWithin(grace)
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
