package args

// ipc/sem.c, ipc/shm.c, ipc/msg.c: IPC_SET is 1 everywhere. The array of SETALL is as
// long as the set of semaphores. shmat and shmdt are about an address.
var ipcSysv = []Call{
	{Name: "semop", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 6, Count: Count{2, 4}}, u32}},
	{Name: "semtimedop", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 6, Count: Count{2, 4}}, u32, timespecOrNull}},
	{Name: "semctl", Args: [6]Arg{u32, u32, u32, option}, cases: []Case{
		{3, []When{{2, low, 1}}, Arg{Shape: Struct, Dir: In, Size: 104}}, // struct semid64_ds
		{3, []When{{2, low, 17}}, object},                                // SETALL
		{3, []When{{2, low, 16}}, u32},                                   // SETVAL
		{3, []When{{2, low, 2}}, out},                                    // IPC_STAT
		{3, []When{{2, low, 3}}, out},                                    // IPC_INFO
		{3, []When{{2, low, 13}}, out},                                   // GETALL
		{3, []When{{2, low, 18}}, out},                                   // SEM_STAT
		{3, []When{{2, low, 19}}, out},                                   // SEM_INFO
		{3, []When{{2, low, 20}}, out},                                   // SEM_STAT_ANY
	}},
	{Name: "shmat", Args: [6]Arg{u32, address, u32}},
	{Name: "shmdt", Args: [6]Arg{address}},
	{Name: "shmctl", Args: [6]Arg{u32, u32, out}, cases: []Case{
		{2, []When{{1, low, 1}}, Arg{Shape: Struct, Dir: In, Size: 112}}, // struct shmid64_ds
	}},
	// struct msgbuf is a long, and as many bytes as the call says.
	{Name: "msgsnd", Args: [6]Arg{u32, {Shape: Array, Dir: In, Size: 8, Unit: 1, Count: Count{2, 8}}, u64, u32}},
	{Name: "msgrcv", Args: [6]Arg{u32, out, u64, u64, u32}},
	{Name: "msgctl", Args: [6]Arg{u32, u32, out}, cases: []Case{
		{2, []When{{1, low, 1}}, Arg{Shape: Struct, Dir: In, Size: 120}}, // struct msqid64_ds
	}},
}

// ipc/mqueue.c. What SIGEV_THREAD points at is copied by the call, too, and is not
// pinned.
var ipcMqueue = []Call{
	{Name: "mq_open", Args: [6]Arg{path, u32, u16, mqAttr}},
	{Name: "mq_unlink", Args: [6]Arg{path}},
	{Name: "mq_timedsend", Args: [6]Arg{u32, {Shape: Array, Dir: In, Unit: 1, Count: Count{2, 8}}, u64, u32, timespecOrNull}},
	{Name: "mq_timedreceive", Args: [6]Arg{u32, out, u64, out, timespecOrNull}},
	{Name: "mq_notify", Args: [6]Arg{u32, sigevent}},
	{Name: "mq_getsetattr", Args: [6]Arg{u32, mqAttr, out}},
}
