package guest

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
)

// tailLines is how much of the console an error carries.
const tailLines = 30

// console follows what the kernel prints: it keeps the last lines, those that tell
// of a fault, and the first that may tell of one. Safe for concurrent use.
type console struct {
	mu      sync.Mutex
	tee     io.Writer // may be nil
	partial []byte
	last    []string
	faults  []string
	panic   string
	halt    string

	stamp, complaint, alarm *regexp.Regexp
}

// Write takes console output in any pieces. An error of the tee is not the guest's.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tee != nil {
		_, _ = c.tee.Write(p)
	}
	c.partial = append(c.partial, p...)
	for {
		i := bytes.IndexByte(c.partial, '\n')
		if i < 0 {
			return len(p), nil
		}
		c.line(string(c.partial[:i]))
		c.partial = c.partial[i+1:]
	}
}

// line files one line. The stamps "[    1.234567] " are left out of comparisons.
func (c *console) line(raw string) {
	s := strings.TrimRight(raw, "\r ")
	if s == "" {
		return
	}
	c.last = append(c.last, s)
	if len(c.last) > tailLines {
		c.last = c.last[1:]
	}
	text := c.stamp.ReplaceAllString(s, "")
	if c.panic == "" && strings.HasPrefix(text, "Kernel panic - not syncing") {
		c.panic = text
	}
	switch {
	case c.alarm.MatchString(text):
		c.halt = orElse(c.halt, text)
	case c.complaint.MatchString(text):
		c.faults = append(c.faults, text)
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// newConsole returns a console that copies to tee, which may be nil.
func newConsole(tee io.Writer) *console {
	return &console{
		tee:   tee,
		stamp: regexp.MustCompile(`^\[ *[0-9.]+\]( *\[ *[A-Z][0-9]+\])? `),
		// The first lines of the kernel's own reports.
		complaint: regexp.MustCompile(`^(WARNING: |BUG[: ]|\[ BUG: |kernel BUG at|Oops|general protection fault|UBSAN: |ODEBUG: |` +
			`DEBUG_LOCKS_WARN_ON|possible (recursive|circular) locking|suspicious RCU|INFO: trying to register non-static key|` +
			`list_(add|del) corruption|refcount_t: |kmemleak: [0-9]+ new )`),
		// Detectors of lockups and stalls, which under emulation on a busy host cry wolf: see docs/RATIONALE.md.
		alarm: regexp.MustCompile(`lockup|\bstall`),
	}
}

// tail returns the last lines, with an unfinished one.
func (c *console) tail() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := append([]string(nil), c.last...)
	if s := strings.TrimSpace(string(c.partial)); s != "" {
		lines = append(lines, s)
	}
	return lines
}

// panicked returns the line of the kernel's panic, or "".
func (c *console) panicked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.panic
}

// halted returns the first line of a detector of lockups and stalls, or "". It explains why a guest
// did not come to its end, and says nothing of one that did.
func (c *console) halted() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halt
}

// complaints returns the lines that tell of a fault of the kernel.
func (c *console) complaints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.faults...)
}
