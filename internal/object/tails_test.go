package object_test

import (
	"testing"

	"portcullis/internal/prog"
)

func TestTails(t *testing.T) {
	programs := map[string]*prog.Program{}
	for _, p := range read(t, "tails.o") {
		programs[p.Name] = p
	}
	for _, m := range programs["filter"].Maps {
		if m.Type != prog.ProgArray || m.KeySize != 4 || m.ValueSize != 4 {
			t.Errorf("map %s: type %s, key %d, value %d", m.Name, m.Type, m.KeySize, m.ValueSize)
		}
		for i, want := range map[string][]*prog.Program{
			"array": {nil, nil, programs["filter"], nil, nil, programs["first"], nil, nil, nil},
			"empty": {nil},
		}[m.Name] {
			if got := m.Tail(uint32(i)); got != want {
				t.Errorf("map %s, index %d: %v, want %v", m.Name, i, got, want)
			}
		}
	}
	if len(programs["filter"].Maps) != 2 {
		t.Errorf("%d maps: want 2", len(programs["filter"].Maps))
	}
}
