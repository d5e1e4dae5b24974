package prog

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"portcullis/internal/abi/syscalls"
)

// SetError says why a variable was not set.
type SetError struct {
	// Name and Value are what was to be set.
	Name, Value string
	// Reason says what was expected.
	Reason string
	// Err is the cause, if another package found it.
	Err error
}

// Error is one line.
func (e *SetError) Error() string {
	return fmt.Sprintf("%s=%s: %s", e.Name, e.Value, e.Reason)
}

// Unwrap is the cause.
func (e *SetError) Unwrap() error { return e.Err }

// Resolver turns a name into a number where a variable takes an integer, for
// example the name of a system call.
type Resolver func(name string) (uint32, bool)

// Vars are the variables of p that Set can set, by name.
func (p *Program) Vars() []Var {
	var vars []Var
	for _, m := range p.Maps {
		for _, v := range m.Vars {
			if v.settable(m) {
				vars = append(vars, v)
			}
		}
	}
	sort.Slice(vars, func(i, j int) bool { return vars[i].Name < vars[j].Name })
	return vars
}

// settable tells whether v is a constant that a string can express, and lies
// inside m.
func (v Var) settable(m *Map) bool {
	return v.Const && m.Frozen && v.Kind != VarOther && v.inside(m)
}

func (v Var) inside(m *Map) bool {
	switch {
	case v.Kind >= VarTexts && v.Size > 1:
	case v.Size == 1, v.Size == 2, v.Size == 4, v.Size == 8:
	default:
		return false
	}
	return v.Offset >= 0 && v.Count >= 0 && v.Offset <= len(m.Contents) &&
		v.Count <= (len(m.Contents)-v.Offset)/v.Size
}

// Set sets the variable of that name in all programs of one object, whose maps
// are shared. It must happen before the programs are verified. Integers also
// take the names of x86-64 system calls. Errors are of type *SetError.
//
//	integer    5, -1, 0x10, openat
//	bool       true, false, 1, 0, yes, no, on, off
//	char[n]    text of at most n-1 bytes
//	integer[n] 1,2,3: the rest becomes 0, and an integer NAME_len, if the
//	           filter has it, the number of elements
//	call set   read,write replaces the set; +read,-write changes it
//	texts      a,b,c: as many as the list has room for, none of them empty
//	paths      /usr,/etc replaces the list; +/opt,-/etc changes it
//	endpoints  127.0.0.0/8:80-90,[::1]:*,unix:/run/x, likewise; see ParseEndpoint
func Set(ps []*Program, name, value string) error {
	return SetWith(ps, name, value, syscalls.Number)
}

// SetWith is Set with names other than those of system calls.
func SetWith(ps []*Program, name, value string, resolve Resolver) error {
	s := &setting{name: name, value: value, resolve: resolve}
	targets := find(ps, name)
	if len(targets) == 0 {
		return s.unknown(ps)
	}
	for _, t := range targets {
		if err := s.apply(t); err != nil {
			return err
		}
	}
	return nil
}

// target is a variable and the section it lies in.
type target struct {
	Var
	section *Map
}

// find lists the settable variables of that name, each section once.
func find(ps []*Program, name string) []target {
	var found []target
	seen := map[*Map]bool{}
	for _, p := range ps {
		for _, m := range p.Maps {
			if seen[m] {
				continue
			}
			seen[m] = true
			for _, v := range m.Vars {
				if v.Name == name && v.settable(m) {
					found = append(found, target{v, m})
				}
			}
		}
	}
	return found
}

// setting is one name=value on its way into a section.
type setting struct {
	name, value string
	resolve     Resolver
}

func (s *setting) fail(format string, args ...any) error {
	return &SetError{Name: s.name, Value: s.value, Reason: fmt.Sprintf(format, args...)}
}

