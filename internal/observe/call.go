//go:build linux && amd64

package observe

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/asm"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/record"
)

// frequent are the calls that servers make most, which have slots of their own. The slots from
// firstShared on are for all others.
const (
	frequent = "read write close openat newfstatat fstat epoll_wait epoll_ctl accept4 recvfrom sendto recvmsg sendmsg " +
		"writev sendfile futex"
	firstShared = slots / 2
)

// slotBits are those of by_number that say which slot a call has.
func slotBits() map[uint32]uint32 {
	bits := map[uint32]uint32{}
	for nr := uint32(0); nr < numbers; nr++ {
		bits[nr] = (firstShared | nr%firstShared) << bitsSlot
	}
	for i, name := range strings.Fields(frequent) {
		if nr, ok := syscalls.Number(name); ok {
			bits[nr] = uint32(i) << bitsSlot
		}
	}
	return bits
}

// enter is the program that counts calls.
//
// R6 is its context and then the call's slot, R7 the task and then what by_number says, R8 the
// task's value, R9 the number. The kernel asks it about the calls of everybody: most of them have no
// value in live and no memory at all, which is found without a function. What
// is not needed for most calls comes behind what is.
func enter(l layout, watched []record.Watched, live uint32) asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
	is = append(is, found(asm.R7, l, live, "stranger")...)
	is = append(is,
		asm.LoadMem(asm.R1, asm.R8, taskPending, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.LoadMem(asm.R9, asm.R6, 8, asm.DWord),
		asm.JGT.Imm(asm.R9, numbers-1, "foreign"),
		asm.LoadMem(asm.R1, asm.R7, l.status, asm.Word),
		asm.And.Imm(asm.R1, 2), // TS_COMPAT
		asm.JNE.Imm(asm.R1, 0, "foreign"),
		asm.LoadMem(asm.R1, asm.R7, l.comm, asm.DWord),
		asm.LoadMem(asm.R2, asm.R8, taskComm, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "renamed"),
		asm.LoadMem(asm.R1, asm.R7, l.comm+8, asm.DWord),
		asm.LoadMem(asm.R2, asm.R8, taskComm+8, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "renamed"),
		asm.LoadMem(asm.R1, asm.R8, taskID, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "renamed"),
	)
	is = append(is, known()...)
	is = append(is, keyed(watched)...)
	is = append(is, counted()...)
	is = append(is, stepped()...)
	is = append(is, asm.Ja.Label("out"))
	is = append(is, introduce(l)...)
	is = append(is,
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
	is = append(is, renamed(l)...)
	foreign := addTotal(totalForeign, "out")
	foreign[0] = foreign[0].WithSymbol("foreign")
	return append(append(is, foreign...), asm.Ja.Label("out"))
}

// known emits that a call without arguments that tell much is counted, if it has its slot. R3 is
// which of the task's calls it is, R4 how its key begins, R5 what of by_number is the slot.
func known() asm.Instructions {
	is := asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R9, asm.Word).WithSymbol("named")}
	is = append(is, lookup(mapCalls, -8)...)
	return append(is,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.Word),
		asm.JSet.Imm(asm.R7, bitSkipped, "out"),
		asm.LoadMem(asm.R4, asm.R8, taskID, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.LSh.Imm(asm.R1, 32),
		asm.Or.Reg(asm.R4, asm.R1),
		asm.LoadMem(asm.R3, asm.R8, taskCalls, asm.DWord),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(asm.R8, taskCalls, asm.R3, asm.DWord),
		asm.Mov.Reg(asm.R5, asm.R7),
		asm.RSh.Imm(asm.R5, bitsSlot),
		asm.JGT.Imm(asm.R7, 1<<bitsChoice-1, "watched"),
		asm.And.Imm(asm.R5, slots-1),
		asm.Mov.Reg(asm.R2, asm.R5),
		asm.Mul.Imm(asm.R2, slotSize),
		asm.Add.Reg(asm.R2, asm.R8),
		asm.LoadMem(asm.R1, asm.R2, taskSlots, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R4, "watched"),
		asm.LoadMem(asm.R1, asm.R2, taskSlots+slotCall, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R2, taskSlots+slotCall, asm.R1, asm.DWord),
		asm.StoreMem(asm.R2, taskSlots+slotLast, asm.R3, asm.DWord),
		asm.JSet.Imm(asm.R7, bitFlow, "counted"),
		asm.Ja.Label("out"),
	)
}

