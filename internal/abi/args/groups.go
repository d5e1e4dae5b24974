package args

// groups are all calls, in the order of their files. Calls without a pointer are
// generated from the kernel's signatures: there is nothing to say about them.
var groups = [...][]Call{
	fsOpen, fsNamei, fsStat, fsReadWrite, fsPipe, fsPoll, fsXattr, fsUtimes, fsExec, fsAio, fsOther,
	fsNamespace, fsFsopen, fsQuota,
	netSocket,
	ipcSysv, ipcMqueue,
	kernelSignal, kernelTime, kernelSys, kernelFork, kernelSched, kernelFutex, kernelModule, kernelPrivilege,
	mmPolicy, mmProcess, mmOther,
	securityLsm, securityKeys, ioUring,
	byOption,
	numbers,
}
