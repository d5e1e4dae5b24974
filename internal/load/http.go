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

// maxAnswer is how much is taken of an answer, in bytes: none of a load is as long.
const maxAnswer = 16 << 20

// statusError is an answer that was not to be expected.
type statusError struct {
	request     string
	want, found int
	text        string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: expected status %d, found %d: %.200s", e.request, e.want, e.found, e.text)
}

// close ends connections that were kept: an orderly end of a server waits for them.
func (w *web) close() { w.client.CloseIdleConnections() }

// send makes a request. Headers are "Key: value".
func (w *web) send(ctx context.Context, method, path, body string, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	// A server that is told to reload may end a kept connection just when it is used again: ask
	// once more by another, whatever the method. An empty list is not sent.
	req.Header["Idempotency-Key"] = []string{}
	for _, h := range headers {
		key, value, _ := strings.Cut(h, ": ")
		req.Header.Set(key, value)
	}
	return w.client.Do(req)
}

// ask makes a request, whose answer has to have a status; another is a *statusError.
func (w *web) ask(status int, method, path, body string, headers ...string) (string, error) {
	resp, err := w.send(context.Background(), method, path, body, headers...)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := readAnswer(resp.Body)
	if err == nil && resp.StatusCode != status {
		err = &statusError{method + " " + path, status, resp.StatusCode, text}
	}
	return text, err
}

// hurry makes a request that may have any answer, for which nobody waits long: that it comes
// whole does not matter, but without the beginning of one there is an error.
func (w *web) hurry(method, path string, headers ...string) error {
	soon, cancel := context.WithTimeout(context.Background(), haste)
	defer cancel()
	resp, err := w.send(soon, method, path, "", headers...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = readAnswer(resp.Body)
	return nil
}

// alive is an error unless the server answers, whatever it says.
func (w *web) alive(path string) error {
	resp, err := w.send(context.Background(), "HEAD", path, "")
	if err != nil && isReset(err) {
		return nil // it has lost a child
	}
	if err != nil {
		return fmt.Errorf("expected the server to go on: %w", err)
	}
	return resp.Body.Close()
}

// readAnswer is all there is to an answer, which has to have an end.
func readAnswer(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("expected at most %d bytes of an answer, found more", maxAnswer)
	}
	return string(text), err
}

// want is a step that makes a request for what has to contain a text.
func (w *web) want(status int, text, method, path, body string, headers ...string) step {
	return step{method + " " + path, func() error {
		got, err := w.ask(status, method, path, body, headers...)
		if w.s.varied && err != nil && (isReset(err) || cannot(err)) {
			return nil // it does not want the body, or has lost a child
		}
		if err == nil && !strings.Contains(got, text) {
			err = fmt.Errorf("expected %.40q in the answer, found %.200q", text, got)
		}
		return err
	}}
}

// cannot tells whether a server says that it cannot do what it was asked for.
func cannot(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.found >= 500
}

// dial connects to what is used for as long as there is patience.
func dial(network, address string) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// talk sends bytes to an address and no more, and reads up to the end of the answer, whatever
// it is.
func talk(network, address, text string) (string, error) {
	c, err := dial(network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // who has closed the other half has answered
	}
	answer, err := readAnswer(c)
	if err != nil && answer == "" && !isReset(err) {
		return "", err
	}
	return answer, nil
}
