package record

import (
	"encoding/binary"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/event"
	"portcullis/internal/record/probe"
)

// Bounds of the names that are kept, in all: the most that programs are taken to need.
const (
	maxNamed      = 1 << 15
	maxNamedBytes = 1 << 22
)

// nameList is what is known of the names for one use.
type nameList struct {
	of    map[name]*tally
	calls map[uint32]bool
}

// nameLists are those of all uses.
type nameLists struct {
	namers map[uint32]*namer
	lists  [uses]nameList
	ends   map[socketEnd]*tally // addresses
	// absent are calls that were made without a name where one may be, by their arguments.
	absent map[absence]bool
	// nodes are the names of devices that were made, which are among those of lists too.
	nodes       map[node]map[name]*tally
	commands    commands
	kept, bytes int
	crowded     bool
	run         int // the last that had names
	runs        int // how many had
}

// absence is an argument that was 0.
type absence struct {
	nr    uint32
	index int
}

func newNameLists() *nameLists {
	l := &nameLists{namers: namers(), ends: map[socketEnd]*tally{}, absent: map[absence]bool{}, nodes: map[node]map[name]*tally{}, commands: newCommands()}
	for i := range l.lists {
		l.lists[i] = nameList{of: map[name]*tally{}, calls: map[uint32]bool{}}
	}
	return l
}

func newTally() tally { return tally{by: map[string]bool{}} }

// record learns from what the probe read of a call.
func (r *Recorder) record(e *event.Event) {
	n := r.names.namers[uint32(e.Call.Nr)]
	if n == nil || e.Call.Arch != abi.ArchX86_64 || len(e.Data) < probe.Front {
		return
	}
	if len(r.runs) == 0 {
		r.Begin()
	}
	index, length := binary.LittleEndian.Uint32(e.Data), binary.LittleEndian.Uint32(e.Data[4:])
	text := e.Data[probe.Front:]
	if uint64(length) != uint64(len(text)) || len(text) > 4096 {
		return
	}
	if e.Map == probe.Arguments && n.use == executes {
		r.argument(e, index, string(text))
	}
	for _, named := range n.read {
		switch {
		case named.Index != int(index):
		case named.Length < 0 && e.Map == probe.Paths:
			r.path(e, n, named.Index, strings.TrimSuffix(string(text), "\x00"))
		case named.Length >= 0 && e.Map == probe.Addresses:
			r.address(e, n, text)
		}
	}
}

// room tells whether another name of so many bytes may be kept.
func (l *nameLists) room(bytes int) bool {
	if l.kept >= maxNamed || l.bytes+bytes > maxNamedBytes {
		l.crowded = true
		return false
	}
	l.kept++
	l.bytes += bytes
	return true
}

// seenIn notes that a run had names.
func (l *nameLists) seenIn(run int) {
	if l.run != run {
		l.run = run
		l.runs++
	}
}

func (r *Recorder) path(e *event.Event, n *namer, index int, raw string) {
	r.names.seenIn(len(r.runs))
	list := &r.names.lists[n.of(&e.Call.Args)]
	key := spell(raw, n.below(index, &e.Call.Args), e.Pid, e.Tid)
	if n.use == executes {
		r.names.commands.begin(e.Tid, key)
	}
	if !r.keep(list.of, key, e) {
		return
	}
	list.calls[uint32(e.Call.Nr)] = true
	if made, ok := n.node(&e.Call.Args); ok {
		if r.names.nodes[made] == nil {
			r.names.nodes[made] = map[name]*tally{}
		}
		r.keep(r.names.nodes[made], key, e)
	}
}

// keep notes a name in a list, if there is room for it.
func (r *Recorder) keep(of map[name]*tally, key name, e *event.Event) bool {
	t := of[key]
	if t == nil {
		if !r.names.room(len(key.text)) {
			return false
		}
		key.text = strings.Clone(key.text)
		t = &tally{by: map[string]bool{}}
		of[key] = t
	}
	t.add(len(r.runs), short(e.Comm))
	return true
}

// without notes that a call had no name.
func (l *nameLists) without(nr uint32, args *[6]uint64) {
	n := l.namers[nr]
	if n == nil {
		return
	}
	for _, named := range n.read {
		if args[named.Index] == 0 {
			l.absent[absence{nr, named.Index}] = true
		}
	}
}
