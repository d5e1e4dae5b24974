//go:build linux && amd64

package observe

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"portcullis/internal/record"
)

// The maps. What is in them is described by the types of read.go.
const (
	mapConfig = "config"
	mapTotals = "totals"
	mapCalls  = "by_number"
	mapTasks  = "tasks"
	mapNames  = "names"
	mapBirths = "births"
	mapPlain  = "plain"
	mapCounts = "counts"
	mapSteps  = "steps"
)

// numbers is beyond the largest number of a call: x32 has a bit above.
const numbers = 1024

// Bounds of what is kept, in elements. What finds no room is counted as lost.
const (
	maxNames  = 1 << 17
	maxCounts = 1 << 20
	maxSteps  = 1 << 13
)

// noPrealloc has maps take memory as they need it.
const noPrealloc = 1

func maps() map[string]*ebpf.MapSpec {
	hash := func(key, value, most uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Type: ebpf.Hash, KeySize: key, ValueSize: value, MaxEntries: most, Flags: noPrealloc}
	}
	array := func(value, most uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: value, MaxEntries: most}
	}
	return map[string]*ebpf.MapSpec{
		mapConfig: array(16, 1), mapTotals: array(32, 1), mapCalls: array(4, numbers),
		mapTasks: tasks(), mapNames: hash(4, 24, maxNames), mapBirths: hash(8, 24, maxNames),
		mapPlain: hash(8, countSize, maxCounts), mapCounts: hash(24, countSize, maxCounts), mapSteps: hash(8, 8, maxSteps),
	}
}

// tasks is memory of each task, which the kernel frees with it.
func tasks() *ebpf.MapSpec {
	word := &btf.Int{Name: "word", Size: 8}
	index := &btf.Int{Name: "index", Size: 4}
	return &ebpf.MapSpec{
		Type: ebpf.TaskStorage, KeySize: 4, ValueSize: taskSize, Flags: noPrealloc,
		Key: index, Value: &btf.Array{Type: word, Index: index, Nelems: taskSize / 8},
	}
}

// Offsets in the value of config: a number that tells this process, its number in the
// kernel's eyes, and whether its children are about to become the command.
const (
	configCookie = 0
	configTgid   = 8
	configArmed  = 12
)

// Offsets in the value of totals.
const (
	totalSerial  = 0 // of the task that was seen last
	totalID      = 8 // of the name that was seen last
	totalLost    = 16
	totalForeign = 24
)

// A task's value: its name, the number of that name, its last call of a flow, the task's own
// number, whether it has not executed the command yet, and how many calls it has made.
const (
	taskComm    = 0
	taskID      = 16
	taskLast    = 20
	taskSerial  = 24
	taskPending = 32
	taskCalls   = 40
	taskSize    = 48
)

// Counters of plain and counts: how many calls, when the first was, and which of the task's
// calls the first and the last were.
const (
	countCalls = 0
	countTime  = 8
	countFirst = 16
	countLast  = 24
	countSize  = 32
)

// Bits of by_number: a call that is not counted, one of a flow, and behind them which
// arguments tell much.
const (
	bitSkipped = 1
	bitFlow    = 2
	bitsChoice = 8
)

// layout is where fields of the kernel's struct task_struct are.
type layout struct{ pid, tgid, comm, status int16 }

// kernelLayout reads it from the kernel's BTF.
func kernelLayout() (l layout, err error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return l, err
	}
	var task *btf.Struct
	if err := spec.TypeByName("task_struct", &task); err != nil {
		return l, err
	}
	for name, to := range map[string]*int16{"pid": &l.pid, "tgid": &l.tgid, "comm": &l.comm} {
		if *to, err = member(task, name); err != nil {
			return l, err
		}
	}
	var info *btf.Struct
	if err := spec.TypeByName("thread_info", &info); err != nil {
		return l, err
	}
	at, err := member(task, "thread_info")
	if err != nil {
		return l, err
	}
	inside, err := member(info, "status")
	l.status = at + inside
	return l, err
}