// introduce emits that who makes getpid with the cookie as an argument is this process.
func introduce(l layout) asm.Instructions {
	const getpid = 39
	is := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord).WithSymbol("stranger"),
		asm.JNE.Imm(asm.R1, getpid, "out"),
		asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord),
		asm.LoadMem(asm.R8, asm.R1, argumentOffset(0), asm.DWord),
		asm.JEq.Imm(asm.R8, 0, "out"),
		asm.StoreImm(asm.RFP, -8, 0, asm.Word),
	}
	is = append(is, lookup(mapConfig, -8)...)
	return append(is,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, configCookie, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R8, "out"),
		asm.LoadMem(asm.R1, asm.R7, l.tgid, asm.Word),
		asm.StoreMem(asm.R0, configTgid, asm.R1, asm.Word),
	)
}

// renamed emits that the task's value has its name of now, and a number for it, and a jump to
// where it had another.
func renamed(l layout) asm.Instructions {
	is := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R7, l.comm, asm.DWord).WithSymbol("renamed"),
		asm.StoreMem(asm.R8, taskComm, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -48, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R7, l.comm+8, asm.DWord),
		asm.StoreMem(asm.R8, taskComm+8, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -40, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R8, taskSerial, asm.DWord),
		asm.StoreMem(asm.RFP, -56, asm.R1, asm.DWord),
	}
	is = append(is, addTotal(totalID, "out")...)
	is = append(is,
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R8, taskID, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, -28, asm.R1, asm.Word),
	)
	is = append(is, store(mapNames, -28, -56, "kept")...)
	return append(is, asm.Ja.Label("named"))
}

// keyed emits the key of counts, at -48 of the frame: the name's number, the call's, and up to
// two arguments as far as they tell much. At -88 is which of the task's calls it is. R6 is the
// slot then. The key begins by one store, as it is loaded at once.
func keyed(watched []record.Watched) asm.Instructions {
	is := asm.Instructions{
		asm.StoreMem(asm.RFP, -48, asm.R4, asm.DWord).WithSymbol("watched"),
		asm.StoreImm(asm.RFP, -40, 0, asm.DWord),
		asm.StoreImm(asm.RFP, -32, 0, asm.DWord),
		asm.StoreMem(asm.RFP, -88, asm.R3, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.RSh.Imm(asm.R2, bitsChoice),
		asm.JEq.Imm(asm.R2, 0, "slot"),
		asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord),
	}
	is = append(is, arguments(watched)...)
	return append(is,
		asm.And.Imm(asm.R5, slots-1).WithSymbol("slot"),
		asm.Mul.Imm(asm.R5, slotSize),
		asm.Mov.Reg(asm.R6, asm.R8),
		asm.Add.Reg(asm.R6, asm.R5),
	)
}

// arguments emits that those that tell much are in the key, and spread over the shared slots.
func arguments(watched []record.Watched) asm.Instructions {
	var is asm.Instructions
	for i := range watched {
		is = append(is, asm.JEq.Imm(asm.R2, int32(i+1), fmt.Sprint("choice", i)))
	}
	is = append(is, asm.Ja.Label("slot"))
	for i, w := range watched {
		for j, a := range w.Args {
			load := asm.LoadMem(asm.R3, asm.R1, argumentOffset(a.Index), asm.DWord)
			if j == 0 {
				load = load.WithSymbol(fmt.Sprint("choice", i))
			}
			is = append(is, load, asm.LoadImm(asm.R4, int64(a.Mask), asm.DWord), asm.And.Reg(asm.R3, asm.R4),
				asm.StoreMem(asm.RFP, int16(-40+8*j), asm.R3, asm.DWord), asm.Add.Reg(asm.R5, asm.R3))
		}
		is = append(is, asm.Ja.Label("shared"))
	}
	return append(is, asm.Or.Imm(asm.R5, firstShared).WithSymbol("shared"))
}

