package conformance

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"portcullis"
)

// mitigation is the pattern of one vulnerability as a program makes it: before is
// let through, trigger prints what it got.
type mitigation struct {
	filter          string
	before, trigger string // in Python, after the prelude
	want            string // what the trigger prints under the filter, and not without
	ordinary        string // in bash, what has to print ok: the call in its ordinary use
}

// prelude lets Python make a call by its number, with whole registers, and tell
// what came of it.
const prelude = `
import ctypes, errno, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def raw(nr, *args):
    return libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
def call(nr, *args): return "ok" if raw(nr, *args) >= 0 else errno.errorcode[ctypes.get_errno()]
def tell(*words): print(*words, flush=True)
def userns(): return call(272, 0x50020000)
def setsockopt(s, level, name, size=4):
    return call(54, s.fileno(), level, name, ctypes.create_string_buffer(max(size, 4)), size)
def udp(): return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def packet():
    try: return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except OSError: return udp()
def page():
    m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return m, ctypes.addressof(ctypes.c_char.from_buffer(m))
def executes(argv):
    pid = os.fork()
    if pid == 0:
        raw(59, b"/bin/true", argv, 0)
        os._exit(ctypes.get_errno())
    n = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return errno.errorcode[n] if n else "ok"
def sleep_of(tid):
    lines = dict(l.split(":", 1) for l in open("/proc/self/task/%d/status" % tid))
    return lines["State"].split()[0] == "S" and lines["voluntary_ctxt_switches"]
def waits_in(tid, nr):
    try:
        asleep = sleep_of(tid)
        return asleep and open("/proc/self/task/%d/syscall" % tid).read().split()[0] == str(nr) and sleep_of(tid) == asleep
    except OSError: return False # it has ended
def waits(tid, nr): # in poll (7), where a tracer has a thread wait, or in the call, where the kernel does
    return waits_in(tid, 7) or waits_in(tid, nr)
def beside(hold, holds, make, makes, release):
    import threading
    tids, ended = {}, []
    def run(call):
        tids[call] = threading.get_native_id()
        call()
        ended.append(call)
    one, two = [threading.Thread(target=run, args=(c,)) for c in (hold, make)]
    one.start()
    while not (hold in tids and waits_in(tids[hold], holds)): os.sched_yield()
    two.start()
    while not (make in ended or make in tids and waits(tids[make], makes)): os.sched_yield()
    got = "together" if make in ended else "apart"
    release()
    one.join(); two.join()
    return got
`

// moves renames files in a directory that somebody watches: with other names by copying.
const moves = `/usr/bin/python3 -ISc '
import ctypes, os, shutil
os.chdir(os.environ["HOME"])
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0)
libc.inotify_add_watch(fd, b".", 0xfff)
open("a", "w").write("text"); os.rename("a", "b"); shutil.move("b", "longer"); shutil.move("longer", "c")
print("ok" if open("c").read() == "text" and os.listdir(".") == ["c"] and len(os.read(fd, 65536)) > 0 else "no")'`

// threads take and give back memory, and truncate and write files and pipes, all at once.
const threads = `/usr/bin/python3 -ISc '
import mmap, os, threading
os.chdir(os.environ["HOME"])
done = []
def work(i):
    r, w = os.pipe()
    for n in range(30):
        b = bytearray()
        for k in range(4): b += bytes(200000)
        m = mmap.mmap(-1, 1 << 16); m[0] = 1; m.madvise(mmap.MADV_DONTNEED); m.resize(1 << 17); m.close()
        with open(str(i), "w") as f: f.write("x" * n)
        os.write(w, b"y"); os.read(r, 1)
    done.append(i)
many = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for t in many: t.start()
for t in many: t.join()
print("ok" if sorted(done) == list(range(8)) else "no")'`

// copies are made of files by whatever the kernel has for it.
const copies = `cd $HOME && seq 20000 > a && cat a | cat > b && cp a c && /usr/bin/python3 -ISc '
import shutil; shutil.copyfile("c", "d")' && cmp a b && cmp a d && echo ok`

// connects finds addresses by name, and connects to one.
const connects = `/usr/bin/python3 -ISc '
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
c = socket.create_connection(s.getsockname())
s.accept()[0].send(b"ok")
socket.getaddrinfo("localhost", 80)
print(c.recv(2).decode())'`

// waits is a program that waits in an ordinary way: a thread for a lock, and the program for a child.
const waits = `/usr/bin/python3 -ISc '
import threading, subprocess, os
c = threading.Condition(); out = []
def work():
    with c: out.append(1); c.notify_all()
t = threading.Thread(target=work)
with c: t.start(); c.wait_for(lambda: out)
t.join()
pid = os.posix_spawn("/bin/true", ["true"], {})
print("ok" if os.waitid(os.P_PID, pid, os.WEXITED).si_status == 0 else "no")'`

