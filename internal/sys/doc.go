// Package sys wraps the Linux system calls the engines need, thinly and without
// policy; it is the only user of golang.org/x/sys/unix. It is empty on systems
// other than Linux on amd64.
package sys
