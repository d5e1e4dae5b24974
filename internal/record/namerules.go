package record

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/internal/policy"
)

// nameRules are the rules for all calls with names, and those calls.
func (r *Recorder) nameRules(whole int) (rules []policy.Rule, done map[uint32]bool) {
	done = map[uint32]bool{}
	for nr := range r.names.namers { // one without a name that could be read is none to be allowed
		done[nr] = true
	}
	rules = r.absentRules()
	for u := executes; u < uses; u++ {
		list := &r.names.lists[u]
		var calls []uint32
		for nr := range list.calls {
			calls = append(calls, nr)
		}
		sorted(calls)
		switch {
		case u >= connects:
			for _, nr := range calls {
				rules = append(rules, r.endRules(u, nr)...)
			}
		case u == executes:
			rules = append(rules, r.executeRules(calls, whole)...)
		case u == devices:
			rules = append(rules, r.nodeRules(calls, whole)...)
		case u == looks:
			rules = append(rules, r.pathRules(u, r.known(), calls, whole)...)
		default:
			rules = append(rules, r.pathRules(u, list.of, calls, whole)...)
		}
	}
	return rules, done
}

// known are all names: what is read, changed or executed may be looked at too.
func (r *Recorder) known() map[name]*tally {
	all := map[name]*tally{}
	for _, u := range []use{looks, executes, reads, enters, changes, devices} {
		for n, t := range r.names.lists[u].of {
			if all[n] == nil {
				joined := newTally()
				all[n] = &joined
			}
			all[n].join(t)
		}
	}
	return all
}

// absentRules let calls be made without a name that were.
func (r *Recorder) absentRules() []policy.Rule {
	of := map[string][]uint32{}
	for at := range r.names.absent {
		if arg := r.names.namers[at.nr].names[at.index]; r.calls[at.nr] != nil {
			of[arg] = append(of[arg], at.nr)
		}
	}
	var args []string
	for arg := range of {
		args = append(args, arg)
	}
	sort.Strings(args)
	var all []policy.Rule
	for _, arg := range args {
		all = append(all, policy.Rule{
			Comment: "without a name, as on what a descriptor stands for",
			Action:  policy.Action{Kind: policy.Allow}, Calls: names(of[arg]),
			If: &policy.Condition{Arg: arg, Values: []policy.Value{{}}},
		})
	}
	return all
}

// endRules are the rules for the addresses of a call: those that are said as they were, and those
// that let through more.
func (r *Recorder) endRules(u use, nr uint32) []policy.Rule {
	n := r.names.namers[nr]
	arg := n.names[n.read[0].Index]
	of := map[endGroup][]socketEnd{}
	for e := range r.names.ends {
		if e.use == u {
			of[e.group()] = append(of[e.group()], e)
		}
	}
	var all []policy.Rule
	for g := exactly; g <= byLength; g++ {
		if len(of[g]) == 0 {
			continue
		}
		c := policy.Condition{Subject: policy.Address, Arg: arg, Values: textValues(endItems(of[g]))}
		if g == byLength {
			c = lengthTest(n, of[g])
		}
		all = append(all, policy.Rule{
			Comment: r.endComment(u, g, of[g]), Action: policy.Action{Kind: policy.Allow}, Calls: names([]uint32{nr}), If: &c,
		})
	}
	return all
}

func (r *Recorder) endComment(u use, g endGroup, ends []socketEnd) string {
	all, rare := newTally(), 0
	for _, e := range ends {
		t := r.names.ends[e]
		if all.join(t); t.runs < len(r.runs) {
			rare++
		}
	}
	text := r.comment(u.title(), &all)
	if rare > 0 {
		text += fmt.Sprintf("\naddresses that were not seen in all runs: %d", rare)
	}
	return text + g.note()
}

func textValues(items []string) []policy.Value {
	all := make([]policy.Value, len(items))
	for i, item := range items {
		all[i] = policy.Value{Text: item}
	}
	return all
}

// Wide is how many rules of a policy let through more than was seen because it cannot be said
// more closely.
func Wide(m *policy.Model) (n int) {
	for i := range m.Rules {
		if strings.Contains(m.Rules[i].Comment, "WIDE:") {
			n++
		}
	}
	return n
}

// withNames makes the rules about names as narrow as there is room for, and finds out whether
// what they say holds while the others let names be given.
func (r *Recorder) withNames(m *policy.Model) error {
	switch {
	case r.names.runs < len(r.runs):
		return fmt.Errorf("%d of %s without names of files or addresses: expected events that record --mode paths or all wrote", len(r.runs)-r.names.runs, many(uint64(len(r.runs)), "run"))
	case r.names.crowded:
		return fmt.Errorf("more than %d names, or %d bytes of them: expected fewer; record shorter runs, or use --mode allowlist", maxNamed, maxNamedBytes)
	}
	var err error
	for whole := manyNames; whole > 0; whole /= 2 {
		rules, done := r.nameRules(whole)
		m.Rules = append(rules, r.rules(done)...)
		m.Links = policy.LinksTrusted
		if err = compiles(m); err == nil {
			return r.links(m, whole)
		}
	}
	return fmt.Errorf("%d names were seen, of which no policy can be made: record less at a time, or use --mode allowlist: %w", r.names.kept, err)
}

// links has the policy say that links have been thought of only where it has to.
func (r *Recorder) links(m *policy.Model, whole int) error {
	if whole < manyNames {
		m.Comment += fmt.Sprintf("\nThere were so many names that directories with %d of them are taken whole.", whole)
	}
	m.Links = policy.LinksChecked
	if compiles(m) == nil {
		return nil
	}
	m.Links = policy.LinksTrusted
	m.Comment += "\nWIDE: links are trusted. Calls are allowed by which files are given any names, so paths keep from accidents alone."
	return nil
}

// manyNames is how many names in a directory are taken for all that is below it.
const manyNames = 8

func compiles(m *policy.Model) error {
	parsed, err := policy.Parse("recorded.yaml", policy.Write(m))
	if err == nil {
		_, err = policy.Compile(parsed)
	}
	return err
}
