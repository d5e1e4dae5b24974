package filters_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portcullis"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// engine is what the programs of this suite run on.
var engine = flag.String("engine", "agent", "engine that the programs run on")

// events tells whether the engine reports any.
func events() bool { return *engine == "agent" }

func TestMain(m *testing.M) {
	guest.MaybeInit()
	flag.Parse()
	os.Exit(m.Run())
}

// TestKernel runs the programs on the kernel engine: in a guest, as nobody.
func TestKernel(t *testing.T) {
	t.Parallel()
	cfg := guest.Suite()
	skip := "^TestProgramsBelowPaths$/^(git|gcc|make|trees)|^TestClientsReachListedAddresses$/^(curl|python)$"
	if !kit.Wide() {
		skip += "|^Test(PathsAreNotEvaded|RedisBelowPaths|NginxBelowPaths|CountsOfProcessesAndThreads|NginxReloads)$" +
			"|^TestProgramsBelowPaths$/^python$|^TestClientsReachListedAddresses$/^shell$"
	}
	if kit.Long() {
		skip, cfg.Timeout = "^$", time.Hour
	}
	guest.TestIn(t, cfg, guest.Nobody, "-engine=kernel", "-test.skip="+skip, "-test.run=^Test(ProgramsBelowPaths|PathsAreNotEvaded|"+
		"NginxBelowPaths|NginxReloads|RedisBelowPaths|ExecListOfCommands|SerializeHolds|SerializeLosesNothing|"+
		"CountsOfProcessesAndThreads|ClientsReachListedAddresses|ConnectIsNotEvaded|Nginx|NginxServesOnly|Redis)$")
}

// python is named whole: what comes first in PATH may be a script.
const python = "/usr/bin/python3"

// outcome is what became of a program under filters.
type outcome struct {
	out    string
	status int
	denied []string // calls, each once
}

// under runs a program in a folder, under filters as serveUnder takes them.
func under(t *testing.T, dir string, filters []string, argv ...string) outcome {
	t.Helper()
	for _, program := range argv[:1] {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: to run it under a filter", program)
		}
	}
	var out bytes.Buffer
	var denied []string
	cmd := portcullis.Command(argv[0], argv[1:]...)
	cmd.Engine, cmd.Filters, cmd.Dir = portcullis.Engine(*engine), loaded(t, filters...), dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "LC_ALL=C")
	cmd.Stdout, cmd.Stderr, cmd.Observe = &out, &out, portcullis.ObserveDenials
	cmd.Events = func(e portcullis.Event) {
		if e.Denies() && !strings.Contains(" "+strings.Join(denied, " ")+" ", " "+e.Call.Name+" ") {
			denied = append(denied, e.Call.Name)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	<-cmd.Done() // before, events may be on their way
	return outcome{strings.TrimSpace(out.String()), cmd.ProcessState.ExitCode(), denied}
}

// needs skips where a program is not installed.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: to run it under a filter", program)
	}
}

// folder is where a test's programs work, with no link on the way.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "folder") // t.TempDir's has commas where the test has
	if err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestProgramsBelowPaths runs ordinary programs that write nowhere but where they
