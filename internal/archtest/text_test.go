package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// maxLines is the length of a file, in lines, from which on it is too long.
const maxLines = 700

// longFiles may be longer, with the reason.
var longFiles = map[string]string{}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines() >= maxLines && !s.generated() && longFiles[s.path] == "" {
			t.Errorf("%s has %d lines: expected fewer than %d", s.path, s.lines(), maxLines)
		}
	}
}

// maxFunc is the length of a function, in lines, from which on it is too long;
// longShare is the share of functions, in percent, that may have more than
// longFunc lines.
const (
	maxFunc   = 80
	longFunc  = 25
	longShare = 8
)

// longFuncs may be longer, with the reason: one opcode switch a machine.
var longFuncs = map[string]string{
	"internal/interp.run": "the interpreter's one switch over lowered opcodes",
}

func TestFunctionsAreShort(t *testing.T) {
	all, long := 0, 0
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil || s.generated() {
				continue
			}
			all++
			n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
			if n > longFunc {
				long++
			}
			if name := s.pkg() + "." + f.Name.Name; n >= maxFunc && longFuncs[name] == "" {
				t.Errorf("%s: %s has %d lines: expected fewer than %d", s.at(f), name, n, maxFunc)
			}
		}
	}
	if 100*long > longShare*all {
		t.Errorf("%d of %d functions have more than %d lines: expected at most %d %%", long, all, longFunc, longShare)
	}
}

func isText(name string) bool {
	switch path.Ext(name) {
	case ".o", ".png", ".gz", ".patch":
		return false
	}
	return true
}

// machinePath matches paths that exist on one machine or in one session only.
var machinePath = regexp.MustCompile(`(^|[\s"'(=:` + "`" + `])/(root|home|Users|` + `work|` + `tmp/[a-z]+work)/[A-Za-z]`)

func TestNoMachinePaths(t *testing.T) {
	for _, name := range files(t, isText) {
		for i, line := range strings.Split(read(t, name), "\n") {
			if machinePath.MatchString(line) {
				t.Errorf("%s:%d: a path of one machine: %s", name, i+1, strings.TrimSpace(line))
			}
		}
	}
}

// document matches the name of a document, with the directories before it.
var document = regexp.MustCompile(`[A-Za-z0-9_./-]*[A-Z][A-Z_]+\.md\b`)

// A comment or page that sends its reader to a document sends them to one that
// they have.
func TestDocumentsExist(t *testing.T) {
	have := map[string]bool{}
	for _, name := range files(t, func(n string) bool { return path.Ext(n) == ".md" }) {
		have[name], have[path.Base(name)] = true, true
	}
	for _, name := range files(t, isText) {
		if name == "internal/archtest/text_test.go" {
			continue
		}
		for _, ref := range document.FindAllString(read(t, name), -1) {
			if !have[path.Clean(ref)] && !have[path.Join(path.Dir(name), ref)] {
				t.Errorf("%s: refers to %s, which does not exist", name, ref)
			}
		}
	}
}

// link matches the target of a link in Markdown.
var link = regexp.MustCompile(`\]\(([^)#:]+)[^):]*\)`)

func TestLinksResolve(t *testing.T) {
	have := map[string]bool{}
	for _, name := range files(t, func(string) bool { return true }) {
		for ; name != "."; name = path.Dir(name) {
			have[name] = true
		}
	}
	for _, name := range files(t, func(n string) bool { return path.Ext(n) == ".md" }) {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			if target := path.Join(path.Dir(name), m[1]); !have[target] {
				t.Errorf("%s: links to %s, which does not exist", name, m[1])
			}
		}
	}
}

// testName matches the name of a test between backquotes.
var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")

// promises are the rows of the table in SECURITY.md.
func promises(text string) (rows []string) {
	_, table, _ := strings.Cut(text, "| promise |")
	for _, line := range strings.Split(table, "\n")[1:] {
		switch {
		case !strings.HasPrefix(line, "|"):
			return rows
		case !strings.HasPrefix(line, "|-"):
			rows = append(rows, line)
		}
	}
	return rows
}

// A promise whose test is gone is a claim, and so is one that never had any.
func TestPromisesAreTested(t *testing.T) {
	have := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.isTest() {
				have[f.Name.Name] = true
			}
		}
	}
	text := read(t, "SECURITY.md")
	for _, m := range testName.FindAllStringSubmatch(text, -1) {
		if !have[m[1]] {
			t.Errorf("SECURITY.md names %s, which does not exist", m[1])
		}
	}
	all := promises(text)
	if len(all) < 10 {
		t.Errorf("%d promises: expected the rows of a table of them", len(all))
	}
	for _, row := range all {
		if !testName.MatchString(row) {
			t.Errorf("SECURITY.md names no test of the promise %s", row)
		}
	}
}

func TestPromises(t *testing.T) {
	got := promises("a\n\n| promise | attacked by |\n|---|---|\n| one | `TestOne` |\n| two | none |\n\n| no |\n")
	if len(got) != 2 || !testName.MatchString(got[0]) || testName.MatchString(got[1]) {
		t.Errorf("%q", got)
	}
}

// ./test counts the skipped tests whose message starts with "needs ", so any
// other skip would go unseen. The exception are tests that another test runs
// where they belong: they say
// where they run.
func TestSkipsSayWhatTheyNeed(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch name := method(call); {
			case name == "SkipNow":
				t.Errorf("%s: SkipNow says nothing: use Skip(\"needs …\")", s.at(call))
			case (name == "Skip" || name == "Skipf") && len(call.Args) > 0 && !needs(call.Args[0]):
				t.Errorf("%s: expected a skip message that starts with \"needs \"", s.at(call))
			}
			return true
		})
	}
}

// skipMessage matches what may be skipped; "%v" stands for an error that says it.
var skipMessage = regexp.MustCompile(`^(needs |runs |%v$)`)

// needs tells whether e is, or may be, a string that starts with "needs " or "runs ".
func needs(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return e.Kind == token.STRING && err == nil && skipMessage.MatchString(text)
	case *ast.BinaryExpr:
		return needs(e.X)
	}
	return true
}

// sleepers poll for what cannot tell, with the reason.
var sleepers = map[string]string{
	"internal/conformance/servers_test.go": "a server does not say when it listens",
}

func TestNoSleeps(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() || sleepers[s.path] != "" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && method(call) == "Sleep" {
				t.Errorf("%s: a test sleeps: wait for the event instead", s.at(call))
			}
			return true
		})
	}
}

func method(call *ast.CallExpr) string {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		return sel.Sel.Name
	}
	return ""
}

func TestNeeds(t *testing.T) {
	for text, want := range map[string]bool{`"needs root"`: true, `"no root"`: false, "`needs x`": true, `"runs as x"`: true} {
		if needs(&ast.BasicLit{Kind: token.STRING, Value: text}) != want {
			t.Errorf("needs(%s): want %v", text, want)
		}
	}
	// Put together here, or the rule would find its own cases.
	dir := func(parts ...string) string { return "/" + strings.Join(parts, "/") }
	for text, want := range map[string]bool{
		"see " + dir("root", "x"): true, "a" + dir("root", "x"): false,
		"`" + dir("home", "me") + "`": true, dir("tmp", "x"): false,
	} {
		if machinePath.MatchString(text) != want {
			t.Errorf("%q as a machine's path: want %v", text, want)
		}
	}
}
