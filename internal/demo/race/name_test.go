//go:build linux && amd64

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// text is the path as the kernel finds it.
func (n *name) text() string {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&n.path[0])), word*len(n.path))
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}

// One store of a word makes the one path of the other, whatever the directory is.
func TestNameIsOneOfTwo(t *testing.T) {
	for n := 0; n <= 2*word; n++ {
		dir := "/" + strings.Repeat("d", n)
		for _, given := range []string{dir, dir + "/"} {
			name, err := newName(given)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := filepath.Clean(name.text()), filepath.Join(dir, allowed); got != want {
				t.Errorf("in %s: %s, expected %s", given, got, want)
			}
			name.path[name.at] = name.secret
			if got, want := filepath.Clean(name.text()), filepath.Join(dir, secret); got != want {
				t.Errorf("in %s: %s, expected %s", given, got, want)
			}
		}
	}
	if _, err := newName("files"); err == nil {
		t.Error("a relative path was taken")
	}
}

func TestOutcomes(t *testing.T) {
	dir := t.TempDir()
	n, err := newName(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.open(); got != failed {
		t.Errorf("nothing is there: %d, expected %d", got, failed)
	}
	for _, file := range []string{allowed, secret} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.open(); got != openedAllowed {
		t.Errorf("%s: %d, expected %d", allowed, got, openedAllowed)
	}
	n.path[n.at] = n.secret
	if got := n.open(); got != openedSecret {
		t.Errorf("%s: %d, expected %d", secret, got, openedSecret)
	}
}

// It ends with so many attempts, or with so many that were won.
func TestTally(t *testing.T) {
	for _, c := range []struct {
		attempts, wins int64
		of             outcome
		want           string
	}{
		{5, 1, refused, "5 0 0 5"},
		{5, 1, openedAllowed, "5 5 0 0"},
		{5, 2, openedSecret, "2 0 2 0"},
	} {
		tally := &tally{attempts: c.attempts, wins: c.wins}
		for tally.more() {
			tally.count(c.of)
		}
		if got := tally.String(); got != c.want || tally.failure() != nil {
			t.Errorf("%+v: %s, %v", c, got, tally.failure())
		}
	}
	tally := &tally{attempts: 1, wins: 1}
	tally.count(failed)
	if tally.failure() == nil {
		t.Error("a call that failed is no failure")
	}
}
