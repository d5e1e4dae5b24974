// Package filters holds the built-in filters: eBPF objects compiled from the C
// beside them, and what their sources say about themselves. Those below cve stop
// each a published vulnerability of the kernel, whose name they have.
package filters

import (
	"embed"
	"path"
	"regexp"
	"strings"
)

//go:generate go run ./gen -C ..

//go:embed audit cache connect count count-exec count-process count-thread cve exec-list flow no-exec once paths phases phases-process rate serialize
var files embed.FS

// Variable is what a filter's source says about one of its variables.
type Variable struct {
	// Name is what --set takes.
	Name string
	// Doc is one line.
	Doc string
}

// mitigations is the folder of those that Mitigations lists.
const mitigations = "cve"

// Names lists the built-in filters of general use in alphabetical order.
func Names() []string { return folders(".") }

// Mitigations lists the built-in filters that each stop one published
// vulnerability of the kernel, such as cve-2016-0728, in alphabetical order.
func Mitigations() []string { return folders(mitigations) }

func folders(dir string) []string {
	entries, err := files.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != mitigations {
			names = append(names, e.Name())
		}
	}
	return names
}

// Object is the ELF object of a built-in filter; false if there is none of
// that name.
func Object(name string) ([]byte, bool) { return read(name, ".o") }

// Source is the C source of a built-in filter; false if there is none of that
// name.
func Source(name string) ([]byte, bool) { return read(name, ".c") }

func read(name, ext string) ([]byte, bool) {
	if strings.ContainsAny(name, "/\\.") {
		return nil, false
	}
	data, err := files.ReadFile(path.Join(folder(name), name+ext))
	return data, err == nil
}

// folder is where a built-in filter is.
func folder(name string) string {
	if strings.HasPrefix(name, mitigations+"-") {
		return path.Join(mitigations, name)
	}
	return name
}

// Doc is what the source of a built-in filter says: the first sentence of its
// opening comment, and its variables in the order of the source, behind those of
// what it includes. Both are empty for a name that is not built in.
func Doc(name string) (summary string, vars []Variable) {
	source, ok := Source(name)
	if !ok {
		return "", nil
	}
	summary, _, _ = strings.Cut(comment(string(source)), "\n\n")
	return strings.ReplaceAll(summary, "\n", " "), append(included(name, string(source)), variables(string(source))...)
}

// included are the variables of the headers that mitigations share.
func included(name, source string) (vars []Variable) {
	for _, m := range regexp.MustCompile(`(?m)^#include "(\.\./\w+\.h)"`).FindAllStringSubmatch(source, -1) {
		if header, err := files.ReadFile(path.Join(folder(name), m[1])); err == nil {
			vars = append(vars, variables(string(header))...)
		}
	}
	return vars
}

// Text is the whole opening comment of a built-in filter's source.
func Text(name string) string {
	source, _ := Source(name)
	return comment(string(source))
}

// comment is the first block comment that stands on lines of its own, without
// its stars.
func comment(source string) string {
	_, body, _ := strings.Cut(source, "\n/*\n")
	body, _, _ = strings.Cut(body, "\n */")
	lines := strings.Split(body, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(l, " *"), " ")
	}
	return strings.Join(lines, "\n")
}

// variables finds each const volatile with the one-line comment above it.
func variables(source string) []Variable {
	declared := regexp.MustCompile(`(?m)^/\* (.*) \*/\nconst volatile \w+ (\w+)`)
	var vars []Variable
	for _, m := range declared.FindAllStringSubmatch(source, -1) {
		vars = append(vars, Variable{Name: m[2], Doc: m[1]})
	}
	return vars
}
