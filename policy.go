package portcullis

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"portcullis/internal/policy"
	"portcullis/internal/policy/dialect"
	"portcullis/internal/prog"
)

// LoadPolicy takes a filter from a policy, as docs/POLICIES.md describes them. Name is the
// path in messages, and that of the directory from which it includes others.
func LoadPolicy(name string, data []byte) (*Filter, error) {
	m, p, sum, err := compile(name, data)
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	return &Filter{spec: name, hash: sum, model: m, program: p, programs: []*prog.Program{p}}, nil
}

// compile makes the program of a policy, and the hash of all that it was read from.
func compile(name string, data []byte) (*policy.Model, *prog.Program, string, error) {
	sum := sha256.New()
	sum.Write(data)
	m, err := policy.Load(name, data, func(file string) ([]byte, error) {
		data, _, err := readRegular(file, "a policy", policy.MaxSize) // Load refuses what is longer
		of := sha256.Sum256(data)
		sum.Write(of[:])
		return data, err
	})
	if err != nil {
		return nil, nil, "", err
	}
	p, err := policy.Compile(m)
	return m, p, hex.EncodeToString(sum.Sum(nil)), err
}

// isPolicy tells what a file is by what it holds. One that is neither is what its name says,
// so that the message is about that.
func isPolicy(name string, data []byte) bool {
	return policy.Recognise(data) || isPolicyPath(name) && !bytes.HasPrefix(data, []byte("\x7fELF"))
}

// isPolicyPath tells names of files that need no slash to be told from built-in filters.
func isPolicyPath(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// kindOfFilter is what a file is taken for by its name, where it cannot be read.
func kindOfFilter(name string) string {
	if isPolicyPath(name) {
		return "a policy"
	}
	return "an ELF object"
}

// loadForeign takes a filter from a policy in another language. One of which something is lost is for its
// user to look at first.
func loadForeign(name string, data []byte, of dialect.Reader) (*Filter, error) {
	m, lost, err := of(name, data)
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("%s is lost: %d of that kind; portcullis convert %s -o FILE.yaml lists them, and makes a policy to look at", lost[0], len(lost), name)
	}
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	p, err := policy.Compile(m)
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	sum := sha256.Sum256(data)
	return &Filter{spec: name, hash: hex.EncodeToString(sum[:]), model: m, program: p, programs: []*prog.Program{p}}, nil
}
