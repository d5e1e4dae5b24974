package policy

import (
	"math"

	"portcullis/internal/helper"
	"portcullis/internal/policy/asm"
	"portcullis/internal/prog"
)

// What the function address says of one.
const (
	addressKnown   = iota
	addressNone    // of no family, which ends a connection, or left out where one is sent to
	addressOther   // of another family, or a name that may lead elsewhere
	addressInvalid // too short, or too long
	addressFault   // cannot be read
)

// Families of sockets.
const (
	afUnix  = 1
	afInet  = 2
	afInet6 = 10
)

// Places in the frame: an address as lists have it, and an argument.
const (
	frameAddress  = -160
	frameFamily   = frameAddress + 8*endpointWords
	framePort     = frameFamily + 4
	frameArgument = frameAddress
)

// address emits the test of a socket address against a list.
func (c *compiler) address(t *test, to exits, in registers) registers {
	b := &c.b
	if in.path != readAddress+t.arg {
		c.readAddress(t)
		in = registers{path: readAddress + t.arg}
	}
	for _, e := range t.addresses {
		if e.none {
			b.If(prog.OpJeq, regPath, addressNone, to.yes)
		}
	}
	if t.place == sent || t.place == inMessage {
		b.If(prog.OpJeq, regPath, addressNone, to.no)
	}
	c.everySocket(t, to)
	b.If(prog.OpJne, regPath, addressKnown, to.unknown)
	for _, e := range t.addresses {
		if !e.none {
			other := b.Label()
			c.endpoint(e, other)
			b.Jump(to.yes)
			b.Bind(other)
		}
	}
	b.Jump(to.no)
	return in
}

// everySocket emits a jump to yes for Unix sockets, if an entry takes all: then it does not
// matter what their names lead to.
func (c *compiler) everySocket(t *test, to exits) {
	for _, e := range t.addresses {
		if e.family == afUnix && e.bits == 0 && e.low == 0 && e.high == math.MaxUint16 {
			c.b.Load(prog.SizeW, asm.R1, asm.R10, frameFamily)
			c.b.If(prog.OpJeq, asm.R1, afUnix, to.yes)
			return
		}
	}
}

// readAddress emits that the frame holds an address and R8 what the function says of it.
func (c *compiler) readAddress(t *test) {
	b := &c.b
	read := b.Label()
	c.findAddress(t, read)
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, frameAddress)
	none := int32(afInet) // what no family is taken for
	if t.place == connected {
		none = 0
	}
	for i := int16(0); i < endpointWords+1; i++ {
		b.StoreImm(prog.SizeDW, asm.R10, frameAddress+8*i, 0)
	}
	b.Imm32(prog.OpMov, asm.R4, none)
	b.CallFunc(c.function("address", c.addressFunction))
	b.Reg(prog.OpMov, regPath, asm.R0)
	b.If(prog.OpJeq, regPath, addressInvalid, c.fails(BadAddress, t.pos))
	b.If(prog.OpJeq, regPath, addressFault, c.fails(Unreadable, t.pos))
	b.Bind(read)
}

// findAddress emits that R2 holds where an address is and R3 how long it is, or a jump with
// R8 = addressNone where it is left out.
func (c *compiler) findAddress(t *test, none asm.Label) {
	b := &c.b
	if t.place == inMessage {
		c.findInMessage(t, none)
		return
	}
	b.Load(prog.SizeDW, asm.R2, regCtx, int16(offArgs+8*t.arg))
	b.Load(prog.SizeW, asm.R3, regCtx, int16(offArgs+8*t.length))
	if t.place == sent {
		b.Imm32(prog.OpMov, regPath, addressNone)
		b.If(prog.OpJeq, asm.R2, 0, none)
	}
}

// findInMessage emits the same for the address of a struct msghdr.
func (c *compiler) findInMessage(t *test, none asm.Label) {
	const most = 128 // is what the kernel takes of a longer one
	b := &c.b
	b.StoreImm(prog.SizeDW, asm.R10, frameAddress, 0)
	b.StoreImm(prog.SizeDW, asm.R10, frameAddress+8, 0)
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, frameAddress)
	b.Imm32(prog.OpMov, asm.R2, 16)
	b.Load(prog.SizeDW, asm.R3, regCtx, int16(offArgs+8*t.arg))
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, c.fails(Unreadable, t.pos))
	b.Imm32(prog.OpMov, regPath, addressNone)
	b.Load(prog.SizeDW, asm.R2, asm.R10, frameAddress)
	b.If(prog.OpJeq, asm.R2, 0, none)
	b.Load(prog.SizeW, asm.R3, asm.R10, frameAddress+8)
	b.If(prog.OpJeq, asm.R3, 0, none)
	short := b.Label()
	b.If(prog.OpJle, asm.R3, most, short)
	b.Imm32(prog.OpMov, asm.R3, most)
	b.Bind(short)
}

