package record

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/policy"
)

// bunch is some entries of a list, which rules are about together.
type bunch struct {
	entries []entry
	tally
	names int
	argv  [][]policy.Value // what programs are executed with; nil for anything
	node  *node            // which device is made; nil for none
}

func bunchOf(entries []entry) bunch {
	g := bunch{entries: entries, tally: newTally()}
	for i := range entries {
		g.names += entries[i].names
		g.tally.join(&entries[i].tally)
	}
	return g
}

// mostTogether is how many entries stand in one rule, whatever directories they are in.
const mostTogether = 6

// bunches part entries by the first directory, and those that are no absolute paths from them.
func bunches(entries []entry) []bunch {
	of := map[string][]entry{}
	var keys []string
	for _, e := range entries {
		key := "~" + e.form.String()
		if e.form == absolute || e.form == linked {
			key = strings.SplitN(e.text+"/", "/", 3)[1]
		}
		if e.form == here || e.form == below || e.form == none {
			key = "~here"
		}
		if of[key] == nil {
			keys = append(keys, key)
		}
		of[key] = append(of[key], e)
	}
	if len(entries) <= mostTogether {
		return []bunch{bunchOf(entries)}
	}
	sort.Strings(keys)
	var all []bunch
	for _, k := range keys {
		all = append(all, bunchOf(of[k]))
	}
	return all
}

// count is how many entries are of a form.
func (g *bunch) count(f form) (n int) {
	for i := range g.entries {
		if g.entries[i].form == f {
			n++
		}
	}
	return n
}

// cut tells whether there is a name of which only the beginning can be said.
func (g *bunch) cut() bool {
	for i := range g.entries {
		if g.entries[i].cut {
			return true
		}
	}
	return false
}

// all tells whether relative names of a form are not told from each other: there are many, or
// one of which not even the first character can be said.
func (g *bunch) all(f form) bool {
	for i := range g.entries {
		if e := &g.entries[i]; e.form == f && e.text == "" {
			return true
		}
	}
	return g.count(f) > mostRelative
}

// condition is what has to hold of an argument of a call; nil where the bunch has nothing
// for it.
func (g *bunch) condition(n *namer, index int) *policy.Condition {
	var any []policy.Condition
	if paths := g.paths(); len(paths) > 0 {
		any = append(any, policy.Condition{Subject: policy.Path, Arg: n.names[index], Values: paths})
	}
	if texts := g.texts(); len(texts) > 0 {
		any = append(any, policy.Condition{Subject: policy.Text, Arg: n.names[index], Values: texts})
	}
	if dir := n.dirs[index]; dir != "" && g.all(below) {
		any = append(any, policy.Condition{Op: policy.All, Sub: []policy.Condition{
			{Arg: dir, Compare: policy.IsNot, Values: []policy.Value{{Text: "AT_FDCWD"}}},
			{Op: policy.Not, Sub: []policy.Condition{{Subject: policy.Text, Arg: n.names[index], Values: []policy.Value{{Text: "/*"}}}}},
		}})
	}
	switch len(any) {
	case 0:
		return nil
	case 1:
		return &any[0]
	}
	return &policy.Condition{Op: policy.Any, Sub: any}
}

// paths are the entries that a policy knows as paths.
func (g *bunch) paths() []policy.Value {
	var all []policy.Value
	for i := range g.entries {
		e := &g.entries[i]
		switch {
		case e.form == none:
			all = append(all, policy.Value{})
		case e.form == absolute && e.glob:
			all = append(all, policy.Value{Text: e.text + "*"})
		case e.form == absolute || e.form == linked && !e.glob:
			all = append(all, policy.Value{Text: "=" + e.text})
		}
	}
	if g.all(here) {
		all = append(all, policy.Value{Text: "./"})
	}
	return all
}

// texts are the entries that are compared as they are written.
func (g *bunch) texts() []policy.Value {
	texts := map[string]bool{}
	many := g.count(odd) > mostOdd
	for i := range g.entries {
		e := &g.entries[i]
		text := e.text
		if e.glob {
			text += "*"
		}
		switch {
		case e.form == ofProcess:
			for digit := '1'; digit <= '9'; digit++ {
				texts[fmt.Sprintf("/proc/%c*", digit)] = true
			}
		case e.form == odd && many:
			texts[oddFront(e.text)+"*"] = true
		case e.form == odd, e.form == linked && e.glob, (e.form == here || e.form == below) && !g.all(e.form):
			texts[text] = true
		}
	}
	var all []policy.Value
	for text := range texts {
		all = append(all, policy.Value{Text: text})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Text < all[j].Text })
	return all
}

