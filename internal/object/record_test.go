package object_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"portcullis/internal/prog"
)

func TestRecords(t *testing.T) {
	maps := map[string]*prog.Map{}
	for _, m := range read(t, "records.o")[0].Maps {
		maps[m.Name] = m
	}
	typed, untyped := maps["typed"], maps["untyped"]
	if untyped.Record != nil || typed.ValueSize != 0 || untyped.ValueSize != 0 || typed.MaxEntries != 4096 {
		t.Errorf("maps %+v, %+v", typed, untyped)
	}
	want := &prog.Record{Name: "opened", Size: 96, Fields: []prog.Var{
		{Name: "time", Offset: 0, Size: 8, Kind: prog.VarUnsigned, Count: 1},
		{Name: "what", Offset: 8, Size: 4, Kind: prog.VarUnsigned, Count: 1},
		{Name: "first", Offset: 12, Size: 1, Kind: prog.VarBool, Count: 1},
		{Name: "level", Offset: 13, Size: 1, Kind: prog.VarSigned, Count: 1},
		{Name: "place.dev", Offset: 16, Size: 4, Kind: prog.VarUnsigned, Count: 1},
		{Name: "place.ino", Offset: 24, Size: 8, Kind: prog.VarUnsigned, Count: 1},
		{Name: "flags", Offset: 32, Size: 4, Kind: prog.VarUnsigned, Count: 1},
		{Name: "halves", Offset: 32, Size: 2, Kind: prog.VarUnsigned, Count: 2},
		{Name: "digest", Offset: 37, Size: 1, Kind: prog.VarUnsigned, Count: 4},
		{Name: "others", Offset: 48, Size: 32, Kind: prog.VarOther, Count: 1},
		{Name: "comm", Offset: 80, Size: 1, Kind: prog.VarChar, Count: 16},
		{Name: "path", Offset: 96, Size: 1, Kind: prog.VarChar, Count: 0},
	}}
	if d := cmp.Diff(want, typed.Record); d != "" {
		t.Error(d)
	}
}
