package group

import (
	_ "embed"
	"reflect"
	"sort"
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
)

// foreign lists the names of systemd.txt that x86-64 does not have.
//
//go:embed foreign.txt
var foreign string

// TestNames: every name is a call of x86-64, or said to be none.
func TestNames(t *testing.T) {
	other := map[string]bool{}
	for _, line := range strings.Split(foreign, "\n") {
		if !strings.HasPrefix(line, "#") {
			for _, name := range strings.Fields(line) {
				other[name] = true
			}
		}
	}
	for _, group := range Names() {
		for _, name := range members(group) {
			_, isCall := syscalls.Number(name)
			switch {
			case strings.HasPrefix(name, "@"):
				if len(members(name)) == 0 {
					t.Errorf("%s holds %s, which is no group", group, name)
				}
			case isCall == other[name]:
				t.Errorf("%s holds %s: a call of x86-64 %v, in foreign.txt %v", group, name, isCall, other[name])
			}
		}
	}
}

// TestClosed: a group holds all that the groups in it hold, in order, once, and
// nothing else.
func TestClosed(t *testing.T) {
	for _, name := range Names() {
		calls, ok := Lookup(name)
		if !ok || len(calls) == 0 {
			t.Fatalf("%s: %d calls, %v", name, len(calls), ok)
		}
		has := map[string]bool{}
		for i, call := range calls {
			has[call] = true
			if _, ok := syscalls.Number(call); !ok || i > 0 && calls[i-1] >= call {
				t.Errorf("%s: %s is no call, or not in order", name, call)
			}
		}
		for _, m := range members(name) {
			inner, isGroup := Lookup(m)
			for _, call := range inner {
				if !has[call] {
					t.Errorf("%s holds %s, but not its %s", name, m, call)
				}
			}
			if _, isCall := syscalls.Number(m); isCall && !has[m] || strings.HasPrefix(m, "@") != isGroup {
				t.Errorf("%s: %s is not in it", name, m)
			}
		}
	}
}

func TestSample(t *testing.T) {
	for name, want := range map[string][]string{
		"@swap":   {"swapoff", "swapon"},
		"@reboot": {"kexec_file_load", "kexec_load", "reboot"},
		"@module": {"delete_module", "finit_module", "init_module"},
		"@chown":  {"chown", "fchown", "fchownat", "lchown"},
		// Most of @clock's are those of 32-bit machines.
		"@clock": {"adjtimex", "clock_adjtime", "clock_settime", "settimeofday"},
	} {
		if got, ok := Lookup(name); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", name, got, ok, want)
		}
	}
	for name, want := range map[string]int{"@system-service": 0, "@docker-default": 308, "@known": 0} {
		got, ok := Lookup(name)
		if !ok || len(got) < 200 || want != 0 && len(got) != want {
			t.Errorf("%s: %d calls; want %d", name, len(got), want)
		}
	}
}

// TestNested: @system-service is made of groups, and has what those have.
func TestNested(t *testing.T) {
	for group, calls := range map[string]string{
		"@system-service": "read openat mmap socket setuid kill futex io_submit setrlimit",
		"@privileged":     "chroot init_module chown reboot setuid swapon clock_settime",
		"@docker-default": "read clone socket personality ptrace arch_prctl modify_ldt",
	} {
		has, _ := Lookup(group)
		for _, call := range strings.Fields(calls) {
			if i := sort.SearchStrings(has, call); i == len(has) || has[i] != call {
				t.Errorf("%s: has no %s", group, call)
			}
		}
	}
	has, _ := Lookup("@docker-default")
	for _, call := range []string{"clone3", "chroot", "mount", "bpf", "keyctl", "io_uring_setup", "unshare", "setns"} {
		if i := sort.SearchStrings(has, call); i < len(has) && has[i] == call {
			t.Errorf("@docker-default: has %s", call)
		}
	}
}

func TestNoGroup(t *testing.T) {
	for _, name := range []string{"", "@", "read", "@system", "system-service", "@nope", "@swap swapoff", "\n@swap", "#"} {
		if calls, ok := Lookup(name); ok || calls != nil {
			t.Errorf("Lookup(%q) = %v, %v", name, calls, ok)
		}
	}
}

func TestOwned(t *testing.T) {
	calls, _ := Lookup("@swap")
	calls[0] = "read"
	if again, _ := Lookup("@swap"); again[0] != "swapoff" {
		t.Errorf("Lookup gives what another caller wrote: %v", again)
	}
	if !sort.StringsAreSorted(Names()) || len(Names()) != 30 {
		t.Errorf("%d names: expected 30, sorted: %v", len(Names()), Names())
	}
}

func TestKnown(t *testing.T) {
	for name, want := range map[string]bool{"read": true, "mmap2": true, "socketcall": true, "stime": true, "raed": false, "@swap": false, "": false} {
		if Known(name) != want {
			t.Errorf("Known(%q) = %v", name, !want)
		}
	}
}

func TestRemarks(t *testing.T) {
	for _, name := range Names() {
		for _, remark := range Remarks(name) {
			call, _, _ := strings.Cut(remark, ":")
			if _, ok := syscalls.Number(call); !ok {
				t.Errorf("%s: a remark about %q, which is no call", name, call)
			}
		}
	}
	if len(Remarks("@docker-default")) == 0 {
		t.Error("nothing is said of @docker-default")
	}
}
