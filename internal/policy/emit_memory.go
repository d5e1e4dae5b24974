package policy

import (
	"portcullis/internal/helper"
	"portcullis/internal/policy/asm"
	"portcullis/internal/prog"
)

// What the function path says of a path.
const (
	pathPlain    = iota // absolute, and nothing in it leads elsewhere but links that are there
	pathMagic           // absolute, and may go through a link of /proc or /dev to what is open
	pathRelative        // below a directory
	pathEmpty           // no path: the descriptor in front of it
	pathOdd             // with .., or empty components, or too long to be looked through
	pathTooLong         // for the kernel, too
	pathFault           // cannot be read
)

// room is how many bytes of a path are read, scanned how many are looked through.
const (
	room    = 4096
	scanned = 1024
	turn    = 32
)

// text memory: the bytes, and as much behind them as is read at once.
func (c *compiler) memoryOf() *prog.Map {
	if c.scratch == nil {
		c.scratch = storage("scratch", 0)
		c.scratch.ValueSize = room + turn + 16
	}
	return c.scratch
}

// Kinds of what registers.path is about, for an argument to be added to.
const (
	readPath    = 1
	readText    = 11
	readAddress = 21
)

// read emits that R9 points to the bytes of an argument and R8 holds what a function says of
// them, unless that is so.
func (c *compiler) read(t *test, kind int, f asm.Label, in registers) registers {
	if in.path == kind+t.arg {
		return in
	}
	b := &c.b
	c.taskStorage(c.memoryOf(), helper.StorageThread, t.pos)
	b.Reg(prog.OpMov, regBytes, asm.R0)
	b.Reg(prog.OpMov, asm.R1, asm.R0)
	b.Load(prog.SizeDW, asm.R2, regCtx, int16(offArgs+8*t.arg))
	b.CallFunc(f)
	b.Reg(prog.OpMov, regPath, asm.R0)
	b.If(prog.OpJeq, regPath, pathTooLong, c.fails(TooLong, t.pos))
	b.If(prog.OpJeq, regPath, pathFault, c.fails(Unreadable, t.pos))
	return registers{path: kind + t.arg}
}

// path emits the test of a path against a list.
func (c *compiler) path(t *test, to exits, in registers) registers {
	b := &c.b
	in = c.readPath(t, in)
	c.notAbsolute(t, to)
	under := b.Label()
	for _, p := range t.paths {
		other := b.Label()
		switch p.kind {
		case begins:
			c.literal(p.text, other)
			b.Jump(under)
		case below:
			c.literal(p.text, other)
			b.Load(prog.SizeB, asm.R1, regBytes, int16(len(p.text)))
			b.If(prog.OpJne, asm.R1, 0, under)
		case exact:
			c.literal(p.text, other)
			b.Load(prog.SizeB, asm.R1, regBytes, int16(len(p.text)))
			b.If(prog.OpJeq, asm.R1, 0, to.yes)
			b.If(prog.OpJne, asm.R1, '/', other)
			b.Load(prog.SizeB, asm.R1, regBytes, int16(len(p.text)+1))
			b.If(prog.OpJeq, asm.R1, 0, to.unknown) // a directory, or where a link leads
		case exactOrBelow:
			c.literal(p.text, other)
			b.Load(prog.SizeB, asm.R1, regBytes, int16(len(p.text)))
			b.If(prog.OpJeq, asm.R1, 0, to.yes)
			b.If(prog.OpJeq, asm.R1, '/', under)
		}
		b.Bind(other)
	}
	b.If(prog.OpJne, regPath, pathPlain, to.unknown)
	b.Jump(to.no)
	if b.Used(under) {
		b.Bind(under)
		b.If(prog.OpJne, regPath, pathPlain, to.unknown)
		b.Jump(to.yes)
	}
	return in
}

// readPath is read of a path, which may be left out where the kernel takes NULL for that.
func (c *compiler) readPath(t *test, in registers) registers {
	if in.path == readPath+t.arg {
		return in
	}
	done := c.b.Label()
	if t.optional {
		c.leftOut(t, done)
	}
	in = c.read(t, readPath, c.function("path", c.pathFunction), in)
	if t.how != noHow {
		c.resolves(t)
	}
	c.b.Bind(done)
	return in
}

