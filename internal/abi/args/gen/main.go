// Command gen writes what follows from the table of argument shapes: the calls
// without pointers, the index by number and the C header. With -signatures it
// reads the kernel's own signatures out of a source tarball into testdata, which
// the tests compare the table with; with -kernel it prints the table for the kernel
// of the kernel engine, which a patch of linux/ adds.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("C", ".", "root of the source tree")
	tarball := flag.String("signatures", "", "read this tarball of Linux, and write testdata/signatures.txt alone")
	kernel := flag.Bool("kernel", false, "print "+kernelHeader+" alone")
	flag.Parse()
	var err error
	switch {
	case *kernel:
		err = printKernelTable(*root)
	case *tarball != "":
		err = writeSignatures(*root, *tarball)
	default:
		err = write(*root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// output is a generated file: its path below the root, and what belongs into it.
type output struct {
	path   string
	render func(root string) ([]byte, error)
}

// outputs are in order: the index needs the calls without pointers to be compiled in.
func outputs() []output {
	return []output{
		{"internal/abi/args/numbers.go", numbers},
		{"internal/abi/args/index.go", index},
		{"include/portcullis_args.h", header},
	}
}

func write(root string) error {
	for _, o := range outputs() {
		data, err := o.render(root)
		if err != nil {
			return fmt.Errorf("%s: %w", o.path, err)
		}
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(o.path)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func writeSignatures(root, tarball string) error {
	text, err := extract(tarball)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(signatureFile)), text, 0o644)
}

func printKernelTable(root string) error {
	text, err := kernelTable(root)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}
