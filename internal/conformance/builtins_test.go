package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// python is named whole: what comes first in PATH may be a script that starts
// more programs.
const python = "/usr/bin/python3"

// need skips where a program is not installed.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s", program)
	}
}

// TestCountExec counts on programs that start others in every way there is.
func TestCountExec(t *testing.T) {
	need(t, python)
	const denied = "denied"
	for _, c := range []struct {
		name, max, program, script, want string
	}{
		{
			"bash forks", "2", "bash", `for i in 1 2 3 4; do /bin/echo $i 2>&- || echo denied; done 2>/dev/null`,
			"1\n2\ndenied\ndenied",
		},
		{
			"subshells", "2", "bash", `(/bin/echo a); ( (/bin/echo b) ); (/bin/echo c || echo denied) 2>/dev/null`,
			"a\nb\ndenied",
		},
		{
			"exec in place", "3", "bash", `exec bash -c 'exec bash -c "/bin/echo deep; /bin/echo deeper || echo denied" 2>/dev/null'`,
			"deep\ndenied",
		},
		{"none at all", "0", "bash", `/bin/echo a 2>/dev/null || echo denied`, denied},
		{"posix_spawn and threads", "3", python, `
import subprocess, threading
results = []
def start(i):
    try:
        results.append(subprocess.run(["/bin/true"]).returncode)
    except PermissionError:
        results.append("denied")
ts = [threading.Thread(target=start, args=(i,)) for i in range(8)]
[x.start() for x in ts]; [x.join() for x in ts]
print(results.count(0), results.count("denied"))`, "3 5"},
		{"exec from a thread", "1", python, `
import os, threading
threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "/bin/echo x || echo denied"])).start()`, "denied"},
	} {
		c := c
		t.Run(c.name, func(t *testing.T) {
			got := run(t, command(t, one("count-exec max="+c.max), c.program, "-c", c.script))
			if lines := last(got.out, strings.Count(c.want, "\n")+1); lines != c.want {
				t.Errorf("printed %q, expected to end in %q", got.out, c.want)
			}
		})
	}
}

// last is the last n lines of s.
func last(s string, n int) string {
	lines := strings.Split(s, "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// TestCount limits sockets over a tree of forks, and over exec.
func TestCount(t *testing.T) {
	need(t, python)
	const script = `
import os, socket, sys
def attempt():
    try:
        socket.socket(); return "ok"
    except PermissionError:
        return "denied"
out = [attempt() for i in range(2)]
print(" ".join(out)); sys.stdout.flush()
if len(sys.argv) > 1:
    for i in range(int(sys.argv[1])):
        if os.fork() == 0:
            print(attempt()); sys.stdout.flush(); os._exit(0)
        os.wait()
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])`
	inner := strings.ReplaceAll(script, "sys.argv", "[]")
	cmd := command(t, one("count calls=socket max=4"), python, "-c", script, "3", inner)
	got := run(t, cmd)
	if want := "ok ok\nok\nok\ndenied\ndenied denied"; got.out != want || got.status != 0 {
		t.Errorf("printed %q (status %d), expected %q", got.out, got.status, want)
	}
}

// TestNoExec denies every execve but the launch, in children and threads too.
func TestNoExec(t *testing.T) {
	need(t, python)
	got := run(t, command(t, one("no-exec"), "bash", "-c", `/bin/echo a || (exec /bin/echo b) || echo none`))
	if last(got.out, 1) != "none" {
		t.Errorf("bash printed %q, expected to end in none", got.out)
	}
	got = run(t, command(t, one("no-exec"), python, "-c", `
import os, threading
def go():
    try: os.execv("/bin/echo", ["echo", "started"])
    except PermissionError: print("denied", flush=True)
t = threading.Thread(target=go); t.start(); t.join()
if os.fork() == 0: go(); os._exit(0)
os.wait()`))
	if want := "denied\ndenied"; got.out != want {
		t.Errorf("python printed %q, expected %q", got.out, want)
	}
}

// TestStackOfBuiltins puts two stateful filters and a static one on a program.
func TestStackOfBuiltins(t *testing.T) {
	filters := []string{"count-exec max=2", "count calls=socket max=0", "allow"}
	got := run(t, command(t, filters, "bash", "-c",
		`/bin/echo a; /bin/echo b; : < /dev/tcp/127.0.0.1/9 && echo connected; /bin/echo c || echo none`))
	if !strings.HasPrefix(got.out, "a\nb\n") || strings.Contains(got.out, "connected") || last(got.out, 1) != "none" {
		t.Errorf("printed %q", got.out)
	}
}

// TestPrograms runs ordinary programs under filters that count what they do
// without denying it, and expects them to behave as ever.
func TestPrograms(t *testing.T) {
	filters := []string{"count calls=openat,read,mmap,futex,clone,clone3,execve,wait4 max=100000000"}
	for _, c := range []struct{ needs, name, script, want string }{
		{"git", "git", `git init -q r && cd r && echo x > f && git add f && git -c user.name=a -c user.email=a@b commit -qm m && git log --format=%s && git fsck --strict 2>&1 | grep -c error; true`, "m\n0"},
		{"gcc", "gcc", `printf '#include <stdio.h>\nint main(void){puts("built");}' > a.c && gcc -o a a.c && ./a`, "built"},
		{python, "python", `/usr/bin/python3 -c 'import hashlib,subprocess,threading
r=[]
t=[threading.Thread(target=lambda:r.append(subprocess.check_output(["/bin/echo","x"]))) for i in range(5)]
[x.start() for x in t];[x.join() for x in t]
print(len(r), hashlib.md5(b"").hexdigest()[:4])'`, "5 d41d"},
		{"bash", "pipes", `seq 1000 | sort -rn | head -n 1 | tr 0 x; trap "echo trapped" USR1; kill -USR1 $$; sleep 0.01 & wait $!; echo $?`, "1xxx\ntrapped\n0"},
	} {
		c := c
		t.Run(c.name, func(t *testing.T) {
			need(t, c.needs)
			cmd := command(t, filters, "bash", "-c", c.script)
			cmd.Dir = t.TempDir()
			if got := run(t, cmd); got.out != c.want || got.status != 0 {
				t.Errorf("printed %q (status %d), expected %q", got.out, got.status, c.want)
			}
		})
	}
}

// TestGoProgram runs a Go program, whose runtime sends itself signals and starts
// threads, with every futex and signal call decided by the agent.
func TestGoProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("runs where -short is not set: it compiles a Go program")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(goProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "prog"), source)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	filters := []string{"count calls=futex,tgkill,rt_sigreturn,nanosleep,epoll_pwait,madvise,clone max=100000000"}
	got := run(t, command(t, filters, filepath.Join(dir, "prog")))
	if want := "sum 4950000 spawned 8"; got.out != want || got.status != 0 {
		t.Errorf("printed %q (status %d), expected %q", got.out, got.status, want)
	}
}

const goProgram = `package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
)

func main() {
	runtime.GOMAXPROCS(4)
	var wg sync.WaitGroup
	results := make(chan int, 1000)
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			sum := 0
			for k := 0; k < 100; k++ {
				sum += k
				if k%10 == 0 {
					runtime.Gosched()
				}
			}
			results <- sum
		}()
	}
	wg.Wait()
	close(results)
	sum, spawned := 0, 0
	for r := range results {
		sum += r
	}
	for i := 0; i < 8; i++ {
		runtime.GC()
		if exec.Command("/bin/true").Run() == nil {
			spawned++
		}
	}
	fmt.Println("sum", sum, "spawned", spawned)
}
`
