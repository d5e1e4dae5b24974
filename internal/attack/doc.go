// Package attack is the suite of attacks on the engines: programs that run
// under filters and try to get out, in every way the promises of the project
// name. It holds tests only.
package attack
