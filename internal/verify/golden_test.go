package verify_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/verify"
)

var update = flag.Bool("update", false, "write what is found into testdata")

// TestGolden runs the cases in testdata: each file of an archive is a program
// whose first line is "# accept" or "# " and the exact message. Lines after it
// that begin with "# warning: " are the warnings.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("expected cases in testdata, found %v, %v", files, err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Files {
			golden(t, file, &a.Files[i])
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func golden(t *testing.T, file string, c *txtar.File) {
	t.Run(filepath.Base(file)+"/"+c.Name, func(t *testing.T) {
		want, text := expectation(string(c.Data))
		p, err := bpfasm.Assemble("p", text)
		if err != nil {
			t.Fatal(err)
		}
		got := outcome(verify.Program(p, verify.Options{}))
		if *update {
			c.Data = []byte(got + text)
			return
		}
		if got != want {
			t.Errorf("found\n%s\nexpected\n%s", got, want)
		}
	})
}

// expectation splits the leading comment off.
func expectation(data string) (want, text string) {
	for strings.HasPrefix(data, "# ") {
		line, rest, _ := strings.Cut(data, "\n")
		want += line + "\n"
		data = rest
	}
	return want, data
}

func outcome(v *verify.Verified, err error) string {
	if err != nil {
		return "# " + err.Error() + "\n"
	}
	out := "# accept\n"
	for _, w := range v.Warnings() {
		out += "# warning: " + w.String() + "\n"
	}
	return out
}
