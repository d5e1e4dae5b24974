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
package launch
