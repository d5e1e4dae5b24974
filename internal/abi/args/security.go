package args

// security/landlock/syscalls.c, security/lsm_syscalls.c.
var securityLsm = []Call{
	{Name: "landlock_create_ruleset", Args: [6]Arg{{Shape: Array, Dir: In, Unit: 1, Count: Count{1, 8}, Max: pageSize, Null: true}, u64, u32}},
	{Name: "landlock_add_rule", Args: [6]Arg{u32, u32, option, u32}, cases: []Case{
		{2, []When{{1, low, 1}}, Arg{Shape: Struct, Dir: In, Size: 12}}, // LANDLOCK_RULE_PATH_BENEATH, packed
		{2, []When{{1, low, 2}}, Arg{Shape: Struct, Dir: In, Size: 16}}, // LANDLOCK_RULE_NET_PORT
	}},
	{Name: "lsm_get_self_attr", Args: [6]Arg{u32, inout, inout, u32}},
	{Name: "lsm_set_self_attr", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 4}, Max: pageSize}, u32, u32}},
	{Name: "lsm_list_modules", Args: [6]Arg{out, inout, u32}},
}

// security/keys. A payload of more than a mebibyte is refused.
var securityKeys = []Call{
	{Name: "add_key", Args: [6]Arg{keyType, textOrNull, {Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: 1 << 20}, u64, u32}},
	{Name: "request_key", Args: [6]Arg{keyType, text, textOrNull, u32}},
	{Name: "keyctl", Args: [6]Arg{u32, option, option, option, option}, cases: keyctl},
}

// keyctl are its operations, from security/keys/keyctl.c. Of KEYCTL_INSTANTIATE_IOV the
// kernel takes the lower half of the count.
var keyctl = []Case{
	{1, []When{{0, low, 1}}, textOrNull}, // KEYCTL_JOIN_SESSION_KEYRING

	{2, []When{{0, low, 2}}, Arg{Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: pageSize}}, // KEYCTL_UPDATE

	{2, []When{{0, low, 6}}, out}, // KEYCTL_DESCRIBE

	{2, []When{{0, low, 10}}, keyType}, // KEYCTL_SEARCH
	{3, []When{{0, low, 10}}, text},

	{2, []When{{0, low, 11}}, out}, // KEYCTL_READ

	{2, []When{{0, low, 12}}, Arg{Shape: Array, Dir: In, Unit: 1, Count: Count{3, 8}, Max: 1 << 20, Null: true}}, // KEYCTL_INSTANTIATE

	{2, []When{{0, low, 17}}, out}, // KEYCTL_GET_SECURITY

	{2, []When{{0, low, 20}}, Arg{Shape: Iovec, Dir: In, Data: In, Unit: 16, Count: Count{3, 4}, Max: maxIovecs, Null: true}}, // KEYCTL_INSTANTIATE_IOV

	{1, []When{{0, low, 23}}, Arg{Shape: Struct, Dir: In, Size: 12, Null: true}}, // KEYCTL_DH_COMPUTE
	{2, []When{{0, low, 23}}, out},
	{4, []When{{0, low, 23}}, Arg{Shape: Struct, Dir: In, Size: 56, Null: true}},

	{3, []When{{0, low, 24}}, text}, // KEYCTL_PKEY_QUERY
	{4, []When{{0, low, 24}}, out},

	{1, []When{{0, low, 25}}, pkeyParams}, // KEYCTL_PKEY_ENCRYPT
	{2, []When{{0, low, 25}}, text},
	{3, []When{{0, low, 25}}, memory},
	{4, []When{{0, low, 25}}, out},

	{1, []When{{0, low, 26}}, pkeyParams}, // KEYCTL_PKEY_DECRYPT
	{2, []When{{0, low, 26}}, text},
	{3, []When{{0, low, 26}}, memory},
	{4, []When{{0, low, 26}}, out},

	{1, []When{{0, low, 27}}, pkeyParams}, // KEYCTL_PKEY_SIGN
	{2, []When{{0, low, 27}}, text},
	{3, []When{{0, low, 27}}, memory},
	{4, []When{{0, low, 27}}, out},

	{1, []When{{0, low, 28}}, pkeyParams}, // KEYCTL_PKEY_VERIFY
	{2, []When{{0, low, 28}}, text},
	{3, []When{{0, low, 28}}, memory},
	{4, []When{{0, low, 28}}, memory},

	{2, []When{{0, low, 29}}, Arg{Shape: String, Dir: In, Max: 32, Null: true}}, // KEYCTL_RESTRICT_KEYRING
	{3, []When{{0, low, 29}}, textOrNull},

	{1, []When{{0, low, 31}}, out}, // KEYCTL_CAPABILITIES
}

// pkeyParams is struct keyctl_pkey_params, which says how long the data are.
var pkeyParams = Arg{Shape: Struct, Dir: In, Size: 40}

// io_uring. A ring keeps most of what is registered with it.
var ioUring = []Call{
	{Name: "io_uring_setup", Args: [6]Arg{u32, inout}},
	{Name: "io_uring_enter", Args: [6]Arg{u32, u32, u32, u32, sigsetOrNull, u64}, cases: []Case{
		{4, []When{{3, 1 << 6, 1 << 6}}, address},                               // IORING_ENTER_EXT_ARG_REG: an offset
		{4, []When{{3, 1 << 3, 1 << 3}}, Arg{Shape: Struct, Dir: In, Size: 24}}, // IORING_ENTER_EXT_ARG
	}},
	{Name: "io_uring_register", Args: [6]Arg{u32, u32, kept, u32}},
}
