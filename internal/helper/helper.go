// Package helper is the one table of the functions a filter may call: ids,
// signatures and effects. Verifier, splitter, interpreter, documentation and
// the C header read it; nothing here is an implementation.
package helper

import "portcullis/internal/prog"

// ID is a helper's number: the kernel's enum bpf_func_id, and from 212 on ours.
type ID int32

// The helpers of the filter ABI.
const (
	MapLookupElem     ID = 1
	MapUpdateElem     ID = 2
	MapDeleteElem     ID = 3
	KtimeGetNs        ID = 5
	TracePrintk       ID = 6
	GetPrandomU32     ID = 7
	GetSmpProcessorID ID = 8
	TailCall          ID = 12
	GetCurrentPidTgid ID = 14
	GetCurrentUidGid  ID = 15
	GetCurrentComm    ID = 16
	SpinLock          ID = 93
	SpinUnlock        ID = 94
	ProbeReadUser     ID = 112
	ProbeReadUserStr  ID = 114
	KtimeGetBootNs    ID = 125
	RingbufOutput     ID = 130
	RingbufReserve    ID = 131
	RingbufSubmit     ID = 132
	RingbufDiscard    ID = 133
	RingbufQuery      ID = 134
	TaskStorageGet    ID = 156
	TaskStorageDelete ID = 157
	SafeReadUser      ID = 212
	SafeReadUserStr   ID = 213
	WaitSyscall       ID = 214
)

// Flags of TaskStorageGet: the kernel's BPF_LOCAL_STORAGE_GET_F_CREATE, and
// ours, which selects the caller's thread instead of its process.
const (
	StorageCreate = 1 << 0
	StorageThread = 1 << 8
)

// Arg says what an argument register must hold.
type Arg uint8

// Argument kinds. A pointer kind is followed by the size argument that bounds
// it where its name says Sized.
const (
	None           Arg = iota
	Any                // any initialised scalar; no pointer
	ConstMap           // a map, known when the program is loaded
	MapKey             // readable memory of the map's key size
	MapValue           // readable memory of the map's value size
	MapValueOrNull     // the same, or a constant 0
	MemRead            // readable memory, its size in the next argument
	MemWrite           // memory that the helper fills, its size in the next argument
	Size               // size of the memory before it, at least 1, bounded
	SizeOrZero         // the same, or 0
	NullTask           // a constant 0 where the kernel's signature has a task pointer
	Lock               // a struct bpf_spin_lock inside a map value
	Record             // a record reserved in a ring buffer; released by the call
	ConstSize          // a constant size of the memory to allocate
	Context            // the program's context
)

// Ret says what R0 holds after the call.
type Ret uint8

// Return kinds.
const (
	Integer      Ret = iota
	Void             // R0 is not readable
	ValueOrNull      // a pointer to the map's value, or 0
	RecordOrNull     // a pointer to a record to be released, or 0
)

// Effect is a set of what a call does besides returning.
type Effect uint16

// Effects. A program path that calls anything with an effect cannot be decided
// in the kernel's classic BPF; Pins and Waits need a traced leaf.
const (
	Reads    Effect = 1 << iota // result depends on state, time, chance or caller
	Writes                      // changes state that outlives the call
	Reports                     // tells the supervisor something
	Memory                      // reads the caller's memory
	Pins                        // redirects an argument
	Waits                       // orders concurrent system calls
	Releases                    // gives a record back
	Acquires                    // takes a record
)

// Signature is one helper.
type Signature struct {
	ID     ID
	Name   string
	Args   [5]Arg
	Ret    Ret
	Effect Effect
	// Maps are the map types argument ConstMap may be; nil without such an argument.
	Maps []prog.MapType
	// Doc is one line for documentation and include/portcullis.h.
	Doc string
}

// Lookup finds a helper by its id.
func Lookup(id ID) (*Signature, bool) {
	for i := range table {
		if table[i].ID == id {
			return &table[i], true
		}
	}
	return nil, false
}

// All is the table in ascending order of id. Callers must not change it.
func All() []Signature { return table }
