package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"portcullis/filters"
	"portcullis/internal/object"
	"portcullis/internal/policy"
	"portcullis/internal/policy/dialect"
	"portcullis/internal/policy/oci"
	"portcullis/internal/prog"
)

// maxPolicy is the largest file of a policy, in bytes.
const maxPolicy = 16 << 20

// source is a policy that stands in a file.
type source struct {
	model *policy.Model
	// lost is what the file says and the policy does not.
	lost []oci.Loss
	// yaml tells that it is a policy as it is.
	yaml bool
}

// readSource takes a ready policy, or one from a file, whatever form of it the file has; nil if the SPEC
// is of another kind: then it is for portcullis.Load to say what is wrong with it.
func readSource(spec string, in oci.Options) (*source, error) {
	if _, filter := filters.Object(spec); filter { // it comes first, as in portcullis.Load
		return nil, nil
	}
	data, err := readPolicy(spec)
	if err != nil {
		return nil, nil
	}
	s := &source{}
	if oci.Recognise(data) {
		s.model, s.lost, err = in.Read(spec, data)
	} else if read := dialect.Of(data); read != nil {
		s.model, s.lost, err = read(spec, data)
	} else if s.yaml = policy.Recognise(data); s.yaml {
		s.model, err = policy.Load(spec, data, readPolicy)
	} else {
		return nil, nil
	}
	if err == nil && s.model.Name == "" {
		s.model.Name = programName(spec)
	}
	return s, err
}

// readPolicy reads a file, or one that it includes, nothing that may have no end, or a ready
// policy by its name.
func readPolicy(file string) ([]byte, error) {
	if policy.IsName(file) {
		return policy.Ready(file)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxPolicy:
		return nil, fmt.Errorf("expected a policy, a regular file of at most %d bytes", maxPolicy)
	}
	data, err := readUpTo(file, maxPolicy)
	if err == nil && len(data) > maxPolicy {
		err = fmt.Errorf("expected a policy of at most %d bytes", maxPolicy)
	}
	return data, err
}

// readUpTo reads a file, and one byte more than most where it holds more: files of /proc do
// not say how much they hold.
func readUpTo(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}

// programName is what the program of a policy is called that has no name.
func programName(file string) string {
	base := path.Base(file)
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.TrimSuffix(base, path.Ext(base)))
}

// convertPolicy writes a policy in the format, and lists what is lost.
func (a *app) convertPolicy(s *source, to form, settings []string) ([]byte, error) {
	if len(settings) > 0 {
		return nil, exit(exitUsage, fmt.Errorf("--set %s: a policy has no variables: change the policy", settings[0]))
	}
	data, lost, err := to.policy(s.model)
	if err != nil {
		return nil, exit(exitNo, err)
	}
	for _, l := range append(s.lost, lost...) {
		fmt.Fprintf(a.Err, "lost: %s\n", l)
	}
	return data, nil
}

func asObject(m *policy.Model) ([]byte, []oci.Loss, error) {
	p, err := policy.Compile(m)
	if err != nil {
		return nil, nil, err
	}
	data, err := object.Write([]*prog.Program{p})
	return data, nil, err
}

func asYAML(m *policy.Model) ([]byte, []oci.Loss, error) { return policy.Write(m), nil, nil }

// errNoPolicy is why programs have no other form than an object.
var errNoPolicy = errors.New("it is a program, not a policy: expected -o to end in .o, or --to object")
