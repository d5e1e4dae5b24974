package load_test

import (
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

// Seeds of the loads that are recorded and of those that are then played.
const (
	learnt = 1
	drawn  = 1_000_000
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
	length, err := time.ParseDuration(os.Getenv(flowEnv))
	if err != nil || length <= 0 {
		t.Skipf("needs %s: a duration, such as 1h", flowEnv)
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
			for seed := int64(drawn); time.Now().Before(end); seed++ {
				f.play(t, seed)
			}
			f.report(t)
		})
	}
}

// learn records runs until they teach nothing new, or the time is over.
func (f *flowing) learn(t *testing.T, end time.Time) {
	r, known, news := record.New(), 0, 0
	var m *policy.Model
	for seed := int64(learnt); time.Now().Before(end) && seed-int64(news) < settled; seed++ {
		if err := f.Learn(r, seed); err != nil {
			t.Logf("recording %s: %.300v", f.Name, err) // what it did nevertheless counts
		}
		var err error
		if m, err = r.Policy(record.Options{Mode: record.Flow, Name: f.Name}); err != nil {
			t.Fatal(err)
		}
		f.runs, f.policy = r.Runs(), policy.Write(m)
		if size := words(f.policy); size > known {
			known, news = size, int(seed)
		}
	}
	f.edges, f.possible = load.Edges(m)
	t.Logf("%s: %d runs recorded, the last that taught something was the %dth", f.Name, f.runs, news)
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
	if err := f.Vary(seed, start); err != nil {
		f.odd++ // answers are the other tests' business, and servers are killed here
		t.Logf("%.300v", err)
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
