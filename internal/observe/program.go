//go:build linux && amd64

package observe

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// The maps. What is in them is described by the types of read.go.
const (
	mapConfig = "config"
	mapTotals = "totals"
	mapCalls  = "by_number"
	mapLive   = "live"
	mapTasks  = "tasks"
	mapNames  = "names"
	mapBirths = "births"
	mapCounts = "counts"
	mapSteps  = "steps"
)

// numbers is beyond the largest number of a call: x32 has a bit above.
const numbers = 1024

// Bounds of what is kept, in elements. What finds no room is counted as lost.
const (
	maxNames  = 1 << 17
	maxCounts = 1 << 21
	maxSteps  = 1 << 13
)

// noPrealloc has maps take memory as they need it.
const noPrealloc = 1

// most is how many tasks have their memory in live, a power of 2.
const most = 1 << 10

func maps(live uint32) map[string]*ebpf.MapSpec {
	hash := func(key, value, most uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Type: ebpf.Hash, KeySize: key, ValueSize: value, MaxEntries: most, Flags: noPrealloc}
	}
	array := func(value, most uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: value, MaxEntries: most}
	}
	return map[string]*ebpf.MapSpec{
		mapConfig: array(16, 1), mapTotals: array(totalsSize, 1), mapCalls: array(4, numbers),
		mapLive: array(taskSize, live), mapTasks: tasks(), mapNames: hash(4, 24, maxNames), mapBirths: hash(8, birthSize, maxNames),
		mapCounts: hash(keySize, countSize, maxCounts), mapSteps: hash(8, 8, maxSteps),
	}
}

// tasks is memory of each task, which the kernel frees with it. As it takes long to be found, it is
// for those alone that find their place in live taken.
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

// A birth: the number of the parent, the process's and the thread's in the kernel's eyes, the time,
// and whether the task has ended, and so has written down what it counted.
const (
	birthEnded = 24
	birthSize  = 32
)

// Offsets in the value of totals, which are of all runs.
const (
	totalSerial  = 0 // of the task that was seen last
	totalID      = 8 // of the name that was seen last
	totalLost    = 16
	totalForeign = 24
	totalsSize   = 32
)

// A task's value: its name, the number of that name, its last call of a flow, the task's own
// number, whether it has not executed the command yet, how many calls it has made, whose it is
// in live (the address of the task), and slots.
const (
	taskComm    = 0
	taskID      = 16
	taskLast    = 20
	taskSerial  = 24
	taskPending = 32
	taskCalls   = 40
	taskOwner   = 48
	taskSlots   = 56
	taskSize    = taskSlots + slots*slotSize
)

// A slot counts calls of one key until another one takes it, or the task ends: only then they
// are written down in counts. So most calls look nothing up. It has a key of counts, how many
// calls there were since, and which of the task's calls the last was.
const (
	slots    = 1 << 5
	slotCall = 24
	slotLast = 32
	slotSize = 40
)

// A key of counts: the number of a name, that of a call, and two arguments.
const keySize = 24

// Counters of counts: how many calls, when the first was, and which of the task's calls the
// first and the last were.
const (
	countCalls = 0
	countTime  = 8
	countFirst = 16
	countLast  = 24
	countSize  = 32
)

// Bits of by_number: a call that is not counted, one of a flow, its slot, and which arguments
// tell much.
const (
	bitSkipped = 1
	bitFlow    = 2
	bitsSlot   = 3
	bitsChoice = 8
)

// layout is where fields of the kernel's struct task_struct are. storage is the pointer to all
// memory that programs have for a task.
type layout struct{ pid, tgid, comm, storage, status int16 }

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
	for name, to := range map[string]*int16{"pid": &l.pid, "tgid": &l.tgid, "comm": &l.comm, "bpf_storage": &l.storage} {
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

// place emits R0 = the element of live where the value of the task may be whose number is in R1.
func place(live uint32) asm.Instructions {
	return append(asm.Instructions{
		asm.And.Imm(asm.R1, int32(live-1)),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.Word),
	}, lookup(mapLive, -8)...)
}

// found emits R8 = a task's value; a jump to stranger if it has none.
func found(task asm.Register, l layout, live uint32, stranger string) asm.Instructions {
	is := append(asm.Instructions{asm.LoadMem(asm.R1, task, l.pid, asm.Word)}, place(live)...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, stranger),
		asm.LoadMem(asm.R1, asm.R0, taskOwner, asm.DWord),
		asm.JEq.Reg(asm.R1, task, "found"),
		asm.LoadMem(asm.R1, task, l.storage, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, stranger),
	)
	is = append(is, storage(task, 0)...)
	is = append(is, asm.JEq.Imm(asm.R0, 0, stranger))
	return append(is, asm.Mov.Reg(asm.R8, asm.R0).WithSymbol("found"))
}

// claimed emits R0 = the value of a new task: its place in live, or else memory that is made for
// it; 0 if there is none. The next instruction is claimed.
func claimed(task asm.Register, l layout, live uint32) asm.Instructions {
	is := append(asm.Instructions{asm.LoadMem(asm.R1, task, l.pid, asm.Word)}, place(live)...)
	is = append(is,
		asm.JEq.Imm(asm.R0, 0, "make"),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Mov.Imm(asm.R0, 0),
		exchange(asm.R1, taskOwner, task),
		asm.JNE.Imm(asm.R0, 0, "make"),
		asm.Mov.Reg(asm.R0, asm.R1),
		asm.Ja.Label("claimed"),
	)
	made := storage(task, create)
	made[0] = made[0].WithSymbol("make")
	return append(is, made...)
}

// exchange is an atomic store of src where there is R0, which is then what was there: BPF_CMPXCHG.
func exchange(dst asm.Register, offset int16, src asm.Register) asm.Instruction {
	in := fetchAdd(dst, offset, src)
	in.Constant = 0xf1
	return in
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
