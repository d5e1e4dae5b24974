// Package launch starts a target under a filter from a process that may be
// unfiltered, multi-threaded and need every system call itself: the target's
// process first executes a small program, the stage (sys.NewStage), which
// installs the filter and executes the target.
//
// The order of things between supervisor (S) and stage (I):
//
//	S       starts the stage              (Begin)
//	S       becomes non-dumpable          (Install)
//	S -> I  the filter and the token
//	I       one thread installs the filter and from here on makes no call
//	I -> S  the listener                  (from another, unfiltered thread)
//	S -> I  go on
//	I       the filtered thread executes the target
//	I -> S  end of file, or why executing failed
//
// Without a listener the stage goes on by itself.
package launch