func member(s *btf.Struct, name string) (int16, error) {
	for _, m := range s.Members {
		if m.Name == name {
			return int16(m.Offset.Bytes()), nil
		}
	}
	return 0, fmt.Errorf("the kernel's struct %s: expected a member %s, found none", s.Name, name)
}

// Registers of struct pt_regs that hold the arguments of a call.
func argumentOffset(i int) int16 { return [...]int16{112, 104, 96, 56, 72, 64}[i] }

// lookup emits R0 = the element of a map under the key at an offset of the frame.
func lookup(name string, key int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(name),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(key)),
		asm.FnMapLookupElem.Call(),
	}
}

// storage emits R0 = what a task's memory is, whose pointer a register holds; with the flag
// create it is made, of zeroes.
func storage(task asm.Register, flag int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapTasks),
		asm.Mov.Reg(asm.R2, task),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, flag),
		asm.FnTaskStorageGet.Call(),
	}
}

// create is BPF_LOCAL_STORAGE_GET_F_CREATE.
const create = 1

// store emits that the value at an offset of the frame is put under the key at another; what
// finds no room is counted.
func store(name string, key, value int16, label string) asm.Instructions {
	is := asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(name),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(key)),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, int32(value)),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
		asm.JEq.Imm(asm.R0, 0, label),
	}
	is = append(is, addTotal(totalLost, label)...)
	return append(is, asm.Mov.Imm(asm.R0, 0).WithSymbol(label))
}

// addTotal emits that a total is one more, and R1 what it was; or a jump.
func addTotal(offset int16, none string) asm.Instructions {
	is := append(asm.Instructions{asm.StoreImm(asm.RFP, -8, 0, asm.Word)}, lookup(mapTotals, -8)...)
	return append(is,
		asm.JEq.Imm(asm.R0, 0, none),
		asm.Mov.Imm(asm.R1, 1),
		fetchAdd(asm.R0, offset, asm.R1),
	)
}

// fetchAdd is an atomic src += what is at dst + offset, and the other way round: BPF_FETCH is
// bit 0 of the immediate.
func fetchAdd(dst asm.Register, offset int16, src asm.Register) asm.Instruction {
	in := asm.StoreXAdd(dst, src, asm.DWord)
	in.Offset, in.Constant = offset, 1
	return in
}

// enter is the program that counts calls.
//
// R6 is its context, R7 the task and then what by_number says, R8 the task's value, R9 the number.
func enter(l layout, watched []record.Watched) asm.Instructions {
	is := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R7, asm.R0),
	}
	is = append(is, storage(asm.R7, 0)...)
	is = append(is, asm.JNE.Imm(asm.R0, 0, "tracked"))
	is = append(is, introduce(l)...)
	is = append(is,
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
		asm.Mov.Reg(asm.R8, asm.R0).WithSymbol("tracked"),
		asm.LoadMem(asm.R1, asm.R8, taskPending, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "out"),
		asm.LoadMem(asm.R9, asm.R6, 8, asm.DWord),
		asm.JGT.Imm(asm.R9, numbers-1, "foreign"),
		asm.LoadMem(asm.R1, asm.R7, l.status, asm.Word),
		asm.And.Imm(asm.R1, 2), // TS_COMPAT
		asm.JNE.Imm(asm.R1, 0, "foreign"),
		asm.LoadMem(asm.R1, asm.R7, l.comm, asm.DWord),
		asm.StoreMem(asm.RFP, -24, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R7, l.comm+8, asm.DWord),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -8, asm.R9, asm.Word),
	)
	is = append(is, lookup(mapCalls, -8)...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.And.Imm(asm.R1, bitSkipped),
		asm.JNE.Imm(asm.R1, 0, "out"),
	)
	is = append(is, named()...)
	is = append(is, keyed(watched)...)
	is = append(is, counted()...)
	is = append(is, stepped()...)
	is = append(is, asm.Ja.Label("out"))
	foreign := addTotal(totalForeign, "out")
	foreign[0] = foreign[0].WithSymbol("foreign")
	return append(append(is, foreign...), asm.Ja.Label("out"))
}

