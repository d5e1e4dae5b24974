package effect

import (
	"errors"
	"testing"

	"portcullis/internal/abi"
)

// counting is a world in which each process may make so many calls, and its children as many as are left.
type counting struct {
	limit int
	count map[int]int
	of    map[int]int
}

func newCounting(limit int) func() (World, error) {
	return func() (World, error) {
		return &counting{limit, map[int]int{}, map[int]int{1: 1}}, nil
	}
}

func (c *counting) Ask(tid int, _ *Call) (abi.Verdict, error) {
	p, ok := c.of[tid]
	if !ok {
		return 0, errors.New("no such task")
	}
	if c.count[p]++; c.count[p] > c.limit {
		return abi.Errno(1), nil
	}
	return abi.Allow, nil
}

func (c *counting) Do(s *Step) error {
	switch s.Event {
	case Forks:
		c.of[s.Child] = s.Child
	case Spawns:
		c.of[s.Child] = c.of[s.Tid]
	}
	return nil
}

// lonely is counting with one count for all processes.
type lonely struct{ *counting }

func (l lonely) Do(s *Step) error {
	l.of[s.Child] = 1
	return nil
}

func trials(a, b func() (World, error)) *Trials {
	return &Trials{Before: a, After: b, Open: []Open{{Seeds: []abi.SeccompData{{Nr: 59, Arch: abi.ArchX86_64}}}}, Words: []string{"x"}}
}

func TestTrialsFindTheCount(t *testing.T) {
	w, err := trials(newCounting(3), newCounting(5)).Run(50)
	if err != nil || w == nil || len(w.Steps) != 4 || w.Before != abi.Errno(1) || w.After != abi.Allow {
		t.Errorf("%+v, %v: expected the fourth call", w, err)
	}
	if w, err := trials(newCounting(3), newCounting(3)).Run(50); w != nil || err != nil {
		t.Errorf("%+v, %v: there is no difference", w, err)
	}
}

func TestTrialsFindWhoCounts(t *testing.T) {
	own := newCounting(2)
	shared := func() (World, error) {
		w, err := own()
		return lonely{w.(*counting)}, err
	}
	w, err := trials(own, shared).Run(200)
	if err != nil || w == nil {
		t.Fatalf("%v, %v: expected a fork to be tried", w, err)
	}
	forks := 0
	for _, s := range w.Steps {
		if s.Event == Forks {
			forks++
		}
	}
	if forks != 1 || len(w.Steps) > 5 {
		t.Errorf("%+v: expected one fork, and no more steps than it takes", w.Steps)
	}
}

func TestTrialsAreEnds(t *testing.T) {
	broken := func() (World, error) { return nil, errors.New("refused") }
	if _, err := trials(newCounting(1), broken).Run(1); err == nil {
		t.Error("a stack that makes no world: expected its error")
	}
	if w, err := (&Trials{}).Run(1); w != nil || err != nil {
		t.Errorf("nothing to try: %v, %v", w, err)
	}
}

func TestTexts(t *testing.T) {
	got := texts([]byte("\x00/\x00ab\x00/usr\x01abc\xff"))
	if len(got) != 3 || got[0] != "/" || got[1] != "/usr" || got[2] != "abc" {
		t.Errorf("%q", got)
	}
}
