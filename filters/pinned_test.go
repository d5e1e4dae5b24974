package filters_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"net/netip"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
)

// pinned is a caller with memory in which strings and structures are, each an
// argument of its own.
type pinned struct {
	task
	arguments map[uint64][]byte
}

// argument is the one that addr is in, and the rest of it from there on.
func (p *pinned) argument(addr uint64) []byte {
	for at, data := range p.arguments {
		if addr >= at && addr-at < uint64(len(data)) {
			return data[addr-at:]
		}
	}
	return nil
}

// SafeRead reads inside of an argument.
func (p *pinned) SafeRead(dst []byte, addr uint64) maps.Errno {
	data := p.argument(addr)
	if len(data) < len(dst) {
		return maps.EFAULT
	}
	copy(dst, data)
	return maps.OK
}

// SafeReadStr reads up to a NUL.
func (p *pinned) SafeReadStr(dst []byte, addr uint64) (int, maps.Errno) {
	data := p.argument(addr)
	end := bytes.IndexByte(data, 0)
	switch {
	case end < 0:
		return 0, maps.EFAULT
	case end >= len(dst):
		return 0, maps.E2BIG
	}
	return copy(dst, data[:end+1]), maps.OK
}

// Await has nobody to wait for.
func (p *pinned) Await(uint64, uint64) maps.Errno { return maps.OK }

// asks is the verdict on a call whose arguments are numbers, and strings in the
// caller's memory.
func asks(t *testing.T, m *interp.Machine, name string, args ...any) abi.Verdict {
	t.Helper()
	return abi.Verdict(runs(t, m, name, args...).Ret)
}

// runs is what a filter makes of such a call.
func runs(t *testing.T, m *interp.Machine, name string, args ...any) interp.Result {
	t.Helper()
	who := &pinned{task: task{process: 1, thread: 1}, arguments: map[uint64][]byte{}}
	d := &abi.SeccompData{Arch: abi.ArchX86_64, Nr: int32(number(t, name))}
	for i, a := range args {
		switch v := a.(type) {
		case int:
			d.Args[i] = uint64(v)
		case string:
			d.Args[i] = uint64(i+1) << 20
			who.arguments[d.Args[i]] = append([]byte(v), 0)
		}
	}
	r := m.Run(who, d)
	if r.Fault != nil {
		t.Fatal(r.Fault)
	}
	return r
}

// rules is what the filter paths is to decide, written down in another way.
type rules struct {
	read, write, exec []string
	dotdot            bool
}

// below tells whether a path is an entry of a list or below one.
func below(list []string, path string) bool {
	for _, e := range list {
		if e == "/" || path == e && !strings.HasSuffix(e, "/") || strings.HasPrefix(path, strings.TrimSuffix(e, "/")+"/") {
			return true
		}
	}
	return false
}

// resolve spells a path plainly; false where it counts for nothing.
func (r *rules) resolve(path string) (string, bool) {
	var names []string
	for _, name := range strings.Split(path, "/") {
		switch {
		case name == "" || name == ".":
		case name != "..":
			names = append(names, name)
		case !r.dotdot:
			return "", false
		case len(names) > 0:
			names = names[:len(names)-1]
		case !strings.HasPrefix(path, "/"):
			return "", false
		}
	}
	return "/" + strings.Join(names, "/"), true
}

// opens tells whether a file may be opened with these flags, by a path that is not
// relative unless for reading.
func (r *rules) opens(path string, flags int) bool {
	full, ok := r.resolve(path)
	relative := !strings.HasPrefix(path, "/")
	may := func(list []string, granted bool) bool {
		return below(list, "/") || ok && (relative && granted || !relative && below(list, full))
	}
	return (flags == 1 || may(r.read, true)) && (flags == 0 || may(r.write, false))
}

// TestPathsAgainstRules asks about random paths.
func TestPathsAgainstRules(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for i := 0; i < 25; i++ {
		r := &rules{read: entries(rnd), write: entries(rnd), exec: []string{"/"}, dotdot: rnd.Intn(2) == 0}
		settings := []string{"read=" + strings.Join(r.read, ","), "write=" + strings.Join(r.write, ",")}
		if r.dotdot {
			settings = append(settings, "dotdot=true")
		}
		m, _ := machine(t, "paths", settings...)
		for k := 0; k < 400; k++ {
			path, flags, want := randomPath(rnd), rnd.Intn(3), abi.Errno(13)
			if r.opens(path, flags) {
				want = abi.Allow
			}
			if got := asks(t, m, "open", path, flags); got != want {
				t.Fatalf("%v: open(%q, %d): %v, want %v", settings, path, flags, got, want)
			}
		}
	}
}

