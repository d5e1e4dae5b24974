package portcullis

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"portcullis/internal/policy"
	"portcullis/internal/prog"
)

// LoadPolicy takes a filter from a policy, as docs/POLICIES.md describes them. Name is the
// path in messages, and that of the directory from which it includes others.
func LoadPolicy(name string, data []byte) (*Filter, error) {
	f, err := compile(name, data)
	if err != nil {
		return nil, &LoadError{Spec: name, Err: err}
	}
	return f, nil
}

// compile makes the filter of a policy, with the hash of all that it was read from.
func compile(name string, data []byte) (*Filter, error) {
	sum := sha256.New()
	sum.Write(data)
	m, err := policy.Load(name, data, func(file string) ([]byte, error) {
		data, err := included(file)
		of := sha256.Sum256(data)
		sum.Write(of[:])
		return data, err
	})
	if err != nil {
		return nil, err
	}
	return ofModel(name, hex.EncodeToString(sum.Sum(nil)), m)
}

// ofModel is the filter that a policy comes to.
func ofModel(spec, hash string, m *policy.Model) (*Filter, error) {
	p, err := policy.Compile(m)
	if err != nil {
		return nil, err
	}
	return &Filter{spec: spec, hash: hash, model: m, program: p, programs: []*prog.Program{p}}, nil
}

// Programs are the places of the entries under programs, in the policy that the filter was
// read from, that are for what is executed by that absolute path. They have no effect on the
// command itself, which Start executes: that is not asked about.
func (f *Filter) Programs(path string) []string {
	if f.model == nil {
		return nil
	}
	var at []string
	for i := range f.model.Programs {
		if p := &f.model.Programs[i]; p.Takes(path) {
			at = append(at, p.Pos.String())
		}
	}
	return at
}

// included is what a policy includes: a ready policy by its name, or a file.
func included(file string) ([]byte, error) {
	if policy.IsName(file) {
		return policy.Ready(file)
	}
	data, _, err := readRegular(file, "a policy", policy.MaxSize) // Load refuses what is longer
	return data, err
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
