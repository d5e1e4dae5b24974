package conformance

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// holder is the program that holds one call and makes another beside it.
func holder(t *testing.T) string {
	t.Helper()
	return made.Compiled(t, "holder")
}

// beside is one call that is held, and another that threads make meanwhile; open is
// a file that is opened before.
type beside struct{ filter, hold, make, open string }

const memory = "/proc/self/mem"

// kept are those that a filter keeps apart, in each order in which they can come.
var kept = []beside{
	{"cve-2016-5195", "write", "dontneed", memory},
	{"cve-2016-5195", "dontneed", "write", memory},
	{"cve-2016-5195", "dontneed", "pwrite", memory},
	{"cve-2016-5195", "dontneed", "writev", memory},
	{"cve-2016-5195 always=true", "write", "dontneed", ""},
	{"cve-2018-18281", "mremap", "ftruncate", ""},
	{"cve-2018-18281", "mremap", "punch", ""},
	{"cve-2018-18281", "mremap", "trunc", ""},
	{"cve-2018-18281", "remove", "mremap", ""},
	{"cve-2018-18281", "open", "mremap", ""},
}

// TestNeverTogether counts how often two calls are in the kernel together: often
// without the filter, never under it, and none fails for it.
func TestNeverTogether(t *testing.T) {
	if *engine == "kernel" {
		t.Skip("runs on the agent: on the kernel engine who waits to be inside sleeps in its call, too")
	}
	path := holder(t)
	for _, c := range kept {
		c := c
		t.Run(c.filter+" "+c.hold+" "+c.make, func(t *testing.T) {
			if bare := c.bare(t, path); bare.together == 0 {
				t.Errorf("without it: %+v, expected calls together", bare)
			}
			if got := c.under(t, path); got.together != 0 || got.failed != 0 || got.made == 0 {
				t.Errorf("%+v, expected no calls together and none that failed", got)
			}
		})
	}
}

// TestMadviseWaitsForNobody: while no program has a descriptor of memory, a write that
// lasts holds nothing up.
func TestMadviseWaitsForNobody(t *testing.T) {
	c := beside{"cve-2016-5195", "write", "dontneed", ""}
	if got := c.under(t, holder(t)); got.together == 0 || got.failed != 0 {
		t.Errorf("%+v, expected calls together and none that failed", got)
	}
}

// TestThreadsUnderOrder runs a program of many threads under all mitigations, where all
// the calls that can be kept apart are, from the start.
func TestThreadsUnderOrder(t *testing.T) {
	need(t, python)
	var all []string
	for _, m := range mitigations {
		all = append(all, strings.Replace(m.name(), "cve-2016-5195", "cve-2016-5195 always=true", 1))
	}
	if got := run(t, command(t, all, "bash", "-c", threads)); got.out != "ok" || got.status != 0 {
		t.Errorf("printed %q (status %d), expected ok", got.out, got.status)
	}
}

// counted is what the program that holds calls has counted.
type counted struct{ together, made, failed int }

func (c *beside) args() []string { return strings.Fields(c.hold + " " + c.make + " " + c.open) }

func (c *beside) bare(t *testing.T, path string) counted {
	t.Helper()
	cmd := exec.Command(path, c.args()...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "userfaultfd") {
		t.Skip("needs userfaultfd: it holds changes of memory")
	}
	if err != nil {
		t.Fatalf("without a filter: %v: %s", err, out)
	}
	return count(t, string(out))
}

func (c *beside) under(t *testing.T, path string) counted {
	t.Helper()
	cmd := command(t, one(c.filter), path, c.args()...)
	cmd.Dir = t.TempDir()
	got := run(t, cmd)
	if got.status != 0 {
		t.Fatalf("status %d: %s", got.status, got.out)
	}
	return count(t, got.out)
}

func count(t *testing.T, text string) (n counted) {
	t.Helper()
	if _, err := fmt.Sscanf(text, "together %d of %d, failed %d", &n.together, &n.made, &n.failed); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}
