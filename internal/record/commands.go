package record

import (
	"path"
	"sort"
	"strings"

	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/record/probe"
)

// Bounds of the arguments that are kept: of one program, of all, and of calls that are on their way.
const (
	maxCommands     = 64
	maxCommandBytes = 1 << 22
	maxPending      = 1 << 12
)

// commands are what programs were executed with.
type commands struct {
	of      map[name]*command
	pending map[int]*execution // by thread
	bytes   int
}

// command is what one program was executed with, and whether that is not all.
type command struct {
	lists map[string]*commandLine
	whole uint64 // how many calls the lists are from
	many  bool
}

// commandLine is a list of arguments.
type commandLine struct {
	tally
	args []string
}

// execution is a call of which the arguments are still to come.
type execution struct {
	program name
	args    []string
}

func newCommands() commands {
	return commands{of: map[name]*command{}, pending: map[int]*execution{}}
}

// begin notes that a thread is about to execute a program.
func (c *commands) begin(tid int, program name) {
	if delete(c.pending, tid); len(c.pending) < maxPending {
		c.pending[tid] = &execution{program: program}
	}
}

// argument learns from what the probe read of arguments.
func (r *Recorder) argument(e *event.Event, index uint32, text string) {
	c := &r.names.commands
	x := c.pending[e.Tid]
	switch {
	case x == nil:
	case index == 0:
		delete(c.pending, e.Tid)
		c.add(x, len(r.runs), short(e.Comm))
	case int(index) == len(x.args)+1 && len(x.args) < probe.MaxArguments && len(text) <= probe.MaxText:
		x.args = append(x.args, usual(text, e.Pid, e.Tid))
	default:
		delete(c.pending, e.Tid)
	}
}

func (c *commands) add(x *execution, run int, comm string) {
	of := c.of[x.program]
	if of == nil {
		of = &command{lists: map[string]*commandLine{}}
		c.of[x.program] = of
	}
	of.whole++
	key := strings.Join(x.args, "\x00")
	line := of.lists[key]
	if line == nil {
		if c.bytes += len(key) + len(x.args); len(of.lists) == maxCommands || c.bytes > maxCommandBytes {
			of.many = true
			return
		}
		line = &commandLine{tally{by: map[string]bool{}}, x.args}
		of.lists[key] = line
	}
	line.add(run, comm)
}

// anything is what a policy takes any argument for.
const anything = "*"

// usual is an argument, or anything if it will be another one the next time, or a policy
// cannot say it.
func usual(raw string, pid, tid int) string {
	text := strings.TrimSuffix(raw, "\x00")
	plain, cut := printable(text)
	if text == "" || len(raw) == probe.MaxText && text == raw || plain != text || cut {
		return anything
	}
	dir := ""
	for _, component := range strings.Split(text, "/") {
		if _, ok := varies(path.Base("/"+dir), component, pid, tid); ok {
			return anything
		}
		dir = component
	}
	return strings.Clone(text)
}

// mostCommands is how many lists of arguments of a program are named: of more, as many of
// the first arguments as there are few of.
const mostCommands = 8

// linesOf are the lists of arguments that a program was executed with, as a policy has them;
// none where they say nothing, or not all of them are known.
func (c *command) linesOf(calls uint64, runs int) [][]string {
	if c == nil || c.many || c.whole != calls {
		return nil
	}
	var all []commandLine
	for _, l := range c.lists {
		all = append(all, *l)
	}
	lines := leading(together(all, runs))
	for _, l := range lines {
		if strings.Join(l, "") == strings.Repeat(anything, len(l)) {
			return nil
		}
	}
	return lines
}

// together are lists of which those that were another one in each run, by one argument, are
// one that has anything there.
func together(all []commandLine, runs int) [][]string {
	for at := 0; at < probe.MaxArguments && runs > 1; at++ {
		of := map[string]map[string]*tally{}
		for i := range all {
			if l := &all[i]; at < len(l.args) {
				key := strings.Join(replaced(l.args, at), "\x00")
				if of[key] == nil {
					of[key] = map[string]*tally{}
				}
				of[key][l.args[at]] = &l.tally
			}
		}
		for i := range all {
			if l := &all[i]; at < len(l.args) {
				if other := of[strings.Join(replaced(l.args, at), "\x00")]; len(other) > 1 {
					if _, ok := inEachRun(other, runs); ok {
						all[i].args = replaced(l.args, at)
					}
				}
			}
		}
	}
	var lines [][]string
	for _, l := range all {
		lines = append(lines, l.args)
	}
	return lines
}

