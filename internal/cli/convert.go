package cli

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci"
	"portcullis/internal/policy/systemd"
)

// form is a file format that a filter can be written in.
type form struct {
	// ext is how names of such files end, name the word behind --to; none for other endings.
	ext, name string
	// what names it in messages.
	what string
	// binary files are not for terminals.
	binary bool
	// write writes a filter of any kind; nil if the format is for policies alone.
	write func(*portcullis.Filter) ([]byte, error)
	// policy writes a policy, and says what is lost.
	policy func(*policy.Model) ([]byte, []oci.Loss, error)
}

// forms are the formats of convert. The first is that of standard output where none is named.
func forms() []form {
	return []form{
		{ext: ".o", name: "object", what: "an ELF object", binary: true, write: (*portcullis.Filter).Object, policy: asObject},
		{ext: ".yaml", name: "yaml", what: "a policy", policy: asYAML},
		{ext: ".yml", what: "a policy", policy: asYAML},
		{ext: ".json", name: "json", what: "a container's profile", policy: oci.Write},
		{ext: ".conf", name: "systemd", what: "lines for a unit of systemd", policy: systemd.Write},
	}
}

func (a *app) convert() *cobra.Command {
	var s specFlags
	var to destination
	cmd := &cobra.Command{
		Use:   "convert [flags] SPEC -o FILE",
		Short: "Write a filter to a file",
		Long: "Write a filter to FILE, in the format that --to or else its name says:\n\n" +
			"  object    .o           an ELF object, with source lines, for portcullis, libbpf and bpftool\n" +
			"  yaml      .yaml, .yml  a policy; SPEC is a policy, the name of a ready one, or a file of one\n" +
			"                         of the next two formats\n" +
			"  json      .json        the seccomp profile of a container, likewise\n" +
			"  systemd   .conf        lines for a unit of systemd, likewise\n\n" +
			"With --to and without -o, or with -o -, it is written to standard output; -o - alone writes an\n" +
			"object.\n\n" +
			"What a format cannot say is listed on standard error, a line each that begins with \"lost:\".\n\n" +
			"Variables have the values that --set gives them, and can be set again. Other programs of the\n" +
			"same object are left out, unless the filter goes on in them by tail calls. FILE is replaced\n" +
			"when all of it is written. The filter is not verified: check does that. The exit status is 0 if\n" +
			"the filter was written, 1 if the format cannot hold it, 2 if it is unreadable or FILE cannot be\n" +
			"written.",
		Example: examples("portcullis convert count-exec --set max=3 -o three.o", "portcullis convert ./my-filter.o:main -o main.o",
			"portcullis convert nginx -o my-nginx.yaml", "portcullis convert ./profile.json --to yaml"),
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, specs []string) error { return a.convertTo(&s, specs, to) },
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&s.set, "set", nil, "`[FILTER.]NAME=VALUE` of a filter's variable; repeat for more")
	fs.StringVarP(&to.file, "output", "o", "", "the `FILE` to write; - is standard output")
	fs.StringVar(&to.form, "to", "", "`FORMAT` to write: yaml, json, object or systemd; else FILE's name says it")
	s.addCapabilities(cmd)
	return cmd
}

// destination is where convert writes to: a file, and the name of a format, each of which may be left out.
type destination struct{ file, form string }

// choose completes the destination, and finds its format.
func (t *destination) choose() (form, error) {
	if t.form == "" {
		return formOf(t.file)
	}
	if t.file == "" {
		t.file = stdout
	}
	return formNamed(t.form)
}

func (a *app) convertTo(s *specFlags, specs []string, to destination) error {
	f, err := to.choose()
	if err != nil {
		return exit(exitUsage, err)
	}
	if to.file == stdout && f.binary && isTerminal(a.Out) {
		return exit(exitUsage, fmt.Errorf("-o -: %s is not for a terminal: expected a file or a pipe", f.what))
	}
	data, err := a.converted(s, specs, f)
	if err != nil {
		return err
	}
	if err := a.output(to.file, data); err != nil {
		return exit(exitUsage, fmt.Errorf("-o %s: %w", to.file, err))
	}
	return nil
}

