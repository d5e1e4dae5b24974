// Package load starts real programs in a directory of their own and plays a varied load on
// them: the same one for recording policies, for testing them and for evaluation.
//
// What a program is started under is its caller's business, see Start. A load is drawn from
// a seed, but for keys: which requests are made, with what, in which order, and how the program is
// ended. The seed 0 leaves out no kind of request. Nothing outside of the directory is touched.
package load

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
)

// Command is what is to be started.
type Command struct {
	Path string
	Args []string
	Dir  string
	Env  []string
	// Output takes what it writes, standard output and standard error alike.
	Output *os.File
}

// Process is a command that was started, as the first of a process group with its number. Wait gives
// its end, as exec.Cmd does, and returns when nothing is left of it.
type Process interface {
	Pid() int
	Signal(os.Signal) error
	Wait() error
}

// Start starts a command.
type Start func(Command) (Process, error)

// Program is one that can be played.
type Program struct {
	// Name is that of its policy, Command what is executed, Package what Debian has it in.
	Name, Command, Package string
	play                   func(*session) error
	// intrude tries what a policy has to refuse, and tells whether it came to pass; nil if
	// there is no way into the program, and then closed says why.
	intrude func(*session) (bool, error)
	closed  string
}

// Programs are all that there are.
func Programs() []Program {
	return []Program{nginx(), apache(), lighttpd(), redis(), memcached(), named(), git(), python(), sshd()}
}

// Named is the program of that name.
func Named(name string) (Program, bool) {
	for _, p := range Programs() {
		if p.Name == name {
			return p, true
		}
	}
	return Program{}, false
}

// MissingError is a program that is not here.
type MissingError struct{ Command, Package string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("needs %s: apt-get install %s", e.Command, e.Package)
}

// find looks where servers are too, which is not in everyone's PATH.
func find(command, pkg string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, command)); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{command, pkg}
}

// Find is the path of the program, or a *MissingError.
func (p Program) Find() (string, error) { return find(p.Command, p.Package) }

// Play starts the program in a directory of its own, which is gone afterwards, and plays the
// load of a seed on it to the end. The error is the first answer that was not as it should be.
func (p Program) Play(seed int64, start Start) error {
	return p.session(seed, start, p.play)
}

// Vary plays likewise, and leaves less as it is: configurations are drawn too, requests come
// at the same time, break off and dawdle, and the program is told to reload more often and
// otherwise. What it draws is not all in any seed, not in 0 either.
func (p Program) Vary(seed int64, start Start) error {
	return p.session(seed, start, func(s *session) error {
		s.varied, s.whole = true, false
		return p.play(s)
	})
}

// Closed says why there is no Intrude for the program; "" where there is one.
func (p Program) Closed() string { return p.closed }

// Intrude starts the program likewise, where it can be made to execute another, tries that
// by what it has to offer, or by changing its code, and tells whether the other has been executed.
func (p Program) Intrude(start Start) (came bool, err error) {
	err = p.session(1, start, func(s *session) (err error) {
		came, err = p.intrude(s)
		return err
	})
	return came, err
}

func (p Program) session(seed int64, start Start, play func(*session) error) error {
	path, err := p.Find()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/tmp", "load")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // workers may be another user
		return err
	}
	s := &session{path: path, dir: dir, start: start, rand: rand.New(rand.NewSource(seed)), whole: seed == 0}
	defer s.close()
	if err := play(s); err != nil {
		return fmt.Errorf("%s with seed %d: %w\n%s", p.Name, seed, err, s.log())
	}
	return nil
}