// leftOut emits a jump with R8 = pathEmpty where there is no path. Of a directory that is the
// working one there has to be a path: the kernel reads at NULL then.
func (c *compiler) leftOut(t *test, done asm.Label) {
	b := &c.b
	there := b.Label()
	b.Load(prog.SizeDW, asm.R1, regCtx, int16(offArgs+8*t.arg))
	b.If(prog.OpJne, asm.R1, 0, there)
	if t.dirfd != noDirectory {
		b.Load(prog.SizeW, asm.R1, regCtx, int16(offArgs+8*t.dirfd))
		b.If32(prog.OpJeq, asm.R1, atFDCWD, there)
	}
	b.Imm32(prog.OpMov, regPath, pathEmpty)
	b.Jump(done)
	b.Bind(there)
}

// resolves emits that the path of an openat2 is taken for odd where it is looked up below its
// directory, though it begins with a slash.
func (c *compiler) resolves(t *test) {
	const resolve, inRoot = 16, 0x10 // in struct open_how: RESOLVE_IN_ROOT
	b := &c.b
	usual := b.Label()
	b.StoreImm(prog.SizeDW, asm.R10, frameTime, 0)
	b.Reg(prog.OpMov, asm.R1, asm.R10)
	b.Imm(prog.OpAdd, asm.R1, frameTime)
	b.Imm32(prog.OpMov, asm.R2, 8)
	b.Load(prog.SizeDW, asm.R3, regCtx, int16(offArgs+8*t.how))
	b.Imm(prog.OpAdd, asm.R3, resolve)
	b.Call(helper.SafeReadUser)
	b.If(prog.OpJne, asm.R0, 0, c.fails(Unreadable, t.pos))
	b.Load(prog.SizeDW, asm.R1, asm.R10, frameTime)
	b.Imm(prog.OpAnd, asm.R1, inRoot)
	b.If(prog.OpJeq, asm.R1, 0, usual)
	b.Imm32(prog.OpMov, regPath, pathOdd)
	b.Bind(usual)
}

// notAbsolute emits what becomes of paths that no entry with a slash in front takes.
func (c *compiler) notAbsolute(t *test, to exits) {
	b := &c.b
	var has [empty + 1]bool
	for _, p := range t.paths {
		has[p.kind] = true
	}
	if has[empty] {
		b.If(prog.OpJeq, regPath, pathEmpty, to.yes)
	}
	if has[relative] && t.dirfd == noDirectory {
		b.If(prog.OpJeq, regPath, pathRelative, to.yes)
	} else if has[relative] {
		other := b.Label()
		b.If(prog.OpJne, regPath, pathRelative, other)
		b.Load(prog.SizeW, asm.R1, regCtx, int16(offArgs+8*t.dirfd))
		b.If32(prog.OpJeq, asm.R1, atFDCWD, to.yes)
		b.Bind(other)
	}
	b.If(prog.OpJgt, regPath, pathMagic, to.unknown)
}

// atFDCWD is AT_FDCWD.
const atFDCWD = -100

// literal emits a jump to other unless the bytes at R9 begin with a text. What is behind the
// end of a shorter path does not matter: its NUL differs.
func (c *compiler) literal(text string, other asm.Label) {
	for at := 0; at < len(text); at += 8 {
		part := text[at:min(at+8, len(text))]
		c.b.Load(prog.SizeDW, asm.R1, regBytes, int16(at))
		w := word([]byte(part))
		if n := len(part); n < 8 {
			c.b.Imm(prog.OpLsh, asm.R1, int32(64-8*n))
			w <<= 64 - 8*n
		}
		c.b.Const(asm.R2, w)
		c.b.IfReg(prog.OpJne, asm.R1, asm.R2, other)
	}
}

// Words of eight equal bytes.
const (
	eachByte = 0x0101010101010101
	lowBits  = 0x7f * eachByte
	highBits = 0x80 * eachByte
	slashes  = '/' * eachByte
)

// pathFunction emits the function that reads a path to R1 from R2, and says what it is.
func (c *compiler) pathFunction() {
	b := &c.b
	b.Reg(prog.OpMov, asm.R6, asm.R1)
	fault := b.Label()
	c.readString(fault)
	// Zeroes follow the path, as far as it is looked at.
	b.Reg(prog.OpMov, asm.R1, asm.R6)
	b.Reg(prog.OpAdd, asm.R1, asm.R0)
	for at := int16(0); at <= turn; at += 8 {
		b.StoreImm(prog.SizeDW, asm.R1, at, 0)
	}
	odd, plain := b.Label(), b.Label()
	c.scan(odd)
	c.magic(odd, plain)
	c.result(plain, pathPlain)
	c.result(odd, pathOdd)
	b.Bind(fault)
	c.readFailed()
}