// converted is the filter in the format.
func (a *app) converted(s *specFlags, specs []string, to form) ([]byte, error) {
	caps, err := s.containers()
	if err != nil {
		return nil, exit(exitUsage, err)
	}
	from, err := readSource(specs[0], caps)
	if err != nil {
		return nil, exit(exitUsage, err)
	}
	if from != nil && (to.write == nil || !from.yaml) {
		return a.convertPolicy(from, to, s.set)
	}
	fs, err := s.load(specs)
	if err != nil {
		return nil, exit(exitUsage, err)
	}
	if to.write == nil {
		return nil, exit(exitNo, fmt.Errorf("%s: %w", specs[0], errNoPolicy))
	}
	data, err := to.write(fs[0])
	if err != nil {
		return nil, exit(exitNo, fmt.Errorf("%s: %w", specs[0], err))
	}
	return data, nil
}

// output writes to a file or to standard output.
func (a *app) output(file string, data []byte) error {
	if file != stdout {
		return replaceFile(file, data)
	}
	_, err := a.Out.Write(data)
	return err
}

// stdout is the name of standard output.
const stdout = "-"

// formOf finds the format of a file by its name.
func formOf(file string) (form, error) {
	var known []string
	for _, f := range forms() {
		if file == stdout || strings.HasSuffix(file, f.ext) {
			return f, nil
		}
		known = append(known, fmt.Sprintf("%s (%s)", f.ext, f.what))
	}
	if file == "" {
		return form{}, errors.New("no -o: expected a file to write, such as -o filter.o, or --to with a format for standard output")
	}
	return form{}, fmt.Errorf("-o %s: expected a name that ends in %s; or say the format with --to", file, strings.Join(known, ", "))
}

// formNamed finds the format that --to names.
func formNamed(name string) (form, error) {
	var known []string
	for _, f := range forms() {
		if f.name == name && name != "" {
			return f, nil
		}
		if f.name != "" {
			known = append(known, f.name)
		}
	}
	return form{}, fmt.Errorf("--to %q: expected one of %s", name, strings.Join(known, ", "))
}

// isTerminal tells whether w may be a terminal: a character device, and not the one
// that nobody reads.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && (nullErr != nil || !os.SameFile(info, null))
}

// replaceFile has file hold data, all of it or what it held before: data is written to
// a file beside it, which then takes its name.
func replaceFile(file string, data []byte) error {
	file, mode, err := replaceable(file)
	if err != nil {
		return err
	}
	tmp, err := createBeside(file)
	if err != nil {
		return err
	}
	if err = fill(tmp, data, mode); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// fill writes all of a file, to the disk, and closes it. Mode 0 leaves its permissions.
func fill(f *os.File, data []byte, mode os.FileMode) error {
	_, err := f.Write(data)
	if err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// replaceable is the file that a name stands for, behind links, and its permissions; 0
// where there is none yet. A device or a pipe must not become a file.
func replaceable(file string) (path string, mode os.FileMode, err error) {
	if _, err := os.Lstat(file); errors.Is(err, os.ErrNotExist) {
		return file, 0, nil
	}
	if path, err = filepath.EvalSymlinks(file); err != nil {
		return "", 0, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", 0, err
	case !info.Mode().IsRegular():
		return "", 0, errors.New("there is something that is no regular file: expected a file, or - for standard output")
	}
	return path, info.Mode().Perm(), nil
}

// createBeside creates a file in the same directory as file, with the permissions
// that the umask leaves.
func createBeside(file string) (*os.File, error) {
	for try := 0; ; try++ {
		name := filepath.Join(filepath.Dir(file), fmt.Sprintf(".%s.%08x", filepath.Base(file), rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, os.ErrExist) || try == 100 {
			return f, err
		}
	}
}
