package conformance

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// pinnedPrograms are shell scripts, each run in an empty directory, whose output is
// to be the same pinned as bare.
var pinnedPrograms = []struct{ name, need, script string }{
	{"git", "git", `
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z'
git init -q -b main one && cd one
for i in 1 2 3; do seq $i 1000 > numbers; mkdir -p dir$i/sub; echo $i > dir$i/sub/file; git add -A; git commit -q -m "commit $i"; done
git mv numbers others && git commit -q -a -m moved
git log --stat --format='%H %s'
git checkout -q -b side HEAD~2 && echo side > side && git add side && git commit -q -m side && git merge -q -m merged main
git gc -q && git fsck && cd .. && git clone -q one two && cd two && git log --graph --format=%H && git diff HEAD~1 --stat && git status --short && cat others | tail -n 1`},
	{"gcc", "gcc", `
cat > main.c <<'END'
#include <stdio.h>
#include <math.h>
#include "part.h"
int main(int argc, char **argv) { for (int i = 1; i < argc; i++) printf("%s %d %.3f\n", argv[i], part(i), sqrt(i)); return argc; }
END
echo 'int part(int);' > part.h
echo '#include "part.h"
int part(int n) { return n < 2 ? n : part(n - 1) + part(n - 2); }' > part.c
gcc -O2 -Wall -c part.c && gcc -O2 -Wall -o main main.c part.o -lm && ./main a "b c" d; echo $?
echo 'int main( { }' > bad.c; gcc -c bad.c; echo $?
objdump -d main | grep -c call`},
	{"files", "bash", `
mkdir -p a/b/c && for i in $(seq 60); do echo "file $i" > "a/b/file $i"; done
ln -s b a/link && ln "a/b/file 1" a/b/c/hard && touch -d '2001-01-01 00:00:00 UTC' a/b/*
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -czf a.tar.gz a && tar -tvzf a.tar.gz | sha256sum
mkdir out && tar -xzf a.tar.gz -C out && diff -r a out/a && echo same
gzip -k -n -c a.tar.gz | gzip -dc | cmp - a.tar.gz && echo whole
find a -newermt 2000-01-01 -name '*1*' | sort
find a -type f -print0 | xargs -0 -n 7 cat | sort | md5sum
find a -type f -exec cat {} + | wc; find a -perm -100 -type d -exec sh -c 'echo "$1"' _ {} \; | sort
rm -r a/b/c && mv a/b d && cp -a d e && ls -R d e | wc -l && du -a d | wc -l && stat -c '%s %A %h' d/* | sort | uniq -c; cat none; cd none; rmdir d; mkdir d; echo $?`},
	{"bash", "bash", `
cat > script <<'END'
#!/bin/bash
trap 'echo caught; kill $pid' USR1
coproc cat; echo coprocess >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
sleep 1000 & pid=$!
( kill -USR1 $$ ) & while wait $pid; status=$?; [ $status = 138 ]; do :; done; echo "waited $status"
exec 5<>fifo; echo through >&5; read -r line <&5; echo "$line"
f() { local n=$1; (( n > 0 )) && f $(( n - 1 )) || echo "bottom $BASH_SUBSHELL"; }; f 50; (f 3)
echo {a..e}{1..3} | tr ' ' '\n' | sort -r | head -n 3; printf '%s\n' "${BASH_SOURCE[0]}" "$@"
diff <(seq 5) <(seq 2 6); cat <<< "here"; mapfile -t lines < <(ls); echo "${#lines[@]}"
timeout 0.1 sleep 1000; echo "timeout $?"; bash -c 'kill -TERM $$'; echo "killed $?"; ulimit -n 20; ulimit -n
exit 3
END
mkfifo fifo; chmod +x script; ./script one "two three"; echo $?; env -i /bin/sh -c 'echo $0 $PATH'; sh -c 'exec /nowhere'; echo $?`},
	{"python", python, `cat > script.py <<'END'
` + pinnedPython + `
END
` + python + ` script.py`},
}

