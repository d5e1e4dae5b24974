// Package launch starts a target under filters from a process that may be
// unfiltered, multi-threaded and need every system call itself: the target's
// process first executes a small program, the stage (sys.NewStage), which
// installs the filters and executes the target. It serves both engines.
//
// The order of things between supervisor (S) and stage (I):
//
//	S       starts the stage              (Begin)
//	S       becomes non-dumpable          (Install; if there is a token)
//	S -> I  the filters and the token
//	I       one thread installs the filters and from here on makes no call
//	I -> S  the listener                  (from another, unfiltered thread)
//	S -> I  go on
//	I       the filtered thread executes the target
//	I -> S  end of file, or why executing failed
//
// Without a listener the stage goes on by itself. Then S can be I too (Exec): it
// tells itself, by a socket, before it executes the stage.
//
// # With a tracer
//
// A stage is a file that nobody can read, so its process is not dumpable and a
// supervisor without CAP_SYS_PTRACE cannot trace it; the kernel tells nobody apart
// who has the same user. So it makes itself dumpable at a moment at which that is worth
// no more than reaching the target, which such a user can as well (InstallTraced):
//
//	I -> S  the listener
//	I       closes the listener, wipes the filters from its memory, puts the other
//	        thread too under a filter, and becomes dumpable
//	I -> S  ready
//	S       seizes the filtered thread, and stops it
//	S -> I  go on
//	I       the filtered thread enters execveat
//	S       writes the token into the stopped thread's register
//	I       is the target, stopped before its first instruction
//
// Whoever traces the stage before S makes seizing fail, and nothing is executed.
// Whoever changes its memory or registers meanwhile runs code under the target's
// filters, with what the target has. The token is not to be found: the kernel alone
// sees it, where the call succeeds.
package launch
