package load_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portcullis"
	"portcullis/internal/engine"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
	"portcullis/internal/load"
	"portcullis/internal/policy"
	"portcullis/internal/record"
	"portcullis/policies"
)

// The suite runs here, here as nobody, and in guests: the latter two are this binary again.
var (
	made     = kit.New()
	onEngine = flag.String("engine", "agent", "engine that the programs run on")
	// No guest knows the environment, so it is told.
	long = flag.Bool("long", kit.Long(), "play ten varied loads where else there is one that is less so")
)

func TestMain(m *testing.M) {
	guest.MaybeInit()
	os.Exit(made.Main(m, func(dir string) error { return kit.CopySelf(filepath.Join(dir, "suite")) }))
}

// TestAsNobody starts the programs as an ordinary user.
func TestAsNobody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: to become nobody")
	}
	run := "-test.run=^TestPolicies$"
	if kit.Long() {
		run = "-test.run=^Test(Policies|Refused)$"
	}
	cmd := exec.Command(made.File("suite"), "-test.v", run, made.Flag())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guest.Nobody, Gid: guest.Nobody}}
	cmd.Dir = made.Dir()
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestPolicies") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// TestKernel runs the programs on the kernel engine: in a guest, as nobody.
func TestKernel(t *testing.T) {
	// Handshakes, interpreters and many processes take long there.
	skip := "^TestPolicies$/^(git|python|apache2|named|sshd)$|^TestRefused$/^(git|apache2|sshd)$"
	if !kit.Wide() {
		skip = "^TestPolicies$/^(git|python|apache2|named|sshd|lighttpd|redis)$|^TestRefused$"
	}
	if kit.Long() {
		skip = "^$"
	}
	machine := guest.Suite(made.Dir())
	if *long {
		machine.Timeout = 12 * time.Hour
	}
	guest.TestIn(t, machine, guest.Nobody, "-engine=kernel", fmt.Sprint("-long=", *long), made.Flag(), "-test.skip="+skip, "-test.run=^Test(Policies|Refused)$")
}

func needEngine(t *testing.T) {
	t.Helper()
	if *onEngine != "agent" {
		return
	}
	for _, f := range engine.Probe() {
		if f.Engine == engine.Agent && !f.Have && (f.Needed || f.Name == "tracing") {
			t.Skipf("needs %s (agent engine): %s", f.Name, f.Remedy)
		}
	}
}

// need skips the test if the program is not here.
func need(t *testing.T, p load.Program) {
	t.Helper()
	var missing *load.MissingError
	if _, err := p.Find(); errors.As(err, &missing) {
		t.Skipf("needs %s: apt-get install %s", missing.Command, missing.Package)
	}
}

// seeds are from the first on: how many depends on the time there is.
func seeds(from, few, many int64) (all []int64) {
	if *long {
		few = many
	}
	for i := int64(0); i < few; i++ {
		all = append(all, from+i)
	}
	return all
}

// denials are what a policy has denied, but clone3, which policies have libraries do
// without.
type denials struct {
	mu  sync.Mutex
	all map[string]int
}

func (d *denials) event(e portcullis.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[string]int{}
	}
	if e.Denies() && e.Call.Name != "clone3" {
		d.all[fmt.Sprintf("%s%#x %v by %s (%s %s)", e.Call.Name, e.Call.Args, e.Verdict, e.Comm, e.Program, e.Line)]++
	}
}

func (d *denials) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lines []string
	for what, n := range d.all {
		lines = append(lines, fmt.Sprint(n, " × ", what))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// under starts programs under a policy.
func under(t *testing.T, name string, text []byte, d *denials) load.Start {
	t.Helper()
	f, err := portcullis.LoadPolicy(name+".yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	return load.Under(portcullis.Cmd{
		Filters: []*portcullis.Filter{f}, Engine: portcullis.Engine(*onEngine),
		Observe: portcullis.ObserveDenials, Events: d.event,
	})
}

// ready is the policy that comes with Portcullis.
func ready(t *testing.T, name string) []byte {
	t.Helper()
	text, ok := policies.Policy(name)
	if !ok {
		t.Fatalf("there is no policy %s", name)
	}
	return text
}

// TestPolicies plays every load on a program under its policy, which denies nothing of it.
func TestPolicies(t *testing.T) {
	needEngine(t)
	for _, p := range load.Programs() {
		t.Run(p.Name, func(t *testing.T) {
			need(t, p)
			for _, seed := range seeds(int64(1+os.Getuid()%3), 1, 10) {
				played(t, p, seed, ready(t, p.Name))
			}
		})
	}
}

// TestRefused tries to get a program executed by each that offers a way: it comes to pass
// under nothing, and not under the policy.
func TestRefused(t *testing.T) {
	needEngine(t)
	for _, p := range load.Programs() {
		t.Run(p.Name, func(t *testing.T) {
			need(t, p)
			if closed(t, p) {
				return
			}
			came, err := p.Intrude(load.Plain)
			unlocked(t, err)
			if err != nil || !came {
				t.Fatalf("under nothing: came to pass: %v, %v", came, err)
			}
			refused(t, p, ready(t, p.Name))
		})
	}
}

