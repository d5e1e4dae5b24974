package trial

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/event"
)

// Limits on a file of cases.
const (
	// MaxScript is the size of the largest file of cases, in bytes.
	MaxScript = 4 << 20
	// MaxCalls is how many calls all cases of a file may make.
	MaxCalls = 2_000_000
)

// Case is one case of a file: a world of its own and what happens in it.
type Case struct {
	Name string
	// Line is where it begins.
	Line int
	// Settings are NAME=VALUE of the filter's variables.
	Settings []string
	steps    []step
}

// step is one line of a case.
type step struct {
	line int
	text string
	// act does something to the world; nil for a call.
	act func(*World) error
	// ask is what a call asks.
	ask *question
}

// question is a call and what is expected of it.
type question struct {
	tid   int
	call  Call
	want  abi.Verdict
	wants bool // whether want counts
	times int
	// output is what the call has to print and record, in order; nil for anything.
	output []string
	// made is what it has to be made with, by the first words of lines below it.
	made map[string]string
}

// SyntaxError says which line of a file cannot be understood.
type SyntaxError struct {
	Line   int
	Reason string
}

// Error is one line.
func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Parse reads a file in the form of txtar: free text, then cases, each a line
// "-- name --" followed by its steps. Errors are of type *SyntaxError.
func Parse(data []byte) ([]Case, error) {
	if len(data) > MaxScript {
		return nil, &SyntaxError{1, fmt.Sprintf("%d bytes: expected at most %d", len(data), MaxScript)}
	}
	p := &parser{callStart: regexp.MustCompile(`^(?:(\d+):\s*)?(?:(i386)\s+)?(\w+)\(`)}
	for i, line := range strings.Split(string(data), "\n") {
		if err := p.line(i+1, strings.TrimSpace(line)); err != nil {
			return nil, &SyntaxError{i + 1, err.Error()}
		}
	}
	if len(p.cases) == 0 {
		return nil, &SyntaxError{1, `no case: expected a line such as "-- the first is allowed --" before the steps`}
	}
	return p.cases, nil
}

// parser reads a file line by line.
type parser struct {
	cases []Case
	calls int
	// callStart begins a call: [TASK:] [i386] NAME(
	callStart *regexp.Regexp
}

func (p *parser) line(n int, text string) error {
	if name, ok := marker(text); ok {
		p.cases = append(p.cases, Case{Name: name, Line: n})
		return nil
	}
	if len(p.cases) == 0 || text == "" || text[0] == '#' {
		return nil
	}
	c := &p.cases[len(p.cases)-1]
	switch word, rest, _ := strings.Cut(text, " "); {
	case word == ">":
		return c.output(rest)
	case word == "pins" || word == "faults" || word == "waits":
		return c.made(word, rest)
	case word == "set":
		return c.set(rest)
	case p.callStart.MatchString(text):
		return p.question(c, n, text)
	default:
		act, err := directive(word, strings.TrimSpace(rest))
		c.steps = append(c.steps, step{line: n, text: text, act: act})
		return err
	}
}

func marker(text string) (name string, ok bool) {
	if !strings.HasPrefix(text, "-- ") || !strings.HasSuffix(text, " --") || len(text) < len("-- x --") {
		return "", false
	}
	return strings.TrimSpace(text[3 : len(text)-3]), true
}

// set is a line "set NAME=VALUE".
func (c *Case) set(text string) error {
	switch {
	case len(c.steps) > 0:
		return fmt.Errorf("set after a step: expected it at the beginning of a case")
	case !strings.Contains(text, "="):
		return fmt.Errorf("expected set NAME=VALUE")
	}
	c.Settings = append(c.Settings, strings.TrimSpace(text))
	return nil
}

// output is a line "> TEXT" below a call.
func (c *Case) output(text string) error {
	if len(c.steps) == 0 || c.steps[len(c.steps)-1].ask == nil {
		return fmt.Errorf("output without a call: expected it below the call that makes it")
	}
	q := c.steps[len(c.steps)-1].ask
	q.output = append(q.output, text)
	return nil
}

