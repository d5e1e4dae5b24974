// Package probe is the filter under which names are recorded: it denies nothing, and puts
// into ring buffers what the arguments of calls point to, paths and socket addresses.
//
// What it read is what the call is made with, so a record says what the call was about, and
// not what another thread wrote there afterwards. Which arguments it reads is told by the
// tables of calls: the ones called path, oldpath and newpath, and the addresses of sockets.
//
// What programs are executed with is read without being kept as it is, for a list of arguments
// may be longer than what can be: a record of it is right as long as the program itself does not
// write there meanwhile.
package probe

import (
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/helper"
	"portcullis/internal/object"
	"portcullis/internal/policy/asm"
	"portcullis/internal/policy/symbol"
	"portcullis/internal/prog"
)

// Name is the filter's, Paths, Addresses and Arguments are those of its ring buffers, which
// stand in events.
//
// In Arguments are what programs are executed with, behind their own name: the first has the
// index 1. Up to MaxText bytes of each are there. Behind the last follows a record of index 0 and no
// text, if they are no more than MaxArguments of at most maxLong bytes each.
const (
	Name      = "record"
	Paths     = "paths"
	Addresses = "addresses"
	Arguments = "arguments"
)

// Bounds of arguments: a policy knows no more of them, and reading them must not fail for their
// length.
const (
	MaxArguments = 16
	MaxText      = 64
	maxLong      = 2048
)

// Front is how many bytes of a record stand in front of the text: the index of the argument,
// and the length of the text, 32 bits each, least significant byte first.
const Front = 8

// maxPath is the longest path with its NUL, maxAddress the longest address, of which no more
// is read: struct sockaddr_storage.
const (
	maxPath    = 4096
	maxAddress = 128
)

// Errors of helpers.
const (
	e2big        = 7
	enametoolong = 36
)

// Named is an argument that names something.
type Named struct {
	// Index is its register.
	Index int
	// Length is the register that has its length, for an address; -1 for a path.
	Length int
}

// Of are the arguments of a call that are recorded; nil for none.
func Of(nr uint32) []Named {
	call, _ := args.Of(nr)
	var all []Named
	for _, a := range symbol.Arguments(nr) {
		switch {
		case !call.AlwaysPinnable(a.Index):
		case a.Arg.Shape == args.String && isPath(nr, a.Name):
			all = append(all, Named{a.Index, -1})
		case a.Arg.Shape == args.Array && a.Name == "address":
			all = append(all, Named{a.Index, int(a.Arg.Count.Arg)})
		}
	}
	return all
}

// isPath tells names of files by the name that the table of arguments has for them.
func isPath(nr uint32, name string) bool {
	call, _ := syscalls.Name(nr)
	return strings.HasSuffix(name, "path") || call == "name_to_handle_at" && name == "name"
}

// Object is the filter as an ELF object.
func Object() ([]byte, error) {
	p, err := program()
	if err != nil {
		return nil, err
	}
	return object.Write([]*prog.Program{p})
}

// Registers of the filter: the context, and the number of the call.
const (
	regCtx = asm.R6
	regNr  = asm.R7
)

// builder makes the filter.
type builder struct {
	asm.Builder
	paths, addresses, arguments, scratch *prog.Map

	allow, long asm.Label
}

func program() (*prog.Program, error) {
	b := &builder{
		paths:     ring(Paths, prog.Var{Name: "path", Size: 1, Kind: prog.VarChar}),
		addresses: ring(Addresses, prog.Var{Name: "address", Size: 1, Kind: prog.VarUnsigned}),
		arguments: ring(Arguments, prog.Var{Name: "argument", Size: 1, Kind: prog.VarChar}),
		scratch: &prog.Map{
			Name: ".bss", Type: prog.Array, KeySize: 4, ValueSize: Front + maxPath, MaxEntries: 1, SpinLock: -1,
			Contents: make([]byte, Front+maxPath),
			Vars:     []prog.Var{{Name: "scratch", Size: 1, Count: Front + maxPath, Kind: prog.VarUnsigned}},
		},
	}
	b.allow, b.long = b.Label(), b.Label()
	b.Func(Name)
	b.begin()
	b.bodies()
	b.Bind(b.allow)
	b.answer(abi.Allow)
	b.Bind(b.long)
	b.answer(abi.Errno(enametoolong))
	p, err := b.Program()
	if err != nil {
		return nil, err
	}
	p.Name, p.Source, p.License = Name, Name, "Dual BSD/GPL"
	return p, nil
}

