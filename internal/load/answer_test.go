package load

import (
	"bufio"
	"errors"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
)

// TestRedisAnswers reads what a server says, which may be anything: nothing is as large as it says
// before it is there.
func TestRedisAnswers(t *testing.T) {
	for _, c := range []struct{ sent, want, err string }{
		{"+OK\r\nmore", "+OK\r\n", ""},
		{":99999999999\r\n", ":99999999999\r\n", ""},
		{"$-1\r\n+", "$-1\r\n", ""},
		{"*-1\r\n+", "*-1\r\n", ""},
		{"*0\r\n+", "*0\r\n", ""},
		{"$3\r\na\nb\r\n+", "$3\r\na\nb\r\n", ""},
		{"*2\r\n*1\r\n:1\r\n$0\r\n\r\n+", "*2\r\n*1\r\n:1\r\n$0\r\n\r\n", ""},
		{"-ERR no\r\n", "-ERR no\r\n", ""},
		{"\n", "\n", ""},
		{"$5\r\nab", "", "EOF"},
		{"*2\r\n+a\r\n", "", "EOF"},
		{"$x\r\n", "", "expected a length"},
		{"$9223372036854775807\r\n", "", "at most"},
		{"*9223372036854775807\r\n", "", "at most"},
		{strings.Repeat("*16000000\r\n", maxAnswer/11+1), "", "at most"},
		{strings.Repeat("x", 1<<17), "", bufio.ErrBufferFull.Error()},
	} {
		client := &redisClient{answers: bufio.NewReaderSize(strings.NewReader(c.sent), 1<<16)}
		got, err := client.answer()
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.40q: found %.40q, %v: expected %q, %q", c.sent, got, err, c.want, c.err)
		}
	}
}

// asking asks a server that answers as it is told.
func asking(t *testing.T, answer http.HandlerFunc) (*web, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	w := newWeb(&session{rand: rand.New(rand.NewSource(1)), varied: true}, "http", server.Listener.Addr().String())
	t.Cleanup(w.close)
	return w, server
}

// TestStatus tells answers that were not to be expected.
func TestStatus(t *testing.T) {
	w, _ := asking(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(len(r.URL.Path)) })
	for found, can := range map[int]bool{404: true, 503: false} {
		_, err := w.ask(200, "GET", "/"+strings.Repeat("x", found-1), "")
		if !errors.As(err, new(*statusError)) || cannot(err) == can {
			t.Errorf("%d: found %.99v: expected that the server can: %v", found, err, can)
		}
	}
}

// TestLongAnswer has an end to what is taken.
func TestLongAnswer(t *testing.T) {
	text, err := readAnswer(endless{})
	if err == nil || len(text) > maxAnswer+1 {
		t.Errorf("%d bytes, %v: expected an error", len(text), err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestCrowdOfNone expects answers, of any kind, of a server that is there, and none of one that is gone.
func TestCrowdOfNone(t *testing.T) {
	w, server := asking(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	steps := func() map[string]error {
		paths := []string{"/a", "/b"}
		all := map[string]error{"a crowd": w.crowd(2, 2, paths)}
		for _, one := range w.crowds(paths...) {
			if err := one.do(); err != nil || all[one.name] == nil {
				all[one.name] = err
			}
		}
		return all
	}
	for name, err := range steps() {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	server.Close()
	for name, err := range steps() {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s of a server that is gone: found %v", name, err)
		}
	}
}

// TestGaveUp tells a git that has tried from one that has not.
func TestGaveUp(t *testing.T) {
	for script, tried := range map[string]bool{"exit 128": true, "exit 1": false, "kill -KILL $$": false, ":": false} {
		if err := gaveUp(shell(t, script).end()); (err == nil) != tried {
			t.Errorf("%s: %v: expected that it tried: %v", script, err, tried)
		}
	}
	if gaveUp(io.EOF) == nil {
		t.Error("expected an error of what is no end")
	}
}
