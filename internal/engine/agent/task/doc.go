// Package task knows the tasks behind notifications: which process a thread id
// means right now, and keys for them that no reuse of a number repeats.
package task
