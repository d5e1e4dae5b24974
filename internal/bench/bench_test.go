//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/bench/tables"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// TestBarsAreHeldAgainstWhatIsPrinted keeps a table from saying that 1.15 is
// more than 1.15.
func TestBarsAreHeldAgainstWhatIsPrinted(t *testing.T) {
	for want, f := range map[string]tables.Figure{
		"1.15 x floor (bar: <= 1.15 met)":            tables.Times(1.1549, "floor").AtMost(1.15),
		"1.16 x floor (bar: <= 1.15 MISSED)":         tables.Times(1.1551, "floor").AtMost(1.15),
		"0.80 x floor (bar: >= 0.80 met)":            tables.Times(0.7951, "floor").AtLeast(0.8),
		"0.79 x floor (bar: >= 0.80 MISSED)":         tables.Times(0.794, "floor").AtLeast(0.8),
		"1.005 x other (bar: 0.990 to 1.010 met)":    tables.Value(1.005, 3, "x other").Within(0.99, 1.01),
		"1.020 x other (bar: 0.990 to 1.010 MISSED)": tables.Value(1.02, 3, "x other").Within(0.99, 1.01),
		"12.5 ns/call": perCall(12.49),
	} {
		if got := strings.TrimSpace(f.String()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReport(t *testing.T) {
	var text bytes.Buffer
	r := newReport(3, &text)
	r.Begin("part")
	r.Row("good", tables.Times(1, "floor").AtMost(1))
	r.Row("bad", tables.Times(2, "floor").AtMost(1))
	r.Begin("other")
	r.Skip("needs wrk: apt-get install wrk")
	r.End()
	for _, want := range []string{"bars: 1 met, 1 MISSED\n", "  part: bad:     2.00 x floor", "skipped: needs wrk"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &text)
		}
	}
	var out bytes.Buffer
	if err := tables.WriteJSON(&out, r); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if b := back.Subjects[0].Rows[1].Figures[0].Bar; b == nil || b.Met || b.Want != "<= 1.00" {
		t.Errorf("got the bar %+v", b)
	}
	if got := back.Subjects[1].Skipped; got == "" {
		t.Errorf("the second subject is not skipped")
	}
}

func TestQuantile(t *testing.T) {
	xs := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.25: 2, 0.5: 3, 0.75: 4, 1: 5} {
		if got := quantile(xs, q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if xs[0] != 5 {
		t.Error("the figures were put in another order")
	}
}

func TestCheckRefuses(t *testing.T) {
	if err := check(1, "libbpf", []string{"verify", "static"}); err != nil {
		t.Error(err)
	}
	if err := check(0, defaultProject, nil); err == nil {
		t.Error("no rounds at all were taken for a measurement")
	}
	if err := check(1, defaultProject, []string{"statics"}); err == nil || !strings.Contains(err.Error(), `no subject "statics"`) {
		t.Errorf("got %v", err)
	}
	if err := check(1, "linux", nil); err == nil || !strings.Contains(err.Error(), `no project "linux": there are libbpf.a, `) {
		t.Errorf("got %v", err)
	}
}

func TestCallsOf(t *testing.T) {
	by := callsOf(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 93.44   42.110988        2263     18605      1478 openat
  0.78    0.350706          25     13490           execve
------ ----------- ----------- --------- --------- ----------------
100.00   45.069774         523     86076      3999 total
`)
	if by["openat"] != 18605 || by["execve"] != 13490 || by["total"] != 86076 || len(by) != 3 {
		t.Errorf("got %v", by)
	}
}

// TestPolicyIsThatOf200Calls holds the measured filter to what the tables call it.
func TestPolicyIsThatOf200Calls(t *testing.T) {
	l, err := newLab(1, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p, err := l.program(allowObject, "list")
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tree, allowed := split.Split(v), 0
	for _, c := range syscalls.All() {
		leaf := tree.Leaf(abi.ArchX86_64, c.Nr)
		if leaf.Kind != split.Static {
			t.Fatalf("%s is not static", c.Name)
		}
		if leaf.Verdict == abi.Allow {
			allowed++
		}
	}
	if allowed != 200 {
		t.Errorf("%d calls are allowed, want 200", allowed)
	}
}

func TestNeedNamesAllThatIsMissing(t *testing.T) {
	t.Setenv("PATH", "") // seccomp.h is asked for from a compiler in PATH
	lacking := &missingError{}
	if err := need(scmpH); !errors.As(err, &lacking) {
		t.Fatalf("got %v, want a *missingError", err)
	}
	lacking.tools, lacking.packages = append(lacking.tools, "wrk"), append(lacking.packages, "wrk")
	if got, want := lacking.Error(), "needs seccomp.h, wrk: apt-get install libseccomp-dev wrk"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFloorsDecide holds each floor to the policy: one that lets everything pass would
// be the fastest.
func TestFloorsDecide(t *testing.T) {
	if err := need(compiler); err != nil {
		t.Skip(err)
	}
	l, err := newLab(1, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	target, err := l.compile("target", "-static")
	if err != nil {
		t.Fatal(err)
	}
	floor, err := l.compile("floor", "-static")
	if err != nil {
		t.Fatal(err)
	}
	for mode, denies := range map[string]bool{
		"pin": true, "paths": true, "notify": true, "notify-openat": true, "nothing": false,
	} {
		c := rival{name: mode, prefix: []string{floor, mode}, denies: denies}
		if _, err := c.time(placement{}, []string{target, "open", "100", target}); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
	}
	// The one that orders denies nothing: it counts.
	cmd := command([]string{floor, "order", target, "order", "1000"})
	cmd.Env = append(os.Environ(), "COUNT=1")
	out, err := cmd.CombinedOutput()
	if want := ":0\n1010 in, 1010 out\n"; err != nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("order: %v, %q: expected it to end in %q", err, out, want)
	}
}