// made is a line "pins ARGS", "faults ARGS" or "waits CALLS" below a call.
func (c *Case) made(word, list string) error {
	if len(c.steps) == 0 || c.steps[len(c.steps)-1].ask == nil {
		return fmt.Errorf("%s without a call: expected it below the call that it is about", word)
	}
	words := strings.Fields(list)
	for _, w := range words {
		if _, err := number(w, abi.ArchX86_64); word == "waits" && err != nil {
			return err
		}
		if word != "waits" && (len(w) != 1 || w < "0" || w > "5") {
			return fmt.Errorf("%s %s: expected arguments, from 0 to 5", word, w)
		}
	}
	q := c.steps[len(c.steps)-1].ask
	if q.made == nil {
		q.made = map[string]string{}
	}
	q.made[word] = strings.Join(words, " ")
	return nil
}

// question is a line "[TASK:] [i386] NAME(ARGS) [= VERDICT] [xN]".
func (p *parser) question(c *Case, n int, text string) error {
	m := p.callStart.FindStringSubmatch(text)
	q := &question{tid: 1, times: 1, call: Call{Data: abi.SeccompData{Arch: abi.ArchX86_64}}}
	var err error
	if m[1] != "" {
		if q.tid, err = strconv.Atoi(m[1]); err != nil {
			return fmt.Errorf("task %s: expected a number", m[1])
		}
	}
	if m[2] != "" {
		q.call.Data.Arch = abi.ArchI386
	}
	if q.call.Data.Nr, err = number(m[3], q.call.Data.Arch); err != nil {
		return err
	}
	rest, err := q.call.arguments(text[len(m[0]):])
	if err == nil {
		err = q.expectation(strings.TrimSpace(rest))
	}
	if p.calls += q.times; err == nil && p.calls > MaxCalls {
		err = fmt.Errorf("expected at most %d calls in a file", MaxCalls)
	}
	c.steps = append(c.steps, step{line: n, text: text, ask: q})
	return err
}

// number is that of a call; names are those of x86-64.
func number(name string, arch abi.Arch) (int32, error) {
	if nr, ok := syscalls.Number(name); ok && arch == abi.ArchX86_64 {
		return int32(nr), nil
	}
	nr, err := strconv.ParseUint(name, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("no %s system call is named %q: expected a name or a number", arch, name)
	}
	return int32(nr), nil
}

// arguments reads what is behind the opening parenthesis, and returns what is
// behind the closing one.
func (c *Call) arguments(text string) (rest string, err error) {
	for i := 0; ; i++ {
		text = strings.TrimSpace(text)
		if i == 0 && strings.HasPrefix(text, ")") {
			return text[1:], nil
		}
		if i == len(c.Text) {
			return "", fmt.Errorf("expected at most %d arguments", len(c.Text))
		}
		if text, err = c.argument(i, text); err != nil {
			return "", err
		}
		text = strings.TrimSpace(text)
		switch {
		case strings.HasPrefix(text, ")"):
			return text[1:], nil
		case !strings.HasPrefix(text, ","):
			return "", fmt.Errorf("argument %d: expected , or ) behind it", i+1)
		}
		text = text[1:]
	}
}

func (c *Call) argument(i int, text string) (rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		s, rest, err := quoted(text)
		c.Text[i] = &s
		return rest, err
	}
	end := strings.IndexAny(text, ",)")
	if end < 0 {
		return "", fmt.Errorf("argument %d: expected , or ) behind it", i+1)
	}
	c.Data.Args[i], err = integer(strings.TrimSpace(text[:end]))
	if err != nil {
		err = fmt.Errorf("argument %d: %w", i+1, err)
	}
	return text[end:], err
}

func quoted(text string) (s, rest string, err error) {
	prefix, err := strconv.QuotedPrefix(text)
	if err == nil {
		s, err = strconv.Unquote(prefix)
	}
	if err != nil {
		return "", "", fmt.Errorf("expected a string in double quotes")
	}
	return s, text[len(prefix):], nil
}

