// Command init is a guest's init for programs that cannot be it themselves.
package main

import (
	"fmt"
	"os"

	"portcullis/internal/guest"
)

func main() {
	guest.MaybeInit()
	fmt.Fprintln(os.Stderr, "init: this is the first process of a guest and nothing else: use portcullis kernel run")
	os.Exit(2)
}
