package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// patience is how long a request may take; it is for what has come to a halt.
const patience = 5 * time.Minute

// shortPatience is how long one may take where not all come to an end.
const shortPatience = 20 * time.Second

// haste is how long one may take whose answer does not matter.
const haste = time.Second

// web asks a server by HTTP.
type web struct {
	s             *session
	base, address string
	client        *http.Client
}

// newWeb asks the server at an address, a Unix socket's if it begins with a slash.
func newWeb(s *session, scheme, address string) *web {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	t := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: s.rand.Intn(2) == 0}
	wait := patience
	if s.varied { // children die, and take requests with them
		wait = shortPatience
	}
	t.ForceAttemptHTTP2 = s.drawn("1", "2") == "2" // where the server has it
	return &web{s: s, base: scheme + "://server", address: address, client: &http.Client{
		Transport: t, Timeout: wait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// serverError is an answer by which a server says that it cannot.
type serverError string

func (e serverError) Error() string { return string(e) }

// close ends connections that were kept: an orderly end of a server waits for them.
func (w *web) close() { w.client.CloseIdleConnections() }

// ask makes a request, whose answer has to have a status, 0 for any. Headers are "Key: value".
func (w *web) ask(status int, method, path, body string, headers ...string) (string, error) {
	req, err := http.NewRequest(method, w.base+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if status == 0 { // nobody waits for it
		soon, cancel := context.WithTimeout(context.Background(), haste)
		defer cancel()
		req = req.WithContext(soon)
	}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		req.Header.Set(key, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && status != 0 && resp.StatusCode != status && resp.StatusCode >= 500 {
		return string(text), serverError(fmt.Sprintf("%s %s: expected status %d, found %d: %.200s", method, path, status, resp.StatusCode, text))
	}
	if err == nil && status != 0 && resp.StatusCode != status {
		err = fmt.Errorf("%s %s: expected status %d, found %d: %.200s", method, path, status, resp.StatusCode, text)
	}
	return string(text), err
}

// want is a step that makes a request for what has to contain a text.
func (w *web) want(status int, text, method, path, body string, headers ...string) step {
	return step{method + " " + path, func() error {
		got, err := w.ask(status, method, path, body, headers...)
		if w.s.varied && (err != nil && isReset(err) || errors.As(err, new(serverError))) {
			return nil // it does not want the body, or has lost a child
		}
		if err == nil && !strings.Contains(got, text) {
			err = fmt.Errorf("expected %.40q in the answer, found %.200q", text, got)
		}
		return err
	}}
}

// talk sends bytes to an address and no more, and reads up to the end of the answer, whatever
// it is.
func talk(network, address, text string) (string, error) {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // who has closed the other half has answered
	}
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 && !isReset(err) {
		return "", err
	}
	return string(answer), nil
}