// introduce emits that who makes getpid with the cookie as an argument is this process.
func introduce(l layout) asm.Instructions {
	const getpid = 39
	is := asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord),
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

// named emits that the task's value has its name of now, and a number for it.
func named() asm.Instructions {
	is := asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, -24, asm.DWord),
		asm.LoadMem(asm.R2, asm.R8, taskComm, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "renamed"),
		asm.LoadMem(asm.R1, asm.RFP, -16, asm.DWord),
		asm.LoadMem(asm.R2, asm.R8, taskComm+8, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "renamed"),
		asm.LoadMem(asm.R1, asm.R8, taskID, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "named"),
		asm.LoadMem(asm.R1, asm.RFP, -24, asm.DWord).WithSymbol("renamed"),
		asm.StoreMem(asm.R8, taskComm, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -48, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, -16, asm.DWord),
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
	return append(is, asm.LoadMem(asm.R1, asm.R8, taskID, asm.Word).WithSymbol("named"))
}

// keyed emits the key of plain, at -48 of the frame: the name's number and the call's; and that
// of counts, which has up to two arguments as far as they tell much behind these. At -88 is
// which of the task's calls it is.
func keyed(watched []record.Watched) asm.Instructions {
	is := asm.Instructions{
		asm.StoreMem(asm.RFP, -48, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, -44, asm.R9, asm.Word),
		asm.LoadMem(asm.R1, asm.R8, taskCalls, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R8, taskCalls, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -88, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.RSh.Imm(asm.R2, bitsChoice),
		asm.JEq.Imm(asm.R2, 0, "plain"),
		asm.StoreImm(asm.RFP, -40, 0, asm.DWord),
		asm.StoreImm(asm.RFP, -32, 0, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord),
	}
	for i := range watched {
		is = append(is, asm.JEq.Imm(asm.R2, int32(i+1), fmt.Sprint("choice", i)))
	}
	is = append(is, asm.Ja.Label("keyed"))
	for i, w := range watched {
		for j, a := range w.Args {
			load := asm.LoadMem(asm.R3, asm.R1, argumentOffset(a.Index), asm.DWord)
			if j == 0 {
				load = load.WithSymbol(fmt.Sprint("choice", i))
			}
			is = append(is, load, asm.LoadImm(asm.R4, int64(a.Mask), asm.DWord), asm.And.Reg(asm.R3, asm.R4),
				asm.StoreMem(asm.RFP, int16(-40+8*j), asm.R3, asm.DWord))
		}
		is = append(is, asm.Ja.Label("keyed"))
	}
	return is
}

// counted emits that the call is counted: a thread has counters of its own, so nobody else
// adds to them. The time is asked for once a counter, as that takes long.
func counted() asm.Instructions {
	is := lookup(mapCounts, -48)
	is[0] = is[0].WithSymbol("keyed")
	is = append(is, asm.Ja.Label("found"))
	plain := lookup(mapPlain, -48)
	plain[0] = plain[0].WithSymbol("plain")
	is = append(is, plain...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, "first").WithSymbol("found"),
		asm.LoadMem(asm.R1, asm.R0, countCalls, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, countCalls, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, -88, asm.DWord),
		asm.StoreMem(asm.R0, countLast, asm.R1, asm.DWord),
		asm.Ja.Label("counted"),
		asm.FnKtimeGetNs.Call().WithSymbol("first"),
		asm.StoreImm(asm.RFP, -80+countCalls, 1, asm.DWord),
		asm.StoreMem(asm.RFP, -80+countTime, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, -88, asm.DWord),
		asm.StoreMem(asm.RFP, -80+countFirst, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, -80+countLast, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.RSh.Imm(asm.R2, bitsChoice),
		asm.JEq.Imm(asm.R2, 0, "first plain"),
	)
	is = append(is, store(mapCounts, -48, -80, "stored")...)
	is = append(is, asm.Ja.Label("counted"))
	first := store(mapPlain, -48, -80, "counted")
	first[0] = first[0].WithSymbol("first plain")
	return append(is, first...)
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
