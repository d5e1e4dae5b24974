//go:build linux && amd64

package shadow

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"portcullis/internal/sys"
)

// tally is what a victim opened while its path was rewritten.
type tally struct{ allowed, forbidden, denied, other int }

// What a race goes on for, at least once.
const (
	denied = "denied" // every path that is opened is pinned
	won    = "won"    // none is
)

// race lets a victim open a path that another of its threads rewrites between an
// allowed and a forbidden one, decided on by what is read at the stop.
func race(t *testing.T, until string) tally {
	dir := t.TempDir()
	paths := [2]string{filepath.Join(dir, "allowed-a"), filepath.Join(dir, "allowed-b")}
	for _, p := range paths {
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v := start(t, nil, "race", paths[0], paths[1], until)
	s := v.have(v.trigger(), "")
	allow := func(path []byte) {
		v.must(s.Put(0, path))
		v.redirect(1, s.Address(0))
	}
	if until == won {
		allow = func([]byte) {}
	}
	v.cont(v.pid)
	for {
		stop, err := sys.Wait(v.pid)
		v.must(err)
		if stop.Kind == sys.Ended {
			break
		}
		v.decide(paths[0], allow)
		v.cont(v.pid)
	}
	var n tally
	if _, err := fmt.Fscan(v.out, &n.allowed, &n.forbidden, &n.denied, &n.other); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", n)
	return n
}

// decide allows one path, and denies all others.
func (v *victim) decide(allowed string, allow func(path []byte)) {
	var r sys.Regs
	v.must(sys.TraceRegs(v.pid, &r))
	path := make([]byte, len(allowed)+1)
	_, err := sys.ReadProcess(v.pid, path, *Arg(&r, 1))
	v.must(err)
	if string(path) == allowed+"\x00" {
		allow(path)
		return
	}
	r.OrigRax, r.Rax = sys.NoCall, negative(syscall.EACCES)
	v.must(sys.TraceSetRegs(v.pid, &r))
}

func TestRedirectedPathCannotBeRewritten(t *testing.T) {
	n := race(t, denied)
	if n.allowed == 0 || n.denied == 0 || n.forbidden != 0 || n.other != 0 {
		t.Errorf("%+v: expected only allowed paths to be opened", n)
	}
}

// The same attack wins where the call reads what was only looked at.
func TestRaceWinsWithoutSlots(t *testing.T) {
	if n := race(t, won); n.forbidden == 0 {
		t.Errorf("%+v: the attack does not work, so that its failure says nothing", n)
	}
}