// datagrams is a program that sends one whole and receives it.
const datagrams = `/usr/bin/python3 -ISc '
import socket
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(("127.0.0.1", 0))
b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
b.setsockopt(socket.SOL_SOCKET, 11, 1)
b.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
b.sendto(b"x" * 4000, a.getsockname())
print("ok" if len(a.recv(9000)) == 4000 else "no")'`

// namespaced is a command in namespaces of its own, where the kernel has them.
func namespaced(flags, cmd string) string {
	return `if unshare ` + flags + ` true 2>/dev/null; then unshare ` + flags + ` sh -c '` + cmd + `'; else echo ok; fi`
}

var mitigations = []mitigation{
	{
		filter: "cve-2014-3153",
		trigger: `
two = [mmap.mmap(-1, 4096) for i in range(2)]
at = [ctypes.addressof(ctypes.c_char.from_buffer(m)) for m in two]
tell(call(202, at[0], 12, 1, 0, at[1], 0), call(202, at[0], 12, 1, 0, at[1] + 64, 0))`,
		want: "EINVAL ok", ordinary: waits,
	},
	{
		filter:  "cve-2016-0728 max=3",
		before:  `for i in range(3): call(250, 1, b"portcullis")`,
		trigger: `tell(call(250, 1, b"portcullis"))`,
		want:    "EPERM", ordinary: "echo ok",
	},
	{
		filter: "cve-2016-5195",
		before: `mem = os.open("/proc/self/mem", os.O_RDWR)`,
		trigger: `
m, at = page()
r, w = os.pipe()
libc.fcntl(w, 1031, 4096)
tell(beside(lambda: os.write(w, bytes(4097)), 1, lambda: raw(28, at, 4096, 4), 28, lambda: os.read(r, 4096)))`,
		want: "apart", ordinary: threads,
	},
	{
		filter: "cve-2017-1000112",
		before: `
s = udp(); s.connect(("127.0.0.1", 9))
s.send(b"x" * 4000, socket.MSG_MORE)`,
		trigger: `tell(setsockopt(udp(), 1, 11))`,
		want:    "EPERM", ordinary: datagrams,
	},
	{
		filter: "cve-2017-5123",
		trigger: `
if os.fork() == 0: os._exit(0)
got = call(247, 0, 0, -0x70000000000000, 4, 0)
try: os.wait(); tell(got, "child")
except ChildProcessError: tell(got, "none")`,
		want: "EFAULT child", ordinary: waits,
	},
	{
		filter:  "cve-2017-7308",
		before:  `userns()`,
		trigger: `tell(setsockopt(packet(), 263, 5, 28), setsockopt(packet(), 263, 5, 16) != "EPERM")`,
		want:    "EPERM True", ordinary: linkUp,
	},
	{
		filter: "cve-2017-7533",
		before: `
os.chdir(os.environ["HOME"])
raw(254, raw(294, 0), b".", 0x39)`,
		trigger: `
os.chdir(os.environ["HOME"])
os.close(os.open("foobar", os.O_CREAT))
tell(call(82, b"foobar", b"foobar_long"), call(264, -100, b"foobar", -100, b"foo"))`,
		want: "EXDEV ok", ordinary: moves,
	},
	{
		filter: "cve-2018-18281",
		trigger: `
os.chdir(os.environ["HOME"])
os.mkfifo("f")
m, at = page()
tell(beside(lambda: os.close(os.open("f", os.O_WRONLY | os.O_TRUNC)), 257, lambda: raw(25, at, 4096, 4096, 1), 25,
    lambda: os.open("f", os.O_RDONLY | os.O_NONBLOCK)))`,
		want: "apart", ordinary: threads,
	},
	{
		filter:  "cve-2020-14386",
		before:  "userns()\ns = packet()\nsetsockopt(s, 263, 12)\nsetsockopt(s, 263, 15)",
		trigger: `tell(setsockopt(packet(), 263, 5, 16))`,
		want:    "EPERM", ordinary: datagrams,
	},
	{
		filter:  "cve-2021-22555",
		before:  `userns()`,
		trigger: `tell(setsockopt(udp(), 0, 64), setsockopt(udp(), 0, 1))`,
		want:    "EPERM ok", ordinary: linkUp,
	},
	{
		filter: "cve-2021-33909 max=3",
		before: `
os.chdir(os.environ["HOME"])
for i in range(3): call(83, b"d", 0o700); os.chdir("d")`,
		trigger: `tell(call(83, b"d", 0o700), call(258, -100, b"e", 0o700))`,
		want:    "EPERM EPERM", ordinary: "mkdir -p $HOME/a/b/c && rm -r $HOME/a && echo ok",
	},
	{
		filter:  "cve-2021-3490",
		trigger: `tell(call(321, 5, bytes(44) + bytes([255] * 4), 48))`,
		want:    "EPERM", ordinary: `seq 10 | tail -n 1 >/dev/null && echo ok`,
	},
	{
		filter: "cve-2021-4034",
		trigger: `
none, true = (ctypes.c_char_p * 1)(), (ctypes.c_char_p * 2)(b"true")
tell(executes(0), executes(none), executes(true))`,
		want: "EINVAL EINVAL ok", ordinary: `test $(seq 20000 | xargs /bin/echo | wc -w) = 20000 && ` + waits,
	},
	{
		filter: "cve-2021-4154",
		before: `userns()`,
		trigger: `
fd = raw(430, b"cgroup", 0)
tell(call(431, fd, 5, b"source", 0, 1), call(431, fd, 1, b"source", b"none", 0) != "EPERM")`,
		want: "EPERM True", ordinary: mounts,
	},
	{
		filter:  "cve-2022-0185",
		before:  `userns()`,
		trigger: `tell(call(430, b"tmpfs", 0), *[call(431, 0, 1, b"k", b"v", 0) for i in range(8)])`,
		want:    "ENOSYS EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EPERM", ordinary: mounts,
	},
	{
		filter: "cve-2022-0492",
		before: `call(272, 0x52020000)`,
		trigger: `
os.chdir(os.environ["HOME"])
tell(call(165, b"none", b"/tmp", b"cgroup", 0, b"none,name=portcullis"), call(257, -100, b"release_agent", 0o101, 0o600))`,
		want: "EPERM EACCES", ordinary: mounts,
	},
	{
		filter: "cve-2022-0847",
		trigger: `
r, w = os.pipe()
f = os.open("/etc/passwd", os.O_RDONLY)
at = ctypes.byref(ctypes.c_long(0))
os.write(w, b"x"); os.read(r, 1)
tell(call(275, f, at, w, 0, 1, 0), call(275, f, 0, w, 0, 1, 0), call(40, w, f, 0, 1), call(1, w, b"x", 1))`,
		want: "EINVAL EINVAL EINVAL ok", ordinary: copies,
	},
	{
		filter: "cve-2022-0995",
		trigger: `
fds = (ctypes.c_int * 2)()
if raw(293, fds, 0x80): raw(22, fds)
tell(call(16, fds[0], 0x5761, 0), call(16, fds[0], 0x541b, ctypes.byref(ctypes.c_int())))`,
		want: "EPERM ok", ordinary: `seq 1000 | tail -n 1 >/dev/null && stty -F /dev/null 2>&1 | grep -c ioctl >/dev/null; echo ok`,
	},
	{
		filter:  "cve-2022-27666",
		before:  `userns()`,
		trigger: `tell(call(41, 16, 3, 6), call(41, 16, 3, 0))`,
		want:    "EPERM ok", ordinary: linkUp,
	},
	{
		filter:  "cve-2023-0386",
		before:  `userns()`,
		trigger: `tell(call(165, b"none", b"/tmp", b"overlay", 0, b"lowerdir=/nonexistent"), call(430, b"overlay", 0))`,
		want:    "EPERM EPERM", ordinary: mounts,
	},
	{
		filter: "cve-2023-0461",
		before: `
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
s = socket.create_connection(l.getsockname())
call(54, s.fileno(), 6, 31, b"tls", 4)`,
		trigger: `
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
tell(call(42, socket.socket().fileno(), bytes(16), 16), socket.socket().connect_ex(l.getsockname()))`,
		want: "EPERM 0", ordinary: connects,
	},
	{
		filter:  "cve-2023-5345",
		before:  `userns()`,
		trigger: `tell(call(430, b"smb3", 0), call(165, b"//a/b", b"/tmp", b"cifs", 0, b""))`,
		want:    "EPERM EPERM", ordinary: mounts,
	},
	{
		filter:  "cve-2023-6931 max=3",
		before:  `for i in range(3): call(298, 0, 0, -1, 0, 0)`,
		trigger: `tell(call(298, 0, 0, -1, 0, 0))`,
		want:    "EMFILE", ordinary: "echo ok",
	},
	{
		filter:  "cve-2024-1086",
		before:  `userns()`,
		trigger: `tell(call(41, 16, 3, 12), call(41, 16, 3, 0))`,
		want:    "EPERM ok", ordinary: linkUp,
	},
}

