// Package launch starts a target under a filter from a process that may be
// unfiltered, multi-threaded and need every system call itself: it re-executes
// its own program as an init stage, which installs the filter and executes the
// target.
//
// The order of things between supervisor (S) and init stage (I):
//
//	I -> S  hello                     (only if the program called Init)
//	S       becomes non-dumpable
//	S -> I  configuration             (a memory file)
//	I       one thread installs the filter and from here on makes no call
//	I -> S  the listener              (from another, unfiltered thread)
//	S -> I  go on
//	I       the filtered thread executes the target
//	I -> S  end of file, or why executing failed
package launch
