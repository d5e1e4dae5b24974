package prog

import (
	"errors"
	"strings"
	"testing"
)

// variables is a program with one variable of each sort, all zero.
func variables() []*Program {
	m := &Map{Name: ".rodata", Type: Array, Frozen: true, Contents: make([]byte, 256), ValueSize: 256}
	at := 0
	add := func(name string, kind VarKind, size, count int) {
		m.Vars = append(m.Vars, Var{Name: name, Offset: at, Size: size, Kind: kind, Count: count, Const: true})
		at += size * count
	}
	add("u8", VarUnsigned, 1, 1)
	add("u16", VarUnsigned, 2, 1)
	add("u32", VarUnsigned, 4, 1)
	add("u64", VarUnsigned, 8, 1)
	add("s8", VarSigned, 1, 1)
	add("s16", VarSigned, 2, 1)
	add("s32", VarSigned, 4, 1)
	add("s64", VarSigned, 8, 1)
	add("flag", VarBool, 1, 1)
	add("letter", VarChar, 1, 1)
	add("text", VarChar, 1, 8)
	add("list", VarSigned, 4, 4)
	add("list_len", VarUnsigned, 4, 1)
	add("nrs", VarUnsigned, 2, 2)
	add("calls", VarCallSet, 8, 16)
	m.Vars = append(m.Vars,
		Var{Name: "fixed", Offset: at, Size: 4, Kind: VarSigned, Count: 1},
		Var{Name: "pair", Offset: at, Size: 8, Kind: VarOther, Count: 1, Const: true},
		Var{Name: "outside", Offset: 254, Size: 4, Kind: VarSigned, Count: 1, Const: true})
	return []*Program{{Maps: []*Map{m}}, {Maps: []*Map{m}}}
}

