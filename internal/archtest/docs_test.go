package archtest

import (
	"go/ast"
	"go/doc"
	"go/token"
	"strings"
	"testing"
)

func TestEveryPackageOpensWithASentence(t *testing.T) {
	docs := map[string]string{}
	for _, s := range product(t) {
		docs[s.pkg()] += s.file.Doc.Text()
	}
	for _, s := range product(t) {
		text, done := docs[s.pkg()]
		if !done {
			continue
		}
		delete(docs, s.pkg())
		if want := opening(s); !strings.HasPrefix(text, want) || !strings.HasSuffix(new(doc.Package).Synopsis(text), ".") {
			t.Errorf("package %s: expected a doc comment whose first sentence starts with %q, found %.60q", s.pkg(), want, text)
		}
	}
}

func opening(s *source) string {
	if s.file.Name.Name == "main" {
		return "Command "
	}
	return "Package " + s.file.Name.Name + " "
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: exported %s has no doc comment", s.at(d), name)
			}
		}
	}
}

func undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !isErrorMethod(d) {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		if d.Doc == nil {
			return undocumentedSpecs(d.Specs)
		}
	}
	return nil
}

func undocumentedSpecs(specs []ast.Spec) []string {
	var names []string
	for _, spec := range specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Doc == nil && spec.Name.IsExported() {
				names = append(names, spec.Name.Name)
			}
		case *ast.ValueSpec:
			for _, n := range spec.Names {
				if spec.Doc == nil && spec.Comment == nil && n.IsExported() {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// exportedReceiver tells whether d is a function, or a method of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	id, ok := typ.(*ast.Ident)
	return !ok || id.IsExported()
}

// wellKnown are variables of packages that are state by nature, with the reason.
var wellKnown = map[string]string{
	"internal/engine/launch.probed": "what a kernel does with a flag does not change while the process runs",
}

func TestNoPackageLevelState(t *testing.T) {
	vars := map[string]map[string]*ast.ValueSpec{}
	for _, s := range product(t) {
		if vars[s.pkg()] == nil {
			vars[s.pkg()] = map[string]*ast.ValueSpec{}
		}
		for _, spec := range packageVars(s) {
			for _, n := range spec.Names {
				vars[s.pkg()][n.Name] = spec
				if why := stateful(spec); why != "" && wellKnown[s.pkg()+"."+n.Name] == "" {
					t.Errorf("%s: package-level %s %s", s.at(n), n.Name, why)
				}
			}
		}
	}
	for _, s := range product(t) {
		for _, id := range assigned(s) {
			if spec := vars[s.pkg()][id.Name]; spec != nil && (id.Obj == nil || id.Obj.Decl == spec) && wellKnown[s.pkg()+"."+id.Name] == "" {
				t.Errorf("%s: changes the package-level variable %s", s.at(id), id.Name)
			}
		}
	}
}

func packageVars(s *source) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, d := range s.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, spec := range g.Specs {
				specs = append(specs, spec.(*ast.ValueSpec))
			}
		}
	}
	return specs
}

// stateful says why a variable's type is state, "" if it need not be.
func stateful(spec *ast.ValueSpec) string {
	found := ""
	ast.Inspect(spec, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "sync" || pkg.Name == "atomic") {
			found = "holds a " + pkg.Name + "." + sel.Sel.Name
		}
		return true
	})
	return found
}

// assigned are the identifiers that functions of s assign to, or into.
func assigned(s *source) []*ast.Ident {
	var ids []*ast.Ident
	add := func(e ast.Expr) {
		if id := base(e); id != nil {
			ids = append(ids, id)
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		}
		return true
	})
	return ids
}

func base(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.SelectorExpr:
		return base(e.X)
	case *ast.StarExpr:
		return base(e.X)
	case *ast.ParenExpr:
		return base(e.X)
	}
	return nil
}

func TestNoInitWork(t *testing.T) {
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init: importing a package must do nothing", s.at(d))
			}
		}
	}
}

// isErrorMethod tells the method that makes a type an error, whose doc comment
// could only repeat that.
func isErrorMethod(d *ast.FuncDecl) bool { return d.Recv != nil && d.Name.Name == "Error" }
