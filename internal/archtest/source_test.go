package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// module is the path that every import within the project starts with.
const module = "portcullis"

// source is one Go file of the project.
type source struct {
	// path is relative to the repository's root, with slashes.
	path string
	text string
	file *ast.File
	fset *token.FileSet
}

func (s *source) pkg() string     { return path.Dir(s.path) }
func (s *source) isTest() bool    { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) lines() int      { return strings.Count(s.text, "\n") }
func (s *source) generated() bool { return ast.IsGenerated(s.file) }

func (s *source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

func (s *source) imports() []string {
	var all []string
	for _, spec := range s.file.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		all = append(all, name)
	}
	return all
}

// root is the directory of the project's go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test's directory")
	return ""
}

// skipped are directories that hold no source of the product.
func skipped(name string) bool {
	switch name {
	case ".git", ".cache", "bin", "testdata", "tools":
		return true
	}
	return false
}

// files are the paths of the project's files that keep accepts, relative to its root.
func files(t *testing.T, keep func(name string) bool) []string {
	t.Helper()
	top, found := root(t), []string(nil)
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular() && keep(d.Name()):
			rel, _ := filepath.Rel(top, name)
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources parses every Go file of the project, of every platform.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	for _, name := range files(t, func(n string) bool { return strings.HasSuffix(n, ".go") }) {
		s := &source{path: name, text: read(t, name), fset: token.NewFileSet()}
		var err error
		if s.file, err = parser.ParseFile(s.fset, name, s.text, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if len(all) < 20 {
		t.Fatalf("%d Go files found: expected the whole project", len(all))
	}
	return all
}

// product are the sources that are not tests.
func product(t *testing.T) []*source {
	var all []*source
	for _, s := range sources(t) {
		if !s.isTest() {
			all = append(all, s)
		}
	}
	return all
}
