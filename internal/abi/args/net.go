package args

// net/socket.c. move_addr_to_kernel refuses an address longer than
// sockaddr_storage. With MSG_ZEROCOPY the kernel keeps the pages of the buffers
// until they are sent; it copies address, control data and the header all the same.
// sendmmsg and recvmmsg write the lengths into the array they read.
var netSocket = []Call{
	{Name: "bind", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 4}, Max: sockaddr}, u32}},
	{Name: "connect", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 4}, Max: sockaddr}, u32}},
	{Name: "accept", Args: [6]Arg{u32, out, inout}},
	{Name: "accept4", Args: [6]Arg{u32, out, inout, u32}},
	{Name: "getsockname", Args: [6]Arg{u32, out, inout}},
	{Name: "getpeername", Args: [6]Arg{u32, out, inout}},
	{Name: "socketpair", Args: [6]Arg{u32, u32, u32, out}},
	{Name: "setsockopt", Args: [6]Arg{u32, u32, u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{4, 4}}, u32}},
	{Name: "getsockopt", Args: [6]Arg{u32, u32, u32, inout, inout}},
	{
		Name: "sendto",
		Args: [6]Arg{
			u32,
			{Shape: Array, Dir: In, Unit: 1, Count: Count{2, 8}},
			u64, u32,
			{Shape: Array, Dir: In, Unit: 1, Count: Count{5, 4}, Max: sockaddr, Null: true},
			u32,
		},
		cases: []Case{{1, []When{{3, zeroCopy, zeroCopy}}, kept}},
	},
	{Name: "recvfrom", Args: [6]Arg{u32, out, u64, u32, out, inout}},
	{
		Name:  "sendmsg",
		Args:  [6]Arg{u32, {Shape: Msghdr, Dir: In, Data: In, Size: 56}, u32},
		cases: []Case{{1, []When{{2, zeroCopy, zeroCopy}}, Arg{Shape: Msghdr, Dir: In, Data: Kept, Size: 56}}},
	},
	{Name: "recvmsg", Args: [6]Arg{u32, inout, u32}},
	{Name: "sendmmsg", Args: [6]Arg{u32, inout, u32, u32}},
	{Name: "recvmmsg", Args: [6]Arg{u32, inout, u32, u32, inout}},
}

// zeroCopy is MSG_ZEROCOPY.
const zeroCopy = 0x4000000
