package args

// fs/namespace.c. The strings of mount are those of copy_mount_string, but for the
// directory, which is a path. mount_attr, mnt_id_req and ns_id_req grow with kernels;
// one longer than a page is refused.
var fsNamespace = []Call{
	{Name: "mount", Args: [6]Arg{pathOrNull, path, pathOrNull, u64, {Shape: Readable, Dir: In, Max: pageSize, Null: true}}},
	{Name: "umount2", Args: [6]Arg{path, u32}},
	{Name: "pivot_root", Args: [6]Arg{path, path}},
	{Name: "open_tree", Args: [6]Arg{u32, path, u32}},
	{Name: "move_mount", Args: [6]Arg{u32, path, u32, path, u32}},
	{Name: "mount_setattr", Args: [6]Arg{u32, path, u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{4, 8}, Max: pageSize}, u64}},
	{Name: "open_tree_attr", Args: [6]Arg{u32, path, u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{4, 8}, Max: pageSize, Null: true}, u64}}, // 6.15
	{Name: "statmount", Args: [6]Arg{{Shape: Sized, Dir: In, Max: pageSize}, out, u64, u32}},
	{Name: "listmount", Args: [6]Arg{{Shape: Sized, Dir: In, Max: pageSize}, out, u64, u32}},
	{Name: "listns", Args: [6]Arg{{Shape: Sized, Dir: In, Max: pageSize}, out, u64, u32}}, // kernel/nstree.c, 6.19
}

// fs/fsopen.c: FSCONFIG_SET_STRING 1, SET_BINARY 2, SET_PATH 3, SET_PATH_EMPTY 4; the
// others take no value.
var fsFsopen = []Call{
	{Name: "fsopen", Args: [6]Arg{text, u32}},
	{Name: "fspick", Args: [6]Arg{u32, path, u32}},
	{Name: "fsconfig", Args: [6]Arg{u32, u32, text256, address, u32}, cases: []Case{
		{3, []When{{1, low, 1}}, text256},
		{3, []When{{1, low, 2}}, Arg{Shape: Array, Dir: In, Unit: 1, Count: Count{4, 4}, Max: 1 << 20, Null: true}},
		{3, []When{{1, low, 3}}, pathOrNull},
		{3, []When{{1, low, 4}}, pathOrNull},
	}},
}

// fs/quota/quota.c, kernel/acct.c, mm/swapfile.c. The command of quotactl is the
// upper 24 bits of its first argument.
var fsQuota = []Call{
	{Name: "quotactl", Args: [6]Arg{u32, pathOrNull, u32, option}, cases: quotactl},
	{Name: "quotactl_fd", Args: [6]Arg{u32, u32, u32, option}, cases: quotactlFd},
	{Name: "acct", Args: [6]Arg{pathOrNull}},
	{Name: "swapon", Args: [6]Arg{path, u32}},
	{Name: "swapoff", Args: [6]Arg{path}},
}

// quotactl are the commands with the command in argument 0.
var quotactl = []Case{
	{3, []When{{0, quotaCommand, 0x800002 << 8}}, path},       // Q_QUOTAON
	{3, []When{{0, quotaCommand, 0x800006 << 8}}, quotaInfo},  // Q_SETINFO
	{3, []When{{0, quotaCommand, 0x800008 << 8}}, quotaBlock}, // Q_SETQUOTA
	{3, []When{{0, quotaCommand, 0x5801 << 8}}, integer},      // Q_XQUOTAON
	{3, []When{{0, quotaCommand, 0x5802 << 8}}, integer},      // Q_XQUOTAOFF
	{3, []When{{0, quotaCommand, 0x5804 << 8}}, quotaDisk},    // Q_XSETQLIM
	{3, []When{{0, quotaCommand, 0x5806 << 8}}, integer},      // Q_XQUOTARM
	{3, []When{{0, quotaCommand, 0x800004 << 8}}, out},        // Q_GETFMT
	{3, []When{{0, quotaCommand, 0x800005 << 8}}, out},        // Q_GETINFO
	{3, []When{{0, quotaCommand, 0x800007 << 8}}, out},        // Q_GETQUOTA
	{3, []When{{0, quotaCommand, 0x800009 << 8}}, out},        // Q_GETNEXTQUOTA
	{3, []When{{0, quotaCommand, 0x5803 << 8}}, out},          // Q_XGETQUOTA
	{3, []When{{0, quotaCommand, 0x5805 << 8}}, out},          // Q_XGETQSTAT
	{3, []When{{0, quotaCommand, 0x5808 << 8}}, inout},        // Q_XGETQSTATV
	{3, []When{{0, quotaCommand, 0x5809 << 8}}, out},          // Q_XGETNEXTQUOTA
}

// quotactlFd are the commands with the command in argument 1.
var quotactlFd = []Case{
	{3, []When{{1, quotaCommand, 0x800002 << 8}}, path},       // Q_QUOTAON
	{3, []When{{1, quotaCommand, 0x800006 << 8}}, quotaInfo},  // Q_SETINFO
	{3, []When{{1, quotaCommand, 0x800008 << 8}}, quotaBlock}, // Q_SETQUOTA
	{3, []When{{1, quotaCommand, 0x5801 << 8}}, integer},      // Q_XQUOTAON
	{3, []When{{1, quotaCommand, 0x5802 << 8}}, integer},      // Q_XQUOTAOFF
	{3, []When{{1, quotaCommand, 0x5804 << 8}}, quotaDisk},    // Q_XSETQLIM
	{3, []When{{1, quotaCommand, 0x5806 << 8}}, integer},      // Q_XQUOTARM
	{3, []When{{1, quotaCommand, 0x800004 << 8}}, out},        // Q_GETFMT
	{3, []When{{1, quotaCommand, 0x800005 << 8}}, out},        // Q_GETINFO
	{3, []When{{1, quotaCommand, 0x800007 << 8}}, out},        // Q_GETQUOTA
	{3, []When{{1, quotaCommand, 0x800009 << 8}}, out},        // Q_GETNEXTQUOTA
	{3, []When{{1, quotaCommand, 0x5803 << 8}}, out},          // Q_XGETQUOTA
	{3, []When{{1, quotaCommand, 0x5805 << 8}}, out},          // Q_XGETQSTAT
	{3, []When{{1, quotaCommand, 0x5808 << 8}}, inout},        // Q_XGETQSTATV
	{3, []When{{1, quotaCommand, 0x5809 << 8}}, out},          // Q_XGETNEXTQUOTA
}

// quotaCommand is the mask of the command; below it is the type of quota.
const quotaCommand = 0xffffff00

// struct if_dqinfo, if_dqblk and fs_disk_quota.
var (
	quotaInfo  = Arg{Shape: Struct, Dir: In, Size: 24}
	quotaBlock = Arg{Shape: Struct, Dir: In, Size: 72}
	quotaDisk  = Arg{Shape: Struct, Dir: In, Size: 112}
)
