// Package trace holds the calls of a process tree at their entry and exit by
// ptrace(2), for the decisions that a notification cannot carry out.
//
// # A call
//
// A trace leaf is SECCOMP_RET_TRACE: the thread stops before the call. The filters
// are asked through decide, and read arguments through a pin.Set. Then
//
//	ERRNO         the number becomes -1 and the result the errno
//	KILL, TRAP    the number becomes a reserved one; the kernel asks the prefilter
//	              again, which then answers with that action
//	ALLOW         the thread goes on, once it may (wait_syscall), with the registers
//	              of the pinned arguments redirected to a shadow slot, and stops
//	              again at the exit, where they are restored
//
// The kernel rechecks the call as it then is; a trace leaf does not depend on what is
// redirected, and means "go on" the second time.
//
// # A call that is made again
//
// What needs other calls of the thread first (mapping the slots, waiting) lets the
// thread make them in the place of the one that was decided, which is then made again
// and stops again. Its decision is kept meanwhile, with what was pinned: a call is
// evaluated once each time the target makes it. A call that differs in anything is
// another one, and is evaluated.
//
// # Who is who
//
// Every task of the tree is traced from its first instruction: forks are stops, and a
// child does not run before its parent's stop has said whose child it is. So what a
// thread is (its process, its keys in task storage, its address space) is known by
// descent alone. A child whose parent died before it could say so is killed.
//
// A thread's number means that thread until its end has been waited for, but for two
// things. A thread that executes has its process' first one's number from before its
// stop on, and its own may be another task's at once: first stops are looked at for
// that (arrived). And a child may end before its parent's stop names it, and its number
// be another's then: it is remembered (unborn). Threads that no end will be reported of
// go with their process, whose first thread's end comes last.
//
// # Who waits
//
// The kernel knows tracers as threads: Run is a goroutine with one of its own. It waits
// for nothing but stops. Time limits are the target's own (the call in which it waits
// has one), or a SIGKILL that a timer sends.
//
// A tracer in the process that is also the parent reaps the end of the command before
// whoever waits for its child; worse, waiting for a child that one's own process traces
// reports its stops (wait_consider_task in kernel/exit.c). So nobody may wait for the
// command but its tracer; see Await. PTRACE_O_TRACEEXIT could leave the end to the
// parent, but then what is killed would not go before its tracer has looked at it.
//
// That matters where the tracer itself is held up: memory of a target can be a file, or
// faults that somebody answers, and reading it takes as long as that somebody likes. A
// guard kills all that is traced after a time, heard of or not. With it goes who held up
// the tracer, if that was one of the targets.
//
// The end of a process whose parent is traced as well is that parent's to wait for. What
// is left of it when the parent is gone is reaped here: it is nobody else's (orphans).
package trace
