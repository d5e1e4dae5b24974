package record

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
	"portcullis/internal/policy"
)

// tree is a drawn run: processes that have threads, fork, execute programs, get other names, end and have their
// numbers given again.
type tree struct {
	rand *rand.Rand
	live []*member
	done []*member // tasks, in the order in which they were made
	free []int     // numbers of processes that have ended
	log  []happened
	next int // the next number of a task
}

// member is a process. What it likes to wait by is most often what it does wait by.
type member struct {
	pid   int
	tasks []*task
	likes string
	phase string
	moved bool
}

type task struct {
	of             *member
	serial, parent uint64
	tid, born      int
	comm           string
	called         bool
}

// happened is one call, and the process that it made.
type happened struct {
	by    *task
	comm  string
	nr    uint32
	child *member
}

const (
	waits  = "epoll_wait rt_sigsuspend poll"
	others = "bind listen getcwd uname sysinfo chroot setuid accept4"
)

func drawTree(r *rand.Rand) *tree {
	tr := &tree{rand: r, next: 100}
	tr.join(nil, "a")
	for steps := 20 + r.Intn(150); steps > 0 && len(tr.live) > 0; steps-- {
		tr.step(tr.live[r.Intn(len(tr.live))])
	}
	return tr
}

func (tr *tree) one(words string) string {
	all := strings.Fields(words)
	return all[tr.rand.Intn(len(all))]
}

// join begins a process, as a child of a task or the first.
func (tr *tree) join(by *task, comm string) *member {
	m := &member{likes: tr.one(waits)}
	if n := len(tr.free); n > 0 && tr.rand.Intn(2) == 0 {
		m.pid, tr.free = tr.free[n-1], tr.free[:n-1]
	} else {
		tr.next++
		m.pid = tr.next
	}
	tr.live, tr.done = append(tr.live, m), append(tr.done, m)
	tr.thread(m, by, m.pid, comm)
	return m
}

func (tr *tree) thread(m *member, by *task, tid int, comm string) {
	t := &task{of: m, serial: uint64(tid), tid: tid, comm: comm, born: len(tr.log)}
	if by != nil {
		t.parent = by.serial
	}
	tr.next++
	t.serial = uint64(tr.next) // larger than that of who made it, and no number twice
	m.tasks = append(m.tasks, t)
}

func (tr *tree) step(m *member) {
	t := m.tasks[tr.rand.Intn(len(m.tasks))]
	switch n := tr.rand.Intn(40); {
	case n < 5:
		tr.call(t, "clone")
		tr.log[len(tr.log)-1].child = tr.join(t, t.comm)
	case n < 7:
		tr.call(t, "clone")
		tr.next++
		tr.thread(m, t, tr.next, t.comm)
	case n == 7 && len(m.tasks) == 1:
		tr.call(t, "execve")
		t.comm = tr.one("a b")
	case n == 9 && t.called && tr.rand.Intn(3) == 0:
		t.comm = tr.one("a b") // by another thread, so it may be another process
	case n == 8 && len(tr.live) > 1:
		tr.call(t, "exit_group")
		tr.leave(m)
	case n < 16:
		tr.call(t, m.likes)
	case n == 16 && tr.rand.Intn(4) == 0:
		tr.call(t, tr.one(waits))
	default:
		tr.call(t, tr.one(others))
	}
}

func (tr *tree) call(t *task, name string) {
	nr, _ := syscalls.Number(name)
	t.called = true
	tr.log = append(tr.log, happened{by: t, comm: t.comm, nr: nr})
}

func (tr *tree) leave(m *member) {
	for i, other := range tr.live {
		if other == m {
			tr.live = append(tr.live[:i], tr.live[i+1:]...)
		}
	}
	tr.free = append(tr.free, m.pid)
}

// events tells a recorder of the run as the agent does, which does not say who made whom.
func (tr *tree) events(r *Recorder) {
	r.Begin()
	for _, c := range tr.log {
		r.Add(&event.Event{
			Kind: event.KindVerdict, Insn: -1, Pid: c.by.of.pid, Tid: c.by.tid, Comm: c.comm, Verdict: abi.Allow,
			Call: event.Call{Nr: int32(c.nr), Arch: abi.ArchX86_64, Args: [6]uint64{17}},
		})
	}
}

