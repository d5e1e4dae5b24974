package args

// mm/mempolicy.c, mm/migrate.c.
var mmPolicy = []Call{
	{Name: "mbind", Args: [6]Arg{u64, u64, u64, {Shape: Nodes, Dir: In, Count: Count{4, 8}, Max: pageSize, Null: true}, u64, u32}},
	{Name: "set_mempolicy", Args: [6]Arg{u32, {Shape: Nodes, Dir: In, Count: Count{2, 8}, Max: pageSize, Null: true}, u64}},
	{Name: "get_mempolicy", Args: [6]Arg{out, out, u64, u64, u64}},
	{Name: "migrate_pages", Args: [6]Arg{
		u32, u64,
		{Shape: Nodes, Dir: In, Count: Count{1, 8}, Max: pageSize, Null: true},
		{Shape: Nodes, Dir: In, Count: Count{1, 8}, Max: pageSize, Null: true},
	}},
	{Name: "move_pages", Args: [6]Arg{
		u32, u64,
		{Shape: Array, Dir: In, Unit: 8, Count: Count{1, 8}},
		{Shape: Array, Dir: In, Unit: 4, Count: Count{1, 8}, Null: true},
		out, u32,
	}},
}

// mm/process_vm_access.c, mm/madvise.c. The second array and that of process_madvise
// hold addresses of another process. Only that second array is not imported by
// import_iovec, and has a count of 64 bits.
var mmProcess = []Call{
	{Name: "process_vm_readv", Args: [6]Arg{u32, readIovec, u64, remoteIovec, u64, u64}},
	{Name: "process_vm_writev", Args: [6]Arg{u32, writeIovec, u64, remoteIovec, u64, u64}},
	{Name: "process_madvise", Args: [6]Arg{u32, {Shape: Iovec, Dir: In, Data: Address, Unit: 16, Count: Count{2, 4}, Max: maxIovecs}, u64, u32, u32}},
}

var remoteIovec = Arg{Shape: Iovec, Dir: In, Data: Address, Unit: 16, Count: Count{4, 8}, Max: maxIovecs}

// mm/mincore.c, mm/memfd.c, mm/filemap.c. The name of a memfd is cut at NAME_MAX less
// its prefix.
var mmOther = []Call{
	{Name: "mincore", Args: [6]Arg{u64, u64, out}},
	{Name: "memfd_create", Args: [6]Arg{{Shape: String, Dir: In, Max: 250}, u32}},
	{Name: "cachestat", Args: [6]Arg{u32, {Shape: Struct, Dir: In, Size: 16}, out, u32}},
}
