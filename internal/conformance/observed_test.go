package conformance

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"portcullis"
	"portcullis/internal/event"
	"portcullis/internal/kit"
)

// TestEveryCallIsObserved has strace(1) watch the same run from inside: it stops
// each call before the kernel asks any filter. What strace saw entered must have
// been reported, call for call, or counted as lost.
func TestEveryCallIsObserved(t *testing.T) {
	if *engine != "agent" {
		t.Skip("needs the agent engine: the kernel's reports nothing")
	}
	need(t, "strace")
	t.Parallel()
	all := allScripts(t)
	if !kit.Wide() {
		all = all[:len(all)/2]
	}
	for _, s := range all {
		s := s
		t.Run(s.name, func(t *testing.T) {
			for _, n := range s.needs {
				need(t, n)
			}
			place, trace := filepath.Join(openDir(t), "place"), filepath.Join(openDir(t), "trace")
			argv := append([]string{"-f", "-n", "-s", "0", "-qq", "-e", "signal=none", "-o", trace, "--"}, s.argv...)
			w := &watched{}
			remake(t, place)
			cmd := command(t, one("allow"), "strace", argv...)
			cmd.Dir, cmd.Env = place, environment(place)
			cmd.Observe, cmd.Events = portcullis.ObserveAll, w.event
			run(t, cmd)
			w.compare(t, readTrace(t, trace))
		})
	}
}

// watched is what events said was called, in their order.
type watched struct {
	calls []call
	lost  int
}

type call struct {
	tid int
	nr  int32
}

func (w *watched) event(e portcullis.Event) {
	switch e.Kind {
	case event.KindVerdict:
		w.calls = append(w.calls, call{e.Tid, e.Call.Nr})
	case event.KindLost:
		w.lost += int(e.Lost)
	}
}

// traced is what strace saw of the threads it followed.
type traced struct {
	first   int // the thread it started
	threads map[int]bool
	entered map[int32]int
	// ended counts the calls that came to a result. Others may have been killed,
	// or interrupted and made again, before a filter was asked.
	ended map[int32]int
}

const execve = 59

// unobserved are the calls that are not reported when they pass: rt_sigreturn, exit and
// exit_group must not be interrupted.
var unobserved = []int32{15, 60, 231}

// of counts those calls that strace followed too: not its own, nor what the
// process it started did before it executed the program.
func (w *watched) of(tr *traced) map[int32]int {
	seen, begun := map[int32]int{}, false
	for _, c := range w.calls {
		begun = begun || c.tid == tr.first && c.nr == execve
		if tr.threads[c.tid] && (begun || c.tid != tr.first) {
			seen[c.nr]++
		}
	}
	return seen
}

func (w *watched) compare(t *testing.T, tr *traced) {
	t.Helper()
	seen, missing, total := w.of(tr), 0, 0
	for _, nr := range unobserved {
		delete(tr.ended, nr)
		tr.entered[nr] = 0
	}
	for nr, n := range tr.entered {
		total += n
		if seen[nr] < tr.ended[nr] {
			missing += tr.ended[nr] - seen[nr]
			t.Logf("call %d: strace saw %d and %d results, reported were %d", nr, n, tr.ended[nr], seen[nr])
		}
	}
	for nr, n := range seen {
		if n > tr.entered[nr] {
			t.Errorf("call %d: reported %d times, strace saw %d", nr, n, tr.entered[nr])
		}
	}
	t.Logf("%d calls of %d numbers in %d threads, %d events lost", total, len(tr.entered), len(tr.threads), w.lost)
	if missing > w.lost || total < 100 {
		t.Errorf("of %d calls %d were not reported, and %d events counted as lost", total, missing, w.lost)
	}
}

// readTrace reads what strace -f -n wrote: a line for each call, or two where
// another thread's came between.
func readTrace(t *testing.T, path string) *traced {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	form := regexp.MustCompile(`^(\d+) +\[ *(\d+)\] (<\.\.\. )?\w`)
	result := regexp.MustCompile(`\) += (-?\d)`)
	tr := &traced{threads: map[int]bool{}, entered: map[int32]int{}, ended: map[int32]int{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := form.FindStringSubmatch(lines.Text())
		if m == nil {
			if !strings.Contains(lines.Text(), " +++ ") {
				t.Fatalf("strace wrote %q", lines.Text())
			}
			continue
		}
		tid, _ := strconv.Atoi(m[1])
		nr, _ := strconv.Atoi(m[2])
		if tr.first == 0 {
			tr.first = tid
		}
		tr.threads[tid] = true
		if m[3] == "" {
			tr.entered[int32(nr)]++
		}
		if result.MatchString(lines.Text()) {
			tr.ended[int32(nr)]++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return tr
}