// result emits the end of a function at a label.
func (c *compiler) result(at asm.Label, v int32) {
	if c.b.Used(at) {
		c.b.Bind(at)
		c.returnValue(v)
	}
}

func (c *compiler) returnValue(v int32) {
	c.b.Imm32(prog.OpMov, asm.R0, v)
	c.b.Exit()
}

// readString emits R0 = the length of the string at R2, which is read to R6, or a jump.
func (c *compiler) readString(fault asm.Label) {
	b := &c.b
	b.Reg(prog.OpMov, asm.R3, asm.R2)
	b.Imm32(prog.OpMov, asm.R2, room)
	b.Call(helper.SafeReadUserStr)
	b.Imm(prog.OpSub, asm.R0, 1)
	b.If(prog.OpJgt, asm.R0, room-1, fault)
}

// readFailed emits the end for R0, an error less 1.
func (c *compiler) readFailed() {
	const e2big = 7
	b := &c.b
	long := b.Label()
	b.If(prog.OpJeq, asm.R0, -e2big-1, long)
	c.returnValue(pathFault)
	b.Bind(long)
	c.returnValue(pathTooLong)
}

// Places in the frame of the function path.
const (
	frameLength = -8
	framePath   = -16
)

// scan emits a jump to odd for a path of R0 bytes at R6 that is too long, or has components
// that are empty, "." or begin with "..": each character is looked at with the two behind
// it, eight at a time, and whether there are more is asked once in a turn: to the proof each
// of those tests is a way of its own.
func (c *compiler) scan(odd asm.Label) {
	b := &c.b
	b.If(prog.OpJge, asm.R0, scanned, odd)
	b.Store(prog.SizeDW, asm.R10, frameLength, asm.R0)
	b.Store(prog.SizeDW, asm.R10, framePath, asm.R6)
	b.Reg(prog.OpMov, asm.R2, asm.R6)
	b.Imm32(prog.OpMov, asm.R3, 0)
	b.Imm(prog.OpMov, asm.R4, -1) // has the high bit of a byte as long as nothing was found there
	b.Const(asm.R5, eachByte)
	b.Const(asm.R8, slashes)
	b.Const(asm.R9, lowBits)
	loop, done := b.Label(), b.Label()
	b.Bind(loop)
	for at := int16(0); at < turn; at += 8 {
		c.scanWord(at)
	}
	b.Imm(prog.OpAdd, asm.R2, turn)
	b.Imm(prog.OpAdd, asm.R3, turn)
	b.Load(prog.SizeDW, asm.R7, asm.R10, frameLength)
	b.IfReg(prog.OpJge, asm.R3, asm.R7, done)
	b.If(prog.OpJlt, asm.R3, scanned, loop)
	b.Jump(odd) // for the proof: it is shorter
	b.Bind(done)
	b.Load(prog.SizeDW, asm.R6, asm.R10, framePath)
	b.Const(asm.R5, highBits)
	b.Reg(prog.OpAnd, asm.R4, asm.R5)
	b.IfReg(prog.OpJne, asm.R4, asm.R5, odd)
}

// scanWord emits the look at the word at R2 + at.
func (c *compiler) scanWord(at int16) {
	b := &c.b
	b.Load(prog.SizeDW, asm.R0, asm.R2, at)
	b.Reg(prog.OpXor, asm.R0, asm.R8)
	b.Load(prog.SizeDW, asm.R1, asm.R2, at+1)
	b.Reg(prog.OpXor, asm.R1, asm.R8)
	b.Reg(prog.OpMov, asm.R6, asm.R0)
	b.Reg(prog.OpOr, asm.R6, asm.R1)
	c.nonzero(asm.R6) // "//"
	b.Reg(prog.OpXor, asm.R1, asm.R5)
	b.Reg(prog.OpOr, asm.R0, asm.R1) // "/.": a slash and a dot differ in one bit
	b.Load(prog.SizeDW, asm.R6, asm.R2, at+2)
	b.Reg(prog.OpMov, asm.R1, asm.R0)
	b.Reg(prog.OpOr, asm.R1, asm.R6)
	c.nonzero(asm.R1) // with nothing behind it
	b.Reg(prog.OpXor, asm.R6, asm.R8)
	b.Reg(prog.OpMov, asm.R1, asm.R5)
	b.Imm(prog.OpXor, asm.R1, -1)
	b.Reg(prog.OpAnd, asm.R6, asm.R1)
	b.Reg(prog.OpOr, asm.R6, asm.R0)
	c.nonzero(asm.R6) // with a slash or a dot behind it
}

