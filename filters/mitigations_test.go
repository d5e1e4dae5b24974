package filters_test

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"portcullis"
	"portcullis/filters"
	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/object"
	"portcullis/internal/split"
)

func TestMitigationsAreTheFolders(t *testing.T) {
	sources, err := filepath.Glob("cve/*/*.c")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sources {
		name := strings.TrimSuffix(filepath.Base(s), ".c")
		if s != filepath.Join("cve", name, name+".c") {
			t.Errorf("%s: expected the folder to have the file's name", s)
		}
		names = append(names, name)
	}
	if got, want := strings.Join(filters.Mitigations(), " "), strings.Join(names, " "); got != want || got == "" {
		t.Errorf("mitigations %s: want %s", got, want)
	}
	for _, name := range []string{"cve", "cve-", "cve-0000-0000", "cve/cve-2016-0728", "cve-2016-0728/cve-2016-0728"} {
		if _, ok := filters.Object(name); ok {
			t.Errorf("there is an object for %q", name)
		}
	}
}

// TestMitigationsTell wants a summary that names the vulnerability, what the
// filter leaves open, where that is from, and a row in the table.
func TestMitigationsTell(t *testing.T) {
	table, err := os.ReadFile("../docs/CVES.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range filters.Mitigations() {
		summary, vars := filters.Doc(name)
		if cve := strings.ToUpper(name); !strings.Contains(summary, cve) || !strings.HasSuffix(summary, ".") || len(summary) > 100 {
			t.Errorf("%s: summary %q: want one short sentence with %s", name, summary, cve)
		}
		for _, want := range []string{"\nThe pattern is ", "It does not ", "\nSources: "} {
			if !strings.Contains(filters.Text(name), want) {
				t.Errorf("%s: the text has no %q", name, want)
			}
		}
		if !strings.Contains(string(table), "\n| ["+name+"](") {
			t.Errorf("%s: no row in docs/CVES.md", name)
		}
		data, _ := filters.Object(name)
		ps, err := object.Read(name, data)
		if err != nil {
			t.Fatal(err)
		}
		var documented, have []string
		for _, v := range vars {
			documented = append(documented, v.Name)
		}
		for _, v := range ps[0].Vars() {
			have = append(have, v.Name)
		}
		sort.Strings(documented)
		if got, want := strings.Join(documented, " "), strings.Join(have, " "); got != want {
			t.Errorf("%s: documents %q, has %q", name, got, want)
		}
	}
}