const pinnedPython = `
import hashlib, json, mmap, multiprocessing, os, select, signal, socket, sqlite3, subprocess, tempfile, threading, time
def serve(listener, n):
    for _ in range(n):
        s, _ = listener.accept()
        with s: s.sendall(hashlib.sha256(s.recv(100)).hexdigest().encode())
def ask(family, address, data):
    with socket.socket(family) as s:
        s.connect(address); s.sendall(data)
        return s.recv(100)
for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, "socket")):
    l = socket.socket(family); l.bind(address); l.listen(20)
    t = threading.Thread(target=serve, args=(l, 20)); t.start()
    got = [None] * 20
    def client(i): got[i] = ask(family, l.getsockname(), b"%d" % i)
    ts = [threading.Thread(target=client, args=(i,)) for i in range(20)]
    [x.start() for x in ts]; [x.join() for x in ts]; t.join()
    print(hashlib.sha256(b"".join(got)).hexdigest())
print(subprocess.run(["tr", "a-z", "A-Z"], input=b"through", stdout=subprocess.PIPE).stdout)
print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 5"], capture_output=True, env={"A": "1"}))
try: subprocess.run(["/nowhere"])
except OSError as e: print(e)
print(sum(len(subprocess.check_output(["echo", "x" * i])) for i in range(0, 20000, 4000)))
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
socket.send_fds(a, [b"fd"], [0, 1]); m, fds, _, _ = socket.recv_fds(b, 10, 5); print(m, len(fds))
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while len(hits) < 10: open("spin", "w").write("x"); os.stat("spin"); time.sleep(0.001)
signal.setitimer(signal.ITIMER_REAL, 0)
with multiprocessing.Pool(3) as p: print(p.map(len, ["a" * n for n in range(20)]))
db = sqlite3.connect("db"); db.execute("create table t (a, b)")
with db: db.executemany("insert into t values (?, ?)", ((i, str(i)) for i in range(1000)))
print(db.execute("select sum(a), max(b) from t").fetchone())
with tempfile.NamedTemporaryFile(dir=".") as f: f.write(b"x" * 200000); f.flush(); m = mmap.mmap(f.fileno(), 0); print(len(m), m[:3])
os.mkdir("tree"); [os.makedirs("tree/%d/%d" % (i, j)) for i in range(5) for j in range(5)]
print(sum(len(d) for _, d, _ in os.walk("tree")), sorted(os.listdir("tree")))
for bad in ("none", "tree/0/none/x", "x" * 300, "x/" * 3000, "script.py/x", "\udcff"):
    try: os.stat(bad)
    except OSError as e: print(e.errno)
r, w = os.pipe2(os.O_NONBLOCK)
try:
    while True: os.write(w, b"x" * 70000)
except BlockingIOError: print("full")
n = 0
try:
    while True: n += len(os.read(r, 1 << 20))
except BlockingIOError: print(n)
print(os.writev(w, [b"a", b"", b"bc"]), os.read(r, 10), select.select([r], [w], [], 0)[1] == [w])
print(json.dumps(sorted(os.environ)))
os.execv("/bin/sh", ["sh", "-c", "echo executed $0 $1", "a", "b"])
`

// TestPinnedPrograms runs ordinary programs.
func TestPinnedPrograms(t *testing.T) {
	needPinning(t)
	t.Parallel()
	for _, p := range pinnedPrograms {
		p := p
		t.Run(p.name, func(t *testing.T) {
			need(t, p.need)
			script := func() *exec.Cmd {
				cmd := exec.Command("bash", "-c", p.script)
				cmd.Dir = openDir(t)
				cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=" + cmd.Dir, "TMPDIR=" + cmd.Dir}
				return cmd
			}
			compareResults(t, script(), script())
		})
	}
}

// compareResults runs one command bare and one pinned.
func compareResults(t *testing.T, bare, other *exec.Cmd) {
	t.Helper()
	want, got := runBoth(t, bare, other)
	want.out = strings.ReplaceAll(want.out, bare.Dir, "DIR")
	got.out = strings.ReplaceAll(got.out, other.Dir, "DIR")
	if got != want {
		t.Errorf("bare: status %d\n%s\npinned: status %d\n%s", want.status, want.out, got.status, got.out)
	}
	if strings.Count(want.out, "\n") < 2 {
		t.Errorf("bare: status %d, %q: expected more", want.status, want.out)
	}
}

// TestPinnedGo compiles a program in Go, which the program that compiles starts in
// many threads, and runs it.
func TestPinnedGo(t *testing.T) {
	needPinning(t)
	t.Parallel()
	need(t, "go")
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err == nil {
		_, err = os.Stat(filepath.Join(strings.TrimSpace(string(cache)), "README"))
	}
	if err != nil {
		t.Skipf("needs a cache of compiled packages: %v", err)
	}
	build := func() *exec.Cmd {
		cmd := exec.Command("bash", "-c", "go vet . && go build -trimpath=false -o main . && ./main a b && go test . | cut -f1,2")
		cmd.Dir = openDir(t)
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
			"GOCACHE="+strings.TrimSpace(string(cache)))
		write(t, filepath.Join(cmd.Dir, "go.mod"), "module tiny\n\ngo 1.21\n")
		write(t, filepath.Join(cmd.Dir, "main.go"), tinyProgram)
		write(t, filepath.Join(cmd.Dir, "main_test.go"), "package main\n\nimport \"testing\"\n\nfunc TestNothing(*testing.T) {}\n")
		return cmd
	}
	compareResults(t, build(), build())
}

