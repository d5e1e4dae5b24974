// Package observe counts the calls of a command and of all that comes of it by eBPF programs
// in the kernel, where the user may load those: the calls are not held up for an agent.
//
// Programs on the tracepoints sys_enter, sched_process_fork, sched_process_exec and
// sched_process_exit follow the tree of processes and count, for each thread and name, the
// calls by their numbers and by the arguments that tell much. A thread counts in memory of its own,
// and writes down what it counted when it has to or ends. What finds no room is counted.
package observe
