package main

import (
	"bytes"
	"testing"

	"portcullis/internal/kit"
)

// TestPatchHasTheTable compares what a patch of linux/ adds with what the generator
// prints: there is one table.
func TestPatchHasTheTable(t *testing.T) {
	have, err := kit.InPatches(root, kernelHeader)
	if err != nil {
		t.Fatal(err)
	}
	want, err := kernelTable(root)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s differs from what the table makes: put the output of gen -kernel into its patch", kernelHeader)
	}
}

// What is in the kernel is ASCII, and not wide.
func TestKernelTableIsTheSameTwice(t *testing.T) {
	first, err := kernelTable(root)
	if err != nil {
		t.Fatal(err)
	}
	second, err := kernelTable(root)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same table makes other bytes, error %v", err)
	}
	for i, line := range bytes.Split(first, []byte("\n")) {
		if len(line) > 99 || bytes.IndexFunc(line, func(r rune) bool { return r > 126 }) >= 0 {
			t.Errorf("line %d is %q: expected ASCII, and at most 99 of it", i+1, line)
		}
	}
}
