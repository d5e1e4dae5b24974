//go:build linux && amd64

package observe

import "github.com/cilium/ebpf/asm"

// forked is the program that follows a fork: the child of a task that is followed is too, and
// so is what this process starts while that is to become the command.
//
// R6 is the parent, R7 the child, R8 the parent's value and then whether the child has still to execute the command, R9
// the parent's number.
func forked(l layout, live uint32) asm.Instructions {
	is := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord),
	}
	is = append(is, found(asm.R6, l, live, "stranger")...)
	is = append(is,
		asm.LoadMem(asm.R1, asm.R8, taskPending, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.LoadMem(asm.R9, asm.R8, taskSerial, asm.DWord),
		asm.Mov.Imm(asm.R8, 0),
		asm.Ja.Label("follow"),
		asm.StoreImm(asm.RFP, -8, 0, asm.Word).WithSymbol("stranger"),
	)
	is = append(is, lookup(mapConfig, -8)...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, configArmed, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, configTgid, asm.Word),
		asm.LoadMem(asm.R2, asm.R6, l.tgid, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, "out"),
		asm.LoadMem(asm.R1, asm.R7, l.tgid, asm.Word),
		asm.JEq.Reg(asm.R1, asm.R2, "out"), // a thread of this process
		asm.Mov.Imm(asm.R8, 1),
		asm.Mov.Imm(asm.R9, 0),
	)
	is = append(is, follow(l, live)...)
	return append(is, asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
}

// follow emits that the child is followed, and its birth noted.
func follow(l layout, live uint32) asm.Instructions {
	const birth = -16 - birthSize
	is := addTotal(totalSerial, "out")
	is[0] = is[0].WithSymbol("follow")
	is = append(is, asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord)) // its number
	is = append(is, claimed(asm.R7, l, live)...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, "out").WithSymbol("claimed"), // it never ends for this program, and so is lost
		asm.LoadMem(asm.R1, asm.RFP, -16, asm.DWord),
		asm.StoreMem(asm.R0, taskSerial, asm.R1, asm.DWord),
		asm.StoreImm(asm.R0, taskComm, 0, asm.DWord), // of who had the place before
		asm.StoreImm(asm.R0, taskComm+8, 0, asm.DWord),
		asm.StoreImm(asm.R0, taskID, 0, asm.Word),
		asm.StoreImm(asm.R0, taskCalls, 0, asm.DWord),
		asm.StoreImm(asm.R0, taskLast, -1, asm.Word),
		asm.StoreMem(asm.R0, taskPending, asm.R8, asm.DWord),
	)
	is = append(is,
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, birth+16, asm.R0, asm.DWord),
		asm.StoreMem(asm.RFP, birth, asm.R9, asm.DWord),
		asm.LoadMem(asm.R1, asm.R7, l.tgid, asm.Word),
		asm.StoreMem(asm.RFP, birth+8, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R7, l.pid, asm.Word),
		asm.StoreMem(asm.RFP, birth+12, asm.R1, asm.Word),
		asm.StoreImm(asm.RFP, birth+birthEnded, 0, asm.DWord),
	)
	return append(is, store(mapBirths, -16, birth, "born")...)
}

// executed is the program that follows an execve, with which the command begins. A thread that
// is not its process's first takes that one's number, and so loses its place in live: it is given
// memory instead.
//
// R6 is the thread, R7 a slot, R8 the thread's value, R9 how many slots are done.
func executed(l layout, live uint32) asm.Instructions {
	is := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord), // its number before
		asm.LoadMem(asm.R1, asm.R6, l.pid, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R7, "renumbered"),
	}
	is = append(is, found(asm.R6, l, live, "out")...)
	is = append(is,
		asm.StoreImm(asm.R8, taskPending, 0, asm.Word),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
		asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("renumbered"),
	)
	is = append(is, place(live)...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, taskOwner, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R6, "out"), // which has memory already
		asm.Mov.Reg(asm.R8, asm.R0),
	)
	is = append(is, emptied()...)
	is = append(is, storage(asm.R6, create)...)
	is = append(is, asm.JEq.Imm(asm.R0, 0, "free")) // it is lost, for its end is not seen
	for at := int16(0); at < taskOwner; at += 8 {
		is = append(is, asm.LoadMem(asm.R1, asm.R8, at, asm.DWord), asm.StoreMem(asm.R0, at, asm.R1, asm.DWord))
	}
	return append(is,
		asm.StoreImm(asm.R8, taskOwner, 0, asm.DWord).WithSymbol("free"),
		asm.Ja.Label("out"),
	)
}

// exited is the program that follows the end of a thread, which makes no calls any more: its
// slots are written down, and its place is free. Its birth says that it has ended, unless that
// was taken already.
//
// The registers are those of executed.
func exited(l layout, live uint32) asm.Instructions {
	is := asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord)}
	is = append(is, found(asm.R6, l, live, "out")...)
	is = append(is, emptied()...)
	is = append(is,
		asm.LoadMem(asm.R1, asm.R8, taskSerial, asm.DWord),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.StoreImm(asm.R8, taskOwner, 0, asm.DWord),
	)
	is = append(is, lookup(mapBirths, -16)...)
	return append(is,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.StoreImm(asm.R0, birthEnded, 1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
}

// emptied emits that the slots of the value at R8 are written down and empty.
func emptied() asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Imm(asm.R9, 0),
		asm.Mov.Reg(asm.R7, asm.R8).WithSymbol("slot"),
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.Mul.Imm(asm.R1, slotSize),
		asm.Add.Reg(asm.R7, asm.R1),
		asm.Add.Imm(asm.R7, taskSlots),
	}
	is = append(is, written(asm.R7, "next")...)
	return append(is,
		asm.StoreImm(asm.R7, 0, 0, asm.DWord).WithSymbol("next"),
		asm.Add.Imm(asm.R9, 1),
		asm.JLT.Imm(asm.R9, slots, "slot"),
	)
}
