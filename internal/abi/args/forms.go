package args

// Limits of the kernel: include/uapi/linux/limits.h, include/linux/uio.h and the
// callers named beside them.
const (
	pathMax   = 4096
	pageSize  = 4096
	maxIovecs = 1024 * 16 // UIO_MAXIOV of struct iovec
	sockaddr  = 128       // struct sockaddr_storage
	xattrName = 256       // XATTR_NAME_MAX and the NUL
	xattrSize = 65536     // XATTR_SIZE_MAX
)

// What arguments of many calls are. Sizes are those of the native x86-64 uapi
// structures.
var (
	u16 = Arg{Shape: Value, Size: 2}
	u32 = Arg{Shape: Value, Size: 4}
	u64 = Arg{Shape: Value, Size: 8}

	out     = Arg{Shape: Memory, Dir: Out}
	inout   = Arg{Shape: Memory, Dir: InOut}
	kept    = Arg{Shape: Memory, Dir: Kept}
	address = Arg{Shape: Memory, Dir: Address}
	option  = Arg{Shape: Memory, Dir: Unknown, Why: DependsOnArgument}
	driver  = Arg{Shape: Memory, Dir: Unknown, Why: DependsOnDriver}
	memory  = Arg{Shape: Memory, Dir: Unknown, Why: DependsOnMemory}
	object  = Arg{Shape: Memory, Dir: Unknown, Why: DependsOnObject}

	// getname and user_path_at, which go as far as PATH_MAX.
	path       = Arg{Shape: String, Dir: In, Max: pathMax}
	pathOrNull = Arg{Shape: String, Dir: In, Max: pathMax, Null: true}
	// strndup_user(…, PAGE_SIZE) and KEY_MAX_DESC_SIZE.
	text       = Arg{Shape: String, Dir: In, Max: pageSize}
	textOrNull = Arg{Shape: String, Dir: In, Max: pageSize, Null: true}
	text256    = Arg{Shape: String, Dir: In, Max: 256, Null: true}
	keyType    = Arg{Shape: String, Dir: In, Max: 32}
	xattr      = Arg{Shape: String, Dir: In, Max: xattrName}

	integer        = Arg{Shape: Struct, Dir: In, Size: 4}
	word           = Arg{Shape: Struct, Dir: In, Size: 8}
	timespec       = Arg{Shape: Struct, Dir: In, Size: 16}
	timespecOrNull = Arg{Shape: Struct, Dir: In, Size: 16, Null: true}
	timevalOrNull  = Arg{Shape: Struct, Dir: In, Size: 16, Null: true}
	itimerspec     = Arg{Shape: Struct, Dir: In, Size: 32}
	twoTimes       = Arg{Shape: Struct, Dir: In, Size: 32, Null: true}
	sigset         = Arg{Shape: Struct, Dir: In, Size: 8}
	sigsetOrNull   = Arg{Shape: Struct, Dir: In, Size: 8, Null: true}
	sigsetPack     = Arg{Shape: Struct, Dir: In, Size: 16, Null: true}
	siginfo        = Arg{Shape: Struct, Dir: In, Size: 128}
	siginfoOrNull  = Arg{Shape: Struct, Dir: In, Size: 128, Null: true}
	sigevent       = Arg{Shape: Struct, Dir: In, Size: 64, Null: true}
	rlimit         = Arg{Shape: Struct, Dir: In, Size: 16}
	schedParam     = Arg{Shape: Struct, Dir: In, Size: 4, Null: true}
	fprog          = Arg{Shape: Struct, Dir: In, Size: 16}
	flock          = Arg{Shape: Struct, Dir: In, Size: 32}
	mqAttr         = Arg{Shape: Struct, Dir: In, Size: 64, Null: true}
	epollEvent     = Arg{Shape: Struct, Dir: In, Size: 12}

	// import_iovec takes an unsigned: it drops the upper half of the count.
	writeIovec = Arg{Shape: Iovec, Dir: In, Data: In, Unit: 16, Count: Count{2, 4}, Max: maxIovecs}
	readIovec  = Arg{Shape: Iovec, Dir: In, Data: Out, Unit: 16, Count: Count{2, 4}, Max: maxIovecs}

	argv = Arg{Shape: Strings, Dir: In, Null: true}
)

// low is the mask of a 32-bit option.
const low = 0xffffffff
