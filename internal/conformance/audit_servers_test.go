package conformance

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis"
)

// service is a server that runs, with or without a filter.
type service struct {
	lines  *bufio.Scanner
	log    []string
	signal func(os.Signal) error
	wait   func() int
}

// serve starts a server in a place, under audit with every call observed if there
// is a tally for it.
func serve(t *testing.T, place string, seen *tally, name string, args ...string) *service {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Cleanup(func() { r.Close() })
	s := &service{lines: bufio.NewScanner(r)}
	if seen == nil {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = place, environment(place), w, w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.signal = cmd.Process.Signal
		s.wait = func() int { cmd.Wait(); return status(cmd.ProcessState) }
		return s
	}
	cmd := command(t, one("audit"), name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = place, environment(place), w, w
	cmd.Observe, cmd.Events = portcullis.ObserveAll, seen.event
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.signal = cmd.Process.Signal
	s.wait = func() int { cmd.Wait(); <-cmd.Done(); return status(cmd.ProcessState) }
	return s
}

// await reads what the server says up to a text.
func (s *service) await(t *testing.T, text string) {
	t.Helper()
	for s.lines.Scan() {
		if s.log = append(s.log, s.lines.Text()); strings.Contains(s.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the server ended without saying %q:\n%s", text, strings.Join(s.log, "\n"))
}

// end reads the rest of what the server says, and its status. The processor's
// order among several processes is nothing to compare, nor are numbers.
func (s *service) end(worth *regexp.Regexp) []string {
	for s.lines.Scan() {
		s.log = append(s.log, s.lines.Text())
	}
	var said []string
	for _, line := range s.log {
		if worth.MatchString(line) {
			said = append(said, regexp.MustCompile(`\d+`).ReplaceAllString(line, "N"))
		}
	}
	sort.Strings(said)
	return append(said, fmt.Sprint("status ", s.wait()))
}

// twice compares what a server does without a filter and under audit.
func twice(t *testing.T, play func(t *testing.T, place string, seen *tally) []string) {
	t.Helper()
	place := filepath.Join(openDir(t), "place")
	remake(t, place)
	want := play(t, place, nil)
	remake(t, place)
	var seen tally
	got := play(t, place, &seen)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("under audit (+) against no filter (-):\n%s", d)
	}
	t.Logf("%d answers compared", len(want))
	seen.check(t)
}

func TestAuditedNginx(t *testing.T) {
	need(t, "nginx")
	twice(t, playNginx)
}

// nginxConf serves the files of a place, and a text that tells configurations apart.
func nginxConf(t *testing.T, place, text string) {
	t.Helper()
	write(t, filepath.Join(place, "conf"), fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log stderr notice;
events { worker_connections 64; }
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s; sendfile on;
server { listen unix:%[1]s/http.sock; root %[1]s; location = /which { return 200 %[2]s; } } }`, place, text))
}

// playNginx serves, reloads and stops gracefully, in the middle of an answer.
func playNginx(t *testing.T, place string, seen *tally) (answers []string) {
	nginxConf(t, place, "one")
	write(t, filepath.Join(place, "index.html"), "hello\n")
	write(t, filepath.Join(place, "large"), strings.Repeat("0123456789abcdef", 1<<19))
	s := serve(t, place, seen, "nginx", "-e", "stderr", "-p", place, "-c", filepath.Join(place, "conf"))
	s.await(t, "start worker process ")
	client := dialling(filepath.Join(place, "http.sock"))
	ask := func(method, path string) string { return answer(t, client, method, path) }
	for _, path := range []string{"/", "/index.html", "/missing", "/which", "/../conf", "/large"} {
		answers = append(answers, ask("GET", path), ask("HEAD", path), ask("POST", path))
	}
	nginxConf(t, place, "two")
	s.signal(syscall.SIGHUP)
	s.await(t, "reconfiguring")
	which := ask("GET", "/which")
	for strings.HasSuffix(which, " one") { // until a new worker answers
		which = ask("GET", "/which")
	}
	answers = append(answers, which, ask("GET", "/"))
	resp, err := client.Get("http://nginx/large")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.signal(syscall.SIGQUIT)
	s.await(t, "gracefully shutting down")
	answers = append(answers, content(t, resp))
	return append(answers, s.end(regexp.MustCompile(`\[(warn|error|crit|alert|emerg)\]`))...)
}

func dialling(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

func answer(t *testing.T, client *http.Client, method, path string) string {
	t.Helper()
	req, err := http.NewRequest(method, "http://nginx"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return fmt.Sprint(method, " ", path, ": ", resp.StatusCode, " ", resp.ContentLength, " ", content(t, resp))
}

// content is a body, or its hash where it is long.
func content(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > 1000 {
		return fmt.Sprintf("%d bytes, %.8x", len(body), sha256.Sum256(body))
	}
	return string(body)
}

func TestAuditedRedis(t *testing.T) {
	need(t, "redis-server")
	twice(t, playRedis)
}

// playRedis reads and writes, saves from a forked child, and has another server
// read what was saved.
func playRedis(t *testing.T, place string, seen *tally) (answers []string) {
	args := redisServer(place, "--appendonly", "yes")
	s := serve(t, place, seen, args[0], args[1:]...)
	s.await(t, "eady to accept connections")
	r := newRedis(t, place)
	for _, c := range []string{
		"PING", "SET k v", "GET k", "GET none", "INCRBY n 41", "INCR n", "INCR k", "RPUSH l a b c d", "LRANGE l 1 2",
		"MULTI", "HSET h f 1", "APPEND k " + strings.Repeat("x", 9000), "EXEC", "STRLEN k", "NOTHING",
		`EVAL "local s = 0; for i = 1, 1000 do s = s + i end; return s" 0`, "BGSAVE",
	} {
		answers = append(answers, c+": "+r.ask(t, c))
	}
	for !strings.Contains(r.ask(t, "INFO persistence"), "rdb_bgsave_in_progress:0") {
		// Until the child has saved.
	}
	saved := regexp.MustCompile(`rdb_last_bgsave_status:\w+`).FindString(r.ask(t, "INFO persistence"))
	answers = append(answers, saved)
	fmt.Fprint(r.conn, "SHUTDOWN NOSAVE\r\n")
	answers = append(answers, s.end(regexp.MustCompile(` # |\* Background saving`))...)

	s = serve(t, place, nil, args[0], append(args[1:], "--appendonly", "no")...)
	s.await(t, "eady to accept connections")
	r = newRedis(t, place)
	for _, c := range []string{"DBSIZE", "GET n", "LRANGE l 0 -1", "STRLEN k", "HGETALL h"} {
		answers = append(answers, c+" saved: "+r.ask(t, c))
	}
	s.signal(syscall.SIGTERM)
	return append(answers, s.end(regexp.MustCompile("^$"))...)
}