// endpoint emits a jump to other unless an entry takes the address.
func (c *compiler) endpoint(e endpoint, other asm.Label) {
	b := &c.b
	b.Load(prog.SizeW, asm.R1, asm.R10, frameFamily)
	b.If(prog.OpJne, asm.R1, int32(e.family), other)
	if e.low > 0 || e.high < math.MaxUint16 {
		b.Load(prog.SizeW, asm.R1, asm.R10, framePort)
		if e.low > 0 && e.low < e.high {
			b.If(prog.OpJlt, asm.R1, int32(e.low), other)
		}
		if e.low == e.high {
			b.If(prog.OpJne, asm.R1, int32(e.low), other)
		} else if e.high < math.MaxUint16 {
			b.If(prog.OpJgt, asm.R1, int32(e.high), other)
		}
	}
	for at := 0; at < int(e.bits); at += 64 {
		w := word([]byte(e.addr[at/8 : at/8+8]))
		b.Load(prog.SizeDW, asm.R1, asm.R10, frameAddress+int16(at/8))
		if left := int(e.bits) - at; left < 64 {
			mask := leading(left)
			b.Const(asm.R2, mask)
			b.Reg(prog.OpAnd, asm.R1, asm.R2)
			w &= mask
		}
		b.Const(asm.R2, w)
		b.IfReg(prog.OpJne, asm.R1, asm.R2, other)
	}
}

// leading are the first bits of a word, in the order in which they are sent.
func leading(bits int) uint64 {
	var m [8]byte
	for i := 0; i < bits; i++ {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return word(m[:])
}

// addressFunction emits the function that reads an address of R3 bytes to R1 from R2, and is
// told by R4 what no family is. There are zeroes at R1.
func (c *compiler) addressFunction() {
	b := &c.b
	invalid, fault := b.Label(), b.Label()
	b.Reg(prog.OpMov, asm.R6, asm.R1)
	b.Reg(prog.OpMov, asm.R7, asm.R2)
	b.Reg(prog.OpMov, asm.R8, asm.R3)
	b.Reg(prog.OpMov, asm.R9, asm.R4)
	b.If(prog.OpJlt, asm.R8, 2, invalid)
	b.If(prog.OpJgt, asm.R8, 128, invalid)
	c.readFront(2, fault)
	b.Load(prog.SizeH, asm.R1, asm.R10, -8)
	have := b.Label()
	b.If(prog.OpJne, asm.R1, 0, have)
	b.Reg(prog.OpMov, asm.R1, asm.R9)
	b.Bind(have)
	b.Store(prog.SizeW, asm.R6, frameFamily-frameAddress, asm.R1)
	unix, inet6 := b.Label(), b.Label()
	b.If(prog.OpJeq, asm.R1, afUnix, unix)
	b.If(prog.OpJeq, asm.R1, afInet6, inet6)
	none, other := b.Label(), b.Label()
	b.If(prog.OpJeq, asm.R1, 0, none)
	b.If(prog.OpJne, asm.R1, afInet, other)
	b.If(prog.OpJlt, asm.R8, 16, invalid)
	c.readInet(fault)
	b.Store(prog.SizeDW, asm.R6, 0, asm.R1)
	c.returnValue(addressKnown)
	b.Bind(inet6)
	c.readInet6(invalid, fault)
	b.Bind(unix)
	c.readUnix(invalid, fault, other)
	b.Bind(none)
	c.returnValue(addressNone)
	b.Bind(other)
	c.returnValue(addressOther)
	b.Bind(invalid)
	c.returnValue(addressInvalid)
	b.Bind(fault)
	c.returnValue(addressFault)
}

// readFront emits a read of the first bytes of an address to the frame.
func (c *compiler) readFront(size int32, fault asm.Label) {
	b := &c.b
	b.StoreImm(prog.SizeDW, asm.R10, -8, 0)
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, -8)
	b.Imm32(prog.OpMov, asm.R2, size)
	b.Reg(prog.OpMov, asm.R3, asm.R7)
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, fault)
}

// readInet emits a read of family, port and four bytes more, which R1 holds.
func (c *compiler) readInet(fault asm.Label) {
	b := &c.b
	c.readFront(8, fault)
	b.Load(prog.SizeH, asm.R1, asm.R10, -6)
	b.Swap(asm.R1, 16)
	b.Store(prog.SizeW, asm.R6, framePort-frameAddress, asm.R1)
	b.Load(prog.SizeW, asm.R1, asm.R10, -4)
}

