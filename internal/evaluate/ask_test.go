package main

import (
	"math/rand"
	"strings"
	"testing"

	"portcullis"
	"portcullis/internal/event"
)

// drawnRun is a run of processes that make drawn calls of the policy of a server: of two
// thirds of them until one has left the first phase, of two others from then on, and now
// and then one that leads on.
func drawnRun(m *machine, draw *rand.Rand) *trace {
	names, t := sorted(m.permitted().with(callsOf("clone3"))), newTrace(m)
	draw.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var out []string
	for _, phase := range m.phases {
		out = append(out, sorted(m.waysOut(phase))...)
	}
	early, late := names[:2*len(names)/3], names[len(names)/3:]
	for i := 0; i < 300; i++ {
		name := early[draw.Intn(len(early))]
		if t.left() {
			name = late[draw.Intn(len(late))]
		}
		if i > 50 && draw.Intn(20) == 0 {
			name = out[draw.Intn(len(out))]
		}
		e := portcullis.Event{Pid: 1<<30 + draw.Intn(4), Call: event.Call{Name: name}}
		if name == "clone" && draw.Intn(2) == 0 {
			e.Call.Args[0] = cloneThread
		}
		t.add(e)
	}
	return t
}

// left tells whether a process has left the first phase.
func (t *trace) left() bool {
	for _, p := range t.all {
		if p.phase != t.machine.first {
			return true
		}
	}
	return false
}

// waysOut are the calls that lead out of a phase.
func (m *machine) waysOut(phase string) calls {
	all := calls{}
	for call := range m.ways[phase] {
		if call == thread {
			call = "clone"
		}
		all[call] = true
	}
	return all
}

// TestAnswers has filters answer what counting says: one list has to allow all, an early
// filter too and a late one what serving needs, and phases what was made in each.
func TestAnswers(t *testing.T) {
	for _, name := range servers() {
		m, err := newMachine(name)
		if err != nil {
			t.Fatal(err)
		}
		for seed := int64(1); seed <= 3; seed++ {
			r := Result{}
			if err := r.count(m, []*trace{drawnRun(m, rand.New(rand.NewSource(seed)))}); err != nil {
				t.Fatalf("%s with seed %d: %v", name, seed, err)
			}
			all, init, serving := r.Recorded.All, r.Recorded.Init, r.Recorded.Serving
			if init == all || serving == all {
				t.Errorf("%s with seed %d: %+v: expected calls of either side alone", name, seed, r.Recorded)
			}
			one, two, phases := splitOf(all, all, all), splitOf(all, all, serving), splitOf(all, init, serving)
			if r.OneList != one || r.TwoFilters != two || r.ByPhases != phases {
				t.Errorf("%s with seed %d: answered %+v, %+v, %+v, counted %+v, %+v, %+v", name, seed, r.OneList, r.TwoFilters, r.ByPhases, one, two, phases)
			}
		}
	}
}

// TestPermitted counts verdicts, and no names: of what was not seen none is let through, and
// what is asked changes nothing for what is asked next.
func TestPermitted(t *testing.T) {
	s := newSeen(servedMachine(t), map[string]calls{"start": callsOf("accept", "socket"), "serve": callsOf("accept", "read")})
	start, err := install(s.phased())
	if err != nil {
		t.Fatal(err)
	}
	late, err := s.walk(start)
	if err != nil || len(late) != 1 {
		t.Fatalf("%d places, %v: expected one", len(late), err)
	}
	for _, c := range []struct {
		call        string
		early, late int
	}{{"accept", 1, 1}, {"socket", 1, 0}, {"read", 0, 1}, {"write", 0, 0}, {"exit", 1, 1}, {"socket", 1, 0}} {
		early, err := permitted(callsOf(c.call), start)
		if err != nil {
			t.Fatal(err)
		}
		serving, err := permitted(callsOf(c.call), late...)
		if err != nil || early != c.early || serving != c.late {
			t.Errorf("%s: let through early %d, late %d, %v: expected %d and %d", c.call, early, serving, err, c.early, c.late)
		}
	}
	if n, err := permitted(callsOf("read", "socket", "write"), start, late[0]); err != nil || n != 2 {
		t.Errorf("in one of both %d, %v: expected 2", n, err)
	}
}

// TestWays takes those that were seen, by a thread first.
func TestWays(t *testing.T) {
	made := map[string]calls{"start": callsOf("accept", "clone", "clone3", "write"), "serve": callsOf("read"), "worker": callsOf("read")}
	got := newSeen(servedMachine(t), made).ways("start")
	want := []way{{"clone3", 0, "worker"}, {"clone", cloneThread, "worker"}, {"accept", 0, "serve"}}
	if len(got) != len(want) {
		t.Fatalf("found %v, expected %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("found %v, expected %v", got[i], want[i])
		}
	}
}

// TestThreads has a clone lead on where it makes a thread, and not where it makes a child.
func TestThreads(t *testing.T) {
	made := map[string]calls{"start": callsOf("clone", "socket"), "worker": callsOf("clone")}
	p, err := install(newSeen(servedMachine(t), made).phased())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		way
		want bool
	}{{way{call: "clone", arg: 17}, true}, {way{call: "socket"}, true}, {way{call: "clone", arg: cloneThread}, true}, {way{call: "socket"}, false}} {
		if got, err := p.permits(c.way); err != nil || got != c.want {
			t.Errorf("%v: let through: %v, %v: expected %v", c.way, got, err, c.want)
		}
	}
}

// TestCannotAsk refuses what there is no answer to.
func TestCannotAsk(t *testing.T) {
	m := servedMachine(t)
	for name, c := range map[string]struct {
		made map[string]calls
		want string
	}{
		"nobody serves":     {map[string]calls{"start": callsOf("read")}, "1 of 1 phases were reached"},
		"no way":            {map[string]calls{"start": callsOf("accept"), "serve": callsOf("accept"), "worker": callsOf("read")}, "2 of 3 phases were reached"},
		"no call":           {map[string]calls{"start": callsOf("accept", "nothing"), "serve": callsOf("accept")}, "nothing"},
		"nothing was there": {nil, "1 of 1 phases were reached"},
	} {
		if err := (&Result{}).ask(newSeen(m, c.made)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
}
