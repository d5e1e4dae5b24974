package conformance

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/internal/event"
)

// The calls that the scenarios below make are of no consequence: getpid 39,
// getuid 102, getgid 104, getppid 110.
var moreScenarios = []scenario{
	{"order", one("flow calls=getuid,getgid from=-1,getuid to=getuid,getgid"), "steps 104 102 39 102 104 104 102", "EPERM\nok\nok\nEPERM\nok\nEPERM\nEPERM", 0},
	{"order in a child", one("flow calls=getuid,getgid from=-1,getuid to=getuid,getgid"), "steps 102 fork 104 102", "ok\nEPERM\nok\nok\nEPERM", 0},
	{"order in a thread", one("flow calls=getuid,getgid from=-1,getuid to=getuid,getgid"), "steps 102 thread 104 102", "ok\nEPERM\nok\nok\nEPERM", 0},
	{"order over exec", one("flow calls=getuid,getgid from=-1,getuid to=getuid,getgid"), "steps 102 exec 102 104", "ok\nEPERM\nok", 0},
	{"order over exec of a thread", one("flow calls=getuid,getgid from=-1,getuid to=getuid,getgid"), "steps 102 thread 102 exec 104 104", "ok\nok\nok\nEPERM", 0},
	{"order of which exec is a part", one("flow calls=getuid,execve from=-1,getuid,execve to=getuid,execve,execve"), "steps 102 exec exec 102", "ok\nEPERM", 0},
	{"order in which fork is denied", one("flow calls=getuid,clone,clone3,fork,vfork from=-1,getuid to=getuid,getuid"), "steps 102 fork 102", "ok\nok", 0},

	{"a bucket", one("rate calls=getppid burst=3 per_second=0"), "calls 5", "ok ok ok EAGAIN EAGAIN", 0},
	{"a bucket that fills", one("rate calls=getppid burst=1 per_second=4000000000"), "calls 4", "ok ok ok ok", 0},
	{"a bucket with an error of its own", one("rate calls=getppid burst=0 error=13"), "calls 1", "EACCES", 0},
	{"a bucket over fork", one("rate calls=getppid burst=4 per_second=0"), "fork 3", "parent: ok ok ok\nchild: ok EAGAIN EAGAIN\nparent: EAGAIN EAGAIN EAGAIN", 0},
	{"a bucket over exec", one("rate calls=getppid burst=3 per_second=0"), "exec 2", "before: ok ok\nok EAGAIN", 0},
	{"a bucket of threads", one("rate calls=getppid burst=700 per_second=0"), "threads 50 20", "allowed 700 denied 300", 0},
	{"a bucket of processes together", one("rate calls=getppid burst=123 per_second=0"), "processes 50 5", "allowed 123 denied 127", 0},
	{"a bucket a process", one("rate calls=getppid burst=4 per_second=0 per_process=true"), "fork 3", "parent: ok ok ok\nchild: ok ok ok\nparent: ok EAGAIN EAGAIN", 0},
	{"a bucket a process over exec", one("rate calls=getppid burst=3 per_second=0 per_process=true"), "exec 2", "before: ok ok\nok EAGAIN", 0},
	{"a bucket a process over exec from a thread", one("rate calls=getppid burst=3 per_second=0 per_process=true"), "thread-exec 2", "before: ok ok\nok EAGAIN", 0},
	{"a bucket a process of threads", one("rate calls=getppid burst=60 per_second=0 per_process=true"), "threads 40 2", "allowed 60 denied 20", 0},
	{"a bucket a process in 20 processes", one("rate calls=getppid burst=3 per_second=0 per_process=true"), "processes 20 5", "allowed 60 denied 40", 0},

	{"before a mark", one("once calls=getuid mark=getgid"), "steps 102 102 104 39 102 104", "ok\nok\nok\nok\nEPERM\nok", 0},
	{"after a mark", one("once calls=getuid mark=getgid after=true"), "steps 102 104 102 102", "EPERM\nok\nok\nok", 0},
	{"a mark of a child", one("once calls=getuid mark=getgid"), "steps 102 fork 102 104", "ok\nok\nok\nEPERM\nok", 0},
	{"a mark of a thread", one("once calls=getuid mark=getgid after=true"), "steps 102 thread 102 104", "EPERM\nEPERM\nok\nok\nok", 0},
	{"a mark over exec", one("once calls=getuid mark=getgid"), "steps 104 exec 102", "ok\nEPERM", 0},
	{"no exec after a mark", one("once mark=getgid"), "steps exec 104 exec 39", "ok", 4},
	{"once", one("once calls=getppid mark=getppid"), "fork 2", "parent: ok EPERM\nchild: EPERM EPERM\nparent: EPERM EPERM", 0},
	{"once in 100 threads", one("once calls=getppid mark=getppid"), "threads 100 2", "allowed 1 denied 199", 0},

	{"a list", one("cache calls=getppid call=getppid,getppid arg0=5,6 arg1=1,2 arg2=0 ignore1=0,0xff"), "steps 110:5:1 110:5:2 110:6:1 110:6:100 110:6:0x100 110:6:100:1 39", "ok\nEPERM\nok\nok\nEPERM\nEPERM\nok", 0},
	{"a list that is remembered", one("cache calls=getppid call=getppid arg0=5 arg1=1 arg2=0 ignore1=0"), "steps 110:5:1 fork 110:5:1 110:5:2 exec 110:5:1 110:5:2", "ok\nok\nEPERM\nok\nEPERM\nok\nEPERM\nok\nEPERM", 0},
	{"a list that is not remembered", one("cache calls=getppid call=getppid arg0=5 arg1=1 arg2=0 ignore1=0 remember=false"), "steps 110:5:1 110:5:1 110:5:2", "ok\nok\nEPERM", 0},
	{"a list and 1000 threads' calls", one("cache calls=getppid call=getppid arg0=0 arg1=0 arg2=0 ignore0=0xffffffffffffffff ignore1=0xffffffffffffffff ignore2=0xffffffffffffffff"), "threads 50 20", "allowed 1000 denied 0", 0},
	{"the longest list", one("cache calls=getppid call=" + list(256, "getppid") + " arg0=" + list(255, "1") + ",7 arg1=0 arg2=0 ignore1=0"), "steps 110:7 110:7 110:8 110:1", "ok\nok\nEPERM\nok", 0},
	{"the longest order", one("flow calls=getuid,getgid from=" + list(127, "getgid") + ",-1 to=" + list(127, "getgid") + ",getuid"), "steps 104 102 104", "EPERM\nok\nEPERM", 0},

	{"reports", one("audit calls=getppid"), "fork 2", "parent: ok ok\nchild: ok ok\nparent: ok ok", 0},
	{"reports over exec", one("audit calls=getppid,execve"), "exec 2", "before: ok ok\nok ok", 0},
	{"reports that find no room", one("audit calls=getppid"), "threads 50 100", "allowed 5000 denied 0", 0},
	{"reports beside a denial", []string{"audit calls=getppid", "count calls=getppid max=2"}, "calls 3", "ok ok EPERM", 0},

	{"all of these together", []string{"flow", "rate", "once", "cache", "audit"}, "fork 2", "parent: ok ok\nchild: ok ok\nparent: ok ok", 0},
}

