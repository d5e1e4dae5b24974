package why

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/event"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/policy"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// suspected is a policy among suspects.
func suspected(t *testing.T, text string) (*Suspects, *verify.Verified) {
	t.Helper()
	m, err := policy.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSuspects([]Filter{{split.Split(v), m.Rules}}, prefilter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// accused is what is said of a record of a call under a policy.
func accused(t *testing.T, s *Suspects, record string) *Denial {
	t.Helper()
	r := &Report{Suspects: s}
	if err := r.Read(strings.NewReader("type=1326 comm=\"c\" arch=c000003e " + record)); err != nil || len(r.Denials) != 1 {
		t.Fatalf("%q: %v, %d denials", record, err, len(r.Denials))
	}
	return r.Denials[0]
}

const several = `version: 1
default: allow
links: trusted
rules:
  - {deny: socket, error: EACCES, if: {family: AF_INET}}
  - {allow: socket, if: {family: AF_UNIX}}
  - {kill: socket, if: {family: AF_INET6}}
  - deny: [socket, bind]
  - {deny: mkdir, if: {arg1: 1}}
  - {trap: mkdir}
  - {kill_thread: rmdir}
  - {deny: [ptrace, io_uring_setup]}
limits:
  - {calls: fsync, max: 1, per: process}
`

// TestSuspects names the rules that can have made a record, and no other.
func TestSuspects(t *testing.T) {
	s, _ := suspected(t, several)
	const errno, kill, trap, thread, asked = "code=0x50000", "code=0x80000000", "code=0x30000", "code=0x0", "code=0x7fc00000"
	for _, c := range []struct {
		record string
		lines  []string
	}{
		{"syscall=41 " + errno, []string{"ERRNO(13) EACCES p.yaml:5 ", "ERRNO(1) EPERM p.yaml:8 "}},
		{"syscall=41 " + kill, []string{"KILL_PROCESS p.yaml:7 "}},
		{"syscall=41 " + trap, nil},
		{"syscall=41 " + asked, []string{"ERRNO(13) EACCES p.yaml:5 ", "KILL_PROCESS p.yaml:7 ", "ERRNO(1) EPERM p.yaml:8 "}},
		{"syscall=49 " + errno, []string{"ERRNO(1) EPERM p.yaml:8 "}},
		{"syscall=83 " + errno, []string{"ERRNO(1) EPERM p.yaml:9 "}},
		{"syscall=83 " + trap, []string{"TRAP p.yaml:10 "}},
		{"syscall=84 " + thread, []string{"KILL_THREAD p.yaml:11 "}},
		{"syscall=84 " + errno, nil},
		{"syscall=0 " + errno, nil},
		{"syscall=425 " + errno, []string{"ERRNO(1) EPERM p.yaml:12 "}},
		{"syscall=74 " + asked, []string{"ERRNO(1) EPERM p.yaml:14 ", "ERRNO(12) ENOMEM p.yaml:14 "}},
		{"syscall=426 " + errno, []string{"ERRNO(38) ENOSYS the io_uring guard"}},
		{"syscall=1073741824 " + kill, []string{"KILL_PROCESS the x32 guard", "KILL_PROCESS p.yaml:1 "}},
	} {
		d := accused(t, s, c.record)
		if got := named(d); !alike(got, c.lines) {
			t.Errorf("%s: got %q, want %q", c.record, got, c.lines)
		}
	}
}

// named are the verdicts and places of what may have denied.
func named(d *Denial) (all []string) {
	causes := d.Causes
	switch {
	case strings.HasPrefix(d.Reason, "another filter: "):
		return nil
	case strings.HasSuffix(d.Reason, ": nothing else in the filters given can"):
		causes = []Cause{d.Cause}
	}
	for _, c := range causes {
		all = append(all, c.Verdict+" "+strings.TrimPrefix(c.Reason, "p, "))
	}
	return all
}

func alike(got, want []string) bool {
	for i := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], want[i]) {
			return false
		}
	}
	return len(got) == len(want)
}

// TestNarrow puts into a change the condition of the rule that denied, so that no more is let
// through than that rule denies.
func TestNarrow(t *testing.T) {
	s, _ := suspected(t, several)
	d := accused(t, s, "syscall=41 code=0x80000000")
	if want := "  - allow: [socket]\n    if: {family: AF_INET6}\n"; d.Change != want || d.Where != "in front of the rule at p.yaml:7" || d.Warnings != nil {
		t.Errorf("got %q, %q, %q", d.Change, d.Where, d.Warnings)
	}
	changed, _ := suspected(t, strings.Replace(several, "  - {kill: socket", d.Change+"  - {kill: socket", 1))
	if got := named(accused(t, changed, "syscall=41 code=0x80000000")); got != nil {
		t.Errorf("after the change still %q", got)
	}
	d = accused(t, s, "syscall=49 code=0x50000")
	if want := "  - allow: [bind]\n"; d.Change != want || len(d.Warnings) == 0 {
		t.Errorf("got %q, %q", d.Change, d.Warnings)
	}
	one, _ := suspected(t, "version: 1\nrules: [{deny: socket, if: {family: AF_INET}}, {allow: \"@system-service\"}]\n")
	if d = accused(t, one, "syscall=41 code=0x50000"); strings.Contains(d.Change, "if:") {
		t.Errorf("two rules on a line, and one is chosen: %q", d.Change)
	}
}