// mounts mounts a file system with options in namespaces of its own.
var mounts = namespaced("-Urm", "mount -t tmpfs -o size=1m,mode=700 none /tmp && echo ok")

// linkUp configures a network of its own.
var linkUp = namespaced("-Urn", "ip link set lo up && ip route get 127.0.0.1 >/dev/null && echo ok")

// TestMitigationsAreAllHere: each of the built-in mitigations has a program.
func TestMitigationsAreAllHere(t *testing.T) {
	for _, name := range portcullis.Builtins() {
		n := 0
		for _, m := range mitigations {
			if m.name() == name {
				n++
			}
		}
		if strings.HasPrefix(name, "cve-") != (n == 1) {
			t.Errorf("%s: tested %d times", name, n)
		}
	}
}

type way struct{ name, text string }

// ways are how the calls of a pattern can be spread over a process tree; %B stands
// for those that come before, %T for the trigger.
var ways = []way{
	{"parent's trigger", "if os.fork() == 0:\n    exec(\"\"\"%B\"\"\"); os._exit(0)\nos.wait()\n%T"},
	{"exec between", `
%B
os.execv("/usr/bin/python3", ["python3", "-ISc", os.environ["PRELUDE"] + """%T"""])`},
	{"child's trigger", "%B\nif os.fork() == 0:\n    exec(\"\"\"%T\"\"\"); os._exit(0)\nos.wait()"},
	{"one process", inOne},
	{"threads", `
import threading
for part in ("""%B""", """%T"""):
    t = threading.Thread(target=exec, args=(part, globals())); t.start(); t.join()`},
}

