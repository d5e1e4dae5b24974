package portcullis_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis"
	"portcullis/filters"
	"portcullis/internal/kit"
)

// cases are the files of cases beside the built-in filters, by filter.
func cases(t *testing.T) map[string][]string {
	t.Helper()
	all, found := map[string][]string{}, 0
	for _, dir := range []string{"filters", "filters/cve"} {
		for _, name := range portcullis.Builtins() {
			paths, err := filepath.Glob(filepath.Join(dir, name, "*.txtar"))
			if err != nil {
				t.Fatal(err)
			}
			all[name] = append(all[name], paths...)
			found += len(paths)
		}
	}
	if found < 30 {
		t.Fatalf("%d files of cases: expected one for each built-in filter", found)
	}
	return all
}

// load is a filter of an object with variables set to NAME=VALUE.
func load(name string, data []byte, settings []string) (*portcullis.Filter, error) {
	f, err := portcullis.LoadObject(name, data, name)
	for i := 0; err == nil && i < len(settings); i++ {
		key, value, _ := strings.Cut(settings[i], "=")
		err = f.Set(key, value)
	}
	return f, err
}

// answers is what the cases of a file led to, call by call. A filter is loaded, and proven,
// once for each set of variables.
func answers(t *testing.T, file string, load func([]string) (*portcullis.Filter, error)) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]*portcullis.Filter{}
	results, err := portcullis.TestCases(data, func(settings []string) ([]*portcullis.Filter, error) {
		key, err := strings.Join(settings, "\n"), error(nil)
		if known[key] == nil {
			known[key], err = load(settings)
		}
		return []*portcullis.Filter{known[key]}, err
	})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s:%d: %s: not as expected", file, r.Line, r.Name)
		}
	}
	text, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWrittenObjectsAnswerAlike asks each built-in filter and what Object makes of it, with
// variables set, about the calls of its cases. Proofs of paths take long: it is asked in long
// runs, and package object compares its instructions in all.
func TestWrittenObjectsAnswerAlike(t *testing.T) {
	for name, files := range cases(t) {
		if name == "paths" && !kit.Long() {
			continue
		}
		compiled, _ := filters.Object(name)
		original := func(settings []string) (*portcullis.Filter, error) { return load(name, compiled, settings) }
		again := func(settings []string) (*portcullis.Filter, error) {
			f, err := original(settings)
			if err != nil {
				return nil, err
			}
			return load(name, objectOf(t, f), nil)
		}
		for _, file := range files {
			if got, want := answers(t, file, again), answers(t, file, original); got != want {
				t.Errorf("%s: written it answers\n%s\nand compiled\n%s", file, got, want)
			}
		}
	}
}

func objectOf(t *testing.T, f *portcullis.Filter) []byte {
	t.Helper()
	data, err := f.Object()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestObjectHoldsWhatIsReached wants the programs behind a filter's tail calls, and no
// others of its object.
func TestObjectHoldsWhatIsReached(t *testing.T) {
	data, err := os.ReadFile("internal/object/testdata/tails.o")
	if err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"first": "first", "filter": "first filter"} {
		f, err := portcullis.LoadObject("tails.o", data, program)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range strings.Fields(want) {
			if _, err := portcullis.LoadObject("o", objectOf(t, f), other); err != nil {
				t.Errorf("%s: %v", program, err)
			}
		}
		if _, err := portcullis.LoadObject("o", objectOf(t, f), "zeroth"); err == nil {
			t.Errorf("%s: the object holds zeroth, which nothing leads to", program)
		}
		if !bytes.Equal(objectOf(t, f), objectOf(t, f)) {
			t.Errorf("%s: written in two ways", program)
		}
	}
}
