package portcullis_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis"
)

// profile writes a file and gives its path.
func profile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestReading: what is lost of a profile is told, or refused, and never both.
func TestReading(t *testing.T) {
	const stricter = `{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
"syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}`
	open := strings.Replace(stricter, `"syscalls"`, `"what": 1, "syscalls"`, 1)
	for _, c := range []struct {
		text, caps, refused string
		told, guarded       int
	}{
		{stricter, "", "", 2, 1},
		{stricter, "CAP_SYS_ADMIN", "", 1, 1},
		{open, "", "more calls may be let through", 0, 0},
		{open, "CAP_SYS_ADMIN", "more calls may be let through", 0, 0},
	} {
		told, guarded := 0, 0
		how := portcullis.Reading{Capabilities: []string{c.caps}, Lost: func(l portcullis.Loss) {
			told++
			if l.Guarded {
				guarded++
			}
		}}
		_, err := how.Load(profile(t, c.text))
		if told != c.told || guarded != c.guarded || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s, %q: %d told, %d by guards, %v; expected %+v", c.text, c.caps, told, guarded, err, c)
		}
		if _, err := portcullis.Load(profile(t, c.text)); err == nil {
			t.Errorf("%s: Load takes it without a word", c.text)
		}
	}
}

// TestPrograms: which entries are for a command, of included policies too.
func TestPrograms(t *testing.T) {
	f, err := portcullis.LoadPolicy("p.yaml", []byte("version: 1\ninclude: no-network\nprograms:\n  - {path: /usr/bin/, deny: mount}\n  - {path: /usr/bin/git, deny: bpf}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/usr/bin/git": "p.yaml:4:5 p.yaml:5:5", "/usr/bin/x": "p.yaml:4:5", "/bin/x": ""} {
		if got := strings.Join(f.Programs(path), " "); got != want {
			t.Errorf("%s: %q, expected %q", path, got, want)
		}
	}
}
