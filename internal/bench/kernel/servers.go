//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"portcullis"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/bench/tables"
	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// server is one whose requests are measured.
type server struct {
	name, manner string
	// argv is its command line; what it needs lies in dir.
	argv func(dir string, port int) ([]string, error)
	// searched are the calls of a request, for filters that look at all of them.
	searched []string
}

// servers are both asked over one connection that is kept.
func servers() []server {
	return []server{
		{"nginx", "http", nginx, []string{"recvfrom", "writev", "sendfile", "epoll_wait", "setsockopt", "openat", "fstat", "newfstatat", "close"}},
		{"redis", "redis", redis, []string{"read", "write", "epoll_wait", "getpid"}},
	}
}

// page is what is served.
const page = "portcullis\n"

// nginx is one process that serves a small file.
func nginx(dir string, port int) ([]string, error) {
	text := fmt.Sprintf("daemon off; worker_processes 1; pid %[1]s/pid; error_log stderr crit;\n"+
		"events { worker_connections 64; }\nhttp { access_log off; sendfile on; keepalive_requests 1000000000; %[2]s\n"+
		"server { listen 127.0.0.1:%[3]d; root %[1]s; } }\n", dir, kit.NginxTemps(dir), port)
	conf := filepath.Join(dir, "nginx.conf")
	err := errors.Join(os.WriteFile(conf, []byte(text), 0o644), os.WriteFile(filepath.Join(dir, "index.html"), []byte(page), 0o644))
	return []string{"/usr/sbin/nginx", "-e", "stderr", "-c", conf}, err
}

// redis keeps nothing on disk.
func redis(dir string, port int) ([]string, error) {
	return []string{
		"/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--dir", dir, "--loglevel", "warning",
	}, nil
}

// The ways that servers are started. What libseccomp makes of the rules is written by
// the program of bench's seccomp.c, told "rules chain".
const (
	rulesFile      = "rules.bpf" // libseccomp's program
	allowFile      = "allow.o"   // the same policy
	served         = "no filter"
	servedClassic  = "cBPF, 200 calls with rules, libseccomp's order"
	servedRules    = "eBPF, 200 calls with rules"
	servedPhases   = "eBPF, phases"
	servedSearch   = "eBPF, 256 rules searched, nothing remembered"
	servedCache    = "eBPF, 256 rules searched, and remembered"
	servedAgent    = "agent, phases"
	servedNotifier = "C notifier asked every call"
)

// serving are the ways, in the order of the report.
func serving() []string {
	return []string{
		served, servedClassic, servedRules, servedPhases, servedSearch, servedCache, servedAgent, servedNotifier,
	}
}

// under is a way for a server; the key that it has among the ways names both.
func (s server) under() map[string]way {
	filtered := func(engine portcullis.Engine, spec string, set ...string) way {
		return func(o *order) (float64, error) {
			return s.measure(o, func(argv []string) (func(), error) { return o.startFiltered(engine, spec, set, argv) })
		}
	}
	rival := func(words ...string) way {
		return func(o *order) (float64, error) {
			return s.measure(o, func(argv []string) (func(), error) { return o.startPlain(words, argv) })
		}
	}
	found := searched(s.searched...)
	return map[string]way{
		s.key(served):         rival(),
		s.key(servedClassic):  rival(serveFile, rulesFile),
		s.key(servedNotifier): rival(serveFile, "notifier"),
		s.key(servedRules):    filtered(portcullis.Kernel, "/"+allowFile+":rules"),
		s.key(servedPhases):   filtered(portcullis.Kernel, "phases"),
		s.key(servedAgent):    filtered(portcullis.Agent, "phases"),
		s.key(servedCache):    filtered(portcullis.Kernel, "cache", found...),
		s.key(servedSearch):   filtered(portcullis.Kernel, "cache", append(found, "remember", "false")...),
	}
}

func (s server) key(way string) string { return s.name + ": " + way }

