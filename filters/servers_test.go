package filters_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"portcullis"
	"portcullis/internal/kit"
)

// server is a program under filters.
type server struct {
	t   *testing.T
	cmd *portcullis.Cmd
	out chan string // its lines

	mu     sync.Mutex
	denied []string
}

// serve starts a server under the filter phases and reads its output until it says
// that it is ready.
func serve(t *testing.T, ready string, settings []string, argv ...string) *server {
	t.Helper()
	return serveUnder(t, ready, []string{strings.Join(append([]string{"phases"}, settings...), " ")}, argv...)
}

// serveUnder is serve with other filters: each a name, and its settings behind spaces.
func serveUnder(t *testing.T, ready string, filters []string, argv ...string) *server {
	t.Helper()
	path := findServer(t, argv[0])
	s := &server{t: t, cmd: portcullis.Command(path, argv[1:]...), out: make(chan string, 1000)}
	s.cmd.Engine = portcullis.Engine(*engine)
	s.cmd.Filters = loaded(t, filters...)
	s.cmd.Events, s.cmd.Observe = s.event, portcullis.ObserveDenials
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go s.read(r)
	s.await(ready)
	return s
}

// loaded are built-in filters: each a name, and its settings behind spaces.
func loaded(t *testing.T, filters ...string) (all []*portcullis.Filter) {
	t.Helper()
	for _, text := range filters {
		words := strings.Fields(text)
		f, err := portcullis.Load(words[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range words[1:] {
			k, v, _ := strings.Cut(kv, "=")
			if err := f.Set(k, v); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, f)
	}
	return all
}

// read takes the output to its end. Lines that nobody waits for are dropped, where
// there are too many.
func (s *server) read(r io.Reader) {
	defer close(s.out)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		select {
		case s.out <- lines.Text():
		default:
		}
	}
}

// findServer looks where servers are, which is not in everyone's PATH.
func findServer(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	t.Skipf("needs %s: to run it under a filter", name)
	return ""
}

func (s *server) await(ready string) {
	s.t.Helper()
	var all []string
	for line := range s.out {
		all = append(all, line)
		if strings.Contains(line, ready) {
			return
		}
	}
	s.cmd.Wait()
	s.t.Fatalf("the server did not say %q but\n%s\ndenied: %v", ready, strings.Join(all, "\n"), s.denied)
}

func (s *server) event(e portcullis.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Denies() {
		s.denied = append(s.denied, e.Call.Name)
	}
}

// stop ends the server with SIGTERM, which it must take as a reason to finish
// in order, and wants just those calls denied that are given.
func (s *server) stop(want string) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with %v", err)
	}
	<-s.cmd.Done() // before, events may be on their way
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.denied, " "); got != want && events() {
		s.t.Errorf("denied were %q, want %q", got, want)
	}
}

// freePort is a TCP port on which nobody listens.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := kit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// nginxConf is a configuration of two workers that touches nothing outside dir.
func nginxConf(t *testing.T, port int) string {
	t.Helper()
	path, err := kit.NginxConf(t.TempDir(), port)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func get(t *testing.T, port int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || string(body) != "served" {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
	}
}

// TestNginx serves from two workers, from the start to an orderly end, without
// a denial.
func TestNginx(t *testing.T) {
	port := freePort(t)
	conf := nginxConf(t, port)
	s := serve(t, "start worker process ", nil, "nginx", "-e", "stderr", "-c", conf)
	for i := 0; i < 20; i++ {
		get(t, port)
	}
	s.stop("")
}

// TestNginxServesOnly takes from the second phase a call that ends it, so that
// the switch is seen to have happened.
func TestNginxServesOnly(t *testing.T) {
	port := freePort(t)
	conf := nginxConf(t, port)
	s := serve(t, "start worker process ", []string{"serve_allow=-unlink"}, "nginx", "-e", "stderr", "-c", conf)
	get(t, port)
	s.stop("unlink")
}

// TestRedis writes, saves from a forked child and ends, without a denial.
func TestRedis(t *testing.T) {
	port := freePort(t)
	s := serve(t, "eady to accept connections", nil, "redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1",
		"--dir", t.TempDir(), "--appendonly", "yes", "--save", "3600 1")
	talkToRedis(t, port)
	s.stop("")
}

// talkToRedis stores something and has it saved.
func talkToRedis(t *testing.T, port int) {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, line := range []struct{ ask, want string }{
		{"SET gate down", "+OK"}, {"STRLEN gate", ":4"}, {"SAVE", "+OK"}, {"BGREWRITEAOF", "+Background"},
	} {
		fmt.Fprintf(c, "%s\r\n", line.ask)
		got, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(got, line.want) {
			t.Errorf("%s: got %q, %v, want %s", line.ask, got, err, line.want)
		}
	}
}
