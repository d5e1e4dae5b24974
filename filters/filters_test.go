package filters_test

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"portcullis/filters"
	"portcullis/filters/testdata"
	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/interp"
	"portcullis/internal/maps"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// task is a caller of whom filters learn what the tests give it.
type task struct {
	process, thread, now uint64
}

func (t *task) PidTgid() uint64                                     { return t.process<<32 | t.thread }
func (t *task) UidGid() uint64                                      { return 100<<32 | 1000 }
func (t *task) Comm() [16]byte                                      { return [16]byte{'t', 'a', 's', 'k'} }
func (t *task) Process() uint64                                     { return t.process }
func (t *task) Thread() uint64                                      { return t.thread }
func (t *task) Now() uint64                                         { t.now++; return t.now }
func (t *task) BootNow() uint64                                     { return t.Now() }
func (t *task) Rand() uint32                                        { t.now += 0x9e3779b9; return uint32(t.now) }
func (t *task) ReadUser(dst []byte, addr uint64) (n int, err error) { return 0, os.ErrInvalid }
func (t *task) SafeRead([]byte, uint64) maps.Errno                  { return interp.EOPNOTSUPP }
func (t *task) SafeReadStr([]byte, uint64) (int, maps.Errno)        { return 0, interp.EOPNOTSUPP }
func (t *task) Await(uint64, uint64) maps.Errno                     { return maps.EINVAL }
func (t *task) Printk([]byte)                                       {}

// filter is one program ready to be asked.
type filter struct {
	t       *testing.T
	machine *interp.Machine
	tree    *split.Tree
}