// oddFront is an odd name up to where it becomes odd.
func oddFront(text string) string {
	for _, mark := range []string{"/..", "//", "/."} {
		if at := strings.Index(text, mark); at >= 0 {
			return text[:at+1]
		}
	}
	return text
}

// notes say what the bunch's conditions let through beside what was seen, as policies can say
// no better. asked is the condition.
func (g *bunch) notes(asked string) []string {
	var all []string
	note := func(holds bool, text string) {
		if holds {
			all = append(all, text)
		}
	}
	note(g.count(here) > mostRelative, "all that is below the working directory: more than a few names were used there")
	if g.count(here) > 0 && !g.all(here) || g.count(below) > 0 && !g.all(below) {
		all = append(all, "relative names are compared as they are written, whatever directory they are below")
	}
	if strings.Contains(asked, "AT_FDCWD") {
		note(g.all(below), "WIDE: any relative name below a directory that is open")
	}
	note(g.count(ofProcess) > 0, "WIDE: whatever a process's directory in /proc leads to, as its number is another each time")
	if n := g.count(odd); n > mostOdd {
		all = append(all, "WIDE: names that begin like those with .., of which there were too many to be listed")
	} else if n > 0 {
		all = append(all, "names with .. and the like are compared as they are written, wherever that leads")
	}
	note(g.node != nil && g.node.any, "WIDE: any device of this type, as there were too many to be listed")
	note(g.cut(), "WIDE: all names that begin like one which a policy cannot hold, as it is too long or has characters that are not printed")
	return all
}

// pathRules are the rules of a use, with those of the calls that do it.
func (r *Recorder) pathRules(u use, seen map[name]*tally, calls []uint32, whole int) []policy.Rule {
	if len(seen) == 0 {
		return nil
	}
	entries := entriesOf(settled(seen, len(r.runs)), whole)
	var all []policy.Rule
	var double, single []uint32
	for _, nr := range calls {
		if len(r.names.namers[nr].read) > 1 {
			double = append(double, nr)
		} else {
			single = append(single, nr)
		}
	}
	for _, g := range bunches(entries) {
		all = append(all, r.bunchRules(u, g, single)...)
	}
	return append(all, r.bunchRules(u, bunchOf(entries), double)...)
}

// bunchRules are one rule for the calls that are asked the same about a bunch.
func (r *Recorder) bunchRules(u use, g bunch, calls []uint32) []policy.Rule {
	asked := map[string]*policy.Condition{}
	of := map[string][]uint32{}
	var keys []string
	for _, nr := range calls {
		c := r.nameCondition(u, nr, &g)
		if c == nil {
			continue
		}
		key := c.String()
		if asked[key] == nil {
			asked[key] = c
			keys = append(keys, key)
		}
		of[key] = append(of[key], nr)
	}
	sort.Strings(keys)
	var all []policy.Rule
	for _, key := range keys {
		all = append(all, policy.Rule{
			Comment: r.bunchComment(u, &g, key), Action: policy.Action{Kind: policy.Allow}, Calls: names(of[key]), If: asked[key],
		})
	}
	return all
}

func (r *Recorder) bunchComment(u use, g *bunch, asked string) string {
	text := r.comment(u.title(), &g.tally)
	if g.names > len(g.entries) {
		text += "\nfrom " + many(uint64(g.names), "name")
	}
	rare := 0
	for i := range g.entries {
		if g.entries[i].runs < len(r.runs) {
			rare++
		}
	}
	if rare > 0 {
		text += fmt.Sprintf("\nentries that were not seen in all runs: %d", rare)
	}
	if note := g.argumentsNote(); u == executes && note != "" {
		text += "\n" + note
	}
	for _, n := range g.notes(asked) {
		text += "\n" + n
	}
	return text
}

// nameCondition is what has to hold of all names of a call.
func (r *Recorder) nameCondition(u use, nr uint32, g *bunch) *policy.Condition {
	n := r.names.namers[nr]
	var all []policy.Condition
	if n.opens && u == reads {
		all = append(all, policy.Condition{
			Arg: "flags", Compare: policy.MaskedIs, Mask: policy.Value{Text: "O_ACCMODE|O_CREAT|O_TRUNC"}, Values: []policy.Value{{Text: "O_RDONLY"}},
		})
	}
	for _, named := range n.read {
		c := g.condition(n, named.Index)
		if c == nil {
			return nil
		}
		all = append(all, *c)
	}
	if g.node != nil {
		all = append(all, g.node.conditions(nr, n)...)
	}
	if g.argv != nil {
		all = append(all, policy.Condition{Subject: policy.Arguments, Arg: "argv", Argv: g.argv})
	}
	if len(all) == 1 {
		return &all[0]
	}
	return &policy.Condition{Op: policy.All, Sub: all}
}