// searched has the built-in filter cache find calls at the end of its list, whatever
// their arguments but for the sign: what no argument matters to is not searched for.
func searched(calls ...string) []string {
	const entries, ignored = 256, "0x7fffffffffffffff"
	lists := map[string][]string{}
	for i := 0; i < entries; i++ {
		call, ignore := "1023", "0"
		if last := i - (entries - len(calls)); last >= 0 {
			nr, _ := syscalls.Number(calls[last])
			call, ignore = strconv.Itoa(int(nr)), ignored
		}
		lists["call"] = append(lists["call"], call)
		for _, of := range []string{"arg0", "arg1", "arg2"} {
			lists[of] = append(lists[of], "0")
		}
		for _, of := range []string{"ignore0", "ignore1", "ignore2"} {
			lists[of] = append(lists[of], ignore)
		}
	}
	set := []string{"calls", strings.Join(calls, ",")}
	for _, name := range []string{"call", "arg0", "arg1", "arg2", "ignore0", "ignore1", "ignore2"} {
		set = append(set, name, strings.Join(lists[name], ","))
	}
	return set
}

// measure starts the server, asks it and ends it.
func (s server) measure(o *order, start func(argv []string) (func(), error)) (float64, error) {
	dir, err := os.MkdirTemp("", s.name)
	if err != nil {
		return 0, err
	}
	port, err := kit.FreePort()
	if err != nil {
		return 0, err
	}
	argv, err := s.argv(dir, port)
	if err != nil {
		return 0, err
	}
	end, err := start(argv)
	if err != nil {
		return 0, err
	}
	defer end()
	cmd := exec.Command(filepath.Join(o.Dir, askFile), strconv.Itoa(port), s.manner, strconv.Itoa(o.Calls), strconv.Itoa(o.Rounds))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return 0, &unservedError{strings.TrimSpace(complaint.String())}
	}
	return figureOf(out, nil)
}

// unservedError says that a server does not serve under a filter: a policy may be for
// another one.
type unservedError struct{ why string }

func (e *unservedError) Error() string { return "does not serve: " + e.why }

// startPlain starts a server behind words, of which files are the lab's.
func (o *order) startPlain(words, argv []string) (func(), error) {
	var all []string
	for _, w := range words {
		if w == serveFile || w == rulesFile {
			w = filepath.Join(o.Dir, w)
		}
		all = append(all, w)
	}
	all = append(all, argv...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}, nil
}

// startFiltered starts a server as the command would.
func (o *order) startFiltered(engine portcullis.Engine, spec string, set, argv []string) (func(), error) {
	f, err := o.filter(spec, set)
	if err != nil {
		return nil, err
	}
	cmd := portcullis.Command(argv[0], argv[1:]...)
	cmd.Filters, cmd.Engine, cmd.Stderr = []*portcullis.Filter{f}, engine, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		<-cmd.Done()
	}, nil
}

// serve makes the table of servers.
func (l *lab) serve(r *report) error {
	for _, s := range servers() {
		argv, err := s.argv(l.dir, 0)
		if err != nil {
			return err
		}
		if _, err := os.Stat(argv[0]); err != nil {
			r.Begin(s.name)
			r.Note("skipped", "needs "+argv[0])
			continue
		}
		var keys []string
		for _, w := range serving() {
			keys = append(keys, s.key(w))
		}
		got, err := l.measure(guest.Config{Clock: guest.Counted}, requests(l.options), keys)
		if err != nil {
			return err
		}
		r.Begin(s.name)
		for _, w := range serving() {
			g, bare := got[s.key(w)], got[s.key(served)].Value
			if g.Lacking != "" {
				r.Note(w, g.Lacking)
				continue
			}
			r.Row(w, tables.Value(g.Value, 0, "instructions/request"), tables.Value(1e9/g.Value, 0, "requests/s at 1 per ns"), tables.Value(bare/g.Value, 3, "x "+served))
		}
		r.gain(s, got)
	}
	return nil
}

// gain is what the cache gives, and what eBPF gives over the classic program and the
// notifier, in requests per second.
func (r *report) gain(s server, got results) {
	for _, c := range [][2]string{{servedCache, servedSearch}, {servedRules, servedClassic}, {servedPhases, servedNotifier}, {servedPhases, servedAgent}} {
		a, b := got[s.key(c[0])], got[s.key(c[1])]
		if why := a.Lacking + b.Lacking; why == "" {
			r.Row("requests per second: "+c[0], tables.Value(b.Value/a.Value, 3, "x "+c[1]))
		}
	}
}
