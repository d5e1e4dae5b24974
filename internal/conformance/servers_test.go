package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portcullis"
)

// TestNginx runs nginx, a master and two workers, in two phases: it serves, and
// what only its start needs is denied from the first connection on.
func TestNginx(t *testing.T) {
	need(t, "nginx")
	dir := openDir(t)
	socket := filepath.Join(dir, "http.sock")
	conf := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log stderr notice;
events { worker_connections 64; }
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
server { listen unix:%[1]s/http.sock; root %[1]s; } }`, dir)
	write(t, filepath.Join(dir, "conf"), conf)
	write(t, filepath.Join(dir, "index.html"), "hello\n")
	cmd := command(t, one("phases"), "nginx", "-p", dir, "-c", filepath.Join(dir, "conf"))
	denied := watchDenials(cmd)
	said(t, cmd, "start worker process ")
	client := dialling(socket)
	for i := 0; i < 20; i++ {
		if body := get(t, client); body != "hello\n" {
			t.Fatalf("request %d: %q", i, body)
		}
	}
	stop(t, cmd, syscall.SIGTERM)
	if n := denied(); n != nil {
		t.Errorf("nginx was denied %v", n)
	}
}

// TestRedis runs redis in two phases: it serves and saves in a forked child, and
// once it serves it can start no program and open no port.
func TestRedis(t *testing.T) {
	need(t, "redis-server")
	dir := t.TempDir()
	server := redisServer(dir, "--enable-debug-command", "yes")
	cmd := command(t, one("phases"), server[0], server[1:]...)
	denied := watchDenials(cmd)
	said(t, cmd, "eady to accept connections")
	redis := newRedis(t, dir)
	redis.expect(t, [][2]string{
		{"PING", "+PONG"}, {"SET k v", "+OK"}, {"INCR n", ":1"}, {"SAVE", "+OK"}, {"BGSAVE", "+Background saving started"},
	})
	if n := denied(); n != nil {
		t.Errorf("redis was denied %v", n)
	}
	// Opening a port is what only the first phase allows.
	if got := redis.ask(t, "CONFIG SET port 16379"); !strings.HasPrefix(got, "-ERR") {
		t.Errorf("redis opened a port in its second phase: %q", got)
	}
	if got := redis.ask(t, "PING"); got != "+PONG" {
		t.Errorf("after the denial redis answers %q", got)
	}
	redis.conn.Close()
	stop(t, cmd, syscall.SIGTERM)
	if _, err := os.Stat(filepath.Join(dir, "dump.rdb")); err != nil {
		t.Errorf("redis saved nothing: %v", err)
	}
}

// openDir is a temporary directory that workers of another user can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "server")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// said starts a server and returns when it has said text. What it says later is
// read and dropped.
func said(t *testing.T, cmd *portcullis.Cmd, text string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r)
	var log []string
	for lines.Scan() {
		if log = append(log, lines.Text()); strings.Contains(lines.Text(), text) {
			go io.Copy(io.Discard, r)
			return
		}
	}
	t.Fatalf("the server ended without saying %q:\n%s", text, strings.Join(log, "\n"))
}

func get(t *testing.T, client *http.Client) string {
	t.Helper()
	resp, err := client.Get("http://nginx/index.html")
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

// stop ends a server as its administrator would.
func stop(t *testing.T, cmd *portcullis.Cmd, sig os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	<-cmd.Done()
}

// watchDenials collects the names of denied calls; the function it returns tells
// those so far. The kernel engine reports none.
func watchDenials(cmd *portcullis.Cmd) func() []string {
	names := make(chan string, 1000)
	cmd.Events = func(e portcullis.Event) {
		if e.Denies() {
			names <- e.Call.Name
		}
	}
	return func() []string {
		var all []string
		for {
			select {
			case n := <-names:
				all = append(all, n)
			default:
				return all
			}
		}
	}
}
