// Command portcullis runs programs under eBPF filters of their system calls.
package main

import (
	"os"

	"portcullis"
	"portcullis/internal/cli"
	"portcullis/internal/guest"
)

func main() {
	// Both first: this program is also the stage that launches a filtered
	// command, and the init of the guest.
	portcullis.MaybeInit()
	guest.MaybeInit()
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