// readInet6 emits a read of an IPv6 address, which may be an IPv4 one in its clothes.
func (c *compiler) readInet6(invalid, fault asm.Label) {
	const mapped = 0xffff0000 // the middle of ::ffff:0.0.0.0
	b := &c.b
	known := b.Label()
	b.If(prog.OpJlt, asm.R8, 24, invalid)
	c.readInet(fault)
	b.Reg(prog.OpMov, asm.R1, asm.R6)
	b.Imm32(prog.OpMov, asm.R2, 16)
	b.Reg(prog.OpMov, asm.R3, asm.R7)
	b.Imm(prog.OpAdd, asm.R3, 8)
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, fault)
	b.Load(prog.SizeDW, asm.R1, asm.R6, 0)
	b.If(prog.OpJne, asm.R1, 0, known)
	b.Load(prog.SizeDW, asm.R1, asm.R6, 8)
	b.Reg32(prog.OpMov, asm.R2, asm.R1)
	b.Const(asm.R3, mapped)
	b.IfReg(prog.OpJne, asm.R2, asm.R3, known)
	b.Imm(prog.OpRsh, asm.R1, 32)
	b.Store(prog.SizeDW, asm.R6, 0, asm.R1)
	b.StoreImm(prog.SizeDW, asm.R6, 8, 0)
	b.StoreImm(prog.SizeW, asm.R6, frameFamily-frameAddress, afInet)
	b.Bind(known)
	c.returnValue(addressKnown)
}

// unixMax is the size of struct sockaddr_un.
const unixMax = 110

// readUnix emits a read of the name of a Unix socket. One in the file system has to be spelled
// in the one way in which entries are, or it may be that of an entry, or not be it.
func (c *compiler) readUnix(invalid, fault, other asm.Label) {
	b := &c.b
	b.If(prog.OpJgt, asm.R8, unixMax, invalid)
	b.Store(prog.SizeW, asm.R6, framePort-frameAddress, asm.R8)
	b.Reg(prog.OpMov, asm.R1, asm.R6)
	b.Reg(prog.OpMov, asm.R2, asm.R8)
	b.Imm(prog.OpSub, asm.R2, 2)
	b.Reg(prog.OpMov, asm.R3, asm.R7)
	b.Imm(prog.OpAdd, asm.R3, 2)
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, fault)
	b.Load(prog.SizeB, asm.R1, asm.R6, 0)
	known := b.Label()
	b.If(prog.OpJeq, asm.R1, 0, known) // an abstract name
	b.If(prog.OpJne, asm.R1, '/', other)
	for _, dir := range []string{"/proc/", "/dev/fd"} { // links to what is open
		b.Load(prog.SizeDW, asm.R1, asm.R6, 0)
		b.Imm(prog.OpLsh, asm.R1, int32(64-8*len(dir)))
		b.Const(asm.R2, word([]byte(dir))<<(64-8*len(dir)))
		b.IfReg(prog.OpJeq, asm.R1, asm.R2, other)
	}
	c.components(known, other)
	b.Bind(known)
	c.returnValue(addressKnown)
}

// components emits a jump to odd for a name at R6 with components that are empty, "." or
// begin with "..". What is behind its end does not matter.
func (c *compiler) components(end, odd asm.Label) {
	b := &c.b
	loop := b.Label()
	b.Imm32(prog.OpMov, asm.R5, 0)
	b.Bind(loop)
	b.Load(prog.SizeB, asm.R1, asm.R6, 0)
	b.If(prog.OpJeq, asm.R1, 0, end)
	b.Imm(prog.OpXor, asm.R1, '/') // each is 0 where it is what is looked for
	b.Load(prog.SizeB, asm.R2, asm.R6, 1)
	b.Reg(prog.OpMov, asm.R3, asm.R2)
	b.Imm(prog.OpXor, asm.R2, '/')
	b.Reg(prog.OpOr, asm.R2, asm.R1)
	b.Imm(prog.OpXor, asm.R3, '.')
	b.Reg(prog.OpOr, asm.R3, asm.R1)
	b.Load(prog.SizeB, asm.R1, asm.R6, 2)
	b.Reg(prog.OpMov, asm.R4, asm.R1)
	b.Imm(prog.OpOr, asm.R4, 1) // a slash and a dot differ in one bit
	b.Imm(prog.OpXor, asm.R4, '/')
	b.Reg(prog.OpMul, asm.R1, asm.R4) // its end, a slash or a dot
	b.Reg(prog.OpOr, asm.R1, asm.R3)
	b.Reg(prog.OpMul, asm.R1, asm.R2)
	b.If(prog.OpJeq, asm.R1, 0, odd)
	b.Imm(prog.OpAdd, asm.R6, 1)
	b.Imm(prog.OpAdd, asm.R5, 1)
	b.If(prog.OpJlt, asm.R5, unixMax-3, loop)
}

