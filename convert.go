package portcullis

import (
	"portcullis/internal/object"
	"portcullis/internal/prog"
)

// Object is the filter as an ELF object with its constants as they are set now, for
// Load and for libbpf. Programs that it goes on in by tail calls are in it too; others of
// the object that it was loaded from are not. The same filter gives the same bytes.
func (f *Filter) Object() ([]byte, error) {
	reached := map[*prog.Program]bool{}
	reach(f.program, reached)
	var ps []*prog.Program
	for _, p := range f.programs {
		if reached[p] {
			ps = append(ps, p)
		}
	}
	return object.Write(ps)
}

// reach marks p and all programs that it can go on in.
func reach(p *prog.Program, reached map[*prog.Program]bool) {
	if reached[p] {
		return
	}
	reached[p] = true
	for _, m := range p.Maps {
		for _, t := range m.Tails {
			reach(t.Program, reached)
		}
	}
}
