package helper

import "testing"

func TestTableIsOrderedAndComplete(t *testing.T) {
	last := ID(0)
	for _, s := range All() {
		if s.ID <= last {
			t.Errorf("%s: id %d after %d: expected ascending ids", s.Name, s.ID, last)
		}
		last = s.ID
		if s.Name == "" || s.Doc == "" {
			t.Errorf("helper %d lacks a name or a line of documentation", s.ID)
		}
		if got, ok := Lookup(s.ID); !ok || got.Name != s.Name {
			t.Errorf("Lookup(%d) does not find %s", s.ID, s.Name)
		}
		checkArgs(t, s)
	}
}

func checkArgs(t *testing.T, s Signature) {
	hasMap := false
	for i, a := range s.Args {
		if i > 0 && a != None && s.Args[i-1] == None {
			t.Errorf("%s: argument %d follows a gap", s.Name, i+1)
		}
		if a == MemRead || a == MemWrite {
			if next := s.Args[i+1]; next != Size && next != SizeOrZero {
				t.Errorf("%s: argument %d is memory without a size after it", s.Name, i+1)
			}
		}
		hasMap = hasMap || a == ConstMap
	}
	if hasMap != (s.Maps != nil) {
		t.Errorf("%s: a map argument and a list of map types go together", s.Name)
	}
}

func TestLookupUnknown(t *testing.T) {
	if s, ok := Lookup(211); ok {
		t.Errorf("Lookup(211) found %s: 211 is the kernel's last helper and not ours", s.Name)
	}
}
