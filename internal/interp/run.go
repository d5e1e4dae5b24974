package interp

import (
	"math/bits"

	"portcullis/internal/helper"
	"portcullis/internal/prog"
)

// offMask selects the offset of an address; the region is above it.
const offMask = 1<<32 - 1

// run executes the program from its first instruction and returns R0 and the
// instruction that best explains it, or false and the instruction that failed.
//
// It is one function because a call for each instruction would cost more than
// most instructions do. Loads and stores spell out their bytes for the same
// reason: in a function of this size the compiler inlines next to nothing.
func (m *Machine) run() (ret uint32, source int32, ok bool) {
	var (
		code = m.code
		r    = &m.r
		pc   uint32

		region, at uint64
		mem        []byte
	)
	for ; ; pc++ {
		in := &code[pc]
		w := in.w
		s := r[w>>20&15] + in.imm
		d := w >> 16 & 15
		if opcode(w) < opArithEnd {
			switch opcode(w) {
			case opMov:
				r[d] = s
			case opMovRet:
				r[d] = s
				m.why = int32(pc)
			case opAdd:
				r[d] += s
			case opSub:
				r[d] -= s
			case opMul:
				r[d] *= s
			case opDiv:
				if s == 0 {
					r[d] = 0
				} else {
					r[d] /= s
				}
			case opSdiv:
				if s == 0 {
					r[d] = 0
				} else {
					r[d] = uint64(int64(r[d]) / int64(s))
				}
			case opMod:
				if s != 0 {
					r[d] %= s
				}
			case opSmod:
				if s != 0 {
					r[d] = uint64(int64(r[d]) % int64(s))
				}
			case opOr:
				r[d] |= s
			case opAnd:
				r[d] &= s
			case opXor:
				r[d] ^= s
			case opLsh:
				r[d] <<= s & 63
			case opRsh:
				r[d] >>= s & 63
			case opArsh:
				r[d] = uint64(int64(r[d]) >> (s & 63))
			case opNeg:
				r[d] = -r[d]
			case opMovsx8:
				r[d] = uint64(int8(s))
			case opMovsx16:
				r[d] = uint64(int16(s))
			case opMovsx32:
				r[d] = uint64(int32(s))
			case opMov32:
				r[d] = uint64(uint32(s))
			case opMovRet32:
				r[d] = uint64(uint32(s))
				m.why = int32(pc)
			case opAdd32:
				r[d] = uint64(uint32(r[d]) + uint32(s))
			case opSub32:
				r[d] = uint64(uint32(r[d]) - uint32(s))
			case opMul32:
				r[d] = uint64(uint32(r[d]) * uint32(s))
			case opDiv32:
				if uint32(s) == 0 {
					r[d] = 0
				} else {
					r[d] = uint64(uint32(r[d]) / uint32(s))
				}
			case opSdiv32:
				if uint32(s) == 0 {
					r[d] = 0
				} else {
					r[d] = uint64(uint32(int32(r[d]) / int32(s)))
				}
			case opMod32:
				if r[d] = uint64(uint32(r[d])); uint32(s) != 0 {
					r[d] %= uint64(uint32(s))
				}
			case opSmod32:
				if r[d] = uint64(uint32(r[d])); uint32(s) != 0 {
					r[d] = uint64(uint32(int32(r[d]) % int32(s)))
				}
			case opOr32:
				r[d] = uint64(uint32(r[d] | s))
			case opAnd32:
				r[d] = uint64(uint32(r[d] & s))
			case opXor32:
				r[d] = uint64(uint32(r[d] ^ s))
			case opLsh32:
				r[d] = uint64(uint32(r[d]) << (s & 31))
			case opRsh32:
				r[d] = uint64(uint32(r[d]) >> (s & 31))
			case opArsh32:
				r[d] = uint64(uint32(int32(r[d]) >> (s & 31)))
			case opNeg32:
				r[d] = uint64(-uint32(r[d]))
			case opMovsx8w:
				r[d] = uint64(uint32(int8(s)))
			case opMovsx16w:
				r[d] = uint64(uint32(int16(s)))
			case opSwap16:
				r[d] = uint64(bits.ReverseBytes16(uint16(r[d])))
			case opSwap32:
				r[d] = uint64(bits.ReverseBytes32(uint32(r[d])))
			case opSwap64:
				r[d] = bits.ReverseBytes64(r[d])
			case opZext16:
				r[d] = uint64(uint16(r[d]))
			}
			continue
		}
		switch opcode(w) {
		case opJa:
			goto taken
		case opJeq:
			if r[d] == s {
				goto taken
			}
		case opJne:
			if r[d] != s {
				goto taken
			}
		case opJgt:
			if r[d] > s {
				goto taken
			}
		case opJge:
			if r[d] >= s {
				goto taken
			}
		case opJlt:
			if r[d] < s {
				goto taken
			}
		case opJle:
			if r[d] <= s {
				goto taken
			}
		case opJset:
			if r[d]&s != 0 {
				goto taken
			}
		case opJsgt:
			if int64(r[d]) > int64(s) {
				goto taken
			}
		case opJsge:
			if int64(r[d]) >= int64(s) {
				goto taken
			}
		case opJslt:
			if int64(r[d]) < int64(s) {
				goto taken
			}
		case opJsle:
			if int64(r[d]) <= int64(s) {
				goto taken
			}
		case opJeq32:
			if uint32(r[d]) == uint32(s) {
				goto taken
			}
		case opJne32:
			if uint32(r[d]) != uint32(s) {
				goto taken
			}
		case opJgt32:
			if uint32(r[d]) > uint32(s) {
				goto taken
			}
		case opJge32:
			if uint32(r[d]) >= uint32(s) {
				goto taken
			}
		case opJlt32:
			if uint32(r[d]) < uint32(s) {
				goto taken
			}
		case opJle32:
			if uint32(r[d]) <= uint32(s) {
				goto taken
			}
		case opJset32:
			if uint32(r[d]&s) != 0 {
				goto taken
			}
		case opJsgt32:
			if int32(r[d]) > int32(s) {
				goto taken
			}
		case opJsge32:
			if int32(r[d]) >= int32(s) {
				goto taken
			}
		case opJslt32:
			if int32(r[d]) < int32(s) {
				goto taken
			}
		case opJsle32:
			if int32(r[d]) <= int32(s) {
				goto taken
			}
		case opLd8:
			region, at = s>>32, s&offMask
			if region >= regions || at+1 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+1]
			r[d] = uint64(mem[0])
		case opLd16:
			region, at = s>>32, s&offMask
			if region >= regions || at+2 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+2]
			r[d] = uint64(mem[0]) | uint64(mem[1])<<8
		case opLd32:
			region, at = s>>32, s&offMask
			if region >= regions || at+4 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+4]
			r[d] = uint64(mem[0]) | uint64(mem[1])<<8 | uint64(mem[2])<<16 | uint64(mem[3])<<24
		case opLd64:
			region, at = s>>32, s&offMask
			if region >= regions || at+8 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+8]
			r[d] = uint64(mem[0]) | uint64(mem[1])<<8 | uint64(mem[2])<<16 | uint64(mem[3])<<24 | uint64(mem[4])<<32 | uint64(mem[5])<<40 | uint64(mem[6])<<48 | uint64(mem[7])<<56
		case opLdsx8:
			region, at = s>>32, s&offMask
			if region >= regions || at+1 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+1]
			r[d] = uint64(int8(int8(mem[0])))
		case opLdsx16:
			region, at = s>>32, s&offMask
			if region >= regions || at+2 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+2]
			r[d] = uint64(int16(int16(mem[0]) | int16(mem[1])<<8))
		case opLdsx32:
			region, at = s>>32, s&offMask
			if region >= regions || at+4 > uint64(len(m.ld[region])) {
				goto fault
			}
			mem = m.ld[region][at : at+4]
			r[d] = uint64(int32(int32(mem[0]) | int32(mem[1])<<8 | int32(mem[2])<<16 | int32(mem[3])<<24))
		case opSt8:
			at = r[d] + uint64(int64(w)>>32)
			region, at = at>>32, at&offMask
			if region >= regions || at+1 > uint64(len(m.st[region])) {
				goto fault
			}
			mem = m.st[region][at : at+1]
			mem[0] = byte(s)
		case opSt16:
			at = r[d] + uint64(int64(w)>>32)
			region, at = at>>32, at&offMask
			if region >= regions || at+2 > uint64(len(m.st[region])) {
				goto fault
			}
			mem = m.st[region][at : at+2]
			mem[0] = byte(s)
			mem[1] = byte(s >> 8)
		case opSt32:
			at = r[d] + uint64(int64(w)>>32)
			region, at = at>>32, at&offMask
			if region >= regions || at+4 > uint64(len(m.st[region])) {
				goto fault
			}
			mem = m.st[region][at : at+4]
			mem[0] = byte(s)
			mem[1] = byte(s >> 8)
			mem[2] = byte(s >> 16)
			mem[3] = byte(s >> 24)
		case opSt64:
			at = r[d] + uint64(int64(w)>>32)
			region, at = at>>32, at&offMask
			if region >= regions || at+8 > uint64(len(m.st[region])) {
				goto fault
			}
			mem = m.st[region][at : at+8]
			mem[0] = byte(s)
			mem[1] = byte(s >> 8)
			mem[2] = byte(s >> 16)
			mem[3] = byte(s >> 24)
			mem[4] = byte(s >> 32)
			mem[5] = byte(s >> 40)
			mem[6] = byte(s >> 48)
			mem[7] = byte(s >> 56)
		case opAtomic32:
			if !m.atomic32(w) {
				goto fault
			}
		case opAtomic64:
			if !m.atomic64(w) {
				goto fault
			}
		case opLookup:
			m.why = int32(pc)
			if !m.lookup() {
				goto fault
			}
		case opHelper:
			m.why = int32(pc)
			if !m.helper(helper.ID(w >> 32)) {
				goto fault
			}
		case opCall:
			if m.depth == len(m.frames) {
				goto fault
			}
			m.frames[m.depth] = frame{pc, [5]uint64{r[6], r[7], r[8], r[9], r[10]}}
			m.depth++
			r[10] += prog.StackSize
			goto taken
		case opExit:
			if m.depth == 0 {
				if source = int32(int64(w) >> 32); source < 0 {
					source = m.why
				}
				return uint32(r[0]), source, true
			}
			m.depth--
			f := &m.frames[m.depth]
			pc = f.ret
			r[6], r[7], r[8], r[9], r[10] = f.saved[0], f.saved[1], f.saved[2], f.saved[3], f.saved[4]
		default:
			goto fault
		}
		continue
	taken:
		if m.steps -= int64(w >> 24 & 1); m.steps < 0 {
			m.fault = faultBudget
			goto fault
		}
		pc = uint32(w>>32) - 1 // the loop adds 1
	}
fault:
	return 0, int32(pc), false
}