var pathNames = []string{"a", "b", "ab", "abcdefg", "abcdefgh", "abcdefghi", ".x", "..x", "x.", "...", "0123456789abcdef"}

// entries is a random list.
func entries(rnd *rand.Rand) (all []string) {
	for i := rnd.Intn(5); i >= 0; i-- {
		e := ""
		for n := 1 + rnd.Intn(3); n > 0; n-- {
			e += "/" + pathNames[rnd.Intn(len(pathNames))]
		}
		if rnd.Intn(4) == 0 {
			e += "/"
		}
		all = append(all, e)
	}
	if rnd.Intn(8) == 0 {
		all = append(all, "/")
	}
	return all
}

func randomPath(rnd *rand.Rand) (path string) {
	if rnd.Intn(8) > 0 {
		path = "/"
	}
	for n := rnd.Intn(7); n > 0; n-- {
		name := pathNames[rnd.Intn(len(pathNames))]
		switch rnd.Intn(8) {
		case 0:
			name = "."
		case 1:
			name = ".."
		case 2:
			name = ""
		}
		path += name + strings.Repeat("/", rnd.Intn(2)+rnd.Intn(5)/4)
	}
	if path == "" {
		return "a"
	}
	return path
}

// TestPathsOfEveryLength: a path is judged to its end, or not let through.
func TestPathsOfEveryLength(t *testing.T) {
	m, _ := machine(t, "paths", "read=/r")
	lax, _ := machine(t, "paths", "read=/r", "dotdot=true")
	for n := 1; n < 4200; n++ {
		long := "/r/" + strings.Repeat("x", n)
		for _, c := range []struct {
			path string
			m    *interp.Machine
			may  bool
		}{
			{long, m, len(long) < 2048},
			{long + "/../../n", m, false},
			{long + "/..", m, false},
			{long + "/../../n", lax, false},
			{long + "/../n", lax, len(long)+5 < 254},
			{long + "//n", m, len(long)+3 < 254},
			{"/n/" + strings.Repeat("x", n), m, false},
			{strings.Repeat("/", n) + "r", m, n < 253},
			{strings.Repeat("/.", n) + "/r", m, 2*n+2 < 254},
			{"/r" + strings.Repeat("/a/..", n) + "/../n", lax, false},
		} {
			got := asks(t, c.m, "open", c.path, 0)
			if len(c.path) > 4095 && got == abi.Errno(36) {
				continue
			}
			if (got == abi.Allow) != c.may || !c.may && got != abi.Errno(13) {
				t.Fatalf("%d bytes, %.10q...%q: %v, want it let through: %v", len(c.path), c.path, c.path[max(0, len(c.path)-10):], got, c.may)
			}
		}
	}
}

// TestPathsInFullLists: lists as long as they may be are proved within the usual budget.
func TestPathsInFullLists(t *testing.T) {
	var list []string
	for i := 0; i < 32; i++ {
		list = append(list, fmt.Sprintf("/usr/%0250d", i))
	}
	full := strings.Join(list, ",")
	m, _ := machine(t, "paths", "read="+full, "write="+full, "exec="+full)
	for _, c := range []struct {
		path string
		want abi.Verdict
	}{{list[31] + "/x", abi.Allow}, {list[30][:254] + "x", abi.Errno(13)}} {
		if got := asks(t, m, "open", c.path, 0); got != c.want {
			t.Errorf("%s: %v, want %v", c.path, got, c.want)
		}
	}
}

// counted is a caller whose reads are counted: each takes the longer, the more arguments
// there are.
type counted struct {
	pinned
	reads int
}

func (c *counted) SafeRead(dst []byte, addr uint64) maps.Errno {
	c.reads++
	return c.pinned.SafeRead(dst, addr)
}

// executes is the caller of an execve with arguments, and the call.
func executes(argv ...string) (*counted, *abi.SeccompData) {
	const path, list, texts = 1 << 20, 2 << 20, 3 << 20
	who := &counted{pinned: pinned{arguments: map[uint64][]byte{path: []byte(argv[0] + "\x00")}}}
	var pointers []byte
	for i, a := range argv {
		at := uint64(texts + i<<14)
		who.arguments[at] = append([]byte(a), 0)
		pointers = binary.LittleEndian.AppendUint64(pointers, at)
	}
	who.arguments[list] = append(pointers, make([]byte, 8)...)
	return who, &abi.SeccompData{Nr: 59, Arch: abi.ArchX86_64, Args: [6]uint64{path, list}}
}

