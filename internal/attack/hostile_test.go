//go:build linux && amd64

package attack

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/filters"
	"portcullis/filters/testdata"
)

// TestHostileObjects attacks the promise that no object makes the loader, the
// verifier or the splitter panic: damaged objects are refused with an error of
// one line, or are filters that can be checked.
func TestHostileObjects(t *testing.T) {
	t.Parallel()
	damaged := 0
	for seed := int64(0); seed < 600; seed++ {
		rng := rand.New(rand.NewSource(seed))
		name, data := pick(rng)
		damage(rng, data)
		if !survives(t, fmt.Sprintf("%s, seed %d", name, seed), data) {
			damaged++
		}
	}
	if damaged < 100 {
		t.Errorf("%d of 600 damaged objects were refused: expected the damage to matter", damaged)
	}
}

// pick copies one of the objects.
func pick(rng *rand.Rand) (string, []byte) {
	names := filters.Names()
	if i := rng.Intn(len(names) + 1); i < len(names) {
		data, _ := filters.Object(names[i])
		return names[i], append([]byte(nil), data...)
	}
	return "conformance", append([]byte(nil), testdata.Conformance...)
}

// damage changes bytes of the headers, which stand at both ends, or anywhere.
func damage(rng *rand.Rand, data []byte) {
	for n := 1 + rng.Intn(8); n > 0; n-- {
		at := rng.Intn(len(data))
		switch rng.Intn(3) {
		case 0:
			at = rng.Intn(64)
		case 1:
			at = len(data) - 1 - rng.Intn(min(len(data), 1024))
		}
		data[at] = []byte{0, 1, 0x7f, 0x80, 0xff, byte(rng.Int())}[rng.Intn(6)]
	}
}

// survives tells whether data is a filter after all.
func survives(t *testing.T, name string, data []byte) bool {
	t.Helper()
	f, err := portcullis.LoadObject(name, data, "")
	if err != nil && strings.Contains(err.Error(), "holds ") {
		f, err = portcullis.LoadObject(name, data, "global-count")
	}
	if err == nil {
		_ = f.Set("max", "7") // where it has one
		_, err = f.Check()
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %q: expected one line", name, err)
	}
	return err == nil
}

// TestHostileValues attacks the promise that whatever is given to Set is a value
// of the variable or an error.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	values := []string{
		"", " ", "-", "+", "-1", "0x", "0xfffffffffffffffff", "1e9", "١", "true", "\x00", "execve,", ",",
		"-execve", "+nosuchcall", strings.Repeat("9", 1<<16), strings.Repeat("execve,", 1<<14), "18446744073709551615", "🜂",
	}
	for _, name := range filters.Names() {
		for _, v := range values {
			hostileValue(t, name, v)
		}
	}
}

func hostileValue(t *testing.T, name, value string) {
	t.Helper()
	f, err := portcullis.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range append(f.Variables(), portcullis.Variable{Name: value}, portcullis.Variable{Name: "_license"}) {
		if err := f.Set(variable.Name, value); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q: expected one line", name, err)
		}
	}
	if err := f.Verify(); err != nil {
		t.Errorf("%s with %.20q: %v: expected what Set accepted to verify", name, value, err)
	}
}

// TestHostileSpecs attacks the promise that no name of a filter makes Load hang
// or read what is no file.
func TestHostileSpecs(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe.o")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge.o")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{
		"", ":", "::", "/", dir, pipe, huge, "/dev/zero", "/dev/full", "/proc/self/mem",
		"no-exec:", "no-exec:nothing", "../no-exec/no-exec", "no-exec\x00", strings.Repeat("x/", 1<<15),
	} {
		var le *portcullis.LoadError
		if f, err := portcullis.Load(spec); err != nil && !errors.As(err, &le) || err == nil && spec != "no-exec:" {
			t.Errorf("%.40q: %v, %v: expected a *LoadError", spec, f, err)
		}
	}
}
