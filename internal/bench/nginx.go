//go:build linux && amd64

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"portcullis"
	"portcullis/internal/bench/tables"
	"portcullis/internal/kit"
)

// seconds is how long one server is asked in each manner; connections is by how
// many at a time.
const (
	seconds     = 2
	connections = 16
)

// page is what is served: the size of a small static file.
var page = strings.Repeat("portcullis ", 56)

// way is how nginx is started; run returns what ends it.
type way struct {
	name string
	run  func(argv []string, log *os.File) (func() error, error)
}

// nginx compares requests per second of one worker that serves a small file,
// with connections that are kept and with one for each request.
func nginx(l *lab) error {
	if err := need(compiler, scmpH, webServer, webClient, pinner); err != nil {
		return err
	}
	b, err := l.newServing()
	if err != nil {
		return err
	}
	ways, err := l.ways()
	if err != nil {
		return err
	}
	kept, fresh := make([][]float64, len(ways)), make([][]float64, len(ways))
	for r := 0; r < (l.rounds+2)/3; r++ {
		for i := range ways {
			w := (i + r) % len(ways) // none profits from its place
			k, f, err := b.measure(ways[w])
			if err != nil {
				return fmt.Errorf("%s: %w", ways[w].name, err)
			}
			kept[w], fresh[w] = append(kept[w], k), append(fresh[w], f)
		}
	}
	l.rates("kept", ways, kept)
	l.rates("fresh", ways, fresh)
	return nil
}

func (l *lab) rates(manner string, ways []way, rates [][]float64) {
	for w, way := range ways {
		l.Row(manner+": "+way.name, perSecond(median(rates[w]), "requests"), tables.Times(median(ratios(rates[w], rates[0])), "no filter"))
	}
}

// ways are what is compared; the first is the measure of the others.
func (l *lab) ways() ([]way, error) {
	start, err := l.compile("start", "-static")
	if err != nil {
		return nil, err
	}
	exporter, err := l.exporter()
	if err != nil {
		return nil, err
	}
	inOrder, err := l.libseccomp(exporter, "rules", "chain")
	if err != nil {
		return nil, err
	}
	asTree, err := l.libseccomp(exporter, "rules", "tree")
	if err != nil {
		return nil, err
	}
	under := func(load func() (*portcullis.Filter, error)) func([]string, *os.File) (func() error, error) {
		return func(argv []string, log *os.File) (func() error, error) { return filtered(load, argv, log) }
	}
	return []way{
		{"no filter", plain},
		{"Portcullis, phases", under(func() (*portcullis.Filter, error) { return portcullis.Load("phases") })},
		{"Portcullis, 200 calls with rules", under(func() (*portcullis.Filter, error) { return l.load(allowObject + ":rules") })},
		{"libseccomp, default order", prefixed(start, inOrder)},
		{"libseccomp, tree", prefixed(start, asTree)},
		{"notifier asked every call", func(argv []string, log *os.File) (func() error, error) {
			cmd := exec.Command(start, append([]string{"-all"}, argv...)...)
			cmd.Stdout, cmd.Stderr = log, log
			return ender(cmd), notified(cmd)
		}},
	}, nil
}

func plain(argv []string, log *os.File) (func() error, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	return ender(cmd), cmd.Start()
}

// prefixed starts the server by another program.
func prefixed(prefix ...string) func([]string, *os.File) (func() error, error) {
	return func(argv []string, log *os.File) (func() error, error) {
		return plain(append(append([]string(nil), prefix...), argv...), log)
	}
}

// ender asks a server to finish and waits for it.
func ender(cmd *exec.Cmd) func() error {
	return func() error {
		return errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}
}

// filtered starts the server as portcullis run would.
func filtered(load func() (*portcullis.Filter, error), argv []string, log *os.File) (func() error, error) {
	f, err := load()
	if err != nil {
		return nil, err
	}
	cmd := portcullis.Command(argv[0], argv[1:]...)
	cmd.Filters, cmd.Engine, cmd.Stdout, cmd.Stderr = []*portcullis.Filter{f}, portcullis.Agent, log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
		<-cmd.Done()
		return err
	}, nil
}

// serving is where nginx serves from and what asks it.
type serving struct {
	nginx, wrk, taskset string
	dir                 string
}

func (l *lab) newServing() (*serving, error) {
	b := &serving{
		nginx: find(webServer), wrk: find(webClient), taskset: find(pinner), dir: filepath.Join(l.dir, "nginx"),
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, err
	}
	return b, os.WriteFile(filepath.Join(b.dir, "index.html"), []byte(page), 0o644)
}

// measure asks a server in both manners.
func (b *serving) measure(w way) (kept, fresh float64, err error) {
	err = b.serve(w, func(url string) (err error) {
		if kept, err = b.load(url); err != nil {
			return err
		}
		fresh, err = b.load(url, "-H", "Connection: close")
		return err
	})
	return kept, fresh, err
}

// serve starts a server, has it asked and stops it. It checks that the page is served before
// anything is measured: an error page would be served faster.
func (b *serving) serve(w way, ask func(url string) error) (err error) {
	port, err := kit.FreePort()
	if err != nil {
		return err
	}
	conf, err := b.configure(port)
	if err != nil {
		return err
	}
	log, logW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer log.Close()
	stop, err := w.run([]string{b.nginx, "-e", "stderr", "-c", conf}, logW)
	logW.Close()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := ready(log); err != nil {
		return err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	if err := fetch(url); err != nil {
		return err
	}
	return ask(url)
}

// configure describes one worker on the first processor that touches nothing
// outside the directory.
func (b *serving) configure(port int) (string, error) {
	text := fmt.Sprintf("daemon off; worker_processes 1; worker_cpu_affinity 1; pid %[1]s/pid; error_log stderr notice;\n"+
		"events { worker_connections 256; }\nhttp { access_log off; sendfile on; keepalive_requests 1000000000; %[2]s\n"+
		"server { listen 127.0.0.1:%[3]d; root %[1]s; } }\n", b.dir, kit.NginxTemps(b.dir), port)
	path := filepath.Join(b.dir, "nginx.conf")
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// ready reads the server's log until its worker runs, and keeps reading so that
// the server never waits for us.
func ready(log *os.File) error {
	var all []string
	for lines := bufio.NewScanner(log); lines.Scan(); {
		all = append(all, lines.Text())
		if strings.Contains(lines.Text(), "start worker process ") {
			go io.Copy(io.Discard, log) // ends with the server
			return nil
		}
	}
	return fmt.Errorf("nginx did not start: %s", strings.Join(all, "; "))
}

func fetch(url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(body) != page) {
		err = fmt.Errorf("got status %d and %d bytes, expected 200 and %d", resp.StatusCode, len(body), len(page))
	}
	return err
}

// load asks from the last processor, away from the worker.
func (b *serving) load(url string, flags ...string) (float64, error) {
	args := append([]string{
		"-c", strconv.Itoa(runtime.NumCPU() - 1), b.wrk, "-t1", fmt.Sprintf("-c%d", connections),
		fmt.Sprintf("-d%ds", seconds),
	}, flags...)
	out, err := output(exec.Command(b.taskset, append(args, url)...))
	if err != nil {
		return 0, err
	}
	if bytes.Contains(out, []byte("Non-2xx")) {
		return 0, fmt.Errorf("not every request was served: %s", out)
	}
	rate := regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`).FindSubmatch(out)
	if rate == nil {
		return 0, fmt.Errorf("wrk gave no rate: %s", out)
	}
	return strconv.ParseFloat(string(rate[1]), 64)
}
