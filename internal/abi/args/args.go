// Package args says what the argument registers of every x86-64 system call
// hold: a number, or memory that the kernel reads, writes or keeps, how long it
// is, and whether it may be pinned, which is copied before a decision and put in
// the place of the original.
//
// The table describes what the kernel does, from its SYSCALL_DEFINEs and uapi
// headers (Linux 6.12, and for newer calls the release that brought them); each
// group names its file. It errs on one side: an argument it calls pinnable is
// read by the kernel and by nothing after the call. A length that is too short
// makes the kernel find zeros or a fault behind the copy, never memory that
// somebody can change, so the one mistake that would loosen a decision is to call
// pinnable what the kernel keeps.
//
// Whoever makes the copy must heed three things. A length found in memory (Sized,
// Msghdr, Iovec) is read once and used as read, also in the copy. Buffers keep
// their offset within a page, as direct I/O asks for alignment. And the copy is
// of the bytes that were there: addresses inside it are not followed, except
// those that the shape names.
package args

import "portcullis/internal/abi/syscalls"

//go:generate go run ./gen -C ../../..

// MaxPin is how many bytes a call may pin in all, strings with a limit of their
// own aside.
const MaxPin = 64 << 10

// Shape is how an argument is laid out.
type Shape uint8

// The shapes. The fields of Arg that a shape uses are in brackets.
const (
	// None is no argument: the call takes fewer.
	None Shape = iota
	// Value is a number of [Size] bytes; the kernel ignores the rest of the register.
	Value
	// Memory is memory whose size is not given, as it is never pinned.
	Memory
	// String ends at its first NUL. The kernel looks at [Max] bytes at most, with
	// the NUL, and has its own error for a longer one or cuts it; 0 is no limit.
	String
	// Struct is [Size] bytes.
	Struct
	// Array is [Size] bytes, usually none, and [Unit] bytes [Count] times.
	Array
	// Nodes is a set of memory nodes: one bit less than [Count] says, in whole
	// 64-bit words (get_nodes in mm/mempolicy.c).
	Nodes
	// Sized starts with a 32-bit number of bytes, and is as long as that and [Size].
	Sized
	// Readable is as much of [Max] bytes as can be read; the kernel takes zeros for
	// the rest (copy_mount_options in fs/namespace.c).
	Readable
	// Strings is an array of addresses of strings, the last of them 0: argv.
	Strings
	// Iovec is [Count] of struct iovec, [Unit] bytes each: the address of a buffer and
	// its length, 64 bits each. [Data] is what happens to the buffers.
	Iovec
	// Msghdr is a struct msghdr of [Size] bytes. Behind it, all of them read by the
	// kernel: msg_name at offset 0, msg_namelen (32 bits, of which the kernel takes
	// 128 at most) at 8; msg_iov at 16, an Iovec of msg_iovlen at 24; msg_control at
	// 32, msg_controllen at 40. [Data] is what happens to the buffers of the Iovec.
	Msghdr
)

// Direction is what the kernel does with the memory.
type Direction uint8

// The directions.
const (
	// NoMemory belongs to None and Value.
	NoMemory Direction = iota
	// In is read during the call and never after it.
	In
	// Out is written.
	Out
	// InOut is read and written, or now the one and now the other.
	InOut
	// Kept is used after the call has returned.
	Kept
	// Address is not copied at all: what counts is where it is. A futex is one.
	Address
	// Unknown has its reason in Why.
	Unknown
)

// Count is the argument that holds a number of elements.
type Count struct {
	// Arg is its index.
	Arg uint8
	// Bytes is how much of the register the kernel looks at: 4 or 8. A caller may
	// leave anything in the rest of it.
	Bytes uint8
}

// of is the count that the kernel reads from the registers.
func (c Count) of(regs *[6]uint64) uint64 {
	if c.Bytes == 4 {
		return uint64(uint32(regs[c.Arg]))
	}
	return regs[c.Arg]
}

// Arg is what one argument register holds. Shape says which of the fields mean
// something.
type Arg struct {
	// Shape is the layout.
	Shape Shape
	// Dir is what the kernel does with the memory.
	Dir Direction
	// Data is what it does with the buffers behind an Iovec or Msghdr.
	Data Direction
	// Why is the reason of Unknown.
	Why Reason
	// Null tells that the kernel does not read at address 0, which then stands for
	// no argument or for an error. Where false, there may be memory at 0.
	Null bool
	// Count is where the number of elements is.
	Count Count
	// Size and Unit are in bytes.
	Size, Unit uint32
	// Max is the most bytes that the kernel reads. A call that names more is refused,
	// or cut. 0 is no limit of its own: then MaxPin is the limit of a pin.
	Max uint32
}

// Pinnable tells whether the argument may be pinned, and the reason why not.
func (a Arg) Pinnable() (Reason, bool) {
	why := a.reason()
	return why, why == MayPin
}

