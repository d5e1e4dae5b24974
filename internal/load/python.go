package load

import (
	_ "embed" // for the server that is played
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"
)

//go:embed server.py
var serverPy string

func python() Program {
	return Program{Name: "python", Command: "python3", Package: "python3", play: playPython, intrude: intrudePython}
}

// startPython starts a server of HTTP in Python.
func startPython(s *session) (*web, string, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, "", err
	}
	err = first(
		func() error { return s.write("server.py", serverPy) },
		func() error { return s.run("server.py", ports[0]) },
		func() error { return s.await("serving") },
	)
	return newWeb(s, "http", "127.0.0.1:"+ports[0]), ports[1], err
}

//go:embed drawn.py
var drawnPy string

// playDrawn runs a program that draws what it does from a seed, and then serves once.
func playDrawn(s *session) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	return first(
		func() error { return s.write("drawn.py", drawnPy) },
		func() error {
			return s.run(s.either("-B", "-u", "-O", "-I", "-s"), "drawn.py", fmt.Sprint(s.rand.Int63()), ports[0])
		},
		func() error { return s.await("serving") },
		func() error {
			_, err := talk("tcp", "127.0.0.1:"+ports[0], "GET / HTTP/1.0\r\n\r\n")
			return err
		},
		func() error { return s.await("done") },
		s.end,
	)
}

func playPython(s *session) error {
	if s.varied && s.rand.Intn(3) > 0 {
		return playDrawn(s)
	}
	w, closed, err := startPython(s)
	if err != nil {
		return err
	}
	defer w.close()
	more := w.crowds("/list", "/hash?text=a", "/store?text=b", "/pool?n=9", "/zip?text=c", "/missing", "/fail")
	return first(
		func() error { return s.rounds(pythonSteps(s, w, closed), more) },
		func() error { return s.rounds(pythonSteps(s, w, closed), more) },
		func() error { w.close(); return nil },
		func() error { return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[s.rand.Intn(2)]) },
	)
}

func pythonSteps(s *session, w *web, closed string) []step {
	text := "?text=" + url.QueryEscape(s.text(1, 2000))
	return []step{
		w.want(200, "server.py", "GET", "/list", ""),
		w.want(200, "", "GET", "/hash"+text, ""),
		w.want(200, "", "GET", "/store"+text, ""),
		w.want(200, "", "POST", "/write", url.QueryEscape(s.text(1, 100000))),
		w.want(200, "", "GET", "/zip"+text, ""),
		w.want(200, "", "GET", fmt.Sprint("/pool?n=", s.rand.Intn(10000)), ""),
		w.want(200, "127.0.0.1", "GET", "/resolve", ""),
		w.want(200, "Refused", "GET", "/ask?port="+closed, ""),
		w.want(200, "1970", "GET", "/import", ""),
		w.want(500, "", "GET", "/fail"+text, ""),
		w.want(200, "hello", "GET", "/greet", ""),
		w.want(404, "", "GET", "/missing", ""),
		w.want(501, "", "PUT", "/list", ""),
		{"garbage", func() error { return garbage(w.address) }},
	}
}

// intrudePython uses the hole in the server: a shell writes a file.
func intrudePython(s *session) (bool, error) {
	w, _, err := startPython(s)
	if err != nil {
		return false, err
	}
	defer w.close()
	if _, err := w.ask(200, "GET", "/greet?name="+url.QueryEscape("you, $(id -un)"), ""); err != nil {
		return false, err
	}
	w.close()
	text, err := os.ReadFile(s.file("greeting"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	return strings.Contains(string(text), "hello"), s.stop(syscall.SIGTERM)
}