func integer(text string) (uint64, error) {
	if u, err := strconv.ParseUint(text, 0, 64); err == nil {
		return u, nil
	}
	i, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: expected an integer of 64 bits, or a string in double quotes", text)
	}
	return uint64(i), nil
}

// repetition takes xN off the end of a line; n is "" where there is none.
func repetition(text string) (rest, n string) {
	at := strings.LastIndexAny(text, " \t") + 1
	n, found := strings.CutPrefix(text[at:], "x")
	if !found || strings.Trim(n, "0123456789") != "" {
		return text, ""
	}
	return strings.TrimSpace(text[:at]), n
}

// expectation reads "= VERDICT xN", of which both halves may be missing.
func (q *question) expectation(text string) error {
	text, repeat := repetition(text)
	if repeat != "" {
		n, err := strconv.Atoi(repeat)
		if err != nil || n < 1 || n > MaxCalls {
			return fmt.Errorf("x%s: expected x1 to x%d", repeat, MaxCalls)
		}
		q.times = n
	}
	verdict, ok := strings.CutPrefix(text, "=")
	switch {
	case text == "":
		return nil
	case !ok:
		return fmt.Errorf("%q behind the call: expected = VERDICT", text)
	}
	var err error
	q.want, err = event.ParseVerdict(strings.TrimSpace(verdict))
	q.wants = true
	return err
}

// directive is a line that does something to the world.
func directive(word, rest string) (func(*World) error, error) {
	switch word {
	case "fork":
		return two(rest, "fork TASK CHILD", (*World).Fork)
	case "thread":
		return two(rest, "thread TASK NEW", (*World).Thread)
	case "process":
		return one(rest, "process NEW", (*World).Process)
	case "exec":
		return one(rest, "exec TASK", (*World).Exec)
	case "exit":
		return one(rest, "exit TASK", (*World).Exit)
	case "wait":
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("wait %s: expected a duration such as 1s or 20ms", rest)
		}
		return func(w *World) error { w.Wait(d); return nil }, nil
	case "comm", "user", "memory":
		return about(word, rest)
	}
	return nil, fmt.Errorf("%q: expected NAME(ARGS) = VERDICT, or one of set, fork, thread, process, exec, exit, wait, comm, user, memory", word)
}

func one(rest, form string, do func(*World, int) error) (func(*World) error, error) {
	tid, err := strconv.Atoi(rest)
	if err != nil {
		return nil, fmt.Errorf("expected %s", form)
	}
	return func(w *World) error { return do(w, tid) }, nil
}

func two(rest, form string, do func(*World, int, int) error) (func(*World) error, error) {
	left, right, _ := strings.Cut(rest, " ")
	tid, err := strconv.Atoi(left)
	other, err2 := strconv.Atoi(strings.TrimSpace(right))
	if err != nil || err2 != nil {
		return nil, fmt.Errorf("expected %s", form)
	}
	return func(w *World) error { return do(w, tid, other) }, nil
}

// about is a line about what a task is or has.
func about(word, rest string) (func(*World) error, error) {
	form := map[string]string{
		"comm": "comm TASK NAME", "user": "user TASK UID GID", "memory": `memory TASK ADDRESS "BYTES"`,
	}[word]
	wrong := fmt.Errorf("expected %s", form)
	left, rest, _ := strings.Cut(rest, " ")
	tid, err := strconv.Atoi(left)
	if rest = strings.TrimSpace(rest); err != nil || rest == "" {
		return nil, wrong
	}
	if word == "comm" {
		return func(w *World) error { return w.Name(tid, rest) }, nil
	}
	left, rest, _ = strings.Cut(rest, " ")
	first, err := integer(left)
	if err != nil {
		return nil, wrong
	}
	if word == "user" {
		gid, err := integer(strings.TrimSpace(rest))
		if err != nil || gid > 1<<32-1 || first > 1<<32-1 {
			return nil, wrong
		}
		return func(w *World) error { return w.User(tid, uint32(first), uint32(gid)) }, nil
	}
	data, tail, err := quoted(strings.TrimSpace(rest))
	if err != nil || tail != "" {
		return nil, wrong
	}
	return func(w *World) error { return w.Write(tid, first, data) }, nil
}
