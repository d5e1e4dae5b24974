package cli

import (
	"errors"
	"fmt"
	"strings"

	"portcullis"
	"portcullis/internal/prog"
)

// setting is one --set: [FILTER.]K=V.
type setting struct {
	filter, name, value string
}

// parseSetting splits at the first "=", then at the last "." before it: a
// value may hold both, a variable's name neither.
func parseSetting(text string) (setting, error) {
	left, value, ok := strings.Cut(text, "=")
	filter, name := "", left
	if i := strings.LastIndexByte(left, '.'); i >= 0 {
		filter, name = left[:i], left[i+1:]
	}
	if !ok || name == "" {
		return setting{}, fmt.Errorf("--set %q: expected [FILTER.]NAME=VALUE, such as max=3 or count-exec.max=3", text)
	}
	return setting{filter: filter, name: name, value: value}, nil
}

// load finds the filters of specs and gives them their settings.
func load(how portcullis.Reading, specs, settings []string) ([]*portcullis.Filter, error) {
	var fs []*portcullis.Filter
	for _, spec := range specs {
		f, err := how.Load(spec)
		if err != nil {
			return nil, err
		}
		fs = append(fs, f)
	}
	for _, text := range settings {
		s, err := parseSetting(text)
		if err != nil {
			return nil, err
		}
		if err := apply(fs, s); err != nil {
			return nil, fmt.Errorf("--set %s: %s", text, reason(err))
		}
	}
	return fs, nil
}

// apply sets a variable in the one filter it is meant for. Without a filter's
// name, the one that has the variable; two that have it are an error, because
// whichever were guessed, the other would keep a limit that its user changed.
func apply(fs []*portcullis.Filter, s setting) error {
	var meant []*portcullis.Filter
	for _, f := range fs {
		if s.filter == f.Name() || s.filter == "" && (len(fs) == 1 || has(f, s.name)) {
			meant = append(meant, f)
		}
	}
	switch len(meant) {
	case 0:
		return noSuchFilter(fs, s)
	case 1:
		return meant[0].Set(s.name, s.value)
	}
	if s.filter != "" || meant[0].Name() == meant[1].Name() {
		return fmt.Errorf("%d filters of the stack are named %s: expected one, for a variable to be set in it", len(meant), meant[0].Name())
	}
	return fmt.Errorf("%s have a variable %s: expected one to be named, as in %s.%s=%s",
		join(meant, " and "), s.name, meant[0].Name(), s.name, s.value)
}

// reason leaves out the setting that a *prog.SetError repeats.
func reason(err error) string {
	var se *prog.SetError
	if errors.As(err, &se) {
		return se.Reason
	}
	return err.Error()
}

func noSuchFilter(fs []*portcullis.Filter, s setting) error {
	if s.filter == "" {
		return fmt.Errorf("none of %s has a variable %s", join(fs, ", "), s.name)
	}
	return fmt.Errorf("no filter %s in the stack: there is %s", s.filter, join(fs, ", "))
}

func has(f *portcullis.Filter, name string) bool {
	for _, v := range f.Variables() {
		if v.Name == name {
			return true
		}
	}
	return false
}

func join(fs []*portcullis.Filter, sep string) string {
	var names []string
	for _, f := range fs {
		names = append(names, f.Name())
	}
	return strings.Join(names, sep)
}
