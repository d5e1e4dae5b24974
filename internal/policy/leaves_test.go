package policy

import (
	"os"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/split"
)

// kindOf is the dearest leaf that a call leads to, and whether arguments decide which.
func kindOf(r split.Range) (dearest split.Kind, decides bool) {
	if r.Decision == nil {
		return r.Leaf.Kind, false
	}
	var all func(*split.Decision)
	all = func(d *split.Decision) {
		if d.Then == nil {
			dearest = max(dearest, d.Leaf.Kind)
			return
		}
		all(d.Then)
		all(d.Else)
	}
	all(r.Decision)
	return dearest, true
}

// TestLeaves: only calls that need state are asked about, only those that read memory or
// wait are traced, and of those only where numbers leave it open.
func TestLeaves(t *testing.T) {
	for _, c := range []struct {
		file    string
		notify  []string
		trace   []string
		decides []string // by numbers, whether memory is read
	}{
		{"testdata/semantics/rules.yaml", nil, nil, nil},
		{"testdata/semantics/arguments.yaml", nil, nil, nil},
		{"testdata/semantics/order.yaml", []string{"setns", "unshare", "execve", "listen", "connect", "chroot", "pivot_root", "syslog", "prctl", "kcmp", "dup", "dup2", "dup3"}, nil, []string{"chroot"}},
		{"testdata/semantics/serialize.yaml", nil, []string{"rename", "renameat", "chmod", "fchmodat", "read"}, []string{"rename"}},
		{"testdata/semantics/addresses.yaml", nil, []string{"connect", "bind", "sendto", "sendmsg"}, nil},
		{"testdata/semantics/paths.yaml", nil, []string{"openat", "open", "unlink", "newfstatat", "renameat2", "mkdir", "stat", "readlink"}, []string{"open", "readlink"}},
	} {
		data, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Load(c.file, data, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, tree := made(t, m)
		want := map[string]split.Kind{}
		for _, call := range c.notify {
			want[call] = split.Notify
		}
		for _, call := range c.trace {
			want[call] = split.Trace
		}
		for _, call := range syscalls.All() {
			r := tree.Find(abi.ArchX86_64, call.Nr)
			if kind, _ := kindOf(r); kind != want[call.Name] {
				t.Errorf("%s: %s is %v, want %v", c.file, call.Name, kind, want[call.Name])
			}
		}
		for _, name := range c.decides {
			nr, _ := syscalls.Number(name)
			if _, decides := kindOf(tree.Find(abi.ArchX86_64, nr)); !decides {
				t.Errorf("%s: no number decides whether %s is asked about", c.file, name)
			}
		}
	}
}
