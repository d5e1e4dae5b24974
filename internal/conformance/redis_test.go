package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

const redisSocket = "redis.sock"

// redisServer is the command that serves from a directory, and saves when it is told to.
func redisServer(dir string, more ...string) []string {
	return append([]string{
		"redis-server", "--port", "0", "--unixsocket", filepath.Join(dir, redisSocket), "--dir", dir,
		"--save", "", "--daemonize", "no",
	}, more...)
}

// redis speaks to a redis server.
type redis struct {
	conn net.Conn
	in   *bufio.Reader
}

func newRedis(t *testing.T, dir string) *redis {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(dir, redisSocket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &redis{conn, bufio.NewReader(conn)}
}

func (r *redis) ask(t *testing.T, line string) string {
	t.Helper()
	fmt.Fprintf(r.conn, "%s\r\n", line)
	reply, err := r.reply()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return reply
}

// expect asks, one after the other, and compares with the answer beside it.
func (r *redis) expect(t *testing.T, dialogue [][2]string) {
	t.Helper()
	for _, d := range dialogue {
		if got := r.ask(t, d[0]); got != d[1] {
			t.Errorf("%s: %q, expected %q", d[0], got, d[1])
		}
	}
}

// reply reads one reply of any kind.
func (r *redis) reply() (string, error) {
	line, err := r.in.ReadString('\n')
	if line = strings.TrimSpace(line); err != nil || line == "" {
		return line, err
	}
	n := 0
	fmt.Sscan(line[1:], &n)
	switch line[0] {
	case '$':
		if n < 0 {
			return "none", nil
		}
		data := make([]byte, n+2)
		_, err := io.ReadFull(r.in, data)
		return string(data[:n]), err
	case '*':
		var all []string
		for ; n > 0 && err == nil; n-- {
			var one string
			one, err = r.reply()
			all = append(all, one)
		}
		return fmt.Sprintf("%q", all), err
	}
	return line, nil
}