// ring holds the records of one call, which are taken before the next is asked about.
func ring(name string, text prog.Var) *prog.Map {
	text.Offset = Front
	return &prog.Map{
		Name: name, Type: prog.RingBuf, MaxEntries: 1 << 14, SpinLock: -1,
		Record: &prog.Record{Name: name, Size: Front, Fields: []prog.Var{
			{Name: "arg", Size: 4, Kind: prog.VarUnsigned, Count: 1},
			{Name: "length", Offset: 4, Size: 4, Kind: prog.VarUnsigned, Count: 1},
			text,
		}},
	}
}

// begin emits that calls of other tables are let through.
func (b *builder) begin() {
	b.Reg(prog.OpMov, regCtx, asm.R1)
	b.Load(prog.SizeW, regNr, regCtx, 0)
	b.Load(prog.SizeW, asm.R1, regCtx, 4)
	arch := uint32(abi.ArchX86_64)
	b.If32(prog.OpJne, asm.R1, int32(arch), b.allow)
}

// bodies emits the search for the number, and what is read of the calls that read the same.
func (b *builder) bodies() {
	type body struct {
		at   asm.Label
		read []Named
		argv int
	}
	known := map[string]asm.Label{}
	var all []body
	for nr := uint32(0); nr <= uint32(syscalls.Newest()); nr++ {
		read := Of(nr)
		if read == nil {
			continue
		}
		argv := argvOf(nr)
		key := keyOf(read, argv)
		if known[key] == 0 {
			known[key] = b.Label()
			all = append(all, body{known[key], read, argv})
		}
		b.If32(prog.OpJeq, regNr, int32(nr), known[key])
	}
	b.Jump(b.allow)
	for _, one := range all {
		b.Bind(one.at)
		for _, n := range one.read {
			b.read(n)
		}
		if one.argv >= 0 {
			b.readArguments(one.argv)
		}
		b.Jump(b.allow)
	}
}

// argvOf is the register that has the arguments of a program; -1 for none.
func argvOf(nr uint32) int {
	if a, ok := symbol.Find(nr, "argv"); ok && a.Arg.Shape == args.Strings {
		return a.Index
	}
	return -1
}

func keyOf(read []Named, argv int) string {
	key := []byte{byte(argv)}
	for _, n := range read {
		key = append(key, byte(n.Index), byte(n.Length))
	}
	return string(key)
}

// read emits that an argument is recorded. One that cannot be read is not, and the call fails
// for it.
func (b *builder) read(n Named) {
	next := b.Label()
	b.Load(prog.SizeDW, asm.R8, regCtx, argument(n.Index))
	b.If(prog.OpJeq, asm.R8, 0, next)
	if n.Length < 0 {
		b.readPath(next)
		b.output(b.paths, n.Index)
	} else {
		b.readAddress(n, next)
		b.output(b.addresses, n.Index)
	}
	b.Bind(next)
}

func argument(i int) int16 { return int16(16 + 8*i) }

// readPath emits R8 = the length of the path at R8, which is in scratch then.
func (b *builder) readPath(next asm.Label) {
	b.Value(asm.R1, b.scratch, Front)
	b.Imm32(prog.OpMov, asm.R2, maxPath)
	b.Reg(prog.OpMov, asm.R3, asm.R8)
	b.Call(helper.SafeReadUserStr)
	b.If(prog.OpJeq, asm.R0, -e2big, b.long)
	b.Reg(prog.OpMov, asm.R8, asm.R0)
	b.Imm(prog.OpSub, asm.R0, 1)
	b.If(prog.OpJgt, asm.R0, maxPath-1, next)
	b.If(prog.OpJgt, asm.R8, maxPath, next) // for the proof
}