const tinyProgram = `package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
)

func main() {
	for i, a := range os.Args[1:] {
		fmt.Println(i, a)
	}
	_, err := os.Open("/nowhere")
	fmt.Println(err)
	l, err := net.Listen("unix", "socket")
	must(err)
	go serve(l)
	sums := make([]string, 16)
	var all sync.WaitGroup
	for i := range sums {
		all.Add(1)
		go func(i int) { defer all.Done(); sums[i] = work(i) }(i)
	}
	all.Wait()
	fmt.Println(strings.Join(sums, "\n"))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		must(err)
		go func() { io.Copy(c, c); c.Close() }()
	}
}

func work(i int) string {
	h := sha256.New()
	name := fmt.Sprint("file", i)
	for n := 0; n < 50; n++ {
		must(os.WriteFile(name, []byte(strings.Repeat(name, n*20)), 0o600))
		must(os.Rename(name, name+".x"))
		b, err := os.ReadFile(name + ".x")
		must(err)
		h.Write(b)
		_, err = os.Stat(name)
		fmt.Fprint(h, err)
		must(os.Remove(name + ".x"))
	}
	c, err := net.Dial("unix", "socket")
	must(err)
	go func() { io.WriteString(c, strings.Repeat(name, 30000)); c.(*net.UnixConn).CloseWrite() }()
	n, err := io.Copy(h, c)
	must(err)
	out, err := exec.Command("echo", name).Output()
	must(err)
	return fmt.Sprintf("%x %d %s", h.Sum(nil), n, out)
}
`

// TestPinnedServers has nginx and redis serve.
func TestPinnedServers(t *testing.T) {
	needPinning(t)
	t.Run("nginx", servePinnedNginx)
	t.Run("redis", servePinnedRedis)
}

func servePinnedNginx(t *testing.T) {
	need(t, "nginx")
	dir := openDir(t)
	conf := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log stderr notice;
events { worker_connections 64; }
http { access_log %[1]s/log; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; gzip on; gzip_types text/plain;
server { listen unix:%[1]s/http.sock; root %[1]s; location /back { proxy_pass http://unix:%[1]s/http.sock:/; } } }`, dir)
	write(t, filepath.Join(dir, "conf"), conf)
	large := strings.Repeat("large\n", 50000)
	write(t, filepath.Join(dir, "index.html"), large)
	cmd := pinned(t, exec.Command("nginx", "-p", dir, "-c", filepath.Join(dir, "conf")))
	said(t, cmd, "start worker process ")
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "http.sock"))
		},
	}}
	for i := 0; i < 40; i++ {
		client.CloseIdleConnections()
		if body := get(t, client); body != large {
			t.Fatalf("request %d: %d bytes", i, len(body))
		}
	}
	for path, want := range map[string]int{"/none": 404, "/back/index.html": 200, "/" + strings.Repeat("x", 300): 404} {
		resp, err := client.Get("http://nginx" + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%.20s: status %d, expected %d", path, resp.StatusCode, want)
		}
	}
	stop(t, cmd, syscall.SIGTERM)
	if log, err := os.ReadFile(filepath.Join(dir, "log")); strings.Count(string(log), "\n") != 44 {
		t.Errorf("logged %d requests: %v", strings.Count(string(log), "\n"), err)
	}
}

func servePinnedRedis(t *testing.T) {
	need(t, "redis-server")
	dir := openDir(t)
	server := redisServer(dir, "--appendonly", "yes", "--enable-debug-command", "yes")
	cmd := pinned(t, exec.Command(server[0], server[1:]...))
	said(t, cmd, "eady to accept connections")
	newRedis(t, dir).expect(t, [][2]string{
		{"PING", "+PONG"},
		{"SET k v", "+OK"},
		{"INCR n", ":1"},
		{"DEBUG POPULATE 2000 key 500", "+OK"},
		{"DBSIZE", ":2002"},
		{"SAVE", "+OK"},
		{"BGSAVE", "+Background saving started"},
		{"DEBUG RELOAD", "+OK"},
		{"DBSIZE", ":2002"},
	})
	stop(t, cmd, syscall.SIGTERM)
	if _, err := os.Stat(filepath.Join(dir, "dump.rdb")); err != nil {
		t.Errorf("redis saved nothing: %v", err)
	}
}