func replaced(args []string, at int) []string {
	args = append([]string(nil), args...)
	args[at] = anything
	return args
}

// leading are lists, sorted, cut to where there are few; a program that may have more arguments
// than a list may have those.
func leading(lines [][]string) [][]string {
	for most := probe.MaxArguments; most > 0; most-- {
		var cut [][]string
		for _, l := range lines {
			if len(l) == 0 {
				return nil
			}
			cut = append(cut, l[:min(len(l), most)])
		}
		if cut = uncovered(cut); len(cut) <= mostCommands {
			return cut
		}
	}
	return nil
}

// uncovered leaves out lists that another one takes.
func uncovered(lines [][]string) [][]string {
	sort.Slice(lines, func(i, j int) bool {
		if len(lines[i]) != len(lines[j]) {
			return len(lines[i]) < len(lines[j])
		}
		return strings.Join(lines[i], "\x00") < strings.Join(lines[j], "\x00") // anything comes early
	})
	var kept [][]string
	for _, l := range lines {
		taken := false
		for _, k := range kept {
			taken = taken || takes(k, l)
		}
		if !taken {
			kept = append(kept, l)
		}
	}
	return kept
}

func takes(list, args []string) bool {
	for i, a := range list {
		if a != anything && a != args[i] {
			return false
		}
	}
	return true
}

// executeRules are the rules of what is executed: first of programs with what they were executed
// with, and then of those of which that says nothing.
func (r *Recorder) executeRules(calls []uint32, whole int) []policy.Rule {
	list := r.names.lists[executes].of
	instead := differing(list, len(r.runs))
	with, free, lines := map[string]map[name]*tally{}, map[name]*tally{}, map[string][][]string{}
	for n, t := range list {
		of := r.names.commands.of[n].linesOf(t.count, len(r.runs))
		if of == nil || whole < manyNames || n.replaced(instead) != n {
			free[n] = t
			continue
		}
		key := joined(of)
		if lines[key] = of; with[key] == nil {
			with[key] = map[name]*tally{}
		}
		with[key][n] = t
	}
	freed := entriesOf(settled(free, len(r.runs)), whole)
	var all []policy.Rule
	for key := range lines {
		all = append(all, r.commandRules(calls, with[key], freed, lines[key], free)...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].If.String() < all[j].If.String() })
	return append(all, r.pathRules(executes, free, calls, whole)...)
}

func joined(lines [][]string) string {
	var all []string
	for _, l := range lines {
		all = append(all, strings.Join(l, "\x00"))
	}
	return strings.Join(all, "\x00\x00")
}

// argumentsNote says what is not told of arguments.
func (g *bunch) argumentsNote() string {
	if g.argv == nil {
		return "with any arguments: they were none, too different, too long, or not recorded"
	}
	for _, list := range g.argv {
		for _, v := range list {
			if v.Text == anything {
				return "* is an argument that was, or will be, another one each time"
			}
		}
	}
	return ""
}

// commandRules are those of programs that were executed with the same. What a directory of
// programs takes that may have any arguments is one of these.
func (r *Recorder) commandRules(calls []uint32, programs map[name]*tally, freed []entry, lines [][]string, free map[name]*tally) []policy.Rule {
	of := map[name]*entry{}
	for n, t := range programs {
		for i := range freed {
			if freed[i].covers(n) {
				free[n] = t
			}
		}
		if free[n] == nil {
			of[n] = &entry{name: n, tally: *t, names: 1}
		}
	}
	if len(of) == 0 {
		return nil
	}
	g := bunchOf(sortedEntries(of))
	for _, l := range lines {
		g.argv = append(g.argv, textValues(l))
	}
	return r.bunchRules(executes, g, calls)
}
