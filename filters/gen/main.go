// Command gen writes include/portcullis.h from the product's tables, and
// compiles every filter in C beside its source.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	root := flag.String("C", ".", "root of the source tree")
	out := flag.String("o", "", "write below this directory instead of the source tree")
	flag.Parse()
	if *out == "" {
		*out = *root
	}
	if err := generate(*root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate writes the header, then compiles the filters against it.
func generate(root, out string) error {
	if err := writeHeader(out); err != nil {
		return err
	}
	tools, err := findTools()
	if err != nil {
		return err
	}
	sources, err := findSources(root)
	if err != nil {
		return err
	}
	for _, src := range sources {
		if err := tools.compile(root, out, src); err != nil {
			return err
		}
	}
	return nil
}
