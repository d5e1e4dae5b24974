package split

import (
	"sort"

	"portcullis/internal/absint"
)

// partition is what an exploration found out, for runs of calls in ascending
// order. It becomes finer as calls are told apart.
type partition []cell

// cell is the calls from … to, both included.
type cell struct {
	from, to uint32
	// alone tells that no other calls were explored with these.
	alone bool
	summary
}

func newPartition(calls absint.Numbers) partition {
	p := make(partition, len(calls))
	for i, r := range calls {
		p[i].from, p[i].to = r.Min, r.Max
	}
	return p
}

// each calls f for the summary of every call of calls; nil is all of p's.
func (p *partition) each(calls absint.Numbers, f func(*summary)) {
	for i := range *p {
		if calls == nil {
			f(&(*p)[i].summary)
		}
	}
	i := 0
	for _, r := range calls {
		i = p.begin(i, r.Min)
		for ; i < len(*p) && (*p)[i].from <= r.Max; i++ {
			if (*p)[i].to > r.Max {
				p.split(r.Max + 1)
			}
			f(&(*p)[i].summary)
		}
	}
}

// begin has a cell begin at nr, if nr is in one, and is the index of the first cell
// from there on. Those before i end before nr: most calls are looked for in an order in
// which the cell is one of the next two.
func (p *partition) begin(i int, nr uint32) int {
	for k := i; k < len(*p) && k < i+2; k++ {
		if (*p)[k].from == nr {
			return k
		}
	}
	p.split(nr)
	return p.at(nr)
}

// all tells whether f holds for the summary of every call of calls; nil is all of p's.
func (p partition) all(calls absint.Numbers, f func(*summary) bool) bool {
	if calls == nil {
		calls = absint.NumbersBetween(0, ^uint32(0))
	}
	for _, r := range calls {
		for i := p.at(r.Min); i < len(p) && p[i].from <= r.Max; i++ {
			if !f(&p[i].summary) {
				return false
			}
		}
	}
	return true
}

// at is the index of the first cell that ends at nr or later.
func (p partition) at(nr uint32) int {
	return sort.Search(len(p), func(i int) bool { return p[i].to >= nr })
}

// split has a cell begin at nr, if nr is in one.
func (p *partition) split(nr uint32) {
	i := p.at(nr)
	if i == len(*p) || (*p)[i].from >= nr {
		return
	}
	*p = append(*p, cell{})
	copy((*p)[i+1:], (*p)[i:])
	(*p)[i].to, (*p)[i+1].from = nr-1, nr
	(*p)[i+1].tails = append([]tail(nil), (*p)[i].tails...)
}

// within is the part of p between two numbers.
func (p partition) within(from, to uint32) (part partition) {
	for i := p.at(from); i < len(p) && p[i].from <= to; i++ {
		c := p[i]
		c.alone = c.alone && from <= c.from && c.to <= to
		c.from, c.to = max(c.from, from), min(c.to, to)
		part = append(part, c)
	}
	return part
}