// counters tells a recorder of the run as the counters in the kernel do.
func (tr *tree) counters(r *Recorder) {
	o := &Observation{}
	for _, m := range tr.done {
		for _, t := range m.tasks {
			o.Tasks = append(o.Tasks, Task{Serial: t.serial, Parent: t.parent, Pid: m.pid, Tid: t.tid, Time: uint64(2*t.born + 11)})
		}
	}
	for i, c := range tr.log {
		at := uint64(2*i + 12)
		o.Calls = append(o.Calls, Counted{Task: c.by.serial, Comm: c.comm, Nr: c.nr, Count: 1, First: at, Last: at})
	}
	r.Observe(o)
}

// machine is what phases do, apart from how the policy is compiled.
type machine struct {
	phases map[string]*policy.Phase
	first  string
	behind int // ways that were gone out of others than the first
}

func newMachine(all []policy.Phase) *machine {
	m := &machine{phases: map[string]*policy.Phase{}, first: all[0].Name}
	for i := range all {
		m.phases[all[i].Name] = &all[i]
	}
	return m
}

// replay has every call made in the phase that its process is in, and tells of the first that is
// refused, or has a process leave a phase that it came to.
func (m *machine) replay(tr *tree) error {
	for _, one := range tr.done {
		one.phase, one.moved = m.first, false
	}
	for i, c := range tr.log {
		if err := m.step(c.by.of, callName(c.nr)); err != nil {
			return fmt.Errorf("call %d of process %d: %w", i, c.by.of.pid, err)
		}
		if c.child != nil {
			c.child.phase = c.by.of.phase
		}
	}
	return nil
}

func (m *machine) step(p *member, call string) error {
	at := m.phases[p.phase]
	for _, w := range at.Next {
		if w.On[0].Text != call {
			continue
		}
		if p.moved {
			return fmt.Errorf("%s leads out of %s, to which the process came itself", call, p.phase)
		}
		if p.phase != m.first {
			m.behind++
		}
		p.phase, p.moved = w.To, true
		return nil
	}
	if has(at.Deny, call) || len(at.Deny) == 0 && !has(at.Allow, "@known") {
		return fmt.Errorf("%s refused in %s", call, p.phase)
	}
	return nil
}

func has(names []policy.Name, text string) bool {
	for _, n := range names {
		if n.Text == text {
			return true
		}
	}
	return false
}

// TestLearntRuns draws runs and replays them under the policy that was learnt from them, by
// events and by counters: nothing of them is refused, and nobody leaves a phase twice.
func TestLearntRuns(t *testing.T) {
	learnt, behind := 0, 0
	for seed := int64(0); seed < 200; seed++ {
		r := rand.New(rand.NewSource(seed))
		trees := []*tree{drawTree(r), drawTree(r)}[:1+r.Intn(2)]
		o := Options{Mode: Phases, StrictStart: r.Intn(2) == 0}
		for _, call := range strings.Fields(waits + " clone accept4") {
			if r.Intn(3) == 0 {
				o.Transitions = append(o.Transitions, call)
			}
		}
		for _, tell := range []func(*tree, *Recorder){(*tree).events, (*tree).counters} {
			n, ok := replayed(t, seed, trees, tell, o)
			behind += n
			if ok {
				learnt++
			}
		}
	}
	if learnt < 300 || behind < 250 {
		t.Errorf("%d policies learnt, %d ways gone between later phases: expected more, to test them", learnt, behind)
	}
}

func replayed(t *testing.T, seed int64, trees []*tree, tell func(*tree, *Recorder), o Options) (behind int, ok bool) {
	t.Helper()
	r := New()
	for _, tr := range trees {
		tell(tr, r)
	}
	all, err := r.phases(o)
	if err != nil {
		return 0, false // there was no transition
	}
	m := newMachine(all)
	for _, tr := range trees {
		if err := m.replay(tr); err != nil {
			t.Fatalf("seed %d: %v under\n%s", seed, err, policy.Write(&policy.Model{Phases: all}))
		}
	}
	return m.behind, true
}