// value is what a variable of ps holds.
func value(ps []*Program, name string) string {
	for _, v := range ps[0].Maps[0].Vars {
		if v.Name == name {
			return ps[0].Maps[0].Value(v)
		}
	}
	return "no such variable"
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"u8", "255", "255"},
		{"u8", "0x10", "16"},
		{"u16", "65535", "65535"},
		{"u32", "4294967295", "4294967295"},
		{"u64", "18446744073709551615", "18446744073709551615"},
		{"s8", "-128", "-128"},
		{"s8", "127", "127"},
		{"s16", "-32768", "-32768"},
		{"s32", "2147483647", "2147483647"},
		{"s32", "-2147483648", "-2147483648"},
		{"s64", "-9223372036854775808", "-9223372036854775808"},
		{"s64", "9223372036854775807", "9223372036854775807"},
		{"flag", "yes", "true"},
		{"flag", "off", "false"},
		{"flag", "TRUE", "true"},
		{"letter", "x", "120"},
		{"letter", "7", "7"},
		{"text", "seven77", "seven77"},
		{"text", "", ""},
		{"text", "a,b=c", "a,b=c"},
		{"list", "1, -2,3", "1,-2,3,0"},
		{"list", "", "0,0,0,0"},
		{"list", "read,openat", "0,257,0,0"},
		{"s32", "openat", "257"},
		{"u64", "mseal", "462"},
		{"nrs", "openat,read", "257,0"},
		{"calls", "openat,read,1023", "read,openat,1023"},
		{"calls", "", ""},
		{"calls", "+openat,+write", "write,openat"},
	} {
		ps := variables()
		if err := Set(ps, c.name, c.value); err != nil {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		} else if got := value(ps, c.name); got != c.want {
			t.Errorf("%s=%s: got %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	const known = "the filter has calls, flag, letter, list, list_len, nrs, s16, s32, s64, s8, text, u16, u32, u64, u8"
	for _, c := range []struct{ name, value, want string }{
		{"u8", "256", `"256": expected an integer from 0 to 255`},
		{"u8", "-1", `"-1": expected an integer from 0 to 255`},
		{"u8", "openat", `"openat": expected an integer from 0 to 255`},
		{"u16", "65536", `"65536": expected an integer from 0 to 65535`},
		{"u32", "4294967296", `"4294967296": expected an integer from 0 to 4294967295`},
		{"u64", "18446744073709551616", `"18446744073709551616": expected an integer from 0 to 18446744073709551615`},
		{"s8", "128", `"128": expected an integer from -128 to 127`},
		{"s8", "-129", `"-129": expected an integer from -128 to 127`},
		{"s32", "2147483648", `"2147483648": expected an integer from -2147483648 to 2147483647`},
		{"s64", "9223372036854775808", `"9223372036854775808": expected an integer from -9223372036854775808 to 9223372036854775807`},
		{"u32", "", `"": expected an integer from 0 to 4294967295`},
		{"u32", "nosuchcall", `"nosuchcall": expected an integer from 0 to 4294967295 or the name of a system call`},
		{"u32", "1_0", `"1_0": expected an integer from 0 to 4294967295`},
		{"s8", "1_0", `"1_0": expected an integer from -128 to 127`},
		{"calls", "1_0", `"1_0": expected the name or number of an x86-64 system call`},
		{"flag", "2", `"2": expected true or false`},
		{"text", "eight888", "8 bytes of text: expected at most 7"},
		{"list", "1,2,3,4,5", "5 elements: expected at most 4"},
		{"list", "1,,2", `"": expected an integer`},
		{"calls", "nosuchcall", `"nosuchcall": expected the name or number of an x86-64 system call`},
		{"calls", "1024", "call 1024: expected at most 1023"},
		{"calls", "+read,write", "some calls with + or - and some without: expected all or none"},
		{"fixed", "1", "no such variable: " + known},
		{"pair", "1", "no such variable: " + known},
		{"outside", "1", "no such variable: " + known},
		{"nosuch", "1", "no such variable: " + known},
	} {
		ps := variables()
		err := Set(ps, c.name, c.value)
		var e *SetError
		if !errors.As(err, &e) || !strings.HasPrefix(e.Reason, c.want) || e.Name != c.name {
			t.Errorf("%s=%s: got %v, want %s", c.name, c.value, err, c.want)
		}
		for _, b := range ps[0].Maps[0].Contents {
			if b != 0 {
				t.Fatalf("%s=%s: was refused and changed something", c.name, c.value)
			}
		}
	}
}

func TestSetWithoutVariables(t *testing.T) {
	if err := Set([]*Program{{}}, "n", "1"); err == nil || !strings.Contains(err.Error(), "has no variables") {
		t.Errorf("got %v: want that the filter has no variables", err)
	}
}

func TestSetLength(t *testing.T) {
	ps := variables()
	for _, c := range []struct{ value, want string }{{"5,6,7", "3"}, {"5", "1"}, {"", "0"}} {
		if err := Set(ps, "list", c.value); err != nil {
			t.Fatal(err)
		}
		if got := value(ps, "list_len"); got != c.want {
			t.Errorf("list=%s: list_len is %s, want %s", c.value, got, c.want)
		}
	}
}

func TestSetChangesCallSet(t *testing.T) {
	ps := variables()
	for _, c := range []struct{ value, want string }{
		{"read,write", "read,write"},
		{"+openat", "read,write,openat"},
		{"-read, +close", "write,close,openat"},
		{"stat", "stat"},
	} {
		if err := Set(ps, "calls", c.value); err != nil {
			t.Fatal(err)
		}
		if got := value(ps, "calls"); got != c.want {
			t.Errorf("calls=%s: got %s, want %s", c.value, got, c.want)
		}
	}
}

// TestSetLeavesNeighbours sets every variable to what it can hold and looks at
// all others.
func TestSetLeavesNeighbours(t *testing.T) {
	for _, v := range variables()[0].Vars() {
		ps := variables()
		for i := range ps[0].Maps[0].Contents {
			ps[0].Maps[0].Contents[i] = 0xff
		}
		if err := Set(ps, v.Name, "1"); err != nil {
			t.Fatal(err)
		}
		for i, b := range ps[0].Maps[0].Contents {
			in := i >= v.Offset && i < v.Offset+v.Size*v.Count
			if !in && b != 0xff && !strings.HasPrefix(v.Name, "list") {
				t.Errorf("%s=1 changed byte %d, outside of %d+%d", v.Name, i, v.Offset, v.Size*v.Count)
			}
		}
	}
}

func TestSetWith(t *testing.T) {
	ps := variables()
	resolve := func(name string) (uint32, bool) { return 42, name == "answer" }
	if err := SetWith(ps, "u32", "answer", resolve); err != nil || value(ps, "u32") != "42" {
		t.Errorf("got %v and %s: want 42", err, value(ps, "u32"))
	}
	if err := SetWith(ps, "u32", "openat", nil); err == nil || strings.Contains(err.Error(), "system call") {
		t.Errorf("got %v: want an integer asked for", err)
	}
}
