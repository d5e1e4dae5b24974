package load_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"portcullis"
	"portcullis/internal/load"
	"portcullis/internal/policy"
	"portcullis/internal/record"
)

// flowEnv names the environment variable that says for how long TestFlow plays, such as 1h.
// Recording comes first, and takes at most as long again.
const flowEnv = "PORTCULLIS_FLOW"

// Seeds of the first loads that are recorded and that are then played.
const (
	first int64 = 1
	drawn int64 = 1_000_000
)

// settled is how many runs in a row have to teach nothing new for a recording to end.
const settled = 20

// flowServers are those of docs/EVALUATION.md.
var flowServers = []string{"nginx", "apache2", "lighttpd", "redis", "memcached", "named"}

// flowing is a server under a policy with a flow.
type flowing struct {
	load.Program
	policy          []byte
	runs            int // that were recorded
	edges, possible int
	plays, odd      int
	checked         uint64
	lost            uint64
	refused         denials
}

// TestFlow records which call follows which in six servers, and plays other loads under a
// policy that refuses all else: none of it is refused.
func TestFlow(t *testing.T) {
	if os.Getenv(flowEnv) == "" {
		t.Skipf("runs where %s says for how long, such as 1h", flowEnv)
	}
	length, err := time.ParseDuration(os.Getenv(flowEnv))
	if err != nil || length <= 0 {
		t.Fatalf("%s=%s: expected a duration, such as 1h", flowEnv, os.Getenv(flowEnv))
	}
	needEngine(t)
	for _, name := range flowServers {
		name := name
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of a load is waiting
			p, _ := load.Named(name)
			need(t, p)
			f := &flowing{Program: p}
			f.learn(t, time.Now().Add(length))
			end := time.Now().Add(length)
			for seed := drawn; time.Now().Before(end); seed++ {
				f.play(t, seed)
			}
			f.report(t)
		})
	}
}

// learn records runs until they teach nothing new, or the time is over.
func (f *flowing) learn(t *testing.T, end time.Time) {
	r, m := learnUntil(t, f.Program, record.Flow, end)
	f.runs, f.policy = r.Runs(), policy.Write(m)
	f.edges, f.possible = load.Edges(m)
}

// learnUntil records varied runs, at least as many as have to teach nothing new in a row, until
// that many teach nothing new to a policy of a mode or the time is over.
func learnUntil(t *testing.T, p load.Program, mode record.Mode, end time.Time) (*record.Recorder, *policy.Model) {
	t.Helper()
	r, known, news := record.New(), 0, 0
	var m *policy.Model
	for seed := first; r.Runs() < settled || time.Now().Before(end) && r.Runs()-news < settled; seed++ {
		if err := p.Learn(r, seed); err != nil {
			t.Logf("recording %s: %.300v", p.Name, err) // what it did nevertheless counts
		}
		var err error
		if m, err = r.Policy(record.Options{Mode: mode, Name: p.Name}); err != nil {
			t.Fatal(err)
		}
		if size := words(policy.Write(m)); size > known {
			known, news = size, r.Runs()
		}
	}
	t.Logf("%s: %d runs recorded, of which the last that taught something was number %d", p.Name, r.Runs(), news)
	return r, m
}

// words is how much a policy says: its words but for comments, in whatever order.
func words(text []byte) (n int) {
	for _, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		n += len(strings.Fields(line))
	}
	return n
}

// play plays one load under the policy. Every call is observed, and so counted.
func (f *flowing) play(t *testing.T, seed int64) {
	filter, err := portcullis.LoadPolicy(f.Name+".yaml", f.policy)
	if err != nil {
		t.Fatal(err)
	}
	start := load.Under(portcullis.Cmd{
		Filters: []*portcullis.Filter{filter}, Engine: portcullis.Agent, Observe: portcullis.ObserveAll,
		Events: f.event, EventQueue: 1 << 20,
	})
	f.plays++
	before := f.refused.count()
	if err := f.Vary(seed, start); err != nil {
		f.odd++ // answers are the other tests' business, and servers are killed here
		t.Logf("%.300v", err)
	}
	if before == 0 && f.refused.count() > 0 { // said at once, with what it had learnt
		t.Errorf("%s refused in load %d:\n%s\nby\n%s", f.Name, seed, &f.refused, f.policy[bytes.Index(f.policy, []byte("\nflow:")):])
	}
}

func (f *flowing) event(e portcullis.Event) {
	f.lost += e.Lost
	if e.Call.Name == "" {
		return
	}
	f.checked++
	f.refused.event(e)
}

func (f *flowing) report(t *testing.T) {
	t.Logf("%s: recorded from %d runs, %d of %d edges allowed (%.1f %%); %d loads played (%d with answers that were not expected), %d calls checked, %d refused",
		f.Name, f.runs, f.edges, f.possible, 100*float64(f.edges)/float64(f.possible), f.plays, f.odd, f.checked, f.refused.count())
	if f.lost > 0 {
		t.Errorf("%s: %d events were lost: expected none", f.Name, f.lost)
	}
	if f.checked == 0 {
		t.Errorf("%s: expected calls to be checked", f.Name)
	}
	if got := f.refused.String(); got != "" {
		t.Errorf("%s refused:\n%s", f.Name, got)
	}
}

// count is how many denials there were.
func (d *denials) count() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, times := range d.all {
		n += times
	}
	return n
}