// nonzero emits that R4 keeps its high bits where a byte of r is not 0. R9 is low, R7 free.
func (c *compiler) nonzero(r asm.Reg) {
	c.b.Reg(prog.OpMov, asm.R7, r)
	c.b.Reg(prog.OpAnd, asm.R7, asm.R9)
	c.b.Reg(prog.OpAdd, asm.R7, asm.R9)
	c.b.Reg(prog.OpOr, asm.R7, r)
	c.b.Reg(prog.OpAnd, asm.R4, asm.R7)
}

// magic emits what kind of path there is at R6, but for plain ones, which are jumped to.
// Below /proc, where processes have links to what they have open, it knows "self" alone:
// those of other processes and of threads may all be such links. Below /dev there are links
// to those.
func (c *compiler) magic(odd, plain asm.Label) {
	b := &c.b
	absolute, proc, dev, self, magic := b.Label(), b.Label(), b.Label(), b.Label(), b.Label()
	b.Load(prog.SizeB, asm.R1, asm.R6, 0)
	b.If(prog.OpJeq, asm.R1, '/', absolute)
	empty := b.Label()
	b.If(prog.OpJeq, asm.R1, 0, empty)
	b.Load(prog.SizeH, asm.R1, asm.R6, 0)
	b.If(prog.OpJeq, asm.R1, '.'|'.'<<8, odd)
	c.returnValue(pathRelative)
	b.Bind(empty)
	c.returnValue(pathEmpty)
	b.Bind(absolute)
	c.ifBegins(0, "/proc/", proc)
	c.ifBegins(0, "/dev/", dev)
	b.Jump(plain)
	b.Bind(dev)
	for _, name := range []string{"fd\x00", "fd/", "std"} {
		c.ifBegins(5, name, magic)
	}
	b.Jump(plain)
	b.Bind(proc)
	c.ifBegins(6, "self/", self)
	c.ifBegins(6, "thread-s", magic)
	b.Load(prog.SizeB, asm.R1, asm.R6, 6)
	b.Imm(prog.OpSub, asm.R1, '0')
	b.If(prog.OpJgt, asm.R1, 9, plain)
	b.Jump(magic)
	b.Bind(self)
	for _, name := range []string{"fd\x00", "fd/", "cwd", "exe", "root", "map_", "task"} {
		c.ifBegins(11, name, magic)
	}
	b.Jump(plain)
	b.Bind(magic)
	c.returnValue(pathMagic)
}

// ifBegins emits a jump to l where the bytes at R6 + at begin with a text.
func (c *compiler) ifBegins(at int16, text string, l asm.Label) {
	c.b.Load(prog.SizeDW, asm.R1, asm.R6, at)
	w := word([]byte(text))
	if n := len(text); n < 8 {
		c.b.Imm(prog.OpLsh, asm.R1, int32(64-8*n))
		w <<= 64 - 8*n
	}
	c.b.Const(asm.R2, w)
	c.b.IfReg(prog.OpJeq, asm.R1, asm.R2, l)
}

// memory emits the tests of memory other than paths.
func (c *compiler) memory(t *test, to exits, in registers) registers {
	switch t.subject {
	case Text:
		return c.text(t, to, in)
	case Address:
		return c.address(t, to, in)
	}
	return c.arguments(t, to)
}

// text emits the test of a text against a list. NULL is none of them where it is no text.
func (c *compiler) text(t *test, to exits, in registers) registers {
	if t.optional {
		c.b.Load(prog.SizeDW, asm.R1, regCtx, int16(offArgs+8*t.arg))
		c.b.If(prog.OpJeq, asm.R1, 0, to.no) // nothing is there to be read
	}
	in = c.read(t, readText, c.function("text", c.textFunction), in)
	for _, text := range t.texts {
		other := c.b.Label()
		if n := len(text) - 1; text[n] == '*' {
			c.literal(text[:n], other)
		} else {
			c.literal(text+"\x00", other)
		}
		c.b.Jump(to.yes)
		c.b.Bind(other)
	}
	c.b.Jump(to.no)
	if t.optional {
		return registers{} // where it is NULL it was not read
	}
	return in
}

// textFunction emits the function that reads a text to R1 from R2.
func (c *compiler) textFunction() {
	b := &c.b
	b.Reg(prog.OpMov, asm.R6, asm.R1)
	fault := b.Label()
	c.readString(fault)
	c.returnValue(pathPlain)
	b.Bind(fault)
	c.readFailed()
}