// TestExecListReadsLittle: what is read of many arguments, and of long ones, has a bound.
func TestExecListReadsLittle(t *testing.T) {
	const commands = "commands=/bin/git status,/bin/git log -p"
	long := strings.Repeat("-", 5000)
	many := func(argv ...string) []string { return append(argv, make([]string, 8190-len(argv))...) }
	for _, c := range []struct {
		set  []string
		argv []string
		want abi.Verdict
		most int
	}{
		{[]string{commands}, many("/bin/git", "status"), abi.Allow, 20},
		{[]string{commands}, many("/bin/git", long, long, long, long), abi.Errno(13), 20},
		{[]string{commands}, many("/bin/git", "log", "-p"), abi.Allow, 20},
		{[]string{commands}, many("/bin/git", "log", "-q"), abi.Errno(13), 20},
		{[]string{commands}, many("/bin/ls"), abi.Errno(13), 20},
		{[]string{"allow=/bin/", "deny=-c"}, many("/bin/sh", long, long), abi.Errno(7), 32},
		{[]string{"allow=/bin/", "deny=-c"}, []string{"/bin/sh", "x", long, "y", "c"}, abi.Allow, 6 + 1 + 16 + 1 + 1},
		{[]string{"allow=/bin/", "deny=-c"}, []string{"/bin/sh", "x", "y", "-c"}, abi.Errno(13), 5 + 1 + 1 + 3},
		{[]string{"allow=/bin/", "deny=-c"}, many("/bin/sh")[:31], abi.Allow, 32 + 30},
	} {
		m, _ := machine(t, "exec-list", append([]string{"allow="}, c.set...)...)
		who, d := executes(c.argv...)
		r := m.Run(who, d)
		if got := abi.Verdict(r.Ret); r.Fault != nil || got != c.want || who.reads > c.most {
			t.Errorf("%v, %d arguments from %.20q: %v after %d reads, want %v after %d at most",
				c.set, len(c.argv), c.argv[:3], got, who.reads, c.want, c.most)
		}
	}
}

// TestOnlyWhatIsNeededIsAsked: what needs neither state nor memory stays in the
// kernel.
func TestOnlyWhatIsNeededIsAsked(t *testing.T) {
	const changes = "chmod chown creat fchmodat fchmodat2 fchownat file_setattr futimesat lchown link linkat lremovexattr " +
		"lsetxattr mkdir mkdirat mknod mknodat open openat openat2 removexattr removexattrat rename renameat renameat2 " +
		"rmdir setxattr setxattrat symlink symlinkat truncate unlink unlinkat utime utimensat utimes"
	for _, c := range []struct {
		want string
		name string
		set  []string
	}{
		{"bind connect sendmsg sendto", "connect", nil},
		{"execve execveat", "exec-list", nil},
		{"madvise mremap munmap", "serialize", []string{"first=mremap", "second=munmap,madvise"}},
		{"", "serialize", []string{"first=", "second="}},
		{"clone clone3 fork vfork", "count-process", nil},
		{"socket", "count-thread", nil},
		{"bind pause read write", "phases-process", []string{"init_allow=read,write,close", "serve_allow=bind,close", "switch_call=pause"}},
		{changes, "paths", nil},
		{"", "paths", []string{"write=/"}},
		{"execve execveat symlink symlinkat", "paths", []string{"write=/", "exec=/bin"}},
		{
			"access chdir faccessat faccessat2 fanotify_mark file_getattr getxattr getxattrat inotify_add_watch lgetxattr link " +
				"linkat listxattr listxattrat llistxattr lstat name_to_handle_at newfstatat open openat openat2 readlink readlinkat " +
				"rename renameat renameat2 stat statfs statx symlink symlinkat",
			"paths",
			[]string{"write=/", "read=/bin"},
		},
	} {
		if got := builtin(t, c.name, c.set...).asked(); got != c.want {
			t.Errorf("%s %v: asked are %q, want %q", c.name, c.set, got, c.want)
		}
	}
}

