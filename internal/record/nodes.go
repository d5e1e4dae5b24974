package record

import (
	"sort"

	"portcullis/internal/policy"
	"portcullis/internal/policy/symbol"
)

// Types of files in the mode of a node, of <linux/stat.h>.
const (
	typeMask       = 0xf000
	characterType  = 0x2000
	blockType      = 0x6000
	characterNamed = "S_IFCHR"
	blockNamed     = "S_IFBLK"
)

// mostNodes is how many devices of a type are told from each other.
const mostNodes = 16

// node is a device: its type and number, or with any all of its type.
type node struct {
	kind uint16
	dev  uint32
	any  bool
}

// node is the device that a call makes; false if it makes none.
func (n *namer) node(args *[6]uint64) (made node, ok bool) {
	if n.devAt == 0 {
		return node{}, false
	}
	made = node{kind: uint16(args[n.modeAt]) & typeMask, dev: uint32(args[n.devAt])}
	return made, made.kind == characterType || made.kind == blockType
}

// conditions are what a policy has to ask of a call that makes the device: rules of paths alone
// let none be made.
func (d *node) conditions(nr uint32, n *namer) []policy.Condition {
	kind := characterNamed
	if d.kind == blockType {
		kind = blockNamed
	}
	all := []policy.Condition{{
		Arg: argumentName(nr, n.modeAt), Compare: policy.MaskedIs, Mask: policy.Value{Text: "S_IFMT"}, Values: []policy.Value{{Text: kind}},
	}}
	if !d.any {
		all = append(all, policy.Condition{Arg: argumentName(nr, n.devAt), Values: []policy.Value{{Number: uint64(d.dev)}}})
	}
	return all
}

func argumentName(nr uint32, index int) string {
	for _, a := range symbol.Arguments(nr) {
		if a.Index == index {
			return a.Name
		}
	}
	return ""
}

// nodeRules are the rules for devices that were made.
func (r *Recorder) nodeRules(calls []uint32, whole int) []policy.Rule {
	of := fewNodes(r.names.nodes)
	var all []policy.Rule
	for _, d := range sortedNodes(of) {
		for _, g := range bunches(entriesOf(settled(of[d], len(r.runs)), whole)) {
			made := d
			g.node = &made
			all = append(all, r.bunchRules(devices, g, calls)...)
		}
	}
	return all
}

// fewNodes takes devices of a type together where there are many.
func fewNodes(of map[node]map[name]*tally) map[node]map[name]*tally {
	count := map[uint16]int{}
	for d := range of {
		count[d.kind]++
	}
	few := map[node]map[name]*tally{}
	for d, names := range of {
		if count[d.kind] > mostNodes {
			d = node{kind: d.kind, any: true}
		}
		if few[d] == nil {
			few[d] = map[name]*tally{}
		}
		for n, t := range names {
			if few[d][n] == nil {
				joined := newTally()
				few[d][n] = &joined
			}
			few[d][n].joinRuns(t)
		}
	}
	return few
}

func sortedNodes(of map[node]map[name]*tally) []node {
	var all []node
	for d := range of {
		all = append(all, d)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].kind != all[j].kind {
			return all[i].kind < all[j].kind
		}
		return all[i].dev < all[j].dev
	})
	return all
}
