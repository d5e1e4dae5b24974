package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Where the signatures are: those of a tarball, and those of calls that are newer.
const (
	signatureFile = "internal/abi/args/testdata/signatures.txt"
	newerFile     = "internal/abi/args/testdata/newer.txt"
)

// param is what a signature says of one argument.
type param struct {
	// bytes is the size of a number, 0 for a pointer.
	bytes uint32
	// readOnly tells a pointer to what the kernel declares const.
	readOnly bool
}

func (p param) pointer() bool { return p.bytes == 0 }

// String is the parameter as the files have it.
func (p param) String() string {
	switch {
	case p.readOnly:
		return "const*"
	case p.pointer():
		return "*"
	}
	return fmt.Sprint(p.bytes)
}

// signature is one call as the kernel declares it.
type signature struct {
	nr   uint32
	name string
	// gone tells a number that the kernel keeps for a call it does not have.
	gone   bool
	params []param
}

// String is the signature as the files have it: number, name, and for each argument
// the bytes of a number, "*" or "const*"; "gone" for a call that is no more.
func (s signature) String() string {
	words := []string{fmt.Sprint(s.nr), s.name}
	if s.gone {
		words = append(words, "gone")
	}
	for _, p := range s.params {
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

func (s signature) pointers() bool {
	for _, p := range s.params {
		if p.pointer() {
			return true
		}
	}
	return false
}

// signatures reads both files.
func signatures(root string) ([]signature, error) {
	var all []signature
	for _, name := range []string{signatureFile, newerFile} {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		for i, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(strings.SplitN(line, "#", 2)[0]); line == "" {
				continue
			}
			s, err := parseSignature(line)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

func parseSignature(line string) (signature, error) {
	words := strings.Fields(line)
	if len(words) < 2 || len(words) > 8 {
		return signature{}, fmt.Errorf("%q: expected a number, a name and up to six arguments", line)
	}
	nr, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil {
		return signature{}, err
	}
	s := signature{nr: uint32(nr), name: words[1]}
	if len(words) == 3 && words[2] == "gone" {
		s.gone = true
		return s, nil
	}
	for _, w := range words[2:] {
		p, err := parseParam(w)
		if err != nil {
			return signature{}, err
		}
		s.params = append(s.params, p)
	}
	return s, nil
}

func parseParam(word string) (param, error) {
	switch word {
	case "*":
		return param{}, nil
	case "const*":
		return param{readOnly: true}, nil
	case "1", "2", "4", "8":
		return param{bytes: uint32(word[0] - '0')}, nil
	}
	return param{}, fmt.Errorf("%q: expected 1, 2, 4, 8, * or const*", word)
}