// TestDenialsNameTheirLinesInPinned wants each denial explained by a line of its own.
func TestDenialsNameTheirLinesInPinned(t *testing.T) {
	for _, c := range []struct {
		filter string // and its settings
		call   string
		args   []any
		want   string
	}{
		{"paths read=/r", "open", []any{"/n", 0}, "DENY_WITH(error); /* not below read */"},
		{"paths", "open", []any{"/n", 1}, "DENY_WITH(error); /* not below write */"},
		{"paths exec=/r", "execve", []any{"/n"}, "DENY_WITH(error); /* not below exec */"},
		{"paths", "fchmod", []any{1}, "PORTCULLIS_DENY(EACCES); /* by descriptor */"},
		{"paths", "chroot", []any{"/n"}, "PORTCULLIS_DENY(EPERM); /* changes what names mean */"},
		{"paths write=/w", "symlink", []any{"/n", "/w/l"}, "PORTCULLIS_DENY(EACCES); /* the link leads to less */"},
		{"paths write=/w", "link", []any{"/n", "/w/l"}, "PORTCULLIS_DENY(EACCES); /* the new name grants more */"},
		{"connect", "connect", []any{3, "\x02\x00\x00\x50\x0a\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", 16}, "PORTCULLIS_DENY(EACCES); /* not listed */"},
		{"connect", "socket", []any{17, 3, 0}, "PORTCULLIS_DENY(EAFNOSUPPORT); /* of another family */"},
		{"exec-list", "execve", []any{"/n"}, "PORTCULLIS_DENY(EACCES); /* not listed */"},
		{"exec-list", "execve", []any{"/usr/../n"}, "PORTCULLIS_DENY(EACCES); /* \"..\" */"},
		{"count-process calls=read max=0", "read", nil, "PORTCULLIS_DENY(EPERM); /* beyond max */"},
		{"count-thread calls=read max=0", "read", nil, "PORTCULLIS_DENY(EPERM); /* beyond max */"},
		{"phases-process", "ptrace", nil, "PORTCULLIS_DENY(EPERM); /* in neither set */"},
		{"phases-process init_allow=", "execve", nil, "PORTCULLIS_DENY(EPERM); /* in neither set */"},
		{"phases-process serve_allow=+ptrace", "ptrace", nil, "PORTCULLIS_DENY(EPERM); /* not in this phase */"},
	} {
		name, settings, _ := strings.Cut(c.filter, " ")
		m, _ := machine(t, name, strings.Fields(settings)...)
		r := runs(t, m, c.call, c.args...)
		if got := sourceOf(t, name, r.Program.LineOf(r.PC)); got != c.want {
			t.Errorf("%s, %s: %v by %q, want %q", c.filter, c.call, abi.Verdict(r.Ret), got, c.want)
		}
	}
}

// BenchmarkPinned decides in the filters that read arguments.
func BenchmarkPinned(b *testing.B) {
	const lists = "read=/usr,/lib,/lib64,/bin,/sbin,/etc,/proc,/dev,/srv/me/project"
	for _, c := range []struct {
		name, filter string
		nr           int32
		arg          int
		text         string
	}{
		{"paths/plain", "paths " + lists, 2, 0, "/srv/me/project/src/main.c\x00"},
		{"paths/odd", "paths " + lists, 2, 0, "/srv/me//project/./src/main.c\x00"},
		{"paths/relative", "paths " + lists, 2, 0, "src/main.c\x00"},
		{"connect", "connect allow=10.0.0.0/8,[fd00::]/8,192.168.0.0/16:80-90", 42, 1, sockaddr(netip.MustParseAddrPort("192.168.1.1:80")) + "\x00"},
		{"exec-list", "exec-list", 59, 0, "/usr/bin/git\x00"},
	} {
		b.Run(c.name, func(b *testing.B) { decidePinned(b, c.filter, c.nr, c.arg, c.text) })
	}
}

// BenchmarkPaths decides about a path of 20 characters by short lists, by full ones, and,
// to compare with, in a filter that looks at its last component alone.
func BenchmarkPaths(b *testing.B) {
	full := "/srv/me"
	for i := 1; i < 32; i++ {
		full = fmt.Sprintf("/srv/you/%d,", i) + full
	}
	for _, c := range []struct{ name, filter string }{
		{"last component", "cve-2022-0492"},
		{"entries=2", "paths write=/usr,/srv/me"},
		{"entries=2+2", "paths read=/usr,/srv/me write=/tmp,/srv/me"},
		{"entries=32", "paths write=" + full},
	} {
		b.Run(c.name, func(b *testing.B) { decidePinned(b, c.filter, 85, 0, "/srv/me/project/ab.c\x00") })
	}
}

// decidePinned measures a decision about a call with text behind an argument, and its
// length in the third.
func decidePinned(b *testing.B, filter string, nr int32, arg int, text string) {
	b.Helper()
	words := strings.Fields(filter)
	m, _ := machine(b, words[0], words[1:]...)
	who := &pinned{task: task{process: 1, thread: 1}, arguments: map[uint64][]byte{1 << 20: []byte(text)}}
	d := &abi.SeccompData{Nr: nr, Arch: abi.ArchX86_64}
	d.Args[arg], d.Args[2] = 1<<20, uint64(len(text))
	if nr == 2 {
		d.Args[2] = 0
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if r := m.Run(who, d); r.Fault != nil || abi.Verdict(r.Ret) != abi.Allow {
			b.Fatal(abi.Verdict(r.Ret), r.Fault)
		}
	}
}