// TestMitigationCases runs the cases beside each mitigation: both of a fork and of
// an exec where there is state.
func TestMitigationCases(t *testing.T) {
	for _, name := range filters.Mitigations() {
		data, err := os.ReadFile(filepath.Join("cve", name, name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		results, err := portcullis.TestCases(data, func(settings []string) ([]*portcullis.Filter, error) {
			return set(name, settings)
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range results {
			for _, c := range r.Calls {
				if !c.OK {
					t.Errorf("%s, %s: %s: got %s", name, r.Name, c.Text, c.Verdict)
				}
			}
		}
		if stateful := builtin(t, name).asked() != ""; stateful && !(strings.Contains(string(data), "\nfork ") && strings.Contains(string(data), "\nexec ")) {
			t.Errorf("%s: keeps state, expected cases of fork and of exec", name)
		}
	}
}

func set(name string, settings []string) ([]*portcullis.Filter, error) {
	f, err := portcullis.Load(name)
	if err != nil {
		return nil, err
	}
	for _, s := range settings {
		k, v, _ := strings.Cut(s, "=")
		if err := f.Set(k, v); err != nil {
			return nil, err
		}
	}
	return []*portcullis.Filter{f}, nil
}

// TestMitigationsAskSeldom: of each mitigation only the calls of the pattern leave
// the kernel, and none that programs make all the time. The exceptions are those in
// whose pattern such a call is: they say in docs/CVES.md what that costs.
func TestMitigationsAskSeldom(t *testing.T) {
	for _, m := range []struct{ name, asked, traced string }{
		{"cve-2014-3153", "", ""},
		{"cve-2016-0728", "keyctl", ""},
		{"cve-2016-5195", "copy_file_range creat madvise mount open openat pwrite64 pwritev pwritev2 sendfile splice symlink symlinkat write writev", all},
		{"cve-2017-1000112", "sendfile sendmmsg sendmsg sendto setsockopt splice", ""},
		{"cve-2017-5123", "", ""},
		{"cve-2017-7308", "clone setns setsockopt unshare", ""},
		{"cve-2017-7533", "inotify_add_watch rename renameat renameat2", all},
		{"cve-2018-18281", "creat fallocate ftruncate madvise mremap open openat truncate", all},
		{"cve-2020-14386", "setsockopt", ""},
		{"cve-2021-22555", "clone setns setsockopt unshare", ""},
		{"cve-2021-33909", "mkdir mkdirat", ""},
		{"cve-2021-3490", "", ""},
		{"cve-2021-4034", "execve execveat", all},
		{"cve-2021-4154", "clone fsconfig setns unshare", ""},
		{"cve-2022-0185", "clone fsconfig fsopen fspick setns unshare", ""},
		{"cve-2022-0492", "clone creat fsopen mount open openat openat2 setns unshare", "creat fsopen mount open openat openat2"},
		{"cve-2022-0847", "", ""},
		{"cve-2022-0995", "", ""},
		{"cve-2022-27666", "clone setns setsockopt socket unshare", ""},
		{"cve-2023-0386", "clone fsopen mount setns unshare", "fsopen mount"},
		{"cve-2023-0461", "connect setsockopt", all},
		{"cve-2023-5345", "clone fsopen mount setns unshare", "fsopen mount"},
		{"cve-2023-6931", "perf_event_open", ""},
		{"cve-2024-1086", "clone setns socket unshare", ""},
	} {
		f := builtin(t, m.name)
		if m.traced == all {
			m.traced = m.asked
		}
		if got := f.asked(); got != m.asked {
			t.Errorf("%s: asked about are %q, want %q", m.name, got, m.asked)
		}
		if got := f.leaves(split.Trace); got != m.traced {
			t.Errorf("%s: held are %q, want %q", m.name, got, m.traced)
		}
		for _, d := range often {
			if k := f.leaf(d).Kind; k != split.Static {
				t.Errorf("%s: call %d with %#x is no static leaf", m.name, d.Nr, d.Args)
			}
		}
	}
}

// all stands for the calls that are asked about.
const all = "all"

// often are calls that programs make all the time, of the same numbers as those
// of the patterns.
var often = []*abi.SeccompData{
	{Arch: abi.ArchX86_64, Nr: 56, Args: [6]uint64{0x1200011}},                     // clone: fork
	{Arch: abi.ArchX86_64, Nr: 56, Args: [6]uint64{0x3d0f00, 0x7f0000000000}},      // clone: a thread
	{Arch: abi.ArchX86_64, Nr: 41, Args: [6]uint64{2, 0x80001, 6}},                 // socket: TCP
	{Arch: abi.ArchX86_64, Nr: 41, Args: [6]uint64{16, 0x80003, 0}},                // socket: NETLINK_ROUTE
	{Arch: abi.ArchX86_64, Nr: 54, Args: [6]uint64{3, 1, 2, 0x7ffc00000000, 4}},    // setsockopt: SO_REUSEADDR
	{Arch: abi.ArchX86_64, Nr: 54, Args: [6]uint64{3, 6, 1, 0x7ffc00000000, 4}},    // setsockopt: TCP_NODELAY
	{Arch: abi.ArchX86_64, Nr: 44, Args: [6]uint64{3, 0x7f0000000000, 9, 0x4000}},  // sendto: MSG_NOSIGNAL
	{Arch: abi.ArchX86_64, Nr: 202, Args: [6]uint64{0x7f0000000000, 0x80, 0}},      // futex: wait
	{Arch: abi.ArchX86_64, Nr: 247, Args: [6]uint64{1, 7, 0x7ffc00000000, 4}},      // waitid
	{Arch: abi.ArchX86_64, Nr: 272, Args: [6]uint64{0x20000}},                      // unshare: CLONE_NEWNS
	{Arch: abi.ArchX86_64, Nr: 0, Args: [6]uint64{3, 0x7f0000000000, 4096}},        // read
	{Arch: abi.ArchX86_64, Nr: 257, Args: [6]uint64{^uint64(99), 0x1000, 0x80000}}, // openat: to read
	{Arch: abi.ArchX86_64, Nr: 9, Args: [6]uint64{0, 4096, 3, 0x22, ^uint64(0)}},   // mmap: memory
	{Arch: abi.ArchX86_64, Nr: 28, Args: [6]uint64{0x1000, 4096, 8}},               // madvise: MADV_FREE
}

// leaf is where a call is decided, its arguments known.
func (f *filter) leaf(d *abi.SeccompData) split.Leaf {
	r := f.tree.Find(d.Arch, uint32(d.Nr))
	if r.Decision == nil {
		return r.Leaf
	}
	return r.Decision.Decide(d)
}

// asked lists the x86-64 calls that the kernel cannot decide by itself for some
// arguments.
func (f *filter) asked() string { return f.leaves(split.Notify, split.Trace) }

// leaves lists the x86-64 calls whose slowest leaf is of one of the kinds.
func (f *filter) leaves(kinds ...split.Kind) string {
	var names []string
	for _, c := range syscalls.All() {
		kind := f.tree.Find(abi.ArchX86_64, c.Nr).Kind()
		for _, k := range kinds {
			if k == kind {
				names = append(names, c.Name)
			}
		}
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}