// What the function argument says of one.
const (
	argumentThere = iota
	argumentNone
	argumentLong
	argumentFault
)

// arguments emits the test of the arguments behind a program's name.
func (c *compiler) arguments(t *test, to exits) registers {
	b := &c.b
	held := 0 // the argument in the frame where a list begins
	for _, list := range t.argv {
		other := b.Label()
		for i, text := range list {
			if held != i+1 {
				c.readArgument(t, i+1)
			}
			if held = i + 1; text != "*" {
				c.isArgument(text, other)
			} else {
				b.If(prog.OpJeq, regPath, argumentNone, other)
			}
			if i+1 < len(list) {
				held = 0
			}
		}
		b.Jump(to.yes)
		b.Bind(other)
		if len(list) > 1 {
			held = 0 // it may be any of them
		}
	}
	b.Jump(to.no)
	return registers{}
}

// readArgument emits that the frame holds an argument and R8 what there is.
func (c *compiler) readArgument(t *test, i int) {
	b := &c.b
	for at := int16(0); at < 64; at += 8 {
		b.StoreImm(prog.SizeDW, asm.R10, frameArgument+at, 0)
	}
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, frameArgument)
	b.Load(prog.SizeDW, asm.R2, regCtx, int16(offArgs+8*t.arg))
	b.Imm32(prog.OpMov, asm.R3, int32(i))
	b.CallFunc(c.function("argument", c.argumentFunction))
	b.Reg(prog.OpMov, regPath, asm.R0)
	b.If(prog.OpJeq, regPath, argumentFault, c.fails(Unreadable, t.pos))
}

// isArgument emits a jump to other unless the argument in the frame is a text.
func (c *compiler) isArgument(text string, other asm.Label) {
	b := &c.b
	b.If(prog.OpJne, regPath, argumentThere, other)
	var bytes [64]byte
	copy(bytes[:], text)
	for at := 0; at <= len(text); at += 8 {
		b.Load(prog.SizeDW, asm.R1, asm.R10, frameArgument+int16(at))
		b.Const(asm.R2, word(bytes[at:at+8]))
		b.IfReg(prog.OpJne, asm.R1, asm.R2, other)
	}
}

// argumentFunction emits the function that reads argument R3 of the list at R2 to R1, where
// there are 64 zeroes. It is read byte by byte: a read of more than there is fails, and then
// so does the call.
func (c *compiler) argumentFunction() {
	b := &c.b
	b.Reg(prog.OpMov, asm.R6, asm.R1)
	b.Reg(prog.OpMov, asm.R7, asm.R2)
	b.Imm(prog.OpLsh, asm.R3, 3)
	// Arguments in front of it are there: else the list ends before.
	b.Reg(prog.OpMov, asm.R8, asm.R3)
	none, fault, there, loop := b.Label(), b.Label(), b.Label(), b.Label()
	b.Imm32(prog.OpMov, asm.R9, 0)
	front := b.Label()
	b.Bind(front)
	c.readNumber(prog.SizeDW, 8, fault)
	b.If(prog.OpJeq, asm.R1, 0, none)
	b.Imm(prog.OpAdd, asm.R7, 8)
	b.Imm(prog.OpAdd, asm.R9, 8)
	b.If(prog.OpJgt, asm.R9, 8*maxArguments, loop)
	b.IfReg(prog.OpJle, asm.R9, asm.R8, front)
	b.Bind(loop)
	b.Reg(prog.OpMov, asm.R7, asm.R1)
	b.Imm32(prog.OpMov, asm.R8, 0)
	again := b.Label()
	b.Bind(again)
	c.readNumber(prog.SizeB, 1, fault)
	b.Store(prog.SizeB, asm.R6, 0, asm.R1)
	b.If(prog.OpJeq, asm.R1, 0, there)
	b.Imm(prog.OpAdd, asm.R6, 1)
	b.Imm(prog.OpAdd, asm.R7, 1)
	b.Imm(prog.OpAdd, asm.R8, 1)
	b.If(prog.OpJlt, asm.R8, 64, again)
	c.returnValue(argumentLong)
	b.Bind(there)
	c.returnValue(argumentThere)
	b.Bind(none)
	c.returnValue(argumentNone)
	b.Bind(fault)
	c.returnValue(argumentFault)
}

// readNumber emits R1 = what stands at R7, a number of a size of so many bytes.
func (c *compiler) readNumber(size uint8, bytes int32, fault asm.Label) {
	b := &c.b
	b.StoreImm(prog.SizeDW, asm.R10, -8, 0)
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, -8)
	b.Imm32(prog.OpMov, asm.R2, bytes)
	b.Reg(prog.OpMov, asm.R3, asm.R7)
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, fault)
	b.Load(size, asm.R1, asm.R10, -8)
}
