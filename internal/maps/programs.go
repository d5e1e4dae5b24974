package maps

import "portcullis/internal/prog"

// Programs is BPF_MAP_TYPE_PROG_ARRAY: its definition says what is in it, which
// tail calls alone can reach and nothing can change.
type Programs struct{ spec *prog.Map }

// Spec is the map's definition.
func (p *Programs) Spec() *prog.Map { return p.spec }

// Mem is empty: programs have no bytes.
func (p *Programs) Mem() []byte { return nil }

// Lookup finds nothing: programs are no values.
func (p *Programs) Lookup(key []byte) (off uint32, ok bool) { return 0, false }

// Update is -EINVAL.
func (p *Programs) Update(key, value []byte, flags uint64) Errno { return EINVAL }

// Delete is -EINVAL.
func (p *Programs) Delete(key []byte) Errno { return EINVAL }