// list is word n times.
func list(n int, word string) string {
	return strings.TrimSuffix(strings.Repeat(word+",", n), ",")
}

// TestMoreBuiltins asks about state over fork, exec and threads.
func TestMoreBuiltins(t *testing.T) {
	path := victim(t)
	for _, s := range moreScenarios {
		s := s
		t.Run(s.name, func(t *testing.T) {
			got := run(t, command(t, s.filters, path, strings.Fields(s.victim)...))
			if want := (result{s.out, s.wantStatus()}); got != want {
				t.Errorf("%v under %v: %+v, expected %+v", s.victim, s.filters, got, want)
			}
		})
	}
}

// TestStorageOfExecutingThread pins down a difference that docs/ENGINES.md lists:
// a thread that executes takes the first one's number, and on the agent with it
// the first one's storage.
func TestStorageOfExecutingThread(t *testing.T) {
	want := map[string]string{"agent": "ok\nok\nok\nEPERM", "kernel": "ok\nok\nok\nok"}[*engine]
	cmd := command(t, one("flow calls=getuid,getgid from=-1,getuid to=getuid,getgid"), victim(t),
		strings.Fields("steps 102 104 thread 102 exec 104")...)
	if got := run(t, cmd); got.out != want {
		t.Errorf("printed %q, expected %q", got.out, want)
	}
}

