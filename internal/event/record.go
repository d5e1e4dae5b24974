package event

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"portcullis/internal/prog"
)

// MaxRecord is how much of a record an event holds, in bytes: as many records
// as a queue has room for wait in memory.
const MaxRecord = 16 << 10

// Field is one field of a record.
type Field struct {
	Name string
	// Value is compact JSON: a number, true or false, text, or an array of
	// them. Integers beyond 2^53, which most readers of JSON round, are text
	// in decimal. Bytes and what has no known form are text in hexadecimal.
	Value json.RawMessage
}

// Fields decodes a record by its type. A field that the record is too short for
// is left out; an array has the elements that are there.
func Fields(r *prog.Record, raw []byte) []Field {
	if r == nil {
		return nil
	}
	var all []Field
	for _, v := range r.Fields {
		if data, ok := part(v, raw); ok {
			all = append(all, Field{v.Name, value(v, data)})
		}
	}
	return all
}

// part is the bytes of a field, whole elements only.
func part(v prog.Var, raw []byte) ([]byte, bool) {
	if v.Offset > len(raw) || v.Size <= 0 {
		return nil, false
	}
	data := raw[v.Offset:]
	if v.Count == 1 {
		if len(data) < v.Size {
			return nil, false
		}
		return data[:v.Size], true
	}
	n := len(data) / v.Size
	if v.Count > 0 {
		n = min(n, v.Count)
	}
	return data[:n*v.Size], true
}

func value(v prog.Var, data []byte) json.RawMessage {
	switch {
	case v.Kind == prog.VarChar && v.Count != 1:
		text, _, _ := bytes.Cut(data, []byte{0})
		return quoted(string(text))
	case v.Kind == prog.VarOther, v.Kind == prog.VarUnsigned && v.Size == 1 && v.Count != 1:
		return quoted(hex.EncodeToString(data))
	case v.Count == 1:
		return element(v, data)
	}
	list := []byte{'['}
	for i := 0; i < len(data); i += v.Size {
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, element(v, data[i:i+v.Size])...)
	}
	return append(list, ']')
}

// exact is the largest integer up to which every one is a float64, and with it a
// number in every reader of JSON.
const exact = 1 << 53

func element(v prog.Var, data []byte) json.RawMessage {
	var wide [8]byte
	copy(wide[:], data)
	u := binary.LittleEndian.Uint64(wide[:])
	switch {
	case v.Kind == prog.VarBool:
		return strconv.AppendBool(nil, u != 0)
	case v.Kind == prog.VarSigned:
		shift := 64 - 8*v.Size
		s := int64(u<<shift) >> shift
		if s < -exact || s > exact {
			return quoted(strconv.FormatInt(s, 10))
		}
		return strconv.AppendInt(nil, s, 10)
	case u > exact:
		return quoted(strconv.FormatUint(u, 10))
	}
	return strconv.AppendUint(nil, u, 10)
}

// quoted is text as JSON, in the form in which Writer writes it; what is not
// UTF-8 in it is replaced.
func quoted(text string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(text) != nil { // no string fails
		return json.RawMessage(`""`)
	}
	return escapeControls(bytes.TrimRight(b.Bytes(), "\n"))
}

// fields is a record's JSON: an object whose members keep their order.
type fields []Field

// MarshalJSON encodes f as one object.
func (f fields) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, field := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, quoted(field.Name)...), ':'), field.Value...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (f *fields) UnmarshalJSON(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return fmt.Errorf("a record: expected a JSON object")
	}
	*f = nil
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		text, _ := name.(string)
		*f = append(*f, Field{text, value})
	}
	return nil
}

// shown is how many bytes of a record without a type a line for people shows.
const shown = 64

// Content is a record for people: its fields, or its bytes where it has no type.
func (e *Event) Content() string {
	if len(e.Record) == 0 {
		text := hex.EncodeToString(e.Data[:min(len(e.Data), shown)])
		if len(e.Data) > shown {
			text += "…"
		}
		return fmt.Sprintf("%d bytes %s", len(e.Data), text)
	}
	var parts []string
	for _, f := range e.Record {
		parts = append(parts, f.Name+"="+string(f.Value))
	}
	return Printable(strings.Join(parts, " "))
}