// unknown lists what could have been set instead.
func (s *setting) unknown(ps []*Program) error {
	known := map[string]bool{}
	for _, p := range ps {
		for _, v := range p.Vars() {
			known[v.Name] = true
		}
	}
	if len(known) == 0 {
		return s.fail("the filter has no variables: a variable is a const volatile that the filter reads")
	}
	names := make([]string, 0, len(known))
	for n := range known {
		names = append(names, n)
	}
	sort.Strings(names)
	return s.fail("no such variable: the filter has %s", strings.Join(names, ", "))
}

// apply encodes the value and, only if all of it is well formed, writes it.
func (s *setting) apply(t target) error {
	data, n, err := s.encode(t)
	if err != nil {
		return err
	}
	copy(t.section.Contents[t.Offset:], data)
	for _, v := range t.section.Vars {
		if v.Name == t.Name+"_len" && v.settable(t.section) && t.Count > 1 && v.Count == 1 {
			putInt(t.section.Contents[v.Offset:], v.Size, uint64(n))
		}
	}
	return nil
}

// encode is the whole variable's new contents, and how many elements of it
// were given.
func (s *setting) encode(t target) ([]byte, int, error) {
	data := make([]byte, t.Size*t.Count)
	switch {
	case t.Kind == VarChar && t.Count != 1:
		if len(s.value) >= t.Count {
			return nil, 0, s.fail("%d bytes of text: expected at most %d", len(s.value), t.Count-1)
		}
		return data, copy(data, s.value), nil
	case t.Kind == VarCallSet:
		copy(data, t.section.Contents[t.Offset:])
		return data, 0, s.callSet(data)
	case t.Kind >= VarTexts:
		n, err := s.list(t, data)
		return data, n, err
	}
	items := []string{s.value}
	if t.Count != 1 {
		items = split(s.value)
	}
	if len(items) > t.Count {
		return nil, 0, s.fail("%d elements: expected at most %d", len(items), t.Count)
	}
	for i, item := range items {
		x, err := s.element(t.Var, item)
		if err != nil {
			return nil, 0, err
		}
		putInt(data[i*t.Size:], t.Size, x)
	}
	return data, len(items), nil
}

// split takes a comma-separated list apart; the empty string is the empty list.
func split(list string) []string {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// element is one element's bits.
func (s *setting) element(v Var, item string) (uint64, error) {
	item = strings.TrimSpace(item)
	switch v.Kind {
	case VarBool:
		return s.boolean(item)
	case VarSigned:
		return s.signed(v, item)
	case VarChar:
		if len(item) == 1 && (item[0] < '0' || item[0] > '9') {
			return uint64(item[0]), nil
		}
	}
	return s.unsigned(v, item)
}

func (s *setting) boolean(item string) (uint64, error) {
	switch strings.ToLower(item) {
	case "true", "yes", "on", "1":
		return 1, nil
	case "false", "no", "off", "0":
		return 0, nil
	}
	return 0, s.fail("%q: expected true or false", item)
}

func (s *setting) signed(v Var, item string) (uint64, error) {
	x, err := strconv.ParseInt(item, 0, 64)
	if err == nil && plain(item) && (x<<(64-8*v.Size))>>(64-8*v.Size) == x {
		return uint64(x), nil
	}
	if nr, ok := s.lookup(v, item); ok {
		return nr, nil
	}
	return 0, s.notInt(item, fmt.Sprint(int64(-1)<<(8*v.Size-1)), fmt.Sprint(int64(^(uint64(1)<<63)>>(64-8*v.Size))))
}

func (s *setting) unsigned(v Var, item string) (uint64, error) {
	top := ^uint64(0) >> (64 - 8*v.Size)
	x, err := strconv.ParseUint(item, 0, 64)
	if err == nil && plain(item) && x <= top {
		return x, nil
	}
	if nr, ok := s.lookup(v, item); ok {
		return nr, nil
	}
	return 0, s.notInt(item, "0", fmt.Sprint(top))
}

// plain tells numbers without underscores between their digits, which are Go's alone.
func plain(number string) bool { return !strings.Contains(number, "_") }

// lookup resolves a name where the variable is wide enough for its number.
func (s *setting) lookup(v Var, item string) (uint64, bool) {
	if s.resolve == nil || v.Size < 2 || v.Kind == VarChar {
		return 0, false
	}
	nr, ok := s.resolve(item)
	return uint64(nr), ok && (v.Size > 2 || nr < 1<<15)
}

func (s *setting) notInt(item, low, high string) error {
	if s.resolve == nil {
		return s.fail("%q: expected an integer from %s to %s", item, low, high)
	}
	return s.fail("%q: expected an integer from %s to %s or the name of a system call", item, low, high)
}

// signs trims the items of a list, and tells how many of them begin with a sign: a
// list in which all do changes what is there, one in which none does replaces it.
func (s *setting) signs(items []string, what string) (signed int, err error) {
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
		if strings.HasPrefix(items[i], "+") || strings.HasPrefix(items[i], "-") {
			signed++
		}
	}
	if signed != 0 && signed != len(items) {
		return 0, s.fail("some %s with + or - and some without: expected all or none", what)
	}
	return signed, nil
}

