package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clangMajor is the compiler whose output is committed. Another major version
// emits other bytes for the same source.
const clangMajor = "19"

// errNoTools is the cause where the compiler is not installed.
var errNoTools = errors.New("not found")

// tools are the programs that compile a filter.
type tools struct {
	clang, strip string
}

// findTools looks for the compiler and its strip.
func findTools() (tools, error) {
	clang, err := findTool("clang", "-dumpversion", clangMajor+".")
	if err != nil {
		return tools{}, err
	}
	strip, err := findTool("llvm-strip", "--version", "version "+clangMajor+".")
	if err != nil {
		return tools{}, err
	}
	return tools{clang: clang, strip: strip}, nil
}

// findTool looks for a program by its versioned name, then by its plain one if
// that is of the same version.
func findTool(name, ask, want string) (string, error) {
	if path, err := exec.LookPath(name + "-" + clangMajor); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		if out, err := exec.Command(path, ask).Output(); err == nil && strings.Contains(string(out), want) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s-%s: %w: install clang-%s and llvm-%s", name, clangMajor, errNoTools, clangMajor, clangMajor)
}

// folders are where sources in C of the filters are.
func folders() []string {
	return []string{
		"filters",
		filepath.Join("internal", "object", "testdata"),
		filepath.Join("internal", "bench", "testdata", "filters"),
		filepath.Join("internal", "engine", "agent", "trace", "testdata", "filters"),
		filepath.Join("internal", "attack", "testdata", "filters"),
		filepath.Join("internal", "conformance", "testdata", "filters"),
	}
}

// findSources lists the filters in C below root, as paths relative to it.
func findSources(root string) ([]string, error) {
	var sources []string
	for _, dir := range folders() {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".c" {
				return err
			}
			rel, err := filepath.Rel(root, path)
			sources = append(sources, rel)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return sources, nil
}

// objectOf is where the object of a source goes.
func objectOf(source string) string { return strings.TrimSuffix(source, ".c") + ".o" }

// compile compiles one source. The compiler runs in root with relative paths,
// so that no path of this machine gets into the object; DWARF is stripped and
// BTF stays.
func (t tools) compile(root, out, source string) error {
	object, err := filepath.Abs(filepath.Join(out, objectOf(source)))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(filepath.Dir(object), ".compiled-*") // go:embed does not look there
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	if err := t.compileTo(root, filepath.Join(made, filepath.Base(object)), source); err != nil {
		return err
	}
	return os.Rename(filepath.Join(made, filepath.Base(object)), object)
}

// compileTo leaves other files beside object while it works.
func (t tools) compileTo(root, object, source string) error {
	clang := []string{
		t.clang, "-target", "bpfel", "-mcpu=v3", "-std=gnu11", "-O2", "-g", "-c",
		"-Wall", "-Wextra", "-Werror", "-fno-ident", "-fno-jump-tables", "-nostdinc",
		"-fdebug-compilation-dir=.", "-Iinclude", "-o", object, source,
	}
	if err := run(root, clang); err != nil {
		return err
	}
	return run(root, []string{t.strip, "-g", object})
}

func run(dir string, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, output)
	}
	return nil
}

// writeHeader writes include/portcullis.h below out.
func writeHeader(out string) error {
	text, err := header()
	if err != nil {
		return err
	}
	path := filepath.Join(out, "include", "portcullis.h")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
