package policy_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/internal/engine"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
	"portcullis/policies"
)

// onEngine is what programs run on.
var onEngine = flag.String("engine", "agent", "engine that the programs run on")

func TestMain(m *testing.M) {
	guest.MaybeInit()
	flag.Parse()
	os.Exit(m.Run())
}

// TestKernel runs the programs on the kernel engine, whose verifier and maps are the
// kernel's: in a guest, as nobody.
func TestKernel(t *testing.T) {
	skip := "^TestPrograms$/^(git|python)$"
	if !kit.Wide() {
		skip += "|^TestEnginesTake$"
	}
	if kit.Long() {
		skip = "^$"
	}
	guest.TestIn(t, guest.Suite(), guest.Nobody, "-engine=kernel", "-test.skip="+skip, "-test.run=^Test(EnginesTake|ShellsCount|Programs|Nginx)$")
}

func needEngine(t *testing.T) {
	t.Helper()
	if *onEngine != "agent" {
		return
	}
	for _, f := range engine.Probe() {
		if f.Engine == engine.Agent && !f.Have && (f.Needed || f.Name == "tracing" || f.Name == "process_vm_readv") {
			t.Skipf("needs %s (agent engine): %s", f.Name, f.Remedy)
		}
	}
}

// fromFile is a policy with its FOLDER replaced.
func fromFile(t *testing.T, file, folder string) *portcullis.Filter {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fromText(t, file, strings.ReplaceAll(string(data), "FOLDER", folder))
}

func fromText(t *testing.T, name, text string) *portcullis.Filter {
	t.Helper()
	f, err := portcullis.LoadPolicy(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// under runs a program under a policy, and gives what it wrote.
func under(t *testing.T, f *portcullis.Filter, dir string, argv ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := portcullis.Command(argv[0], argv[1:]...)
	cmd.Engine, cmd.Filters, cmd.Dir = portcullis.Engine(*onEngine), []*portcullis.Filter{f}, dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "LC_ALL=C", "PATH=/usr/bin:/bin")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", f.Name(), err)
	}
	cmd.Wait()
	return strings.TrimSpace(out.String())
}

// TestEnginesTake starts a command under every policy there is: what is proven here is
// proven there.
func TestEnginesTake(t *testing.T) {
	needEngine(t)
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) == 0 || len(policies.Names()) == 0 {
		t.Fatalf("%d policies here, %d ready ones, %v", len(files), len(policies.Names()), err)
	}
	for _, file := range files {
		under(t, fromFile(t, file, "/tmp"), "/", "/bin/true")
	}
	for _, name := range policies.Names() { // a guest may not see their files
		text, _ := policies.Policy(name)
		under(t, fromText(t, name, string(text)), "/", "/bin/true")
	}
}

// TestShellsCount: state over fork and exec, of real processes.
func TestShellsCount(t *testing.T) {
	needEngine(t)
	for _, c := range []struct{ name, policy, script, want string }{
		{"tree", "limits: [{calls: execve, max: 3}]", "/bin/true; (/bin/true); /bin/true; /bin/true || echo no", "no"},
		{
			"process", "limits: [{calls: [clone, fork, vfork, clone3], max: 3, per: process}]",
			"(:); (:); sh -c '(:); echo reached'; echo after", "after",
		},
		{
			"phase", "phases: [{name: a, deny: [], next: [{on: kill, to: b}]}, {name: b, deny: execve}]",
			"/bin/echo one; (kill -0 $$; /bin/echo two); /bin/echo three", "one\nthree",
		},
		{"order", "order: [{calls: execve, before: kill, per: process}]", "/bin/echo one; kill -0 $$; /bin/echo two; (/bin/echo three)", "one"},
		{
			"path", "links: trusted\nrules: [{deny: execve, if: {not: {path: [/bin/, /usr/bin/]}}, error: EACCES}]",
			"/bin/echo one; /bin/../bin/echo two", "one",
		},
		{
			"argv", "links: trusted\nrules: [{allow: execve, if: {path: [/bin/, /usr/bin/], argv: [[one], [two]]}}, {deny: execve}]",
			"/bin/echo one 1; /bin/echo three 3; /bin/echo two", "one 1\ntwo",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace("version: 1\ndefault: allow\n"+c.policy+"\n", "deny: []", "deny: kcmp", 1)
			out := under(t, fromText(t, c.name+".yaml", text), "/", "/bin/sh", "-c", c.script)
			var lines []string // but for what the shell says
			for _, l := range strings.Split(out, "\n") {
				if !strings.Contains(l, "sh:") && !strings.Contains(l, "fork") {
					lines = append(lines, l)
				}
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got %q, want %q, of %s", got, c.want, out)
			}
		})
	}
}

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "policy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestPrograms: ordinary programs do their work in a folder, and nowhere else.
func TestPrograms(t *testing.T) {
	needEngine(t)
	for _, c := range []struct{ name, program, script, want string }{
		{"bash", "/bin/bash", `echo a > f; cat f; mkdir d; mv f d/g; ls d; cat ../../etc/hostname 2>/dev/null || echo no; { echo x > /etc/x; } 2>/dev/null || echo no`, "a\ng\nno\nno"},
		{"git", "/usr/bin/git", `git init -q . && echo x > f && git add f && git -c user.name=a -c user.email=a@b commit -qm m && git log --format=%s && git status --short && git fsck --strict 2>&1 | grep -c error; true`, "m\n0"},
		{"python", "/usr/bin/python3", `/usr/bin/python3 -c '
import json, os, socket, subprocess
open("a", "w").write(json.dumps([1])); os.rename("a", "b"); print(open("b").read())
print(subprocess.check_output(["/bin/echo", "x"]))
for f in (lambda: open("/srv/x"), lambda: os.symlink("/etc/shadow", "l"), lambda: socket.socket(socket.AF_INET), lambda: open("../x")):
    try: f(); print("let through")
    except OSError as e: print(e.errno)'`, "[1]\nb'x\\n'\n13\n13\n1\n13"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := os.Stat(c.program); err != nil {
				t.Skipf("needs %s: to run it under a policy", c.program)
			}
			dir := folder(t)
			if got := under(t, fromFile(t, "testdata/programs/work.yaml", dir), dir, "/bin/bash", "-c", c.script); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestNginx serves from workers in a phase of their own.
func TestNginx(t *testing.T) {
	needEngine(t)
	nginx, err := exec.LookPath("/usr/sbin/nginx")
	if err != nil {
		t.Skip("needs nginx: to run it under a policy")
	}
	dir, port := folder(t), freePort(t)
	cmd := portcullis.Command(nginx, "-e", "stderr", "-c", nginxConf(t, dir, port))
	cmd.Engine, cmd.Filters = portcullis.Engine(*onEngine), []*portcullis.Filter{fromFile(t, "testdata/programs/server.yaml", dir)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	said := bufio.NewReader(r)
	for line := ""; !strings.Contains(line, "start worker process "); {
		if line, err = said.ReadString('\n'); err != nil {
			t.Fatalf("it ended: %q, %v", line, err)
		}
	}
	for i := 0; i < 5; i++ {
		if got := get(t, port); got != "served" {
			t.Errorf("got %q", got)
		}
	}
	cmd.Process.Signal(syscall.SIGQUIT)
	rest, _ := io.ReadAll(said)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, rest)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := kit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// nginxConf is a configuration of two workers that touches nothing outside dir.
func nginxConf(t *testing.T, dir string, port int) string {
	t.Helper()
	path, err := kit.NginxConf(dir, port)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func get(t *testing.T, port int) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
