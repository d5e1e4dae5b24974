//go:build linux && amd64

package trace

import (
	"errors"
	"testing"

	"portcullis/internal/engine/agent/decide"
	"portcullis/internal/engine/agent/shadow"
	"portcullis/internal/prefilter"
)

// What is not sealed is in one place, as much as fits, and nowhere else.
func TestLow(t *testing.T) {
	for _, c := range []struct {
		from  uint64
		slots int
	}{{0x10000, 41}, {0x11000, 41}, {0x100000, 31}, {prefilter.SlotsEnd - page - shadow.SlotSize, 1}} {
		at, n, err := low(0, c.from)
		end := at + uint64(n)*shadow.SlotSize + page
		if err != nil || at != c.from || n != c.slots || end > prefilter.SlotsEnd {
			t.Errorf("from %#x: %d slots at %#x, %v: expected %d", c.from, n, at, err, c.slots)
		}
	}
	var room *RoomError
	for _, from := range []uint64{prefilter.SlotsEnd - shadow.SlotSize, prefilter.SlotsEnd - page, prefilter.SlotsEnd, 1 << 40} {
		if _, n, err := low(0, from); !errors.As(err, &room) {
			t.Errorf("from %#x: %d slots, %v: expected no room", from, n, err)
		}
	}
}

func TestLowestMapping(t *testing.T) {
	if at := lowestMapping(); at < 0x10000 || at%page != 0 {
		t.Errorf("%#x", at)
	}
}

// deciders that differ in what their prefilter guards.
type (
	careless struct{ *decide.Installation }
	careful  struct {
		careless
		guards bool
	}
)

func (c careful) SlotsGuarded() bool { return c.guards }

// Memory is put where it is guarded if anything guards it, and is sealed anywhere else.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		decider Decider
		low     bool
	}{{careless{}, false}, {careful{}, false}, {careful{guards: true}, true}} {
		tr := New(c.decider, Options{})
		at, n, err := tr.place(0)
		if err != nil || n == 0 || (at < prefilter.SlotsEnd) != c.low {
			t.Errorf("%+v: %d slots at %#x, %v", c.decider, n, at, err)
		}
		m, err := tr.memory(n)
		if err != nil {
			t.Fatal(err)
		}
		if m.Sealing() != shadow.Sealed && !c.low {
			t.Errorf("%+v: neither sealed nor guarded", c.decider)
		}
		m.Close()
		if _, more, err := tr.place(n); c.low != (err != nil) {
			t.Errorf("%+v: %d more slots than %d, %v", c.decider, more, n, err)
		}
	}
}