const inOne = "%B\n%T"

// both are the first two ways in one.
const both = `
if os.fork() == 0:
    exec("""%B"""); os._exit(0)
os.wait()
os.execv("/usr/bin/python3", ["python3", "-ISc", os.environ["PRELUDE"] + """%T"""])`

// ways are those that a run takes: one, where nothing is remembered that a fork
// could lose, and in a short run what loses most.
func (m *mitigation) ways() []way {
	switch {
	case m.before == "":
		return ways[:1]
	case testing.Short():
		return []way{{"parent's trigger, exec between", both}}
	}
	return ways
}

// TestMitigations makes each vulnerability's pattern in every way and wants its
// last call stopped.
func TestMitigations(t *testing.T) {
	need(t, python)
	for _, m := range mitigations {
		m := m
		t.Run(m.filter, func(t *testing.T) {
			for _, way := range m.ways() {
				cmd := command(t, one(m.filter), python, "-ISc", prelude+m.spread(way.text))
				cmd.Env = append(cmd.Env, "PRELUDE="+prelude)
				if got := run(t, cmd); got.out != m.want || got.status != 0 {
					t.Errorf("%s: printed %q (status %d), expected %q", way.name, got.out, got.status, m.want)
				}
			}
		})
	}
}

// TestMitigationsSpare wants each filter to let the ordinary use of its calls be.
func TestMitigationsSpare(t *testing.T) {
	if testing.Short() {
		t.Skip("runs where -short is not set: TestMitigationsTogether is the short form")
	}
	need(t, python)
	need(t, "ip")
	for _, m := range mitigations {
		if got := run(t, command(t, one(m.name()), "bash", "-c", m.ordinary)); got.out != "ok" || got.status != 0 {
			t.Errorf("%s: printed %q (status %d), expected ok", m.name(), got.out, got.status)
		}
	}
}

// eachApart runs the programs that its arguments are, each in a child that has a
// directory of its own, and prints what each printed and its status, one line of JSON.
const eachApart = `
import json, sys
for i, program in enumerate(sys.argv[1:]):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(w, 1); os.dup2(w, 2); os.close(r); os.close(w)
        os.environ["HOME"] += "/%d" % i
        os.path.isdir(os.environ["HOME"]) or os.mkdir(os.environ["HOME"])
        exec(program)
        sys.exit(0)
    os.close(w)
    with os.fdopen(r) as f: out = f.read()
    print(json.dumps({"Out": out.strip(), "Status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)
`

// TestMitigationsMatter makes the patterns without a filter: what stops them under
// one has to be the filter, and not the kernel.
func TestMitigationsMatter(t *testing.T) {
	need(t, python)
	cmd := exec.Command(python, "-ISc", prelude+eachApart)
	for _, m := range mitigations {
		cmd.Args = append(cmd.Args, m.spread(inOne))
	}
	cmd.Env = []string{"HOME=" + t.TempDir()}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	answers := json.NewDecoder(bytes.NewReader(out))
	for _, m := range mitigations {
		var got struct {
			Out    string
			Status int
		}
		if err := answers.Decode(&got); err != nil {
			t.Fatalf("%s: %v", m.name(), err)
		}
		if got.Status != 0 || got.Out == m.want {
			t.Errorf("%s: without it printed %q (status %d): expected another answer", m.name(), got.Out, got.Status)
		}
	}
}

