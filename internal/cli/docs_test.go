package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"portcullis/filters"
)

// invocation matches a use of the command in a page: as code between backquotes,
// or as a line after a prompt.
var invocation = regexp.MustCompile("(?m)(?:^\\s*\\$ |`)(portcullis [^`\n]*)")

// pages are the documents that tell readers what to type.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../linux/*.md", "../../filters/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// TestPagesShowRealCommands finds each command and flag that the documents show.
func TestPagesShowRealCommands(t *testing.T) {
	shown := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range invocation.FindAllStringSubmatch(string(text), -1) {
			shown++
			checkInvocation(t, filepath.Base(page), m[1])
		}
	}
	if shown < 5 {
		t.Errorf("%d commands shown: expected the README to show some", shown)
	}
}

// TestExamplesAreRealCommands does the same for --help.
func TestExamplesAreRealCommands(t *testing.T) {
	root := newRoot(Streams{})
	for _, cmd := range append(root.Commands(), root) {
		for _, line := range strings.Split(cmd.Example, "\n") {
			checkInvocation(t, cmd.Name()+" --help", strings.TrimSpace(line))
		}
		if cmd.Example == "" {
			t.Errorf("%s --help has no example", cmd.Name())
		}
	}
}

func checkInvocation(t *testing.T, where, line string) {
	t.Helper()
	words := strings.Fields(line)[1:]
	cmd, rest, err := newRoot(Streams{}).Find(words)
	if err != nil || len(words) > 0 && !strings.HasPrefix(words[0], "-") && !cmd.HasParent() {
		t.Errorf("%s: %q: no such command: %v", where, line, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil && !strings.Contains(err.Error(), "help requested") {
		t.Errorf("%s: %q: %v", where, line, err)
	}
}

func TestSuggestedFiltersExist(t *testing.T) {
	for _, name := range suggested() {
		if _, ok := filters.Object(name); !ok {
			t.Errorf("run without -f suggests %s, which is not built in", name)
		}
	}
}
