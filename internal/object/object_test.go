package object_test

import (
	"bytes"
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"portcullis/internal/object"
	"portcullis/internal/prog"
)

// read reads a committed object of testdata.
func read(t testing.TB, name string) []*prog.Program {
	t.Helper()
	ps, err := object.Read(name, bytesOf(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func bytesOf(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wanted is what the second line of a source expects of its object.
func wanted(t *testing.T, source string) string {
	t.Helper()
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	_, want, ok := strings.Cut(strings.SplitN(string(data), "\n", 3)[1], "// want: ")
	if !ok {
		t.Fatalf("%s: the second line does not say what is wanted", source)
	}
	return want
}

func TestEachSource(t *testing.T) {
	sources, err := filepath.Glob("testdata/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources", err)
	}
	for _, source := range sources {
		want := wanted(t, source)
		name := strings.TrimSuffix(filepath.Base(source), ".c") + ".o"
		_, err := object.Read(name, bytesOf(t, name))
		if want == "ok" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		checkError(t, err, name+": "+want)
	}
}

// checkError wants a typed, one-line error that starts as given and has a remedy.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	var e *object.Error
	switch {
	case err == nil:
		t.Errorf("accepted: want %s", want)
	case !errors.As(err, &e):
		t.Errorf("%T: expected *object.Error", err)
	case !strings.HasPrefix(err.Error(), want):
		t.Errorf("got  %v\nwant %s", err, want)
	case e.Remedy == "" || strings.Contains(err.Error(), "\n"):
		t.Errorf("%v: expected one line with a remedy", err)
	}
}

func TestPrograms(t *testing.T) {
	var names []string
	for _, p := range read(t, "programs.o") {
		names = append(names, p.Name)
		if p.License != "GPL" || p.Source != "programs.o" {
			t.Errorf("%s: license %q, source %q", p.Name, p.License, p.Source)
		}
	}
	if got := strings.Join(names, " "); got != "plain second named" {
		t.Errorf("programs %s: want plain second named", got)
	}
}

func TestFunctionsAreLinked(t *testing.T) {
	for _, p := range read(t, "programs.o") {
		want := "plain shared leaf"
		switch p.Name {
		case "second":
			want = "second"
		case "named":
			want = "third shared leaf"
		}
		var names []string
		for _, f := range p.Funcs {
			names = append(names, f.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: functions %s: want %s", p.Name, got, want)
		}
		checkCalls(t, p)
	}
}

// checkCalls wants every call to lead to the start of a function.
func checkCalls(t *testing.T, p *prog.Program) {
	starts := map[int]bool{}
	for _, f := range p.Funcs {
		starts[f.Start] = true
	}
	for pc, in := range p.Insns {
		if in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall && !starts[pc+1+int(in.Imm)] {
			t.Errorf("%s: call at %d leads to %d: no function starts there", p.Name, pc, pc+1+int(in.Imm))
		}
	}
}

func TestMaps(t *testing.T) {
	ps := read(t, "programs.o")
	maps := map[string]*prog.Map{}
	for _, p := range ps {
		for _, m := range p.Maps {
			if known := maps[m.Name]; known != nil && known != m {
				t.Errorf("map %s is not shared between programs", m.Name)
			}
			maps[m.Name] = m
		}
	}
	for _, want := range []prog.Map{
		{Name: "typed", Type: prog.Hash, KeySize: 4, ValueSize: 16, MaxEntries: 100, SpinLock: 8},
		{Name: "sized", Type: prog.Array, KeySize: 4, ValueSize: 24, MaxEntries: 7, Flags: prog.FlagRdonlyProg, SpinLock: -1},
		{Name: "hidden", Type: prog.Array, KeySize: 4, ValueSize: 2, MaxEntries: 1, SpinLock: -1},
	} {
		got := maps[want.Name]
		if got == nil || got.Type != want.Type || got.KeySize != want.KeySize || got.ValueSize != want.ValueSize ||
			got.MaxEntries != want.MaxEntries || got.Flags != want.Flags || got.SpinLock != want.SpinLock || got.Contents != nil {
			t.Errorf("map %s: got %+v, want %+v", want.Name, got, want)
		}
	}
}

func TestReferencesNameMaps(t *testing.T) {
	ps := read(t, "programs.o")
	want := map[string]string{
		"plain":  ".bss typed",
		"second": "sized hidden",
		"named":  "typed .rodata .bss",
	}
	for _, p := range ps {
		found := map[string]bool{}
		for pc, in := range p.Insns {
			if !in.IsLoadImm64() || in.Src == 0 {
				continue
			}
			m := p.Maps[in.Imm]
			found[m.Name] = true
			if isValue := in.Src == prog.PseudoMapValue; isValue != (m.Contents != nil) {
				t.Errorf("%s: load at %d of %s with source %d", p.Name, pc, m.Name, in.Src)
			}
		}
		for _, name := range strings.Fields(want[p.Name]) {
			if !found[name] {
				t.Errorf("%s does not refer to %s", p.Name, name)
			}
		}
	}
}

func TestLines(t *testing.T) {
	for _, p := range read(t, "programs.o") {
		if len(p.Lines) == 0 || p.Lines[0].Insn != 0 {
			t.Fatalf("%s: lines %v: want one from instruction 0 on", p.Name, p.Lines)
		}
		last := -1
		for _, l := range p.Lines {
			if l.Insn < last || l.Insn >= len(p.Insns) {
				t.Errorf("%s: line of instruction %d after %d, of %d", p.Name, l.Insn, last, len(p.Insns))
			}
			last = l.Insn
			checkLine(t, l)
		}
	}
}

// checkLine wants a line to be what the source holds there.
func checkLine(t *testing.T, l prog.Line) {
	if l.File != "internal/object/testdata/programs.c" {
		t.Errorf("file %q: want a path from the root of the tree", l.File)
		return
	}
	lines := bytes.Split(bytesOf(t, "programs.c"), []byte("\n"))
	if got := string(bytes.TrimSpace(lines[l.Line-1])); got != l.Text {
		t.Errorf("line %d: text %q, source %q", l.Line, l.Text, got)
	}
}

func TestVariables(t *testing.T) {
	ps := read(t, "variables.o")
	var got []string
	for _, v := range ps[0].Vars() {
		for _, m := range ps[0].Maps {
			if m.Frozen {
				got = append(got, v.Name+"="+m.Value(v))
			}
		}
	}
	want := `calls=read,1023 ends=127.0.0.0/8:80-90 flag=true letter=120 level=2 list=1,2,-1,0 list_len=3 local=9 ` +
		`name=seven77 paths=/usr,/lib/ s16=-2 s32=-3 s64=-4 s8=-1 texts=one,two u16=2 u32=3 u64=4 u8=1`
	if s := strings.Join(got, " "); s != want {
		t.Errorf("variables\n%s, want\n%s", s, want)
	}
}

// without is an object in which a section has lost its name.
func without(t *testing.T, name, section string) []byte {
	data := bytesOf(t, name)
	hidden := strings.Repeat("x", len(section))
	out := bytes.ReplaceAll(data, []byte(section+"\x00"), []byte(hidden+"\x00"))
	if bytes.Equal(out, data) {
		t.Fatalf("%s has no section %s", name, section)
	}
	return out
}

func TestWithoutTypes(t *testing.T) {
	_, err := object.Read("o", without(t, "variables.o", ".BTF"))
	checkError(t, err, `o: section ".rodata": no type information for the variables`)
	_, err = object.Read("o", without(t, "map-values.o", ".BTF"))
	checkError(t, err, `o: section ".maps": no type information for the map definitions`)
}

func TestWithoutLines(t *testing.T) {
	ps, err := object.Read("o", without(t, "variables.o", ".BTF.ext"))
	if err != nil || len(ps[0].Lines) != 0 {
		t.Errorf("got %v and %d lines: want none of either", err, len(ps[0].Lines))
	}
}

func TestNotAnObject(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for want, data := range map[string][]byte{
		"o: not an ELF object; ":                              []byte("filter: yes\n"),
		"o: 16777217 bytes: expected at most 16777216; strip": make([]byte, object.MaxSize+1),
	} {
		_, err := object.Read("o", data)
		checkError(t, err, want)
	}
	if len(self) <= object.MaxSize {
		_, err = object.Read("o", self)
		checkError(t, err, "o: an ELF file for EM_")
	}
}

// TestOffsetIntoGlobals finds the store of placed[2].
func TestOffsetIntoGlobals(t *testing.T) {
	for _, p := range read(t, "programs.o") {
		for pc, in := range p.Insns {
			if !in.IsLoadImm64() || in.Src != prog.PseudoMapValue {
				continue
			}
			for _, v := range p.Maps[in.Imm].Vars {
				if v.Name == "placed" && int(p.Insns[pc+1].Imm) == v.Offset {
					return
				}
			}
		}
	}
	t.Error("no load of the address of placed")
}

// TestSplitVariable: a variable the compiler narrowed must neither be refused
// nor reach behind what is left of it.
func TestSplitVariable(t *testing.T) {
	for _, m := range read(t, "programs.o")[0].Maps {
		for _, v := range m.Vars {
			if strings.HasPrefix(v.Name, "split") {
				if v.Kind != prog.VarOther || v.Size != 4 || v.Count != 1 {
					t.Errorf("%+v: want 4 bytes of no kind", v)
				}
				return
			}
		}
	}
	t.Error("the compiler no longer splits: find another example")
}

// TestMapByNumber plants a reference to a map that no relocation made, as if to
// reach a map by guessing its number.
func TestMapByNumber(t *testing.T) {
	planted := bytesOf(t, "variables.o")
	zeros := make([]byte, 14)
	i := 0
	for ; i+16 < len(planted); i += 8 {
		if planted[i] == prog.OpLoadImm64 && planted[i+1] < 10 && bytes.Equal(planted[i+2:i+16], zeros) {
			planted[i+1] |= prog.PseudoMapFD << 4
			break
		}
	}
	for _, sh := range relocationHeaders(planted) {
		planted[sh] = 1 // SHT_PROGBITS
	}
	_, err := object.Read("o", planted)
	checkError(t, err, `o: section "seccomp/variables"`)
	if err != nil && !strings.Contains(err.Error(), "names a map by number") {
		t.Errorf("got %v: want a refusal of the number", err)
	}
}

// relocationHeaders finds the offsets of the type fields of REL section headers.
func relocationHeaders(data []byte) []int {
	le := func(off, n int) (x int) {
		for i := n - 1; i >= 0; i-- {
			x = x<<8 | int(data[off+i])
		}
		return x
	}
	var found []int
	start, size, count := le(0x28, 8), le(0x3a, 2), le(0x3c, 2)
	for i := 0; i < count; i++ {
		if at := start + i*size + 4; le(at, 4) == 9 {
			found = append(found, at)
		}
	}
	return found
}

// TestDamaged reads objects in which bytes were overwritten. Whatever comes of
// it, it is programs that hold together or an *Error, and soon.
func TestDamaged(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, name := range []string{"programs.o", "variables.o", "kernel-type.o"} {
		whole := bytesOf(t, name)
		for i := 0; i < 1500; i++ {
			data := append([]byte(nil), whole...)
			for n := r.Intn(8) + 1; n > 0; n-- {
				data[r.Intn(len(data))] = interesting(r)
			}
			checkHostile(t, data)
		}
		for n := 0; n < len(whole); n += 7 {
			checkHostile(t, whole[:n])
		}
	}
}

func interesting(r *rand.Rand) byte {
	if r.Intn(2) == 0 {
		return []byte{0, 1, 0x7f, 0x80, 0xff}[r.Intn(5)]
	}
	return byte(r.Intn(256))
}

// checkHostile wants nothing but a sound program or a typed error.
func checkHostile(t *testing.T, data []byte) {
	t.Helper()
	start := time.Now()
	ps, err := object.Read("o", data)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("reading took %v", took)
	}
	var e *object.Error
	if err != nil {
		if !errors.As(err, &e) || len(ps) != 0 {
			t.Errorf("%T with %d programs: expected *object.Error and none", err, len(ps))
		}
		return
	}
	for _, p := range ps {
		checkSound(t, p)
	}
}

// checkSound wants every reference of a program to lead somewhere.
func checkSound(t *testing.T, p *prog.Program) {
	t.Helper()
	if len(p.Funcs) == 0 || p.Funcs[0].Start != 0 || len(p.Insns) == 0 {
		t.Fatalf("program %q: no entry function", p.Name)
	}
	checkCalls(t, p)
	for pc := 0; pc < len(p.Insns); pc++ {
		in := p.Insns[pc]
		if !in.IsLoadImm64() {
			continue
		}
		if pc+1 == len(p.Insns) || in.Src != 0 && (in.Imm < 0 || int(in.Imm) >= len(p.Maps)) {
			t.Fatalf("program %q: instruction %d refers to map %d of %d", p.Name, pc, in.Imm, len(p.Maps))
		}
		pc++
	}
	for _, m := range p.Maps {
		for _, v := range m.Vars {
			if v.Offset < 0 || v.Offset+v.Size*v.Count > len(m.Contents) {
				t.Fatalf("variable %q lies outside %s", v.Name, m.Name)
			}
		}
	}
}

// TestNamesOnTerminals plants an escape sequence in every kind of name.
func TestNamesOnTerminals(t *testing.T) {
	for _, c := range []struct{ object, name, want string }{
		{"programs.o", "plain", `o: section "seccomp": "\x1blain": not a name`},
		{"programs.o", "typed", `o: section ".maps": "\x1byped": not a name`},
		{"variables.o", "letter", `o: section ".rodata": "\x1better": not a name`},
		{"programs.o", "leaf", `o: section ".text": "\x1beaf": not a name`},
	} {
		data := bytes.ReplaceAll(bytesOf(t, c.object), []byte("\x00"+c.name+"\x00"), []byte("\x00\x1b"+c.name[1:]+"\x00"))
		_, err := object.Read("o", data)
		checkError(t, err, c.want)
	}
}

// TestLinesOnTerminals plants one in a line of source.
func TestLinesOnTerminals(t *testing.T) {
	data := bytes.ReplaceAll(bytesOf(t, "programs.o"), []byte("return shared(key)"), []byte("return \x1bhared(k\x9by)"))
	ps, err := object.Read("o", data)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range ps {
		for _, l := range p.Lines {
			found = found || strings.Contains(l.Text, "return ?hared(k?y)")
			if strings.ContainsAny(l.Text, "\x1b") {
				t.Errorf("%q reaches the terminal", l.Text)
			}
		}
	}
	if !found {
		t.Error("the line is missing")
	}
}

// words appends little-endian words to an object in the making.
func words(b []byte, size int, xs ...uint64) []byte {
	for _, x := range xs {
		for i := 0; i < size; i++ {
			b = append(b, byte(x>>(8*i)))
		}
	}
	return b
}

// TestNamesOfNames reads an object of which every symbol and every section has
// the same name of megabytes: to copy it for each would take terabytes.
func TestNamesOfNames(t *testing.T) {
	const names, symbols, sections = 6 << 20, 300_000, object.MaxSections
	data := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	data = words(data, 2, 1, 247)
	data = words(data, 4, 1)
	data = words(data, 8, 0, 0, 64)
	data = words(data, 4, 0)
	data = words(data, 2, 64, 0, 0, 64, sections, 0)
	const at = 64 + 64*sections
	for i := 0; i < sections; i++ {
		kind, offset, size := uint64(3), uint64(at), uint64(names)
		if i == 1 {
			kind, offset, size = 2, at+names, symbols*24
		}
		data = words(data, 4, 0, kind)
		data = words(data, 8, 6, 0, offset, size)
		data = words(data, 4, 0, 0)
		data = words(data, 8, 0, 0)
	}
	data = append(data, bytes.Repeat([]byte("n"), names-1)...)
	data = append(data, make([]byte, 1+symbols*24)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	checkHostile(t, data)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
		t.Errorf("%d MiB allocated to read %d", used>>20, len(data)>>20)
	}
}

// TestLimits holds every limit that one changed header exceeds.
func TestLimits(t *testing.T) {
	for want, change := range map[string]func([]byte){
		"o: 1025 sections: expected at most 1024; split":  func(b []byte) { b[60], b[61] = 1, 4 },
		"o: no readable section headers; ":                func(b []byte) { b[40] = 0xff; b[44] = 0xff },
		"o: no readable table of names; ":                 func(b []byte) { b[62] = 0 },
		"o: ELFCLASS64 ELFDATA2MSB: expected a 64-bit":    func(b []byte) { b[5] = 2 },
		"o: an ELF file of type ET_EXEC: expected ET_REL": func(b []byte) { b[16] = 2 },
	} {
		data := bytesOf(t, "programs.o")
		change(data)
		_, err := object.Read("o", data)
		checkError(t, err, want)
	}
}

func FuzzRead(f *testing.F) {
	objects, _ := filepath.Glob("testdata/*.o")
	for _, o := range objects {
		f.Add(bytesOf(f, filepath.Base(o)))
	}
	f.Fuzz(checkHostile)
}

func BenchmarkRead(b *testing.B) {
	data := bytesOf(b, "programs.o")
	for i := 0; i < b.N; i++ {
		if _, err := object.Read("programs.o", data); err != nil {
			b.Fatal(err)
		}
	}
}