// TestFlow tries what turns a hole in a server into a shell, and the ways a
// server and a client ordinarily go.
func TestFlow(t *testing.T) {
	need(t, python)
	const script = `
import os, socket, subprocess, sys, threading
def attempt(f):
    try: f(); return "ok"
    except PermissionError: return "denied"
def accepted():
    l = socket.socket(socket.AF_UNIX); l.bind("\0" + str(os.getpid()) + str(threading.get_ident())); l.listen()
    c = socket.socket(socket.AF_UNIX); c.connect(l.getsockname())
    s, _ = l.accept(); return s
def shell(): os.execv("/bin/echo", ["echo", "shell"])
def in_thread(f):
    out = []; t = threading.Thread(target=lambda: out.append(attempt(f))); t.start(); t.join(); return out[0]
def server(): accepted().close(); shell()
print(in_thread(server), flush=True)
print("fork", subprocess.run(["/bin/echo", "started"], stdout=subprocess.PIPE).stdout.decode().strip(), flush=True)
pid = os.fork()
if pid == 0: print("child", attempt(server), flush=True); os._exit(0)
os.wait()
if len(sys.argv) > 1:
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])`
	cmd := command(t, one("flow"), python, "-c", script, `import os, socket
print("executed", flush=True)
socket.socket(socket.AF_UNIX).bind("\0last" + str(os.getpid()))
try: os.execv("/bin/echo", ["echo", "shell"])
except PermissionError: print("denied")`)
	const want = "denied\nfork started\nchild denied\nexecuted\ndenied"
	if got := run(t, cmd); got.out != want || got.status != 0 {
		t.Errorf("printed %q (status %d), expected %q", got.out, got.status, want)
	}
	const client = `import os, socket
try: socket.socket(socket.AF_UNIX).connect("\0nowhere")
except ConnectionRefusedError: print("refused", flush=True)
try: os.execv("/bin/echo", ["echo", "shell"])
except PermissionError: print("denied")`
	for filter, want := range map[string]string{
		"flow": "refused\nshell",
		"flow calls=connect,execve,execveat from=-1,-1,execve,execve,connect to=execve,connect,execve,connect,connect": "refused\ndenied",
	} {
		if got := run(t, command(t, one(filter), python, "-c", client)); got.out != want {
			t.Errorf("%s: printed %q, expected %q", filter, got.out, want)
		}
	}
	got := run(t, command(t, one("flow"), "bash", "-c", `seq 3 | sort -r | head -n 1; (/bin/echo sub); exec /bin/echo in place`))
	if got.out != "3\nsub\nin place" {
		t.Errorf("bash printed %q", got.out)
	}
}

// TestRate has a program and its children try for longer than the burst lasts.
func TestRate(t *testing.T) {
	need(t, python)
	const script = `
import os, subprocess, sys, time
begin, made = time.monotonic(), 0
while made < 20:
    try: pid = os.fork()
    except BlockingIOError: continue
    if pid == 0: os._exit(0)
    os.wait(); made += 1
took = time.monotonic() - begin
print(made, 0.74 < took)`
	if got := run(t, command(t, one("rate burst=5 per_second=20"), python, "-c", script)); got.out != "20 True" {
		t.Errorf("printed %q, expected 20 forks in no less than 0.75 seconds", got.out)
	}
	const sockets = `
import os, socket, sys
def attempt():
    try: socket.socket(); return "ok"
    except BlockingIOError: return "later"
print(attempt(), attempt(), flush=True)
if os.fork() == 0: print(attempt(), attempt(), flush=True); os._exit(0)
os.wait()
if len(sys.argv) > 1: os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])`
	for filter, want := range map[string]string{
		"rate calls=socket per_second=0 burst=3":                  "ok ok\nok later\nlater later\nlater later",
		"rate calls=socket per_second=0 burst=3 per_process=true": "ok ok\nok ok\nok later\nok ok",
	} {
		if got := run(t, command(t, one(filter), python, "-c", sockets, sockets)); got.out != want {
			t.Errorf("%s: printed %q, expected %q", filter, got.out, want)
		}
	}
}

// TestOnce ends the start of programs with the first that listens.
func TestOnce(t *testing.T) {
	need(t, python)
	const script = `
import os, socket, subprocess, sys
def start():
    try: return subprocess.run(["/bin/true"]).returncode
    except PermissionError: return "denied"
print(start(), flush=True)
if os.fork() == 0: print(start(), flush=True); os._exit(0)
os.wait()
if os.fork() == 0:
    l = socket.socket(socket.AF_UNIX); l.bind("\0once" + str(os.getpid())); l.listen(); os._exit(0)
os.wait()
print(start(), flush=True)
try: os.execv("/bin/echo", ["echo", "started"])
except PermissionError: print("denied")`
	if got := run(t, command(t, one("once"), python, "-c", script)); got.out != "0\n0\ndenied\ndenied" {
		t.Errorf("printed %q", got.out)
	}
	got := run(t, command(t, one("once calls=chdir mark=clone,fork,vfork,clone3"), "bash", "-c",
		`cd / && echo before; (cd / && echo child) || echo no child; cd / && echo after || echo none`))
	if out := strings.Replace(got.out, "bash: line 1: cd: /: Operation not permitted\n", "", -1); out != "before\nno child\nnone" {
		t.Errorf("bash printed %q", got.out)
	}
}

