package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/helper"
)

const root = "../.."

// TestHeaderIsCurrent compares the committed header with the tables.
func TestHeaderIsCurrent(t *testing.T) {
	want, err := header()
	if err != nil {
		t.Fatal(err)
	}
	same(t, filepath.Join("include", "portcullis.h"), want)
}

// TestObjectsAreCurrent compiles every filter again and compares the bytes.
func TestObjectsAreCurrent(t *testing.T) {
	out := t.TempDir()
	if _, err := findTools(); errors.Is(err, errNoTools) {
		t.Skip("needs clang-" + clangMajor + " and llvm-" + clangMajor + ": to compile the filters")
	}
	if err := generate(root, out); err != nil {
		t.Fatal(err)
	}
	sources, err := findSources(root)
	if err != nil || len(sources) < 4 {
		t.Fatalf("%d sources, %v", len(sources), err)
	}
	for _, s := range sources {
		data, err := os.ReadFile(filepath.Join(out, objectOf(s)))
		if err != nil {
			t.Fatal(err)
		}
		same(t, objectOf(s), data)
	}
}

// same wants the committed file to hold want.
func same(t *testing.T, path string, want []byte) {
	t.Helper()
	have, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s differs from what its source makes: run go generate ./filters", path)
	}
}

// TestObjectsNameNoMachine wants no absolute path in a committed object but those
// that its source has, too.
func TestObjectsNameNoMachine(t *testing.T) {
	machine := regexp.MustCompile(`\x00/[a-z]+/[^\x00]*|clang version`)
	sources, err := findSources(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources {
		data, err := os.ReadFile(filepath.Join(root, objectOf(s)))
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(filepath.Join(root, s))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range machine.FindAll(data, -1) {
			if !bytes.Contains(source, found[1:]) {
				t.Errorf("%s holds %q", objectOf(s), found)
			}
		}
	}
}

// TestHeaderHasEveryTable wants each helper and each call declared once.
func TestHeaderHasEveryTable(t *testing.T) {
	text, err := header()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range helper.All() {
		if n := strings.Count(string(text), "(*const "+s.Name+")("); n != 1 {
			t.Errorf("%s is declared %d times", s.Name, n)
		}
	}
	for _, c := range syscalls.All() {
		if n := strings.Count(string(text), "#define __NR_"+c.Name+" "); n != 1 {
			t.Errorf("__NR_%s is defined %d times", c.Name, n)
		}
	}
}

// TestHeaderStandsAlone compiles it with every warning and no other header, as
// C of several years.
func TestHeaderStandsAlone(t *testing.T) {
	tools, err := findTools()
	if errors.Is(err, errNoTools) {
		t.Skip("needs clang-" + clangMajor + " and llvm-" + clangMajor + ": to compile the header")
	}
	source := filepath.Join(t.TempDir(), "one.c")
	if err := os.WriteFile(source, []byte("#include \"portcullis.h\"\n#include \"portcullis.h\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, std := range []string{"gnu99", "gnu11", "gnu17", "gnu23"} {
		cmd := exec.Command(tools.clang, "-target", "bpfel", "-std="+std, "-O2", "-g", "-Wall", "-Wextra", "-Werror",
			"-nostdinc", "-I", filepath.Join(root, "include"), "-c", source, "-o", os.DevNull)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", std, err, out)
		}
	}
}

// TestBrokenFilter wants the compiler's own words where a filter is wrong.
func TestBrokenFilter(t *testing.T) {
	tools, err := findTools()
	if errors.Is(err, errNoTools) {
		t.Skip("needs clang-" + clangMajor + " and llvm-" + clangMajor + ": to compile a filter")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.c"), []byte("int filter(void) { return missing; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = tools.compile(dir, dir, "bad.c")
	if err == nil || !strings.Contains(err.Error(), "undeclared identifier 'missing'") {
		t.Errorf("got %v: want what the compiler says", err)
	}
}