// recorded are the programs whose policies are recorded where time is short.
var recorded = map[string]bool{"nginx": true, "python": true, "git": true}

// recordedMode is how a program is recorded: what has phases by these.
func recordedMode(name string) record.Mode {
	if name == "git" || name == "sshd" {
		return record.Allowlist
	}
	return record.Phases
}

// TestRecorded records a policy from some runs, and plays others, which are drawn differently,
// under it: it denies nothing of them, and what it has not seen it does deny. The seeds that
// are recorded have, together, each configuration that is drawn: two of them lack sendfile.
func TestRecorded(t *testing.T) {
	needEngine(t)
	for _, p := range load.Programs() {
		if !recorded[p.Name] && !*long {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			need(t, p)
			r := learnt(t, p)
			m, err := r.Policy(record.Options{Mode: recordedMode(p.Name), Name: p.Name})
			if err != nil {
				t.Fatal(err)
			}
			if p.Name == "nginx" {
				workersBehindMaster(t, m)
				strictlyStarted(t, p, r)
			}
			text := policy.Write(m)
			for _, seed := range seeds(101, 3, 10) {
				played(t, p, seed, text)
			}
			refused(t, p, text)
		})
	}
}

// workersBehindMaster looks at the phases of a server that was told to reload: a way leads from the
// master's to the workers', so that the master cannot do what they do, and they not what it does.
func workersBehindMaster(t *testing.T, m *policy.Model) {
	t.Helper()
	phases := map[string]policy.Phase{}
	for _, p := range m.Phases {
		phases[p.Name] = p
	}
	master, worker := phases["serve-rt-sigsuspend"], phases["serve-epoll-wait"]
	if len(master.Next) != 1 || master.Next[0].To != worker.Name || len(worker.Next) != 0 {
		t.Errorf("ways %+v out of %q and %+v out of %q: expected one, from master to worker", master.Next, master.Name, worker.Next, worker.Name)
	}
	for call, of := range map[string][2]bool{ // master and worker
		"accept4": {true, false}, "sendfile": {true, false}, "setuid": {false, os.Getuid() == 0}, "wait4": {false, true},
	} {
		if got := [2]bool{names(master.Deny, call), names(worker.Deny, call)}; got != of {
			t.Errorf("%s denied to master and worker: %v, expected %v in\n%s", call, got, of, policy.Write(m))
		}
	}
}

// strictlyStarted plays loads under a policy that was recorded to be strict from the start: it denies
// nothing of them, and early what only workers do.
func strictlyStarted(t *testing.T, p load.Program, r *record.Recorder) {
	t.Helper()
	m, err := r.Policy(record.Options{Mode: record.Phases, Name: p.Name, StrictStart: true})
	if err != nil {
		t.Fatal(err)
	}
	text := policy.Write(m)
	for _, call := range []string{"accept4", "sendfile", "recvfrom"} {
		if !names(m.Phases[0].Deny, call) {
			t.Errorf("%s is not denied at the start:\n%s", call, text)
		}
	}
	for _, seed := range seeds(101, 2, 10) {
		played(t, p, seed, text)
	}
}

func names(calls []policy.Name, call string) bool {
	for _, n := range calls {
		if n.Text == call {
			return true
		}
	}
	return false
}

// learnt is what a program was seen to do: in two runs and one that leaves nothing out, or in
// varied ones until they teach nothing new.
func learnt(t *testing.T, p load.Program) *record.Recorder {
	t.Helper()
	if *long {
		r, _ := learnUntil(t, p, record.Allowlist, time.Now().Add(patience))
		return r
	}
	r, err := p.Record(1, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// patience is how long a program is recorded.
const patience = 5 * time.Minute

// played plays a load under a policy, which denies nothing of it.
func played(t *testing.T, p load.Program, seed int64, text []byte) {
	t.Helper()
	var d denials
	play := p.Play
	if *long {
		play = p.Vary
	}
	if err := play(seed, under(t, p.Name, text, &d)); err != nil {
		t.Error(err)
	}
	if got := d.String(); got != "" {
		t.Errorf("with seed %d denied:\n%s", seed, got)
	}
}

// closed tells, and says in the test's output, that nothing can be executed by a program.
func closed(t *testing.T, p load.Program) bool {
	t.Helper()
	why := p.Closed()
	if why != "" {
		t.Logf("%s: no other program was tried: %s", p.Name, why)
	}
	return why != ""
}

// unlocked skips the test where the machine keeps programs from being changed.
func unlocked(t *testing.T, err error) {
	t.Helper()
	if locked := (*load.LockedError)(nil); errors.As(err, &locked) {
		t.Skipf("needs to change code of a program that it has started: %v", locked.Err)
	}
}

// refused tries to get another program executed under a policy.
func refused(t *testing.T, p load.Program, text []byte) {
	t.Helper()
	if closed(t, p) {
		return
	}
	var d denials
	came, err := p.Intrude(under(t, p.Name, text, &d))
	unlocked(t, err)
	if err != nil || came {
		t.Errorf("under the policy: came to pass: %v, %v", came, err)
	}
	if *onEngine == "agent" && d.String() == "" {
		t.Error("under the policy: expected something denied")
	}
}
