// Package conformance is the suite of filters and victims that every engine must
// run alike: state over fork, exec and threads, verdicts, stacks, and the
// built-in filters on real programs. It holds tests only.
package conformance
