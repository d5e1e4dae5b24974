// Package target lets a command-line supervisor stand in for its target before
// terminal, shell and init: signals reach the target, a stopped target stops its
// supervisor, and orphans are reaped.
//
// Both share a process group, so that what the terminal sends arrives at both.
package target