// counted emits that the call is counted in its slot.
func counted() asm.Instructions {
	var is asm.Instructions
	for at := int16(0); at < keySize; at += 8 {
		is = append(is,
			asm.LoadMem(asm.R1, asm.RFP, at-48, asm.DWord),
			asm.LoadMem(asm.R2, asm.R6, taskSlots+at, asm.DWord),
			asm.JNE.Reg(asm.R1, asm.R2, "other"),
		)
	}
	is = append(is,
		asm.LoadMem(asm.R1, asm.R6, taskSlots+slotCall, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R6, taskSlots+slotCall, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, -88, asm.DWord),
		asm.StoreMem(asm.R6, taskSlots+slotLast, asm.R1, asm.DWord),
		asm.Ja.Label("counted"),
		asm.Add.Imm(asm.R6, taskSlots).WithSymbol("other"),
	)
	is = append(is, written(asm.R6, "empty")...)
	is = append(is, occupied()...)
	return append(is, first()...)
}

// written emits that what the slot at a register has counted is in counts, and a jump there
// with which the next instruction begins, if it is empty.
func written(slot asm.Register, next string) asm.Instructions {
	is := asm.Instructions{
		asm.LoadMem(asm.R1, slot, 0, asm.Word),
		asm.JEq.Imm(asm.R1, 0, next),
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapCounts),
		asm.Mov.Reg(asm.R2, slot),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, next), // who took the slot has put it there
		asm.LoadMem(asm.R1, slot, slotCall, asm.DWord),
		asm.LoadMem(asm.R2, asm.R0, countCalls, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.R0, countCalls, asm.R2, asm.DWord),
		asm.LoadMem(asm.R1, slot, slotLast, asm.DWord),
		asm.StoreMem(asm.R0, countLast, asm.R1, asm.DWord),
	}
	return is
}

// occupied emits that the slot at R6 is this key's.
func occupied() asm.Instructions {
	var is asm.Instructions
	for at := int16(0); at < keySize; at += 8 {
		is = append(is, asm.LoadMem(asm.R1, asm.RFP, at-48, asm.DWord), asm.StoreMem(asm.R6, at, asm.R1, asm.DWord))
	}
	is[0] = is[0].WithSymbol("empty")
	return append(is,
		asm.StoreImm(asm.R6, slotCall, 1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, -88, asm.DWord),
		asm.StoreMem(asm.R6, slotLast, asm.R1, asm.DWord),
	)
}

// first emits that counts has the key at R6: the time is asked for once a key, as that takes
// long. A slot whose key finds no room there is empty again.
func first() asm.Instructions {
	is := append(lookup(mapCounts, -48),
		asm.JNE.Imm(asm.R0, 0, "counted"),
		asm.FnKtimeGetNs.Call(),
		asm.StoreImm(asm.RFP, -80+countCalls, 0, asm.DWord),
		asm.StoreMem(asm.RFP, -80+countTime, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, -88, asm.DWord),
		asm.StoreMem(asm.RFP, -80+countFirst, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -80+countLast, asm.R1, asm.DWord),
	)
	put := store(mapCounts, -48, -80, "counted")
	lost := len(put) - len(addTotal(totalLost, "counted")) - 1
	is = append(is, put[:lost]...)
	is = append(is, asm.StoreImm(asm.R6, 0, 0, asm.Word))
	return append(is, put[lost:]...)
}

// stepped emits that the step of a flow is noted.
func stepped() asm.Instructions {
	const clone, clone3 = 56, 435
	is := asm.Instructions{
		asm.And.Imm(asm.R7, bitFlow),
		asm.JEq.Imm(asm.R7, 0, "out"),
		asm.JNE.Imm(asm.R9, clone3, "kind"),
		asm.Mov.Imm(asm.R9, clone), // which takes its place where it is refused
		asm.LoadMem(asm.R1, asm.R8, taskLast, asm.Word).WithSymbol("kind"),
		asm.JEq.Reg(asm.R1, asm.R9, "out"),
		asm.StoreMem(asm.R8, taskLast, asm.R9, asm.Word),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, -12, asm.R9, asm.Word),
	}
	is = append(is, lookup(mapSteps, -16)...)
	is = append(is,
		asm.JNE.Imm(asm.R0, 0, "out"),
		asm.StoreImm(asm.RFP, -24, 1, asm.DWord),
	)
	return append(is, store(mapSteps, -16, -24, "step")...)
}
