// Command portcullis runs programs under eBPF filters of their system calls.
package main

import (
	"os"

	"portcullis/internal/cli"
	"portcullis/internal/guest"
)

func main() {
	guest.MaybeInit() // first: this program is also the init of the guest
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