// work, and once in a while try to.
func TestProgramsBelowPaths(t *testing.T) {
	const system = "read=/usr,/lib,/lib64,/bin,/sbin,/etc,/proc,/dev,/sys,%s"
	for _, c := range []struct {
		name, needs, set, script, want string
		denied                         string // calls, or any
	}{
		{
			"git", "git", "relative=true", `git init -q r && cd r && echo x > f && git add f &&
			git -c user.name=a -c user.email=a@b commit -qm m && git log --format=%s && git status --short &&
			git checkout -qb b && git fsck --strict 2>&1 | grep -c error; true`, "m\n0", "",
		},
		{
			"git, in no other folder", "git", system + " relative=true error=2", `git init -q r && cd r && echo x > f && git add f &&
			git -c user.name=a -c user.email=a@b commit -qm m && git log --format=%s`, "m", "any",
		},
		{
			"gcc", "gcc", "relative=true", `printf '#include <stdio.h>\nint main(void){puts("built");}' > a.c &&
			gcc -o a a.c && ./a`, "built", "",
		},
		{
			"gcc, in no other folder", "gcc", system + " relative=true dotdot=true", `printf '#include <stdio.h>\nint main(void){puts("built");}' > a.c &&
			gcc -o a a.c && ./a`, "built", "any",
		},
		{
			"make", "make", "relative=true", `printf 'all: a.txt b/c.txt\n%%.txt:\n\tmkdir -m 755 -p $(dir $@)\n\techo $@ > $@\nclean:\n\trm -f a.txt\n' > Makefile &&
			make -s && make -s clean && cat b/c.txt`, "b/c.txt", "",
		},
		{
			"python", python, "relative=true", python + ` -c '
import json, os, subprocess, tempfile, zipfile
with tempfile.NamedTemporaryFile("w") as f: json.dump([1], f); f.flush(); print(open(f.name).read())
open("a", "w").write("x"); os.rename("a", "b"); os.replace("b", "c"); os.chmod("c", 0o600); os.truncate("c", 0); os.remove("c")
with zipfile.ZipFile("z", "w") as z: z.writestr("m", "text")
print(zipfile.ZipFile("z").read("m"), subprocess.check_output(["/bin/echo", "x"]))
for path in "/etc/x", "../x": 
    try: open(path, "w")
    except PermissionError: print("denied")'`, "[1]\nb'text' b'x\\n'\ndenied\ndenied", "openat",
		},
		{
			"trees", "bash", "relative=true descriptors=true", `mkdir -p a/b/c && echo x > a/b/c/f && cp -r a d && mv d/b a/ 2>/dev/null;
			mv d e && ln -s f a/b/c/l && tar cf t.tar a && rm -rf a e d && tar xf t.tar && find a -type f -delete && ls a/b/c`, "l", "",
		},
		{
			"shell", "bash", "relative=true", `cat <<< here && echo x > /dev/null && ls nowhere 2> /dev/null; (echo y > f) && cat f &&
			cd / && echo z; echo a > /etc/x || echo b`, "here\ny\nbash: line 2: cd: /: Permission denied\nbash: line 2: /etc/x: Permission denied\nb", "chdir openat",
		},
	} {
		c := c
		t.Run(c.name, func(t *testing.T) {
			needs(t, c.needs)
			dir := folder(t)
			set := strings.ReplaceAll(c.set, "%s", dir)
			got := under(t, dir, []string{"paths write=+" + dir + " " + set}, "bash", "-c", c.script)
			denied := strings.Join(got.denied, " ")
			if got.out != c.want || denied != c.denied && c.denied != "any" && events() {
				t.Errorf("printed %q, status %d, denied %q: want %q and %q", got.out, got.status, denied, c.want, c.denied)
			}
		})
	}
}

