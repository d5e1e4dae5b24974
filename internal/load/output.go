package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// maxLines is how many lines are kept, for who waits for one and for a message, and maxLine
// how much of each in bytes.
const (
	maxLines = 1000
	maxLine  = 4096
)

// output is what a program says: its last lines, and the text that is waited for.
type output struct {
	mu     sync.Mutex
	lines  []string // the last ones
	unseen int      // how many of those nobody has looked at
	wanted *wanted
	ended  chan struct{} // closed when nobody is left who could say something
}

// wanted is a text that somebody waits for.
type wanted struct {
	text string
	said chan struct{}
}

// read takes all that is said, to its end: who is not listened to comes to a halt. What is
// behind the first part of a long line is left out.
func (o *output) read(r io.Reader) {
	defer close(o.ended)
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, more, err := lines.ReadLine()
		if err == nil {
			o.note(string(line))
		}
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				o.note(fmt.Sprintf("(reading what it says: %v)", err))
			}
			return
		}
	}
}

func (o *output) note(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
	o.lines = o.lines[max(0, len(o.lines)-maxLines):]
	o.unseen = min(o.unseen+1, len(o.lines))
	o.look()
}

// look goes through what nobody has looked at, up to what is wanted.
func (o *output) look() {
	for ; o.wanted != nil && o.unseen > 0; o.unseen-- {
		if strings.Contains(o.lines[len(o.lines)-o.unseen], o.wanted.text) {
			close(o.wanted.said)
			o.wanted = nil
		}
	}
}

// want waits for a text behind the one that was last waited for.
func (o *output) want(text string) *wanted {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wanted = &wanted{text, make(chan struct{})}
	w := o.wanted
	o.look()
	return w
}

// expect waits for a text that is said from now on. Who wants an answer expects it before
// it asks: what was said before could be the answer to something else.
func (o *output) expect(text string) *wanted {
	o.mu.Lock()
	o.unseen = 0
	o.mu.Unlock()
	return o.want(text)
}

// has tells whether a text is in what is kept.
func (o *output) has(text string) bool { return strings.Contains(o.last(maxLines), text) }

// last is the last n lines.
func (o *output) last(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines[max(0, len(o.lines)-n):], "\n")
}
