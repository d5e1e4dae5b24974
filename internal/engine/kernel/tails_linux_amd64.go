package kernel

import (
	"encoding/binary"
	"syscall"

	"portcullis/internal/prog"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// holdsArrays refuses what the kernel would empty: it empties a PROG_ARRAY of
// which no descriptor is open, apart from those that the installed program
// itself refers to.
func holdsArrays(v *verify.Verified) error {
	own := map[*prog.Map]bool{}
	for _, m := range v.Program().Maps {
		own[m] = true
	}
	for _, w := range v.Programs() {
		for _, m := range w.Program().Maps {
			if len(m.Tails) > 0 && !own[m] {
				return &UnsupportedError{
					What:   "program " + v.Program().Name + ": a tail call of " + w.Program().Name + " by map " + m.Name,
					Remedy: "make all tail calls by arrays that the first program uses too, or use the agent engine",
				}
			}
		}
	}
	return nil
}

// addFilter loads a filter, after what its tail calls go on in, and fills its
// arrays of programs.
func (l *loaded) addFilter(f filter) error {
	if f.verified == nil {
		return l.add(f.program)
	}
	fds, err := l.addPrograms(f)
	if err != nil {
		return err
	}
	if err := l.bindStorage(f.verified, fds[f.verified]); err != nil {
		return err
	}
	return l.fillArrays(f.verified, fds)
}

// addPrograms loads what a filter consists of.
func (l *loaded) addPrograms(f filter) (map[*verify.Verified]int, error) {
	fds := map[*verify.Verified]int{}
	for _, v := range f.verified.Programs()[1:] {
		if err := l.createMaps(v.Program()); err != nil {
			return nil, err
		}
		fd, err := l.loadProgram(v.Program())
		if err != nil {
			return nil, err
		}
		fds[v] = fd
		l.tails = append(l.tails, fd)
	}
	if err := l.add(f.program); err != nil {
		return nil, err
	}
	fds[f.verified] = l.progs[len(l.progs)-1]
	return fds, nil
}

// bindStorage has the first program count as one that uses the maps in which the others keep
// storage: only then the kernel has room for that, whatever filters are installed later.
func (l *loaded) bindStorage(v *verify.Verified, fd int) error {
	for _, w := range v.Programs()[1:] {
		for _, m := range w.Program().Maps {
			if m.Type != prog.TaskStorage {
				continue
			}
			if err := sys.ProgBindMap(fd, l.maps[m]); err != nil {
				return &MapError{Program: w.Program().Name, Map: m.Name, Step: "bind to " + v.Program().Name, Cause: err}
			}
		}
	}
	return nil
}

// fillArrays puts the programs into the arrays that v refers to.
func (l *loaded) fillArrays(v *verify.Verified, fds map[*verify.Verified]int) error {
	var key, value [4]byte
	for _, m := range v.Program().Maps {
		for _, t := range m.Tails {
			binary.LittleEndian.PutUint32(key[:], t.Index)
			binary.LittleEndian.PutUint32(value[:], uint32(fds[v.Tail(m, t.Index)]))
			if err := sys.MapUpdate(l.maps[m], key[:], value[:], 0); err != nil {
				return &MapError{Program: v.Program().Name, Map: m.Name, Step: "put in a program", Cause: err}
			}
		}
	}
	return nil
}

// closeAll closes descriptors.
func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}
