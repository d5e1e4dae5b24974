//go:build linux && amd64

package shadow

import (
	"syscall"

	"portcullis/internal/abi"
)

// step is an injected call, and what its result means.
type step struct {
	name string
	call func(p *Mapping) call
	// done notes what the call did, and tells whether it is what it was made for.
	done func(p *Mapping, result int64) bool
}

const (
	nameRequest = "requesting the descriptor"
	nameMap     = "mmap"
)

// steps are the calls that map, in their order.
func steps(s Sealing) []*step {
	list := []*step{
		{nameRequest, (*Mapping).request, (*Mapping).requested},
		{nameMap, (*Mapping).mmap, (*Mapping).mmapped},
		closing(),
		{"madvise(MADV_DONTFORK)", (*Mapping).madvise, (*Mapping).advised},
	}
	if s == Sealed {
		list = append(list, &step{"mseal", (*Mapping).mseal, (*Mapping).advised})
	}
	return list
}

// closing and unmapping also undo.
func closing() *step   { return &step{"close", (*Mapping).close, (*Mapping).closed} }
func unmapping() *step { return &step{"munmap", (*Mapping).munmap, (*Mapping).unmapped} }

func (p *Mapping) request() call { return call{nr: abi.RequestCall} }

func (p *Mapping) requested(fd int64) bool {
	p.fd = fd // negative for none
	return fd >= 0
}

func (p *Mapping) mmap() call {
	const fixedNoReplace = 0x100000 // MAP_FIXED_NOREPLACE
	return call{syscall.SYS_MMAP, [6]uint64{
		p.at, p.memory.Size(), syscall.PROT_READ, syscall.MAP_SHARED | fixedNoReplace, uint64(p.fd), 0,
	}}
}

func (p *Mapping) mmapped(addr int64) bool {
	p.mapped = uint64(addr) == p.at
	return p.mapped
}

func (p *Mapping) close() call { return call{syscall.SYS_CLOSE, [6]uint64{uint64(p.fd)}} }

func (p *Mapping) closed(result int64) bool {
	if result == 0 {
		p.fd = -1
	}
	return result == 0
}

func (p *Mapping) munmap() call {
	return call{syscall.SYS_MUNMAP, [6]uint64{p.at, p.memory.Size()}}
}

func (p *Mapping) unmapped(result int64) bool {
	p.mapped = result != 0
	return result == 0
}

func (p *Mapping) madvise() call {
	return call{syscall.SYS_MADVISE, [6]uint64{p.at, p.memory.Size(), syscall.MADV_DONTFORK}}
}

func (p *Mapping) mseal() call {
	const sysMseal = 462
	return call{sysMseal, [6]uint64{p.at, p.memory.Size()}}
}

func (p *Mapping) advised(result int64) bool { return result == 0 }