// name is that of the filter, whose variables have their defaults.
func (m *mitigation) name() string {
	name, _, _ := strings.Cut(m.filter, " ")
	return name
}

func (m *mitigation) spread(way string) string {
	return strings.NewReplacer("%B", m.before, "%T", m.trigger).Replace(way)
}

// TestPatternsTogether makes the patterns under all of them at once: in a guest, the short form
// of TestMitigations.
func TestPatternsTogether(t *testing.T) {
	need(t, python)
	var all, programs []string
	for _, m := range mitigations {
		way := both
		if m.before == "" {
			way = inOne
		}
		all, programs = append(all, m.filter), append(programs, m.spread(way))
	}
	cmd := command(t, all, python, append([]string{"-ISc", prelude + eachApart}, programs...)...)
	home := openDir(t)
	for i := range programs { // one filter counts directories that are made
		remake(t, filepath.Join(home, strconv.Itoa(i)))
	}
	cmd.Env = append(cmd.Env, "PRELUDE="+prelude, "HOME="+home)
	got := run(t, cmd)
	answers := json.NewDecoder(strings.NewReader(got.out))
	for _, m := range mitigations {
		var a struct {
			Out    string
			Status int
		}
		if err := answers.Decode(&a); err != nil {
			t.Fatalf("%s: %v in %+v", m.filter, err, got)
		}
		if want := m.together(); a.Status != 0 || a.Out != want {
			t.Errorf("%s: printed %q (status %d), expected %q", m.filter, a.Out, a.Status, want)
		}
	}
}

// together is what the pattern prints under all filters: cve-2021-4154 denies what is one
// of the calls before the trigger of another.
func (m *mitigation) together() string {
	if m.filter == "cve-2022-0185" {
		return strings.Replace(m.want, "EINVAL EPERM", "EPERM EPERM", 1)
	}
	return m.want
}

// TestMitigationsTogether runs ordinary programs under all of them at once.
func TestMitigationsTogether(t *testing.T) {
	need(t, python)
	var all []string
	for _, m := range mitigations {
		all = append(all, m.name())
	}
	for _, c := range []struct{ needs, name, script, want string }{
		{"bash", "bash", `seq 1000 | sort -rn | head -n 1 | tr 0 x; mkdir -p d/e && cat < /proc/self/comm | tee d/e/f; sleep 0.01 & wait $!; echo $?`, "1xxx\ncat\n0"},
		{"git", "git", `git init -q r && cd r && echo x > f && git add f && git -c user.name=a -c user.email=a@b commit -qm m && git log --format=%s && git clone -q . ../s && ls ../s`, "m\nf"},
		{"gcc", "gcc", `printf '#include <pthread.h>\n#include <stdio.h>\nvoid *f(void *p){return puts("built"),p;}int main(void){pthread_t t;return pthread_create(&t,0,f,0)||pthread_join(t,0);}' > a.c && gcc -pthread -o a a.c && ./a`, "built"},
		{python, "python", waits + "; " + datagrams + `; /usr/bin/python3 -c '
import socket, subprocess, shutil, multiprocessing.pool, os
print(sum(multiprocessing.pool.ThreadPool(4).map(lambda i: int(subprocess.check_output(["/bin/echo", str(i)])), range(8))))
open("f", "w").write("x" * 100000); shutil.copyfile("f", "g")
a, b = socket.socketpair()
try: n = os.sendfile(a.fileno(), os.open("g", os.O_RDONLY), 0, 1000)
except OSError: n = a.send(open("g", "rb").read(1000))
print(n, len(b.recv(5000)))'`, "ok\nok\n28\n1000 1000"},
		{"ip", "ip", namespaced("-Urnm", "ip link set lo up && ip -br link show lo | grep -c LOOPBACK >/dev/null && mount -t tmpfs -o size=1m none /tmp && echo ok"), "ok"},
	} {
		c := c
		t.Run(c.name, func(t *testing.T) {
			need(t, c.needs)
			cmd := command(t, all, "bash", "-c", c.script)
			cmd.Dir = t.TempDir()
			if got := run(t, cmd); got.out != c.want || got.status != 0 {
				t.Errorf("printed %q (status %d), expected %q", got.out, got.status, c.want)
			}
		})
	}
}