// load reads, sets, verifies and splits a program; "" is the only one.
func load(t *testing.T, data []byte, name string, settings ...string) *filter {
	t.Helper()
	ps, err := object.Read("object", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		k, v, _ := strings.Cut(s, "=")
		if err := prog.Set(ps, k, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range ps {
		if p.Name == name {
			return ready(t, p)
		}
	}
	t.Fatalf("no program %s", name)
	return nil
}

func ready(t *testing.T, p *prog.Program) *filter {
	t.Helper()
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	set := maps.Set{}
	for _, w := range v.Programs() {
		if err := set.Add(w.Program().Maps); err != nil {
			t.Fatal(err)
		}
	}
	m, err := interp.New(v, set)
	if err != nil {
		t.Fatal(err)
	}
	return &filter{t: t, machine: m, tree: split.Split(v)}
}

func builtin(t *testing.T, name string, settings ...string) *filter {
	t.Helper()
	data, ok := filters.Object(name)
	if !ok {
		t.Fatalf("no filter %s", name)
	}
	return load(t, data, name, settings...)
}

// ask is the verdict over a call, by name or number, of a task.
func (f *filter) ask(who *task, arch abi.Arch, nr int32, args ...uint64) abi.Verdict {
	f.t.Helper()
	d := &abi.SeccompData{Nr: nr, Arch: arch}
	copy(d.Args[:], args)
	r := f.machine.Run(who, d)
	if r.Fault != nil {
		f.t.Fatal(r.Fault)
	}
	return abi.Verdict(r.Ret)
}

// want asks about x86-64 calls by name, one after another: "execve ALLOW".
func (f *filter) want(script ...string) {
	f.t.Helper()
	for i, line := range script {
		name, verdict, _ := strings.Cut(line, " ")
		if got := f.ask(&task{process: 7, thread: 7}, abi.ArchX86_64, int32(number(f.t, name))); got.String() != verdict {
			f.t.Errorf("call %d, %s: got %v, want %s", i+1, name, got, verdict)
		}
	}
}

func number(t *testing.T, name string) uint32 {
	t.Helper()
	nr, ok := syscalls.Number(name)
	if !ok {
		t.Fatalf("no call %s", name)
	}
	return nr
}

// dynamic lists the x86-64 calls that the kernel cannot decide by itself.
func (f *filter) dynamic() string {
	var names []string
	for _, r := range f.tree.Ranges(abi.ArchX86_64) {
		if r.Leaf.Kind == split.Static || r.From&abi.X32Bit != 0 {
			continue // or of x32, which a guard ends
		}
		for nr := r.From; ; nr++ {
			name, ok := syscalls.Name(nr)
			if !ok {
				f.t.Errorf("call %#x of no name is not static", nr)
				break
			}
			names = append(names, name)
			if nr == r.To {
				break
			}
		}
	}
	sort.Strings(names)
	return strings.Join(names, " ")
}

func TestNamesAreTheFolders(t *testing.T) {
	sources, err := filepath.Glob("*/*.c")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sources {
		dir, file := filepath.Split(s)
		if name := filepath.Clean(dir); file == name+".c" {
			names = append(names, name)
		}
	}
	if got, want := strings.Join(filters.Names(), " "), strings.Join(names, " "); got != want || got == "" {
		t.Errorf("names %s: want %s", got, want)
	}
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{"", "nosuch", "testdata", "gen", "../filters/count", "count/count", "."} {
		if _, ok := filters.Object(name); ok {
			t.Errorf("there is an object for %q", name)
		}
	}
	if summary, vars := filters.Doc("nosuch"); summary != "" || vars != nil {
		t.Errorf("documentation for what is not there: %q %v", summary, vars)
	}
}

// TestDoc wants one sentence on each filter and a line on each of its variables.
func TestDoc(t *testing.T) {
	for _, name := range filters.Names() {
		summary, vars := filters.Doc(name)
		if !strings.HasSuffix(summary, ".") || strings.Contains(summary, ". ") || len(summary) > 100 {
			t.Errorf("%s: summary %q: want one short sentence", name, summary)
		}
		if !strings.HasPrefix(filters.Text(name), summary[:20]) {
			t.Errorf("%s: text does not open with the summary", name)
		}
		var documented, have []string
		for _, v := range vars {
			documented = append(documented, v.Name)
		}
		data, _ := filters.Object(name)
		ps, err := object.Read(name, data)
		if err != nil {
			t.Fatal(err)
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

func TestCountExec(t *testing.T) {
	builtin(t, "count-exec").want("execve ALLOW", "read ALLOW", "execveat ALLOW", "execve ALLOW",
		"execve ALLOW", "execve ALLOW", "execve ERRNO(1)", "execveat ERRNO(1)", "read ALLOW")
	builtin(t, "count-exec", "max=0").want("execve ERRNO(1)", "execve ERRNO(1)")
	builtin(t, "count-exec", "max=1").want("execveat ALLOW", "execve ERRNO(1)")
}

// TestCountExecOfEveryTable: a lifted guard is no way around the count.
func TestCountExecOfEveryTable(t *testing.T) {
	f := builtin(t, "count-exec", "max=2")
	who := &task{}
	for i, c := range []struct {
		arch abi.Arch
		nr   int32
		want abi.Verdict
	}{
		{abi.ArchI386, 59, abi.Allow}, // oldolduname
		{abi.ArchX86_64, 11, abi.Allow},
		{abi.ArchX86_64, 520, abi.Allow},
		{abi.ArchI386, 11, abi.Allow},
		{abi.ArchX86_64, abi.X32Bit | 520, abi.Allow},
		{abi.ArchI386, 358, abi.Errno(1)},
		{abi.ArchX86_64, abi.X32Bit | 545, abi.Errno(1)},
		{abi.ArchX86_64, 59, abi.Errno(1)},
		{abi.ArchX86_64, -1, abi.Allow},
	} {
		if got := f.ask(who, c.arch, c.nr); got != c.want {
			t.Errorf("%d: %v %d: got %v, want %v", i, c.arch, c.nr, got, c.want)
		}
	}
}

func TestNoExec(t *testing.T) {
	f := builtin(t, "no-exec")
	f.want("execve ERRNO(1)", "execveat ERRNO(1)", "read ALLOW", "clone ALLOW")
	if got := f.ask(&task{}, abi.ArchI386, 11); got != abi.Errno(1) {
		t.Errorf("execve of i386: %v", got)
	}
}

func TestCount(t *testing.T) {
	builtin(t, "count", "max=2").want("clone ALLOW", "read ALLOW", "clone3 ALLOW", "fork ERRNO(1)", "vfork ERRNO(1)", "read ALLOW")
	builtin(t, "count", "max=1", "calls=socket,connect").want("fork ALLOW", "socket ALLOW", "connect ERRNO(1)", "fork ALLOW")
	f := builtin(t, "count", "max=1", "calls=1023")
	for i, want := range []abi.Verdict{abi.Allow, abi.Errno(1)} {
		if got := f.ask(&task{}, abi.ArchX86_64, 1023); got != want {
			t.Errorf("call %d of 1023: %v, want %v", i+1, got, want)
		}
	}
}

// TestOtherTablesEnd: numbers of another table are not judged by this one. The others of
// general use ask about them, as their cases say.
func TestOtherTablesEnd(t *testing.T) {
	names := append(filters.Mitigations(), "cache", "connect", "count", "count-process", "count-thread", "exec-list",
		"flow", "once", "paths", "phases", "phases-process", "rate", "serialize")
	for _, name := range names {
		f := builtin(t, name)
		for _, c := range []struct {
			arch abi.Arch
			nr   int32
			want abi.Verdict
		}{
			{abi.ArchI386, 3, abi.KillProcess},
			{abi.ArchI386, 11, abi.KillProcess},
			{abi.ArchX86_64, abi.X32Bit, abi.KillProcess},
			{abi.ArchX86_64, abi.X32Bit | 520, abi.KillProcess},
			{abi.ArchX86_64, -1, abi.Allow},
			{abi.ArchI386, -1, abi.Allow},
			{abi.ArchX86_64, 0, abi.Allow},
		} {
			if got := f.ask(&task{}, c.arch, c.nr); got != c.want {
				t.Errorf("%s: %v %d: got %v, want %v", name, c.arch, c.nr, got, c.want)
			}
		}
	}
}

func TestPhases(t *testing.T) {
	builtin(t, "phases").want("read ALLOW", "bind ALLOW", "chroot ALLOW", "execve ALLOW", "ptrace ERRNO(1)",
		"accept4 ALLOW",
		"read ALLOW", "bind ERRNO(1)", "chroot ERRNO(1)", "execve ERRNO(1)", "ptrace ERRNO(1)",
		"accept ALLOW", "accept4 ALLOW", "bind ERRNO(1)")
	builtin(t, "phases", "init_allow=read", "serve_allow=write", "switch_call=pause").want(
		"read ALLOW", "write ERRNO(1)", "pause ALLOW", "read ERRNO(1)", "write ALLOW", "pause ALLOW", "close ERRNO(1)")
	builtin(t, "phases", "serve_allow=+bind").want("accept ALLOW", "bind ALLOW", "listen ERRNO(1)")
}

// TestOnlyStateIsDynamic: whatever needs no state stays in the kernel.
func TestOnlyStateIsDynamic(t *testing.T) {
	for _, c := range []struct {
		want string
		name string
		set  []string
	}{
		{"", "no-exec", nil},
		{"execve execveat", "count-exec", nil},
		{"clone clone3 fork vfork", "count", nil},
		{"connect socket", "count", []string{"calls=socket,connect"}},
		{"", "count", []string{"calls="}},
		{"bind pause read write", "phases", []string{"init_allow=read,write,close", "serve_allow=bind,close", "switch_call=pause"}},
	} {
		if got := builtin(t, c.name, c.set...).dynamic(); got != c.want {
			t.Errorf("%s %v: dynamic are %q, want %q", c.name, c.set, got, c.want)
		}
	}
}

// TestServersStart compares the default phases with what nginx 1.22 and redis
// 7.0 call on Debian 12, from their start and from their first connection on.
func TestServersStart(t *testing.T) {
	f := builtin(t, "phases")
	for _, name := range strings.Fields(`access arch_prctl bind brk chdir chown clone clone3 close connect dup2
		epoll_create epoll_ctl epoll_wait eventfd2 execve exit_group fcntl futex getcwd geteuid getpid getppid getrandom
		ioctl listen lseek madvise mkdir mmap mprotect munmap newfstatat open openat pipe2 prctl pread64 prlimit64
		pwrite64 read readlink recvmsg rename rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend
		sched_getaffinity sendmsg set_robust_list set_tid_address setgid setgroups setitimer setsockopt setuid socket
		socketpair sysinfo umask uname unlink wait4 write`) {
		f.want(name + " ALLOW")
	}
	f.want("accept4 ALLOW")
	for _, name := range strings.Fields(`clone close epoll_ctl epoll_wait exit_group fcntl fdatasync fsync futex
		getpeername getpid madvise mmap newfstatat openat pipe2 read recvfrom recvmsg rename sendfile setsockopt wait4
		write writev rt_sigsuspend rt_sigreturn sendmsg unlink`) {
		f.want(name + " ALLOW")
	}
}

// TestConformancePrograms asks the suite's programs what needs no engine, so
// that a mistake in one of them shows before an engine is suspected.
func TestConformancePrograms(t *testing.T) {
	const ppid = "getppid "
	for name, want := range map[string][]string{
		"global-count":  {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)", "ERRNO(1)"},
		"array-count":   {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)"},
		"hash-count":    {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)"},
		"locked-count":  {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)"},
		"process-count": {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)"},
		"thread-count":  {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)"},
		"storage-life":  {"ERRNO(2)", "ERRNO(16)", "ALLOW", "ERRNO(2)", "ERRNO(2)", "ERRNO(16)"},
		"hash-full":     {"ALLOW", "ALLOW", "ERRNO(7)"},
		"hash-life": {
			"ERRNO(2)", "ALLOW", "ERRNO(17)", "ALLOW", "ERRNO(16)", "ALLOW", "ERRNO(2)", "ERRNO(3)",
			"ERRNO(2)",
		},
		"stack-a":      {"ALLOW", "ALLOW", "ERRNO(1)"},
		"stack-b":      {"LOG", "ERRNO(13)"},
		"time":         {"ERRNO(16)", "ERRNO(16)"},
		"window-count": {"ALLOW", "ALLOW", "ALLOW", "ERRNO(1)"},
		"random":       {"ERRNO(16)"},
		"atomics":      {"ERRNO(16)", "ERRNO(16)"},
		"functions":    {"ERRNO(64)", "ERRNO(65)", "ERRNO(65)", "ERRNO(66)"},
		"arithmetic":   {"ERRNO(16)", "ERRNO(16)"},
	} {
		f := load(t, testdata.Conformance, name)
		for i, verdict := range want {
			f.want(ppid + verdict)
			if t.Failed() {
				t.Fatalf("program %s, call %d", name, i+1)
			}
		}
	}
}

// TestEveryTestProgramVerifies holds also for those that an engine refuses.
func TestEveryTestProgramVerifies(t *testing.T) {
	for _, data := range [][]byte{testdata.Conformance, testdata.Bench} {
		ps, err := object.Read("object", data)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			if _, err := verify.Program(p, verify.Options{}); err != nil {
				t.Error(err)
			}
		}
	}
}