// TestOthersAnswers are records that hold neither the call nor the answer.
func TestOthersAnswers(t *testing.T) {
	s, _ := suspected(t, several)
	if d := accused(t, s, "syscall=-1 code=0x7ff00000"); d.Reason != "a tracer, in the place of another call" || d.Where != askEvents {
		t.Errorf("got %q, %q", d.Reason, d.Where)
	}
	if d := accused(t, s, "syscall=401 code=0x0"); !strings.HasPrefix(d.Reason, "the agent's tracer, in the place of another call") || d.Where != askEvents {
		t.Errorf("got %q, %q", d.Reason, d.Where)
	}
	if d := accused(t, nil, "syscall=41 code=0x7fc00000"); d.Reason != "a supervisor whose answer the kernel's log does not hold" {
		t.Errorf("got %q", d.Reason)
	}
	r := &Report{Suspects: s}
	injected := "type=1326 arch=c000003e syscall=236 ip=0x8000000000000000 code=0x7fc00000"
	if err := r.Read(strings.NewReader(injected)); err != nil || len(r.Denials) != 0 {
		t.Errorf("%v, %d denials of what a tracer called", err, len(r.Denials))
	}
}

// TestGuardsThatStay are not said to be left out by an option.
func TestGuardsThatStay(t *testing.T) {
	for name, want := range map[string]string{
		"io_uring": "run --lift io_uring leaves the guard out", "ptrace": "no option leaves the guard out: a child that",
		"arch": "no option leaves the guard out",
	} {
		e := denial("ptrace", "", "")
		e.Program, e.Leaf = name, event.LeafGuard
		r := &Report{}
		if r.Add(e); !strings.HasPrefix(r.Denials[0].Where, want) || (len(r.Denials[0].Warnings) > 0) != (name == "io_uring") {
			t.Errorf("%s: got %q, %q", name, r.Denials[0].Where, r.Denials[0].Warnings)
		}
	}
}

// TestManySuspects bounds what is told of one record.
func TestManySuspects(t *testing.T) {
	text := "version: 1\ndefault: allow\nrules:\n"
	for i := 0; i < 3*maxCauses; i++ {
		text += fmt.Sprintf("  - {deny: socket, if: {family: %d}}\n", i)
	}
	s, _ := suspected(t, text)
	d := accused(t, s, "syscall=41 code=0x50000")
	if len(d.Causes) != maxCauses || !strings.HasPrefix(d.Reason, fmt.Sprintf("one of %d rules", 3*maxCauses)) {
		t.Errorf("%d are told, %q", len(d.Causes), d.Reason)
	}
}

// machine runs a program.
func machine(t *testing.T, v *verify.Verified) *interp.Machine {
	t.Helper()
	set, err := maps.NewSet(v.Program().Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := interp.New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSuspectsHoldTheLine finds the line by which a run was denied among those that the call's
// record leads to.
func TestSuspectsHoldTheLine(t *testing.T) {
	s, v := suspected(t, several)
	m, r, denied := machine(t, v), rand.New(rand.NewSource(1)), 0
	for i := 0; i < 800; i++ {
		d := abi.SeccompData{Arch: abi.ArchX86_64, Nr: []int32{41, 49, 74, 83, 84, 101}[r.Intn(6)]}
		d.Args[0], d.Args[1] = uint64(r.Intn(12)), uint64(r.Intn(2))
		got := m.Run(bpfgen.Env{R: r}, &d)
		if verdict := abi.Verdict(got.Ret); got.Fault == nil && verdict != abi.Allow {
			denied++
			line := v.Program().LineOf(got.PC)
			if all := s.rulesOf(recordOf(&d, verdict)); !hold(all, line, verdict) {
				t.Fatalf("%+v is denied with %v at %v, which is not among %+v", d, verdict, line, all)
			}
		}
	}
	if denied < 200 {
		t.Errorf("%d denials: too few to mean anything", denied)
	}
}

// recordOf is what a record says of a call.
func recordOf(d *abi.SeccompData, v abi.Verdict) *event.Event {
	return &event.Event{Kind: event.KindVerdict, Insn: -1, Call: event.Call{Nr: d.Nr, Arch: d.Arch}, Verdict: v.Action()}
}

// hold tells whether a line with its verdict is among causes.
func hold(all []Cause, line prog.Line, v abi.Verdict) bool {
	for _, c := range all {
		if c.Verdict == event.Verdict(v) && strings.Contains(c.Reason, ", "+line.String()+" ") {
			return true
		}
	}
	return false
}

// TestSuspectsAreSound finds a place for every denial of drawn programs.
func TestSuspectsAreSound(t *testing.T) {
	seed := rand.Int63()
	r, denied := rand.New(rand.NewSource(seed)), 0
	for i := 0; i < 80; i++ {
		p := bpfgen.Program(r, bpfgen.Options{Statements: 1 + r.Intn(14), Wild: r.Intn(3)})
		v, err := verify.Program(p, verify.Options{Budget: 20000})
		if err != nil {
			continue
		}
		m, s := machine(t, v), &Suspects{filters: []Filter{{Tree: split.Split(v)}}}
		for j := 0; j < 6; j++ {
			d := abi.SeccompData{Arch: abi.ArchX86_64, Nr: int32(r.Intn(500)), Args: [6]uint64{r.Uint64() >> r.Intn(64)}}
			e := recordOf(&d, abi.Verdict(m.Run(bpfgen.Env{R: r}, &d).Ret))
			if !e.Denies() {
				continue
			}
			denied++
			if len(s.rulesOf(e)) == 0 {
				t.Fatalf("seed %d: nothing of the program gives %v for %+v", seed, e.Verdict, d)
			}
		}
	}
	if denied < 20 {
		t.Errorf("seed %d: %d denials: too few to mean anything", seed, denied)
	}
}