// readAddress emits R8 = the length of the address at R8, likewise.
func (b *builder) readAddress(n Named, next asm.Label) {
	b.Load(prog.SizeW, asm.R9, regCtx, argument(n.Length))
	b.If(prog.OpJlt, asm.R9, 2, next)
	b.If(prog.OpJgt, asm.R9, maxAddress, next)
	b.Value(asm.R1, b.scratch, Front)
	b.Reg(prog.OpMov, asm.R2, asm.R9)
	b.Reg(prog.OpMov, asm.R3, asm.R8)
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, next)
	b.Reg(prog.OpMov, asm.R8, asm.R9)
}

// readArguments emits that what the list in a register points to is recorded, up to what cannot
// be read. R9 is the index.
func (b *builder) readArguments(register int) {
	loop, next, last := b.Label(), b.Label(), b.Label()
	b.Imm(prog.OpMov, asm.R9, 0)
	b.Bind(loop)
	b.readPointer(register)
	b.If(prog.OpJeq, asm.R8, 0, last)
	b.If(prog.OpJeq, asm.R9, 0, next)
	b.If(prog.OpJgt, asm.R9, MaxArguments, b.allow)
	b.readArgument()
	b.outputAt(b.arguments, asm.R9)
	b.Bind(next)
	b.Imm(prog.OpAdd, asm.R9, 1)
	b.If(prog.OpJle, asm.R9, MaxArguments+1, loop)
	b.Bind(last)
	b.Imm(prog.OpMov, asm.R8, 0)
	b.output(b.arguments, 0)
}

// readPointer emits R8 = element R9 of the list in a register.
func (b *builder) readPointer(register int) {
	b.StoreImm(prog.SizeDW, asm.R10, -8, 0)
	b.Load(prog.SizeDW, asm.R3, regCtx, argument(register))
	b.Reg(prog.OpMov, asm.R1, asm.R9)
	b.Imm(prog.OpLsh, asm.R1, 3)
	b.Reg(prog.OpAdd, asm.R3, asm.R1)
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, -8)
	b.Imm32(prog.OpMov, asm.R2, 8)
	b.Call(helper.ProbeReadUser)
	b.If(prog.OpJne, asm.R0, 0, b.allow)
	b.Load(prog.SizeDW, asm.R8, asm.R10, -8)
}

// readArgument emits that as much of the text at R8 as counts is in scratch, and R8 is the length
// of that.
func (b *builder) readArgument() {
	short := b.Label()
	b.Value(asm.R1, b.scratch, Front)
	b.Imm32(prog.OpMov, asm.R2, maxLong+1)
	b.Reg(prog.OpMov, asm.R3, asm.R8)
	b.Call(helper.ProbeReadUserStr)
	b.Reg(prog.OpMov, asm.R8, asm.R0)
	b.Imm(prog.OpSub, asm.R0, 1)
	b.If(prog.OpJgt, asm.R0, maxLong-1, b.allow)
	b.If(prog.OpJle, asm.R8, MaxText, short)
	b.Imm32(prog.OpMov, asm.R8, MaxText)
	b.Bind(short)
}

// output emits that R8 bytes of text become a record.
func (b *builder) output(m *prog.Map, index int) {
	b.Imm32(prog.OpMov, asm.R5, int32(index))
	b.outputAt(m, asm.R5)
}

// outputAt is output with the index in a register.
func (b *builder) outputAt(m *prog.Map, index asm.Reg) {
	b.Value(asm.R2, b.scratch, 0)
	b.Store(prog.SizeW, asm.R2, 0, index)
	b.Store(prog.SizeW, asm.R2, 4, asm.R8)
	b.Map(asm.R1, m)
	b.Reg(prog.OpMov, asm.R3, asm.R8)
	b.Imm(prog.OpAdd, asm.R3, Front)
	b.Imm32(prog.OpMov, asm.R4, 0)
	b.Call(helper.RingbufOutput)
}

func (b *builder) answer(v abi.Verdict) {
	b.Imm32(prog.OpMov, asm.R0, int32(uint32(v)))
	b.Exit()
}
