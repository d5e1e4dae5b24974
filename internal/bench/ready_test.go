//go:build linux && amd64

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"portcullis"
	"portcullis/internal/verify"
	"portcullis/policies"
)

// readyObject has ready policies as filters in C.
const readyObject = "internal/bench/testdata/filters/ready.o"

// readyAsInC are ready policies that are written in C too.
var readyAsInC = []struct {
	name   string
	static bool
}{{"few-programs", false}, {"git", true}, {"memcached", false}}

// longest is how much longer a policy's program may be than that of C.
const longest = 1.5

// TestReadyAsInC holds what ready policies become against filters in C that decide every call
// alike.
func TestReadyAsInC(t *testing.T) {
	l, err := newLab(1, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, one := range readyAsInC {
		sameMeaning(t, l, one.name, one.static)
		c, err := l.program(readyObject, one.name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := verify.Program(c, verify.Options{}) // what is linked in counts
		if err != nil {
			t.Fatal(err)
		}
		p, err := compilePolicy(one.name)
		if err != nil {
			t.Fatal(err)
		}
		n, in := len(p.Insns), len(v.Program().Insns)
		t.Logf("%s: %d instructions, %d in C (%.2f)", one.name, n, in, float64(n)/float64(in))
		if float64(n) > longest*float64(in) {
			t.Errorf("%s: %d instructions: expected at most %.1f times the %d of C", one.name, n, longest, in)
		}
	}
}

// sameMeaning compares a ready policy with its filter in C by effect: what is static is proven to
// be the same, what is not is tried.
func sameMeaning(t *testing.T, l *lab, name string, static bool) {
	t.Helper()
	text, _ := policies.Policy(name)
	ours, err := portcullis.LoadPolicy(name+".yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(l.root, readyObject))
	if err != nil {
		t.Fatal(err)
	}
	c, err := portcullis.LoadObject(readyObject, data, name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := portcullis.Compare([]*portcullis.Filter{ours}, []*portcullis.Filter{c}, portcullis.DefaultTrials)
	if err != nil {
		t.Fatal(err)
	}
	want := portcullis.DiffUnknown // nothing was found, and nothing proves it
	if static {
		want = portcullis.DiffSame
	}
	if d.Result != want {
		t.Errorf("%s: the policy and C: %s: %+v %+v: expected %s", name, d.Result, d.Changes, d.State, want)
	}
}
