package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"portcullis/internal/kit"
)

// drawn is the first of some words, or any of them where the load is varied.
func (s *session) drawn(words ...string) string {
	if !s.varied {
		return words[0]
	}
	return s.either(words...)
}

// extra is some of the lines where the load is varied, else nothing.
func (s *session) extra(lines ...string) (text string) {
	for _, line := range lines {
		if s.varied && s.rand.Intn(3) == 0 {
			text += line + "\n"
		}
	}
	return text
}

// rounds makes some of the steps, several times where the load is varied, with those of more
// among them.
func (s *session) rounds(steps, more []step) error {
	n := 1
	if s.varied {
		n, steps = 1+s.rand.Intn(2), append(append([]step(nil), steps...), more...)
	}
	for ; n > 0; n-- {
		if err := s.some(steps...); err != nil {
			return err
		}
	}
	return nil
}

// together does the same in n goroutines, each with its number.
func together(n int, do func(i int) error) error {
	all := make([]error, n)
	var each sync.WaitGroup
	for i := 0; i < n; i++ {
		each.Add(1)
		go func(i int) { defer each.Done(); all[i] = do(i) }(i)
	}
	each.Wait()
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// crowds are steps of requests that come together, break off and dawdle, for what is at the paths.
func (w *web) crowds(paths ...string) []step {
	n, each := 2+w.s.rand.Intn(8), 3+w.s.rand.Intn(20)
	return []step{
		{"crowd", func() error { return w.crowd(n, each, paths) }},
		w.outlived("break off", func() error { return w.breakOff(paths) }),
		w.outlived("dawdle", func() error { return w.dawdle(paths[0]) }),
		w.outlived("one after the other", func() error { return w.pipeline(n, paths) }),
		w.any("OPTIONS", "/"), w.any("TRACE", "/"), w.any("FROB", "/index.html"), w.any("DELETE", "/none"),
		w.any("GET", "/"+strings.Repeat("long/", 200+w.s.rand.Intn(3000))),
		w.any("GET", "/large", "Range: bytes=0-10,20-30,-5"), w.any("GET", "/large", "Range: bytes=99999999-"),
		w.any("GET", "/index.html", "X-Large: "+strings.Repeat("x", 100+w.s.rand.Intn(20000))),
		w.any("GET", "/index.html", "Authorization: Basic YTpi"), w.any("GET", "/../../etc/passwd"),
	}
}

// any is a step of a request with any answer, or none, which the server outlives.
func (w *web) any(method, path string, headers ...string) step {
	return w.outlived(method, func() error { _ = w.hurry(method, path, headers...); return nil })
}

// outlived is a step behind which the server still answers.
func (w *web) outlived(name string, do func() error) step {
	return step{name, func() error { return first(do, func() error { return w.alive("/") }) }}
}

// crowd makes requests by n clients at the same time. Who serves may close connections
// meanwhile, and refuse more than it can take, but not refuse one client everything.
func (w *web) crowd(n, each int, paths []string) error {
	return together(n, func(i int) error {
		answers := 0
		for k := 0; k < each; k++ {
			if w.hurry("GET", paths[(i+k)%len(paths)]) == nil {
				answers++
			}
		}
		if answers == 0 { // in a hurry
			return w.alive("/")
		}
		return nil
	})
}

// raw opens a connection for what is no request, or half of one; not where there is TLS.
func (w *web) raw(do func(net.Conn) error) error {
	network := "tcp"
	if strings.HasPrefix(w.address, "/") {
		network = "unix"
	}
	c, err := net.DialTimeout(network, w.address, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(haste)); err != nil {
		return err
	}
	_ = do(c) // the server may have had enough
	return nil
}

// breakOff asks, and is gone before the answer is whole, with and without a reset.
func (w *web) breakOff(paths []string) error {
	for i, path := range paths {
		if err := w.raw(func(c net.Conn) error {
			if tcp, ok := c.(*net.TCPConn); ok && i%2 == 0 {
				_ = tcp.SetLinger(0)
			}
			_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: server\r\n\r\n", path)
			if err == nil && i%3 != 0 {
				_, err = io.ReadFull(c, make([]byte, 100))
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// dawdle sends a request by parts, with a body by chunks.
func (w *web) dawdle(path string) error {
	return w.raw(func(c net.Conn) error {
		for _, part := range []string{
			"POST ", path, " HTTP/1.1\r\nHost: ser", "ver\r\nExpect: 100-continue\r\nTransfer-Encoding: chun", "ked\r\nConnection: close\r\n\r\n",
			"5\r\nhel", "lo\r\n", "0\r\n\r\n",
		} {
			if _, err := io.WriteString(c, part); err != nil {
				return err
			}
		}
		_, err := io.Copy(io.Discard, c)
		return err
	})
}

// pipeline sends all requests before it reads an answer.
func (w *web) pipeline(n int, paths []string) error {
	return w.raw(func(c net.Conn) error {
		text := ""
		for i := 0; i < n; i++ {
			text += fmt.Sprintf("GET %s HTTP/1.1\r\nHost: server\r\n\r\n", paths[i%len(paths)])
		}
		if _, err := io.WriteString(c, text+"GET / HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, bufio.NewReader(c))
		return err
	})
}

// child is the number of a process that the server has made, any of them.
func (s *session) child() (int, error) {
	all, err := childrenOf(s.process.Pid())
	if err != nil {
		return 0, err
	}
	if len(all) == 0 {
		return 0, fmt.Errorf("process %d: expected children", s.process.Pid())
	}
	return all[s.rand.Intn(len(all))], nil
}

// childrenOf are the processes that the first thread of a process has made and that are there;
// none of one that is gone.
func childrenOf(parent int) (pids []int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", parent))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// loss is a step in which a child of the server dies, and who looks after it makes another.
func (s *session) loss() step {
	return step{"a loss", func() error {
		pid, err := s.child()
		if err != nil {
			return err
		}
		return killChild(pid, s.process.Pid())
	}}
}

// killChild kills a process if it is the child of a parent. By now another may have its number,
// so it is held (by a pidfd, from Go 1.23 on) before it is looked at.
func killChild(pid, parent int) error {
	held, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = held.Release() }()
	if now, err := parentOf(pid); err != nil || now != parent {
		return nil // it is gone, as it was to be
	}
	if err := held.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// parentOf is the number of a process' parent.
func parentOf(pid int) (int, error) {
	words, err := kit.Stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(words[kit.StatParent])
}