func (a Arg) reason() Reason {
	switch {
	case a.Shape == None:
		return NoArgument
	case a.Shape == Value:
		return NotPointer
	}
	switch a.Dir {
	case In:
		return MayPin
	case Out, InOut:
		return KernelWrites
	case Kept:
		return KernelKeeps
	case Address:
		return AddressCounts
	}
	return a.Why
}

// Bytes is how many bytes the registers make the argument long, at most Max
// where that is not 0. It is false for shapes whose length is not in registers:
// String, Sized, Readable, Strings, and what lies behind Iovec and Msghdr, for
// which it is that of the part in front.
func (a Arg) Bytes(regs [6]uint64) (uint64, bool) {
	var n uint64
	switch a.Shape {
	case Struct, Msghdr:
		n = uint64(a.Size)
	case Array, Iovec:
		n = add(uint64(a.Size), times(a.Count.of(&regs), uint64(a.Unit)))
	case Nodes:
		bits := a.Count.of(&regs) - 1 // 0 wraps around, and is refused for its size
		n = times(bits/64+(bits%64+63)/64, 8)
	default:
		return 0, false
	}
	if a.Max != 0 && n > uint64(a.Max) {
		n = uint64(a.Max)
	}
	return n, a.Shape != Iovec && a.Shape != Msghdr
}

// When is a test of another argument's value.
type When struct {
	// Arg is the index of the argument that is tested.
	Arg uint8
	// Mask selects the bits, Value is what they must be. A mask is never wider than
	// what the kernel looks at.
	Mask, Value uint64
}

// Holds tells whether the registers pass the test.
func (w When) Holds(regs [6]uint64) bool { return regs[w.Arg]&w.Mask == w.Value }

// Case is what an argument is where other arguments have certain values.
type Case struct {
	// Arg is the index of the argument that this is about.
	Arg uint8
	// When are tests that all hold.
	When []When
	// Is is what the argument then is.
	Is Arg
}

func (c Case) holds(regs [6]uint64) bool {
	for _, w := range c.When {
		if !w.Holds(regs) {
			return false
		}
	}
	return true
}

// Call is one system call.
type Call struct {
	// Nr is the x86-64 number and Name the kernel's name.
	Nr   uint32
	Name string
	// Args is what the arguments are where no case holds.
	Args [6]Arg
	// cases are in order of precedence.
	cases []Case
}

// Of is the call with that x86-64 number; false if the number has no name.
func Of(nr uint32) (Call, bool) {
	if nr >= uint32(len(index)) || index[nr] == 0 {
		return Call{}, false
	}
	at := int(index[nr]) - 1
	for _, group := range groups {
		if at < len(group) {
			c := group[at]
			c.Nr = nr
			return c, true
		}
		at -= len(group)
	}
	return Call{}, false
}

// All is every call, in the order of the table. The caller owns the slice.
func All() []Call {
	var all []Call
	for _, group := range groups {
		for _, c := range group {
			c.Nr, _ = syscalls.Number(c.Name)
			all = append(all, c)
		}
	}
	return all
}

// Cases are what arguments are where others have certain values: the first that
// holds decides. The caller owns the slice.
func (c Call) Cases() []Case {
	all := append([]Case(nil), c.cases...)
	for i := range all {
		all[i].When = append([]When(nil), all[i].When...)
	}
	return all
}

// Arity is the number of arguments.
func (c Call) Arity() int {
	n := 0
	for n < len(c.Args) && c.Args[n].Shape != None {
		n++
	}
	return n
}

// Arg is what argument i is in a call with these registers. It allocates nothing.
func (c Call) Arg(i int, regs [6]uint64) Arg {
	for _, k := range c.cases {
		if int(k.Arg) == i && k.holds(regs) {
			return k.Is
		}
	}
	return c.Args[i]
}

// Pinnable tells whether argument i may be pinned in some call: what can be said
// before there is one. Where it may not, the reason is that of calls for which no
// case holds.
func (c Call) Pinnable(i int) (Reason, bool) {
	for _, k := range c.cases {
		if int(k.Arg) == i && k.Is.reason() == MayPin {
			return MayPin, true
		}
	}
	return c.Args[i].Pinnable()
}

// AlwaysPinnable tells whether argument i may be pinned in every call.
func (c Call) AlwaysPinnable(i int) bool {
	for _, k := range c.cases {
		if int(k.Arg) == i && k.Is.reason() != MayPin {
			return false
		}
	}
	_, ok := c.Args[i].Pinnable()
	return ok
}

// times and add stop at the largest number instead of wrapping around: a count
// comes from the caller.
func times(a, b uint64) uint64 {
	if b != 0 && a > ^uint64(0)/b {
		return ^uint64(0)
	}
	return a * b
}

func add(a, b uint64) uint64 {
	if a > ^uint64(0)-b {
		return ^uint64(0)
	}
	return a + b
}