// callSet changes a set of calls in place.
func (s *setting) callSet(data []byte) error {
	items := split(s.value)
	signed, err := s.signs(items, "calls")
	if err != nil {
		return err
	}
	if signed == 0 {
		for i := range data {
			data[i] = 0
		}
	}
	for _, item := range items {
		if err := s.setCall(data, item); err != nil {
			return err
		}
	}
	return nil
}

func (s *setting) setCall(data []byte, item string) error {
	name := strings.TrimLeft(item, "+-")
	nr, err := strconv.ParseUint(name, 0, 32)
	if err != nil || !plain(name) {
		n, ok := uint32(0), false
		if s.resolve != nil {
			n, ok = s.resolve(name)
		}
		if !ok {
			return s.fail("%q: expected the name or number of an x86-64 system call", name)
		}
		nr = uint64(n)
	}
	if nr >= uint64(8*len(data)) {
		return s.fail("call %d: expected at most %d", nr, 8*len(data)-1)
	}
	if strings.HasPrefix(item, "-") {
		data[nr/8] &^= 1 << (nr % 8)
	} else {
		data[nr/8] |= 1 << (nr % 8)
	}
	return nil
}

// putInt stores the low size bytes of x, little-endian.
func putInt(b []byte, size int, x uint64) {
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], x)
	copy(b[:size], word[:])
}

// Value is what v, a variable of m, holds now, as Set would read it; "" for
// a variable that Set cannot set.
func (m *Map) Value(v Var) string {
	if v.Kind == VarOther || !v.inside(m) {
		return ""
	}
	data := m.Contents[v.Offset : v.Offset+v.Size*v.Count]
	switch {
	case v.Kind == VarCallSet:
		return callNames(data)
	case v.Kind == VarChar && v.Count != 1:
		text, _, _ := strings.Cut(string(data), "\x00")
		return text
	case v.Kind >= VarTexts:
		return strings.Join(v.listed(data), ",")
	}
	items := make([]string, v.Count)
	for i := range items {
		items[i] = v.format(data[i*v.Size : (i+1)*v.Size])
	}
	return strings.Join(items, ",")
}

// format prints one element.
func (v Var) format(data []byte) string {
	var word [8]byte
	copy(word[:], data)
	x := binary.LittleEndian.Uint64(word[:])
	switch v.Kind {
	case VarBool:
		return strconv.FormatBool(x != 0)
	case VarSigned:
		unused := 64 - 8*v.Size
		return strconv.FormatInt(int64(x)<<unused>>unused, 10)
	}
	return strconv.FormatUint(x, 10)
}

// callNames lists the calls of a set.
func callNames(data []byte) string {
	var names []string
	for nr := 0; nr < 8*len(data); nr++ {
		if data[nr/8]>>(nr%8)&1 == 0 {
			continue
		}
		name, ok := syscalls.Name(uint32(nr))
		if !ok {
			name = strconv.Itoa(nr)
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}
