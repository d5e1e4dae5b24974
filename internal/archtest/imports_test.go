package archtest

import (
	"strings"
	"testing"
)

// order is the architecture: a package imports only from layers before its own,
// and freely within its own. A layer is a directory with all below it, unless
// one of those is a layer itself.
var order = []string{
	"internal/abi",
	"internal/prog",
	"internal/helper",
	"internal/absint",
	"internal/verify",
	"internal/split",
	"internal/maps",
	"internal/absint/bpfgen",
	"internal/interp",
	"internal/engine/agent/pin",
	"internal/cbpf",
	"internal/prefilter",
	"internal/event",
	"internal/object",
	"filters",
	"policies",
	"internal/policy",
	"internal/record",
	"internal/observe",
	"internal/why",
	"internal/effect",
	"internal/golden",
	"internal/kit",
	"internal/sys",
	"internal/engine",
	"internal/serve",
	"internal/guest",
	".",
	"internal/load",
	"internal/cli",
	"internal/conformance",
	"internal/attack",
	"internal/demo",
	"internal/bench",
	"internal/evaluate",
	"internal/archtest",
	"cmd/portcullis",
}

// lastPure is the last layer that makes no system call.
const lastPure = "internal/prefilter"

// impure are imports through which a pure package could reach the operating
// system, or memory that is not its own.
var impure = map[string]bool{
	"os": true, "os/exec": true, "os/signal": true, "os/user": true, "syscall": true,
	"net": true, "unsafe": true, "io/ioutil": true, "plugin": true, "time": true,
	"golang.org/x/sys/unix": true,
}

// owned are imports that belong to one layer.
var owned = map[string]string{
	"golang.org/x/sys/unix":  "internal/sys",
	"github.com/spf13/cobra": "internal/cli",
}

// sysUsers are the layers that may make system calls of their own.
var sysUsers = map[string]bool{
	"internal/sys": true, "internal/engine": true, "internal/guest": true,
	"internal/cli": true, ".": true, "internal/bench": true, "internal/demo": true,
}

func rank(layer string) int {
	for i, name := range order {
		if name == layer {
			return i
		}
	}
	return -1
}

// layer is the longest entry of order that holds pkg, "" without one.
func layer(pkg string) string {
	for p := pkg; ; {
		if rank(p) >= 0 {
			return p
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return ""
		}
		p = p[:i]
	}
}

// isGenerator tells commands that write committed files from the packages they
// belong to: they read and write files whatever their layer.
func isGenerator(pkg string) bool { return strings.HasSuffix(pkg, "/gen") }

func local(imported string) (pkg string, ok bool) {
	if imported == module {
		return ".", true
	}
	return strings.CutPrefix(imported, module+"/")
}

func TestEveryPackageHasALayer(t *testing.T) {
	for _, s := range sources(t) {
		if layer(s.pkg()) == "" {
			t.Errorf("%s: package %s is in no layer: give it a place in order", s.path, s.pkg())
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range product(t) {
		from := layer(s.pkg())
		for _, imported := range s.imports() {
			pkg, ok := local(imported)
			if ok && rank(layer(pkg)) > rank(from) {
				t.Errorf("%s: %s (layer %s) imports %s (layer %s), which comes after it", s.path, s.pkg(), from, pkg, layer(pkg))
			}
		}
	}
}

func TestPureLayersMakeNoSystemCall(t *testing.T) {
	for _, s := range product(t) {
		if rank(layer(s.pkg())) > rank(lastPure) || isGenerator(s.pkg()) {
			continue
		}
		for _, imported := range s.imports() {
			if impure[imported] {
				t.Errorf("%s: a pure package imports %s", s.path, imported)
			}
		}
	}
}

func TestOwnedImports(t *testing.T) {
	for _, s := range product(t) {
		for _, imported := range s.imports() {
			if owner, ok := owned[imported]; ok && layer(s.pkg()) != owner {
				t.Errorf("%s: imports %s, which only %s may", s.path, imported, owner)
			}
			if pkg, ok := local(imported); ok && layer(pkg) == "internal/sys" && !sysUsers[layer(s.pkg())] {
				t.Errorf("%s: layer %s imports internal/sys", s.path, layer(s.pkg()))
			}
		}
	}
}

func TestNothingImportsCgo(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.imports() {
			if imported == "C" {
				t.Errorf("%s: imports C: the product is built without cgo", s.path)
			}
		}
	}
}

// The rules above must see what they forbid: each is tried on a table of cases.
func TestLayerOf(t *testing.T) {
	for pkg, want := range map[string]string{
		".": ".", "internal/abi/syscalls": "internal/abi", "internal/engine/agent/notify": "internal/engine",
		"cmd/portcullis": "cmd/portcullis", "cmd/other": "", "internal/abist": "", "filters/gen": "filters",
	} {
		if got := layer(pkg); got != want {
			t.Errorf("layer of %s: got %q, want %q", pkg, got, want)
		}
	}
}
