package policy

import (
	"portcullis/internal/policy/symbol"
)

type (
	pattern  struct{ text string }
	endpoint struct{ text string }
)

func (t *test) path(c *Condition, nr uint32, a symbol.Argument) error {
	return wrong(c.Pos, "", "todo")
}

func (t *test) address(c *Condition, nr uint32, a symbol.Argument) error {
	return wrong(c.Pos, "", "todo")
}

func (t *test) argument(c *Condition, a symbol.Argument) error { return wrong(c.Pos, "", "todo") }

func (t *test) text(c *Condition, a symbol.Argument) error         { return wrong(c.Pos, "", "todo") }
func (c *compiler) path(t *test, to exits, in registers) registers { return in }
func (c *compiler) memory(t *test, to exits)                       {}
func (c *compiler) checkLinks() error                              { return nil }