// TestCache asks for sockets that are on the list and others, over and over, in
// children and after exec.
func TestCache(t *testing.T) {
	need(t, python)
	const script = `
import os, socket, sys
def attempt(*args):
    try: socket.socket(*args); return "ok"
    except PermissionError: return "denied"
    except OSError as e: return e.errno
def all():
    return [attempt(socket.AF_UNIX), attempt(socket.AF_INET, socket.SOCK_STREAM, 6), attempt(17, 3, 0),
            attempt(socket.AF_INET, socket.SOCK_RAW, 1), attempt(38, 5, 0)]
first = all()
print(*first, all() == first, flush=True)
if os.fork() == 0: print(all() == first, flush=True); os._exit(0)
os.wait()
if len(sys.argv) > 1: os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])`
	want := "ok ok denied denied denied True\nTrue"
	want += "\n" + want
	for _, filter := range []string{"cache", "cache remember=false"} {
		if got := run(t, command(t, one(filter), python, "-c", script, script)); got.out != want {
			t.Errorf("%s: printed %q, expected %q", filter, got.out, want)
		}
	}
}

// TestAudit reads what a program, its children and the program it becomes are
// said to have done. The kernel engine reports nothing.
func TestAudit(t *testing.T) {
	need(t, python)
	const script = `
import os, sys
def act(name):
    try: os.open("/nowhere/" + name, os.O_RDONLY)
    except FileNotFoundError: pass
act("parent")
if os.fork() == 0: act("child"); os._exit(0)
os.wait()
os.execv("/bin/echo", ["echo", "done"])`
	cmd := command(t, one("audit calls=openat,execve"), python, "-c", script)
	var mu sync.Mutex
	calls, who := map[string]int{}, map[string]bool{}
	cmd.Events = func(e portcullis.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == event.KindRecord {
			calls[e.Call.Name]++
			who[checkRecord(t, &e)] = true
		}
	}
	if got := run(t, cmd); got.out != "done" || got.status != 0 {
		t.Errorf("printed %q (status %d)", got.out, got.status)
	}
	mu.Lock()
	defer mu.Unlock()
	switch {
	case *engine != "agent":
	case calls["execve"] != 1 || calls["openat"] < 3 || len(calls) != 2 || len(who) != 2:
		t.Errorf("records of %v by processes %v: want one execve, and openat by two processes", calls, who)
	}
}

// checkRecord compares the fields of a record with what its event says besides,
// and returns the process.
func checkRecord(t *testing.T, e *portcullis.Event) string {
	t.Helper()
	fields := map[string]string{}
	for _, f := range e.Record {
		fields[f.Name] = string(f.Value)
	}
	for name, want := range map[string]int{
		"pid": e.Pid, "tid": e.Tid, "uid": os.Getuid(), "gid": os.Getgid(), "nr": int(e.Call.Nr), "lost": 0,
	} {
		if fields[name] != strconv.Itoa(want) {
			t.Errorf("a record of %s says %s=%s, want %d", e.Call.Name, name, fields[name], want)
		}
	}
	if e.Program != "audit" || e.Map != "records" || !strings.HasPrefix(fields["args"], "[") {
		t.Errorf("recorded by %s in %s: %v", e.Program, e.Map, fields)
	}
	return fields["pid"]
}

// TestServersInOrder serves with redis, which forks to save, under all the
// filters that judge order, speed and arguments, with their defaults: none of
// them stands in the way of an ordinary server.
func TestServersInOrder(t *testing.T) {
	need(t, "redis-server")
	dir := t.TempDir()
	server := redisServer(dir)
	cmd := command(t, []string{"flow", "once", "rate", "cache", "audit"}, server[0], server[1:]...)
	denied := watchDenials(cmd)
	said(t, cmd, "eady to accept connections")
	for i := 0; i < 3; i++ {
		redis := newRedis(t, dir)
		for _, c := range [][2]string{{"PING", "+PONG"}, {"SET k v", "+OK"}, {"SAVE", "+OK"}, {"BGSAVE", "+Background saving"}} {
			// A save that is still under way is no denial either.
			if got := redis.ask(t, c[0]); !strings.HasPrefix(got, c[1]) && !strings.Contains(got, "in progress") {
				t.Errorf("connection %d, %s: %q, expected %q", i, c[0], got, c[1])
			}
		}
		redis.conn.Close()
	}
	stop(t, cmd, syscall.SIGTERM)
	if n := denied(); n != nil {
		t.Errorf("redis was denied %v", n)
	}
}
