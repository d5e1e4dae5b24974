//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/cbpf"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// allowObject holds the measured policy as filters.
const allowObject = "internal/bench/testdata/filters/allow.o"

// libseccomp writes libseccomp's program for a policy to a file; order is chain
// or tree.
func (l *lab) libseccomp(exporter, policy, order string) (string, error) {
	out, err := output(exec.Command(exporter, policy, order))
	if err != nil {
		return "", err
	}
	return l.write(policy+"-"+order, out)
}

// exporter is the program that asks libseccomp.
func (l *lab) exporter() (string, error) { return l.compile("seccomp", "-lseccomp") }

// ours writes the program that stands before the agent to a file, and names the
// calls that it would ask the agent about.
func (l *lab) ours(policy string) (file string, asked []string, err error) {
	p, err := l.program(allowObject, policy)
	if err != nil {
		return "", nil, err
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		return "", nil, err
	}
	t := split.Split(v)
	pre, err := prefilter.Build([]*split.Tree{t}, prefilter.Options{})
	if err != nil {
		return "", nil, err
	}
	file, err = l.write(policy+"-ours", encode(pre.Program()))
	return file, dynamic(t), err
}

// dynamic names the calls for which some arguments are not decided statically.
func dynamic(t *split.Tree) (names []string) {
	for _, c := range syscalls.All() {
		kind := t.Leaf(abi.ArchX86_64, c.Nr).Kind
		if d := t.Arguments(abi.ArchX86_64, c.Nr); d != nil {
			kind = d.Kind()
		}
		if kind != split.Static {
			names = append(names, c.Name)
		}
	}
	return names
}

// program reads one program of an object below the root.
func (l *lab) program(path, name string) (*prog.Program, error) {
	data, err := os.ReadFile(filepath.Join(l.root, path))
	if err != nil {
		return nil, err
	}
	ps, err := object.Read(path, data)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s holds no program %s", path, name)
}

func (l *lab) write(name string, data []byte) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.WriteFile(path, data, 0o644)
}

// encode is p as the kernel takes it: struct sock_filter, one after another.
func encode(p cbpf.Program) []byte {
	var out bytes.Buffer
	for _, in := range p.Insns() {
		_ = binary.Write(&out, binary.LittleEndian, in) // a Buffer takes everything
	}
	return out.Bytes()
}

// shortest writes the shortest program that treats the calls which are timed as
// the policy does, and lets all others through: the floor of every filter.
func (l *lab) shortest() (string, error) {
	var a cbpf.Assembler
	deny, allow, prctl, mprotect := a.NewLabel(), a.NewLabel(), a.NewLabel(), a.NewLabel()
	a.Emit(cbpf.LdAbs, abi.OffNr)
	for _, name := range []string{"alarm", "getpgrp", "sched_get_priority_max", "getcpu"} {
		a.Branch(cbpf.JeqK, number(name), deny, cbpf.Next)
	}
	a.Branch(cbpf.JeqK, number("prctl"), prctl, cbpf.Next)
	a.Branch(cbpf.JeqK, number("mprotect"), mprotect, allow)
	a.Bind(prctl)
	a.Emit(cbpf.LdAbs, abi.OffArgs)
	a.Branch(cbpf.JeqK, getDumpable, allow, deny)
	a.Bind(mprotect)
	a.Emit(cbpf.LdAbs, abi.OffArgs+2*8)
	a.Branch(cbpf.JsetK, protExec, deny, allow)
	a.Bind(deny)
	a.Ret(abi.Errno(1))
	a.Bind(allow)
	a.Ret(abi.Allow)
	p, err := a.Assemble(cbpf.Passes()...)
	if err != nil {
		return "", err
	}
	return l.write("shortest", encode(p))
}

// What the timed calls with rules are asked for: <linux/prctl.h>, <sys/mman.h>.
const (
	getDumpable = 3
	protExec    = 4
)

// number is that of a call which the table has.
func number(name string) uint32 {
	nr, _ := syscalls.Number(name)
	return nr
}
