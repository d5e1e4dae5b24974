package helper

import "portcullis/internal/prog"

var (
	keyed = []prog.MapType{prog.Hash, prog.Array, prog.LRUHash, prog.PercpuHash, prog.PercpuArray}

	rings   = []prog.MapType{prog.RingBuf}
	storage = []prog.MapType{prog.TaskStorage}
	progs   = []prog.MapType{prog.ProgArray}
)

// table holds every helper once, in ascending order of id. Argument kinds
// follow the kernel's struct bpf_func_proto of the same name.
var table = []Signature{
	{
		MapLookupElem, "bpf_map_lookup_elem",
		[5]Arg{ConstMap, MapKey},
		ValueOrNull, Reads, keyed,
		"the value under a key, or NULL",
	},
	{
		MapUpdateElem, "bpf_map_update_elem",
		[5]Arg{ConstMap, MapKey, MapValue, Any},
		Integer, Reads | Writes, keyed,
		"stores a value under a key; flags BPF_ANY, BPF_NOEXIST, BPF_EXIST",
	},
	{
		MapDeleteElem, "bpf_map_delete_elem",
		[5]Arg{ConstMap, MapKey},
		Integer, Reads | Writes, keyed,
		"removes a key; -ENOENT if absent, -EINVAL for an array",
	},
	{
		KtimeGetNs, "bpf_ktime_get_ns",
		[5]Arg{},
		Integer, Reads, nil,
		"nanoseconds since boot, without suspend",
	},
	{
		TracePrintk, "bpf_trace_printk",
		[5]Arg{MemRead, Size, Any, Any, Any},
		Integer, Reports, nil,
		"a line for the supervisor's log",
	},
	{
		GetPrandomU32, "bpf_get_prandom_u32",
		[5]Arg{},
		Integer, Reads, nil,
		"32 pseudo-random bits",
	},
	{
		GetSmpProcessorID, "bpf_get_smp_processor_id",
		[5]Arg{},
		Integer, Reads, nil,
		"the processor; on the agent always 0",
	},
	{
		TailCall, "bpf_tail_call",
		[5]Arg{Context, ConstMap, Any},
		Void, Reads, progs,
		"continues in another filter of a PROG_ARRAY",
	},
	{
		GetCurrentPidTgid, "bpf_get_current_pid_tgid",
		[5]Arg{},
		Integer, Reads, nil,
		"tgid << 32 | pid of the caller, in the installer's pid namespace",
	},
	{
		GetCurrentUidGid, "bpf_get_current_uid_gid",
		[5]Arg{},
		Integer, Reads, nil,
		"gid << 32 | uid of the caller, in the installer's user namespace",
	},
	{
		GetCurrentComm, "bpf_get_current_comm",
		[5]Arg{MemWrite, Size},
		Integer, Reads, nil,
		"the caller's command name, NUL-terminated",
	},
	{
		SpinLock, "bpf_spin_lock",
		[5]Arg{Lock},
		Void, Reads | Writes, nil,
		"takes the lock of a map value",
	},
	{
		SpinUnlock, "bpf_spin_unlock",
		[5]Arg{Lock},
		Void, Reads | Writes, nil,
		"releases the lock of a map value",
	},
	{
		ProbeReadUser, "bpf_probe_read_user",
		[5]Arg{MemWrite, SizeOrZero, Any},
		Integer, Reads | Memory, nil,
		"reads the caller's memory, unpinned: for observation, not for a verdict",
	},
	{
		ProbeReadUserStr, "bpf_probe_read_user_str",
		[5]Arg{MemWrite, SizeOrZero, Any},
		Integer, Reads | Memory, nil,
		"reads a string from the caller's memory, unpinned; returns its length with the NUL",
	},
	{
		KtimeGetBootNs, "bpf_ktime_get_boot_ns",
		[5]Arg{},
		Integer, Reads, nil,
		"nanoseconds since boot, with suspend",
	},
	{
		RingbufOutput, "bpf_ringbuf_output",
		[5]Arg{ConstMap, MemRead, SizeOrZero, Any},
		Integer, Reports, rings,
		"copies a record into a ring buffer",
	},
	{
		RingbufReserve, "bpf_ringbuf_reserve",
		[5]Arg{ConstMap, ConstSize, Any},
		RecordOrNull, Reports | Acquires, rings,
		"a record of constant size to be filled, or NULL",
	},
	{
		RingbufSubmit, "bpf_ringbuf_submit",
		[5]Arg{Record, Any},
		Void, Reports | Releases, nil,
		"hands a reserved record over",
	},
	{
		RingbufDiscard, "bpf_ringbuf_discard",
		[5]Arg{Record, Any},
		Void, Reports | Releases, nil,
		"drops a reserved record",
	},
	{
		RingbufQuery, "bpf_ringbuf_query",
		[5]Arg{ConstMap, Any},
		Integer, Reads, rings,
		"what a ring buffer holds",
	},
	{
		TaskStorageGet, "bpf_task_storage_get",
		[5]Arg{ConstMap, NullTask, MapValueOrNull, Any},
		ValueOrNull, Reads | Writes, storage,
		"the calling process's value, or its thread's with PORTCULLIS_F_THREAD; created with BPF_LOCAL_STORAGE_GET_F_CREATE",
	},
	{
		TaskStorageDelete, "bpf_task_storage_delete",
		[5]Arg{ConstMap, NullTask},
		Integer, Reads | Writes, storage,
		"drops the calling process's value",
	},
	{
		SafeReadUser, "bpf_safe_read_user",
		[5]Arg{MemWrite, SizeOrZero, Any},
		Integer, Reads | Memory | Pins, nil,
		"reads a pinned argument",
	},
	{
		SafeReadUserStr, "bpf_safe_read_user_str",
		[5]Arg{MemWrite, SizeOrZero, Any},
		Integer, Reads | Memory | Pins, nil,
		"reads a pinned string argument; returns its length with the NUL, or -E2BIG",
	},
	{
		WaitSyscall, "bpf_wait_syscall",
		[5]Arg{Any, Any},
		Integer, Reads | Waits, nil,
		"waits until no task is inside a call, and marks the caller inside one",
	},
}