// TestPathsAreNotEvaded has a program try, as a sandboxed one would, to read and write
// what is beside its folder: all of it must fail, and nothing may have changed.
func TestPathsAreNotEvaded(t *testing.T) {
	needs(t, python)
	root := folder(t)
	dir, secret := filepath.Join(root, "in"), filepath.Join(root, "out", "secret")
	for _, d := range []string{dir, filepath.Dir(secret)} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(secret, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	filter := fmt.Sprintf("paths read=/usr,/lib,/lib64,/bin,/etc/ld.so.cache,/proc,/dev,%s,%s/f write=%[1]s,%[2]s/f relative=true", dir, root)
	got := under(t, dir, []string{filter}, python, "-I", "-c", evasions, secret)
	if got.out != "ok" || got.status != 0 {
		t.Errorf("status %d, printed\n%s", got.status, got.out)
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "secret" {
		t.Errorf("the file is %q, %v", data, err)
	}
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o644 || info.Sys().(*syscall.Stat_t).Nlink != 1 {
		t.Errorf("the file is %v, %v", info, err)
	}
	if others, _ := os.ReadDir(filepath.Dir(secret)); len(others) != 1 {
		t.Errorf("beside the file there are %v", others)
	}
}

// TestNginxBelowPaths serves from two workers that write where they are told to and
// talk to nobody by themselves, from the start to an orderly end, without a denial.
func TestNginxBelowPaths(t *testing.T) {
	port := freePort(t)
	conf := nginxConf(t, port)
	s := serveUnder(t, "start worker process ", []string{
		"paths write=+" + filepath.Dir(conf) + " exec=/usr/sbin",
		fmt.Sprintf("connect allow=unix:/var/run/nscd/socket,unix:/run/* bind=127.0.0.1:%d", port),
	}, "nginx", "-e", "stderr", "-c", conf)
	for i := 0; i < 20; i++ {
		get(t, port)
	}
	s.stop("")
}

// TestNginxReloads has a master start new workers after old ones have served: in a phase
// of its own, the master still may.
func TestNginxReloads(t *testing.T) {
	port := freePort(t)
	conf := nginxConf(t, port)
	s := serveUnder(t, "start worker process ", []string{"phases-process serve_allow=-clone"}, "nginx", "-e", "stderr", "-c", conf)
	for i := 0; i < 3; i++ {
		get(t, port)
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.await("start worker process ")
		s.await("exited with code 0")
	}
	get(t, port)
	s.stop("")
}

// TestRedisBelowPaths writes, saves from a forked child and ends, where it may.
func TestRedisBelowPaths(t *testing.T) {
	port, dir := freePort(t), folder(t)
	s := serveUnder(t, "eady to accept connections", []string{
		"paths relative=true write=+" + dir,
		fmt.Sprintf("connect allow= bind=127.0.0.1:%d", port),
	}, "redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", dir, "--appendonly", "yes", "--save", "3600 1")
	talkToRedis(t, port)
	s.stop("")
}

// TestExecListOfCommands has a shell execute what is listed, and other things.
func TestExecListOfCommands(t *testing.T) {
	needs(t, "git")
	filter, err := portcullis.Load("exec-list")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"allow": "/bin/,/usr/lib/", "commands": "/usr/bin/git --version,/usr/bin/env true", "deny": "-c"} {
		if err := filter.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	cmd := portcullis.Command("/bin/bash", "-c", `exec 2>/dev/null
		/usr/bin/git --version | { read a b; echo $a; }; /usr/bin/git status || echo no status; /usr/bin/env true && echo env
		/usr/bin/env false || echo no env; /bin/sh -c 'echo shell' || echo no -c
		echo 'echo script' > s; /bin/sh s; cp /bin/echo e; ./e copied || echo no copy; "$PWD/e" copied || echo no copy
		ln -s /bin/echo /bin/../bin/echo l; /bin/../bin/echo up || echo no up; (exec -a true /bin/echo other name)`)
	cmd.Engine, cmd.Filters, cmd.Dir, cmd.Stdout = portcullis.Engine(*engine), []*portcullis.Filter{filter}, t.TempDir(), &out
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	const want = "git\nno status\nenv\nno env\nno -c\nscript\nno copy\nno copy\nno up\nother name\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}

// TestSerializeHolds has a thread inside a call that ends when the test says so, and
// another make one that has to wait for it.
func TestSerializeHolds(t *testing.T) {
	needs(t, python)
	dir := folder(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ready, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := portcullis.Command(python, "-I", "-c", `
import os, threading, time
first = threading.Thread(target=lambda: os.readv(3, [bytearray(1)]))
first.start()
inside = "/proc/self/task/%d/syscall" % first.native_id
while not open(inside).read().startswith("19 "): pass
print("inside", flush=True)
os.getpgid(0)
print(os.path.exists("ended"), flush=True)
first.join()`)
	cmd.Engine, cmd.Filters, cmd.Dir = portcullis.Engine(*engine), loaded(t, "serialize first=readv second=getpgid any=true"), dir
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{r}, out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	out.Close()
	lines := bufio.NewScanner(ready)
	if !lines.Scan() || lines.Text() != "inside" {
		t.Fatalf("printed %q: want that a thread is inside", lines.Text())
	}
	if err := os.WriteFile(filepath.Join(dir, "ended"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "True" {
		t.Errorf("printed %q: want that the call was made when the other had ended", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestSerializeLosesNothing: many threads make calls of both lists, and all end.
func TestSerializeLosesNothing(t *testing.T) {
	needs(t, python)
	got := under(t, folder(t), []string{"serialize"}, python, "-I", "-c", `
import os, threading
names = ["a%d" % i for i in range(4)]
for n in names: open(n, "w").close()
def work(n):
    for i in range(100):
        os.rename(n, n + "x"); os.chmod(n + "x", 0o600); os.rename(n + "x", n); os.chown(n, -1, -1)
ts = [threading.Thread(target=work, args=(n,)) for n in names]
[t.start() for t in ts]; [t.join() for t in ts]
for i in range(5):
    if os.fork() == 0: work(names[0]) if i == 0 else None; os._exit(0)
print(sum(os.wait()[1] for i in range(5)), sorted(os.listdir(".")))`)
	if want := "0 ['a0', 'a1', 'a2', 'a3']"; got.out != want || len(got.denied) > 0 {
		t.Errorf("printed %q, denied %v: want %q", got.out, got.denied, want)
	}
}

// TestCountsOfProcessesAndThreads counts in what a program starts in every way.
func TestCountsOfProcessesAndThreads(t *testing.T) {
	needs(t, python)
	const attempt = `
import os, socket, subprocess, sys, threading
def attempt():
    try: socket.socket().close(); return 1
    except PermissionError: return 0
`
	for _, c := range []struct{ filter, script, want string }{
		{
			"count-process calls=socket max=3", `
print(attempt(), flush=True)
for i in range(2):
    if os.fork() == 0: print([attempt() for i in range(3)], flush=True); os._exit(0)
    os.wait()
print([attempt() for i in range(3)], flush=True)
if os.fork() == 0: print(attempt(), flush=True); os._exit(0)
os.wait()
os.execv(sys.executable, [sys.executable, "-I", "-c", "import socket\ntry: socket.socket()\nexcept PermissionError: print('denied')"])`,
			"1\n[1, 1, 0]\n[1, 1, 0]\n[1, 1, 0]\n0\ndenied",
		},
		{
			"count-process calls=socket max=2", `
out = []
ts = [threading.Thread(target=lambda: out.append(attempt())) for i in range(5)]
[t.start() for t in ts]; [t.join() for t in ts]
print(sum(out), subprocess.run([sys.executable, "-I", "-c", "import socket\ntry: socket.socket()\nexcept PermissionError: print('denied', flush=True)"]).returncode)`,
			"denied\n2 0",
		},
		{
			"count-thread calls=socket max=2", `
out = []
ts = [threading.Thread(target=lambda: out.append([attempt() for i in range(3)])) for i in range(3)]
[t.start() for t in ts]; [t.join() for t in ts]
print(out, [attempt() for i in range(3)])`,
			"[[1, 1, 0], [1, 1, 0], [1, 1, 0]] [1, 1, 0]",
		},
	} {
		got := under(t, folder(t), []string{c.filter}, python, "-I", "-c", attempt+c.script)
		if got.out != c.want || got.status != 0 {
			t.Errorf("%s: printed %q, status %d: want %q", c.filter, got.out, got.status, c.want)
		}
	}
}

// TestClientsReachListedAddresses runs clients against two servers, of which they are
// to reach one.
func TestClientsReachListedAddresses(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") })
	may, not := httptest.NewServer(answer), httptest.NewServer(answer)
	defer may.Close()
	defer not.Close()
	port := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://127.0.0.1:") }
	filters := []string{"connect allow=127.0.0.1:" + port(may)}
	for _, c := range []struct{ name, needs, script string }{
		{"curl", "curl", "curl -s -m 20 --noproxy '*' http://$host:$port/"},
		{"shell", "bash", "exec 3<>/dev/tcp/$host/$port; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3"},
		{"python", python, python + " -c 'import urllib.request as u; print(u.urlopen(u.Request(\"http://'$host:$port'/\")).read().decode())'"},
	} {
		c := c
		t.Run(c.name, func(t *testing.T) {
			needs(t, c.needs)
			for _, to := range []struct{ host, port, want string }{
				{"127.0.0.1", port(may), "served"}, {"127.0.0.1", port(not), ""}, {"127.0.0.2", port(may), ""}, {"0.0.0.0", port(not), ""},
			} {
				script := fmt.Sprintf("host=%s port=%s\n%s 2>/dev/null", to.host, to.port, c.script)
				got := under(t, t.TempDir(), filters, "bash", "-c", script)
				if got.out != to.want && !(to.want == "" && got.status != 0 && !strings.Contains(got.out, "served")) {
					t.Errorf("%v: printed %q, status %d, denied %v", to, got.out, got.status, got.denied)
				}
			}
		})
	}
}

// TestConnectIsNotEvaded has a program try to reach a server that it may not, and to
// send it datagrams, by every call and in every spelling.
func TestConnectIsNotEvaded(t *testing.T) {
	needs(t, python)
	tcp, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var reached sync.WaitGroup
	reached.Add(2)
	var evidence [2][]string
	go func() {
		defer reached.Done()
		for c, err := tcp.Accept(); err == nil; c, err = tcp.Accept() {
			evidence[0] = append(evidence[0], "connected: "+c.RemoteAddr().String())
			c.Close()
		}
	}()
	go func() {
		defer reached.Done()
		buf := make([]byte, 99)
		for n, from, err := udp.ReadFrom(buf); err == nil; n, from, err = udp.ReadFrom(buf) {
			evidence[1] = append(evidence[1], fmt.Sprintf("sent %q from %v", buf[:n], from))
		}
	}()
	port := tcp.Addr().(*net.TCPAddr).Port
	got := under(t, t.TempDir(), []string{"connect allow=127.0.0.1:1,unix:@mine bind=127.0.0.1:0"}, python, "-I", "-c", reaching, fmt.Sprint(port))
	tcp.Close()
	udp.Close()
	reached.Wait()
	if got.out != "ok" || got.status != 0 || len(evidence[0])+len(evidence[1]) > 0 {
		t.Errorf("status %d, reached %v, printed\n%s", got.status, evidence, got.out)
	}
}

// reaching tries to reach the port that is its argument, and prints ok if nothing does.
const reaching = `
import ctypes, errno, os, socket, struct, sys, threading
port = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
bad = []
refused = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EFAULT)

def attempt(name, f):
    try:
        r = f()
    except OSError as e:
        if e.errno not in refused: bad.append((name, e))
        return
    bad.append((name, r))

def call(nr, *args):
    r = libc.syscall(nr, *args)
    if r < 0: raise OSError(ctypes.get_errno(), "call %d" % nr)
    return r

def v4(a, f=2): return struct.pack("<H", f) + struct.pack(">H", port) + socket.inet_aton(a) + b"\0" * 8
def v6(a): return struct.pack("<H", 10) + struct.pack(">H", port) + b"\0" * 4 + socket.inet_pton(10, a) + b"\0" * 4
def sock(family=2, kind=1): return socket.socket(family, kind)

for a in "127.0.0.1", "0.0.0.0", "127.1.2.3":
    attempt("connect " + a, lambda: sock().connect((a, port)))
    attempt("datagram " + a, lambda: sock(2, 2).sendto(b"x", (a, port)))
    attempt("message " + a, lambda: sock(2, 2).sendmsg([b"x"], [], 0, (a, port)))
    attempt("mapped " + a, lambda: sock(10).connect(("::ffff:" + a, port)))
    attempt("mapped datagram " + a, lambda: sock(10, 2).sendto(b"x", ("::ffff:" + a, port)))
    attempt("fast open " + a, lambda: sock().sendto(b"x", 0x20000000, (a, port)))
    attempt("unspecified datagram " + a, lambda: call(44, sock(2, 2).detach(), b"x", 1, 0, v4(a, 0), 16))
    attempt("of IPv4 on IPv6 " + a, lambda: call(44, sock(10, 2).detach(), b"x", 1, 0, v4(a), 16))
    attempt("longer than it is " + a, lambda: call(42, sock().detach(), v4(a) + b"\0" * 112, 128))
    attempt("shorter " + a, lambda: call(42, sock().detach(), v4(a), 8))
    attempt("upper half " + a, lambda: call(42, sock().detach(), v4(a), ctypes.c_uint64(16 | 5 << 32)))

def mmsg():
    addr = ctypes.create_string_buffer(v4("127.0.0.1"))
    data = ctypes.create_string_buffer(b"x")
    iov = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(data), 1))
    m = ctypes.create_string_buffer(struct.pack("<QIIQQQQIII", ctypes.addressof(addr), 16, 0, ctypes.addressof(iov), 1, 0, 0, 0, 0, 0) + b"\0" * 4)
    return call(307, sock(2, 2).detach(), m, 1, 0)
attempt("sendmmsg", mmsg)
attempt("raw", lambda: sock(2, 3))
attempt("packet", lambda: sock(17, 3))
attempt("sctp", lambda: socket.socket(2, 1, 132))
attempt("vsock", lambda: sock(40))
attempt("io_uring", lambda: call(425, 4, ctypes.create_string_buffer(200)))
attempt("detour", lambda: sock().setsockopt(0, 4, b"\x83\x0b\x04" + socket.inet_aton("127.0.0.1") * 2 + b"\0"))
attempt("detour by message", lambda: sock(2, 2).sendmsg([b"x"], [(0, 7, b"\x83\x0b\x04" + socket.inet_aton("127.0.0.1") * 2 + b"\0")], 0, ("127.0.0.1", 1)))
attempt("bind elsewhere", lambda: sock().bind(("0.0.0.0", 0)))
attempt("unix", lambda: sock(1).connect("/run/x"))
attempt("abstract", lambda: sock(1).connect(b"\0other"))
attempt("longer abstract", lambda: sock(1).connect(b"\0mine\0"))

# another thread changes the address meanwhile
good = struct.pack("<H", 2) + struct.pack(">H", 1) + socket.inet_aton("127.0.0.1") + b"\0" * 8
evil = v4("127.0.0.1")
buffer = ctypes.create_string_buffer(16)
stop = False
def flip():
    i = 0
    while not stop:
        ctypes.memmove(buffer, evil if i & 1 else good, 16); i += 1
t = threading.Thread(target=flip); t.start()
s = sock(2, 2)
for i in range(1500):
    libc.sendto(s.fileno(), b"race", 4, 0x40, buffer, 16)
stop = True
t.join()
print("ok" if not bad else "\n".join("%s: %r" % b for b in bad))
`

// evasions prints what gets at the file that is its argument, and ok if nothing does.
const evasions = `
import ctypes, errno, os, socket, sys, threading
secret = sys.argv[1]
out = os.path.dirname(secret)
here = os.getcwd()
libc = ctypes.CDLL(None, use_errno=True)
bad = []

def attempt(name, f):
    try:
        r = f()
    except (PermissionError, FileNotFoundError, NotADirectoryError) as e:
        return
    except OSError as e:
        if e.errno not in (errno.EFAULT, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.EOPNOTSUPP): bad.append((name, e))
        return
    bad.append((name, r))

def call(nr, *args):
    r = libc.syscall(nr, *args)
    if r < 0: raise OSError(ctypes.get_errno(), "call %d" % nr)
    return r

def read(path, dir_fd=None):
    fd = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    return os.read(fd, 9)

def write(path, dir_fd=None):
    fd = os.open(path, os.O_WRONLY, dir_fd=dir_fd)
    return os.write(fd, b"changed")

spellings = [secret, "/" + secret, secret.replace("/", "//"), secret.replace("/", "/./"), "/proc/self/root" + secret,
    "/proc/self/cwd/../out/secret", "../out/secret", "./../out/secret", here + "/../out/secret", here + "/./../out/secret",
    "/proc/thread-self/root" + secret, "/proc/%d/root%s" % (os.getpid(), secret), "/proc/%d/task/%d/root%s" % (os.getpid(), os.getpid(), secret),
    "/usr/.." + secret, "/dev/../" + secret, "/proc/1/root" + secret, "/dev/fd/../../.." + secret, "/proc/self/../.." + secret]
for s in spellings:
    attempt("read " + s, lambda: read(s))
    attempt("write " + s, lambda: write(s))
    attempt("stat " + s, lambda: os.stat(s))
    attempt("chmod " + s, lambda: os.chmod(s, 0o777))
    attempt("unlink " + s, lambda: os.unlink(s))
    attempt("truncate " + s, lambda: os.truncate(s, 0))
    attempt("rename from " + s, lambda: os.rename(s, here + "/x"))
    attempt("link " + s, lambda: os.link(s, here + "/l"))
    attempt("symlink to " + s, lambda: os.symlink(s, here + "/s"))
    attempt("utime " + s, lambda: os.utime(s))
    attempt("chdir " + s, lambda: os.chdir(os.path.dirname(s)))
attempt("symlink to its folder", lambda: os.symlink("..", "up"))
attempt("symlink to the root", lambda: os.symlink("/", "up"))

# a file that is listed, whose folder is not
listed = os.path.dirname(here) + "/f"
attempt("relative symlink at a listed name", lambda: os.symlink("out/secret", listed))
os.symlink("out/secret", "relative")
attempt("rename onto a listed name", lambda: os.rename("relative", listed))
attempt("link onto a listed name", lambda: os.link("relative", listed, follow_symlinks=False))
os.unlink("relative")
attempt("read by a listed name", lambda: read(listed))
attempt("mkdir", lambda: os.mkdir(out + "/d"))
attempt("mknod", lambda: os.mknod(out + "/f"))
attempt("mknod of a device", lambda: os.mknod("device", 0o20666, 0x103))
attempt("rename into", lambda: (open("mine", "w").close(), os.rename("mine", out + "/mine")))
attempt("symlink into", lambda: os.symlink("x", out + "/s"))
attempt("chroot", lambda: os.chroot("."))

# by descriptors
usr = os.open("/usr", os.O_RDONLY)
attempt("read below a descriptor", lambda: read("../" + secret, dir_fd=usr))
attempt("write below a descriptor", lambda: write("../" + secret, dir_fd=usr))
attempt("create below a descriptor", lambda: os.open("evil", os.O_CREAT | os.O_WRONLY, dir_fd=usr))
attempt("fchdir", lambda: os.fchdir(usr))
attempt("chdir", lambda: os.chdir("/usr"))
attempt("chdir up", lambda: os.chdir(".."))
attempt("fchmod", lambda: os.fchmod(os.open("/etc/ld.so.cache", os.O_RDONLY), 0o777))
ro = os.open("/etc/ld.so.cache", os.O_RDONLY)
attempt("open again for writing", lambda: write("/proc/self/fd/%d" % ro))
attempt("open again for writing by /dev", lambda: write("/dev/fd/%d" % ro))
attempt("open O_PATH", lambda: os.open(out, os.O_PATH))
mine = os.open("mine2", os.O_CREAT | os.O_RDWR)
attempt("give a descriptor a name", lambda: call(265, mine, b"", -100, (here + "/named").encode(), 0x1000))

# openat2: a flag that keeps the name below may have any name
how = (ctypes.c_uint64 * 3)(0, 0, 0)
attempt("openat2", lambda: call(437, -100, secret.encode(), how, 24))
how2 = (ctypes.c_uint64 * 3)(0, 0, 0x08)
attempt("openat2 beneath", lambda: call(437, -100, b"../out/secret", how2, 24))
attempt("openat2, short", lambda: call(437, -100, secret.encode(), how, 8))

# other calls, and the same by other numbers
attempt("open", lambda: call(2, secret.encode(), 0))
attempt("creat", lambda: call(85, secret.encode(), 0o600))
attempt("openat with a dirfd that does not matter", lambda: call(257, usr, secret.encode(), 0))
attempt("name_to_handle_at", lambda: call(303, -100, secret.encode(), ctypes.create_string_buffer(b"\x80" + b"\0" * 200), ctypes.create_string_buffer(8), 0))
attempt("mount", lambda: call(165, out.encode(), here.encode(), b"none", 4096, None))
attempt("open_tree", lambda: call(428, -100, out.encode(), 1))
attempt("io_uring", lambda: call(425, 4, ctypes.create_string_buffer(200)))
attempt("a long name", lambda: read("/usr/" + "./" * 1000 + "../" + secret))
attempt("a longer name", lambda: read("/usr/" + "x/../" * 600 + "../" + secret))
attempt("too long a name", lambda: read("/usr/" + "./" * 2046 + "../" + secret))

# another thread changes the name meanwhile
names = [(here + "/mine2").encode(), secret.encode() + b"\0" * 9]
names = [n.ljust(max(map(len, names)), b"\0") for n in names]
buffer = ctypes.create_string_buffer(max(map(len, names)) + 1)
stop = False
def flip():
    i = 0
    while not stop:
        ctypes.memmove(buffer, names[i & 1], len(names[0])); i += 1
t = threading.Thread(target=flip); t.start()
for i in range(1500):
    r = libc.open(buffer, 0)
    if r >= 0:
        if os.read(r, 9) == b"secret": bad.append(("a race", i))
        os.close(r)
stop = True
t.join()
print("ok" if not bad else "\n".join("%s: %r" % b for b in bad))
`
