package event

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"portcullis/internal/abi"
)

// wire is an event's JSON. A verdict is a string because the zero verdict is
// KILL_THREAD: an event without one must not seem to kill.
type wire struct {
	Kind    Kind      `json:"kind"`
	Time    time.Time `json:"time"`
	Filter  string    `json:"filter,omitempty"`
	Program string    `json:"program,omitempty"`
	Insn    *int      `json:"insn,omitempty"`
	Line    string    `json:"line,omitempty"`
	Source  string    `json:"source,omitempty"`
	Engine  string    `json:"engine,omitempty"`
	Leaf    Leaf      `json:"leaf,omitempty"`
	Pid     int       `json:"pid,omitempty"`
	Tid     int       `json:"tid,omitempty"`
	Comm    string    `json:"comm,omitempty"`
	Call    *wireCall `json:"call,omitempty"`
	Verdict string    `json:"verdict,omitempty"`
	// Permitted stands with a verdict that was not enforced.
	Permitted bool    `json:"permitted,omitempty"`
	Map       string  `json:"map,omitempty"`
	Data      *string `json:"data,omitempty"`
	Record    fields  `json:"record,omitempty"`
	Text      string  `json:"text,omitempty"`
	Lost      uint64  `json:"lost,omitempty"`
}

// wireCall is a call's JSON. Arguments are hexadecimal strings because most
// readers of JSON round a 64-bit number to 53 bits.
type wireCall struct {
	Nr   int32     `json:"nr"`
	Name string    `json:"name,omitempty"`
	Arch string    `json:"arch"`
	Args [6]string `json:"args"`
}

// MarshalJSON encodes e as one JSON object, without a newline.
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.wire()) }

func (e *Event) wire() *wire {
	w := &wire{
		Kind: e.Kind, Time: e.Time.UTC(), Filter: e.Filter, Program: e.Program,
		Line: e.Line, Source: e.Source, Engine: e.Engine, Leaf: e.Leaf,
		Pid: e.Pid, Tid: e.Tid, Comm: e.Comm, Text: e.Text, Lost: e.Lost,
	}
	switch e.Kind {
	case KindVerdict:
		w.Verdict, w.Permitted = e.Verdict.String(), e.Permitted
		w.Call = encodeCall(e.Call)
		if e.Insn >= 0 {
			w.Insn = &e.Insn
		}
	case KindRecord:
		data := hex.EncodeToString(e.Data)
		w.Call, w.Map, w.Data, w.Record = encodeCall(e.Call), e.Map, &data, e.Record
	case KindLost:
		if w.Map = e.Map; e.Map != "" {
			w.Call = encodeCall(e.Call)
		}
	}
	return w
}

func encodeCall(c Call) *wireCall {
	w := &wireCall{Nr: c.Nr, Name: c.Name, Arch: archName(c.Arch)}
	for i, a := range c.Args {
		w.Args[i] = hexadecimal(a)
	}
	return w
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (e *Event) UnmarshalJSON(raw []byte) error {
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	d := Event{
		Kind: w.Kind, Time: w.Time, Filter: w.Filter, Program: w.Program,
		Insn: -1, Line: w.Line, Source: w.Source, Engine: w.Engine, Leaf: w.Leaf,
		Pid: w.Pid, Tid: w.Tid, Comm: w.Comm, Text: w.Text, Lost: w.Lost,
	}
	if w.Insn != nil {
		d.Insn = *w.Insn
	}
	decode := decodeVerdict
	switch w.Kind {
	case KindRecord:
		decode = decodeRecord
	case KindLost:
		decode = decodeLost
	}
	if err := decode(&d, &w); err != nil {
		return err
	}
	*e = d
	return nil
}

func decodeVerdict(d *Event, w *wire) error {
	switch {
	case w.Kind != KindVerdict:
		return nil
	case w.Call == nil || w.Verdict == "":
		return fmt.Errorf("an event of kind %q: expected a call and a verdict", w.Kind)
	}
	var err error
	if d.Verdict, err = abi.ParseVerdict(w.Verdict); err != nil {
		return err
	}
	d.Permitted = w.Permitted
	d.Call, err = decodeCall(w.Call)
	return err
}

func decodeLost(d *Event, w *wire) (err error) {
	if d.Map = w.Map; w.Call != nil {
		d.Call, err = decodeCall(w.Call)
	}
	return err
}

func decodeRecord(d *Event, w *wire) error {
	if w.Call == nil || w.Data == nil {
		return fmt.Errorf("an event of kind %q: expected a call and data", w.Kind)
	}
	d.Map, d.Record = w.Map, w.Record
	var err error
	if d.Data, err = hex.DecodeString(*w.Data); err != nil {
		return fmt.Errorf("the event's data: %w", err)
	}
	d.Call, err = decodeCall(w.Call)
	return err
}

func decodeCall(w *wireCall) (Call, error) {
	arch, err := parseArch(w.Arch)
	c := Call{Nr: w.Nr, Name: w.Name, Arch: arch}
	for i := 0; i < len(w.Args) && err == nil; i++ {
		c.Args[i], err = strconv.ParseUint(w.Args[i], 0, 64)
	}
	if err != nil {
		return Call{}, fmt.Errorf("the event's call: %w", err)
	}
	return c, nil
}

// archName keeps the number of an architecture that has no name, so that
// reading returns what was written.
func archName(a abi.Arch) string {
	switch a {
	case abi.ArchX86_64, abi.ArchI386:
		return a.String()
	}
	return hexadecimal(uint64(a))
}

func parseArch(s string) (abi.Arch, error) {
	for _, a := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
		if a.String() == s {
			return a, nil
		}
	}
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("architecture %q: expected x86_64, i386 or a number", s)
	}
	return abi.Arch(n), nil
}

func hexadecimal(v uint64) string { return "0x" + strconv.FormatUint(v, 16) }
