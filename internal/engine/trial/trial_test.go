package trial_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"portcullis/filters"
	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	"portcullis/internal/engine/trial"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// maker makes worlds of one program of an object.
func maker(t testing.TB, data []byte, program string) trial.Maker {
	return func(settings []string) (*trial.World, error) {
		ps, err := object.Read("object", data)
		if err != nil {
			return nil, err
		}
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if err := prog.Set(ps, name, value); err != nil {
				return nil, err
			}
		}
		for _, p := range ps {
			if p.Name != program {
				continue
			}
			v, err := verify.Program(p, verify.Options{})
			if err != nil {
				return nil, err
			}
			return trial.New([]trial.Filter{{Name: p.Name, Hash: "hash", Verified: v, Tree: split.Split(v)}})
		}
		return nil, fmt.Errorf("no program %s", program)
	}
}

func conformance(t testing.TB, program string) *trial.World {
	t.Helper()
	w, err := maker(t, testdata.Conformance, program)(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestBuiltIns runs the cases beside each built-in filter.
func TestBuiltIns(t *testing.T) {
	ran := 0
	for _, name := range filters.Names() {
		files, err := filepath.Glob(filepath.Join("../../../filters", name, "*.txtar"))
		if err != nil {
			t.Fatal(err)
		}
		data, _ := filters.Object(name)
		for _, file := range files {
			ran += runFile(t, file, maker(t, data, name))
		}
	}
	if ran < 15 {
		t.Errorf("%d cases: expected those of count-exec, count and phases at least", ran)
	}
}

// runFile runs a file's cases, all of which have to succeed.
func runFile(t *testing.T, file string, make trial.Maker) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := trial.Parse(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, c := range cases {
		r, err := c.Run(make)
		if err != nil {
			t.Errorf("%s: %s: %v", file, c.Name, err)
			continue
		}
		if len(r.Calls) == 0 {
			t.Errorf("%s: %s: no calls", file, c.Name)
		}
		for _, call := range r.Calls {
			if !call.OK {
				t.Errorf("%s:%d: %s: %s, %s", file, call.Line, call.Text, call.Wrong, call.Why)
			}
		}
	}
	return len(cases)
}

// run runs one case of a conformance program and returns its calls.
func run(t *testing.T, program, script string) []trial.Outcome {
	t.Helper()
	cases, err := trial.Parse([]byte("-- case --\n" + script))
	if err != nil {
		t.Fatal(err)
	}
	r, err := cases[0].Run(maker(t, testdata.Conformance, program))
	if err != nil {
		t.Fatal(err)
	}
	return r.Calls
}

func TestStateOfTasks(t *testing.T) {
	for _, c := range []struct{ program, script string }{
		// Three calls a process, whichever of its threads makes them.
		{"process-count", "getppid() = ALLOW x2\nthread 1 2\n2: getppid() = ALLOW\ngetppid() = EPERM"},
		{"process-count", "getppid() = ALLOW x3\nfork 1 2\n2: getppid() = ALLOW x3\n2: getppid() = EPERM"},
		{"process-count", "getppid() = ALLOW x3\nexec 1\ngetppid() = EPERM"},
		{"process-count", "thread 1 2\n2: getppid() = ALLOW x3\nexec 2\n1: getppid() = EPERM"},
		{"process-count", "fork 1 2\n2: getppid() = ALLOW x3\nexit 2\nfork 1 2\n2: getppid() = ALLOW"},
		// Three calls a process, and its child has made those of its parent.
		{"inherited-count", "getppid() = ALLOW x2\nfork 1 2\n2: getppid() = ALLOW\n2: getppid() = EPERM\ngetppid() = ALLOW\ngetppid() = EPERM"},
		// Three calls a thread.
		{"thread-count", "getppid() = ALLOW x3\nthread 1 2\n2: getppid() = ALLOW x3\n2: getppid() = EPERM\n1: getppid() = EPERM"},
		{"thread-count", "thread 1 2\n2: getppid() = ALLOW x3\nexit 2\nthread 1 2\n2: getppid() = ALLOW"},
		// Three calls of all.
		{"global-count", "getppid() = ALLOW x2\nfork 1 2\nexec 2\n2: getppid() = ALLOW\nexit 2\ngetppid() = EPERM"},
		{"print", "getppid()\n> getppid 110 fedcba9876543210"},
		{"print", "getpid() = ALLOW\n>"},
		{"ring", `getppid() = ALLOW x300` + "\n" + `> pattern="1234605616436508552" nr=110 text="reported"`},
		{"allow", "i386 5() = KILL_PROCESS\n0x40000001() = KILL_PROCESS\nio_uring_setup() = ENOSYS\n0xffffffff() = ALLOW"},
	} {
		for _, call := range run(t, c.program, c.script) {
			if !call.OK {
				t.Errorf("%s, %q: line %d: %s, %s", c.program, c.script, call.Line, call.Wrong, call.Why)
			}
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for _, c := range []struct{ program, script, verdict, wrong string }{
		{"global-count", "getppid() = ALLOW x9", "ERRNO(1) EPERM", "expected ALLOW"},
		{"print", "getppid() = ALLOW\n> other", "ALLOW", `expected the output "other", found "getppid 110 fedcba9876543210"`},
		{"print", "getppid() = ALLOW\n>", "ALLOW", `expected the output "", found "getppid 110 fedcba9876543210"`},
		{"allow", "getppid() = LOG", "ALLOW", "expected LOG"},
	} {
		calls := run(t, c.program, c.script)
		if got := calls[0]; got.OK || got.Verdict != c.verdict || got.Wrong != c.wrong {
			t.Errorf("%s, %q: %+v", c.program, c.script, got)
		}
	}
	if got := run(t, "global-count", "getppid() = ALLOW x9")[0]; got.Times != 4 || got.Line != 2 {
		t.Errorf("%+v: expected the fourth call, in line 2", got)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for script, want := range map[string]string{
		"text only":                        "line 1: no case",
		"-- c --\nnonsense":                `line 2: "nonsense": expected NAME(ARGS)`,
		"-- c --\nnosuchcall()":            `line 2: no x86_64 system call is named "nosuchcall"`,
		"-- c --\ni386 execve()":           `line 2: no i386 system call is named "execve"`,
		"-- c --\nread(1":                  "line 2: argument 1: expected , or )",
		"-- c --\nread(1 2)":               `line 2: argument 1: "1 2": expected an integer`,
		"-- c --\nread(1,2,3,4,5,6,7)":     "line 2: expected at most 6 arguments",
		"-- c --\nread(\"x)":               "line 2: expected a string",
		"-- c --\nread(\"x\" 1)":           "line 2: argument 1: expected , or )",
		"-- c --\nread() ALLOW":            `line 2: "ALLOW" behind the call`,
		"-- c --\nread() = MAYBE":          `line 2: verdict "MAYBE"`,
		"-- c --\nread() = ALLOW x0":       "line 2: x0: expected x1",
		"-- c --\nread() x99999999999":     "line 2: x99999999999: expected x1",
		"-- c --\nread() x2000000\nread()": "line 3: expected at most 2000000 calls",
		"-- c --\nread()\nset a=b":         "line 3: set after a step",
		"-- c --\nset a":                   "line 2: expected set NAME=VALUE",
		"-- c --\n> x":                     "line 2: output without a call",
		"-- c --\nwait 1s\n> x":            "line 3: output without a call",
		"-- c --\nwait never":              "line 2: wait never: expected a duration",
		"-- c --\nwait -1s":                "line 2: wait -1s: expected a duration",
		"-- c --\nfork 1":                  "line 2: expected fork TASK CHILD",
		"-- c --\nexit x":                  "line 2: expected exit TASK",
		"-- c --\ncomm 1":                  "line 2: expected comm TASK NAME",
		"-- c --\nuser 1 5000000000 0":     "line 2: expected user TASK UID GID",
		"-- c --\nmemory 1 0x10 bytes":     "line 2: expected memory TASK ADDRESS",
		"-- c --\nfork 3 4":                "line 2: task 3: there is no such task: expected one of [1]",
		"-- c --\nfork 1 1":                "line 2: task 1: there is such a task already",
		"-- c --\nfork 1 0":                "line 2: task 0: expected a number from 1",
		"-- c --\n2: read()":               "line 2: task 2: there is no such task",
		"-- c --\nmemory 1 -1 \"xx\"":      "line 2: memory: 2 bytes at 0xffffffffffffffff",
	} {
		err := check(t, script)
		var syntax *trial.SyntaxError
		if !errors.As(err, &syntax) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\n got %v\nwant %s", script, err, want)
		}
	}
	if _, err := trial.Parse(make([]byte, trial.MaxScript+1)); err == nil {
		t.Error("a file that is too large is read")
	}
}

// check parses and runs a script, up to the first error.
func check(t testing.TB, script string) error {
	cases, err := trial.Parse([]byte(script))
	for _, c := range cases {
		if err == nil {
			_, err = c.Run(maker(t, testdata.Conformance, "allow"))
		}
	}
	return err
}

func TestFormOfACall(t *testing.T) {
	const script = "-- c --\n" + `  7:  openat( -100 , "a,\") b\x00" , 0x10 , 0b11 )  =  ERRNO(1) EPERM   x3  `
	cases, err := trial.Parse([]byte("\ntext\n" + script + "\n# a comment\n\n"))
	if err != nil || len(cases) != 1 || cases[0].Name != "c" || cases[0].Line != 3 {
		t.Fatalf("%+v, %v", cases, err)
	}
}

func TestLimitOnTasks(t *testing.T) {
	w := conformance(t, "allow")
	var err error
	n := 1
	for ; err == nil; n++ {
		err = w.Fork(1, n+1)
	}
	var task *trial.TaskError
	if !errors.As(err, &task) || n < 1000 {
		t.Errorf("task %d: %v", n, err)
	}
}

func ask(t *testing.T, w *trial.World, nr int32) abi.Verdict {
	t.Helper()
	events, err := w.Ask(1, &trial.Call{Data: abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64}})
	if err != nil {
		t.Fatal(err)
	}
	return events[len(events)-1].Verdict
}

// TestClock: window-count allows three calls a window, and time goes by only
// when it is told to.
func TestClock(t *testing.T) {
	const getppid = 110
	w := conformance(t, "window-count")
	for i := 0; i < 3; i++ {
		if v := ask(t, w, getppid); v != abi.Allow {
			t.Fatalf("call %d: %v", i, v)
		}
	}
	if v := ask(t, w, getppid); v != abi.Errno(1) {
		t.Errorf("a fourth call at the same time: %v", v)
	}
	w.Wait(time.Hour + 1)
	if v := ask(t, w, getppid); v != abi.Allow {
		t.Errorf("an hour later: %v", v)
	}
}

func TestReplay(t *testing.T) {
	const lines = `{"call":{"name":"getppid"},"expect":"ALLOW"}

{"kind":"verdict","pid":7,"tid":8,"comm":"sh","call":{"nr":110,"name":"x","arch":"x86_64","args":["0x1",2,{"text":"/etc"}]},"verdict":"LOG"}
{"kind":"record","data":"00"}
{"kind":"lost","lost":3}
{"task":"fork","tid":8,"child":9}
{"task":"exec","tid":9}
{"task":"thread","tid":9,"child":10}
{"wait":"1s"}
{"tid":10,"call":{"nr":110},"expect":"ALLOW"}
{"task":"exit","tid":10}
{"call":{"name":"getppid"},"expect":"LOG"}
{"call":{"nr":11,"arch":"i386"},"expect":"KILL_PROCESS"}
`
	r := trial.NewReplay(conformance(t, "global-count"), strings.NewReader(lines))
	var got []string
	for {
		a, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e := a.Events[len(a.Events)-1]
		got = append(got, fmt.Sprintf("%d %s[%d/%d] %v %q", a.Line, e.Comm, e.Pid, e.Tid, e.Verdict, a.Wrong))
	}
	want := []string{
		`1 task[1/1] ALLOW ""`, `3 sh[7/8] ALLOW ""`, `10 sh[9/10] ALLOW ""`,
		`12 task[1/1] ERRNO(1) "expected LOG"`, `13 task[1/1] KILL_PROCESS ""`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// TestReplayKeepsTime: what was recorded an hour later is asked an hour later.
func TestReplayKeepsTime(t *testing.T) {
	var lines strings.Builder
	for _, at := range []string{"10:00:00", "10:00:00", "09:00:00", "10:00:00", "11:00:01"} {
		fmt.Fprintf(&lines, `{"time":"2026-01-02T%sZ","call":{"name":"getppid"}}`+"\n", at)
	}
	r := trial.NewReplay(conformance(t, "window-count"), strings.NewReader(lines.String()))
	var got []string
	for a, err := r.Next(); err == nil; a, err = r.Next() {
		got = append(got, a.Events[len(a.Events)-1].Verdict.String())
	}
	if g := strings.Join(got, " "); g != "ALLOW ALLOW ALLOW ERRNO(1) ALLOW" {
		t.Error(g)
	}
}

func TestReplaySyntaxErrors(t *testing.T) {
	for line, want := range map[string]string{
		`{`:                              "expected a JSON object",
		`[]`:                             "expected a JSON object",
		`{}`:                             "expected a call, a task or a wait",
		`{"call":{}}`:                    `no x86_64 system call is named ""`,
		`{"call":{"nr":4294967296}}`:     "expected a number of 32 bits",
		`{"call":{"nr":1,"arch":"vax"}}`: `architecture "vax"`,
		`{"call":{"nr":1,"args":[1,2,3,4,5,6,7]}}`: "7 arguments: expected at most 6",
		`{"call":{"nr":1,"args":[null]}}`:          "expected an integer",
		`{"call":{"nr":1,"args":[1.5]}}`:           "expected an integer",
		`{"call":{"nr":1},"expect":"MAYBE"}`:       `verdict "MAYBE"`,
		`{"task":"vanish"}`:                        `task "vanish": expected fork`,
		`{"task":"fork","child":-1}`:               "task -1: expected a number",
		`{"wait":"soon"}`:                          `wait "soon": expected a duration`,
		`{"pid":-5,"call":{"nr":1}}`:               "task -5: expected a number",
		strings.Repeat(" ", 1<<20) + "x":           "token too long",
	} {
		_, err := trial.NewReplay(conformance(t, "allow"), strings.NewReader("\n"+line)).Next()
		var syntax *trial.SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want line 2 and %s", line, err, want)
		}
	}
}

var manyTimes = regexp.MustCompile(`x\d{3}`)

// FuzzParse: nothing that is read as a file of cases, or as calls, does harm.
func FuzzParse(f *testing.F) {
	f.Add("-- c --\nset max=1\n2: openat(-100, \"x\", 1) = EPERM x2\n> out\nfork 1 2\nwait 1s\nmemory 1 16 \"abc\"\n")
	f.Add(`{"time":"2026-01-02T10:00:00Z","tid":3,"call":{"nr":110,"args":["0x1",{"text":"x"}]},"expect":"ALLOW"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if cases, err := trial.Parse([]byte(text)); err == nil && len(cases) > 3 {
			text = ""
		}
		if !manyTimes.MatchString(text) { // allowed, and slow
			_ = check(t, text)
		}
		r := trial.NewReplay(conformance(t, "global-count"), strings.NewReader(text))
		for {
			if _, err := r.Next(); err != nil {
				return
			}
		}
	})
}
