package policy

import (
	"errors"
	"strings"
	"testing"

	"portcullis/policies"
)

// TestNearest: a letter wrong, exchanged or missing, and names that are not written to the end.
func TestNearest(t *testing.T) {
	names := []string{"git", "nginx", "no-exec", "no-network", "paths", "phases"}
	for typed, want := range map[string]string{
		"ngnix": "nginx", "nginx ": "nginx", "no-": "no-exec no-network", "phase": "phases", "pathes": "paths", "get": "git",
		"": "", "a": "", "apache": "", strings.Repeat("nginx", 1000): "",
	} {
		if got := strings.Join(Nearest(typed, names), " "); got != want {
			t.Errorf("%.20q: %q; expected %q", typed, got, want)
		}
	}
}

// TestIncludeByName: a word is the name of a ready policy for the Reader, everything else a path.
func TestIncludeByName(t *testing.T) {
	for included, want := range map[string]string{
		"nginx": "nginx", "./nginx": "dir/nginx", "nginx.yaml": "dir/nginx.yaml", "/nginx": "/nginx", "../nginx": "./nginx",
	} {
		asked := ""
		_, err := Load("dir/policy.yaml", []byte("version: 1\ninclude: "+included+"\n"), func(file string) ([]byte, error) {
			asked = file
			return nil, errors.New("stop")
		})
		if asked != want || err == nil {
			t.Errorf("include: %s asks for %q, %v; expected %q", included, asked, err, want)
		}
	}
}

// TestNamesAreNoFiles: a file may have the name of a ready policy and include that.
func TestNamesAreNoFiles(t *testing.T) {
	m, err := Load("./git", []byte("version: 1\ninclude: git\n"), Ready)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Rules) == 0 || m.Rules[0].Pos.File != "git" {
		t.Errorf("%d rules: expected those of the ready policy", len(m.Rules))
	}
	_, err = Load("git", []byte("version: 1\ninclude: git\n"), Ready)
	if err == nil || !strings.Contains(err.Error(), "includes itself") {
		t.Errorf("a ready policy that includes itself: %v", err)
	}
}

// TestReadyPoliciesNeedNoFiles: those that include others include ready ones, wherever they are used.
func TestReadyPoliciesNeedNoFiles(t *testing.T) {
	for _, name := range policies.Names() {
		data, err := Ready(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(name, data, Ready); err != nil || !IsName(name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTakes: which program is meant by a path.
func TestTakes(t *testing.T) {
	m, err := Parse("p.yaml", []byte(`version: 1
programs:
  - {path: [/usr/bin/git, /opt/, =/srv/x, /bin/py*, ./], deny: mount}
`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/usr/bin/git": true, "/usr/bin/git/x": true, "/usr/bin/gitk": false, "/opt/a": true, "/opt/": false, "/opt": false,
		"/srv/x": true, "/srv/x/y": false, "/bin/python3": true, "/bin/p": false, "": false, "./a": false,
	} {
		if got := m.Programs[0].Takes(path); got != want {
			t.Errorf("%q: %v, expected %v", path, got, want)
		}
	}
}
