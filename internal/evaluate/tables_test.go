package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// distinct is a result in which no two figures are alike, so that one in another's column
// shows.
func distinct() Result {
	return Result{
		Server: "a", Transition: "start: accept → serve", Runs: 2, Calls: 1003,
		Recorded: Split{10, 11, 12, 0.13, 0.14}, OneList: Split{15, 16, 17, 0.18, 0.19}, TwoFilters: Split{20, 21, 22, 0.23, 0.24},
		ByPhases: Split{25, 26, 27, 0.28, 0.29}, Policy: Split{30, 31, 32, 0.33, 0.34}, Docker: Split{35, 36, 37, 0.38, 0.39},
		OutsideDocker: []string{"bpf", "clone3"},
		Phases:        []Phase{{"start", 40, 41, 42}, {"serve", 43, 44, 45}},
		Kinds:         []Kind{{"serve", 46, Split{47, 48, 49, 0.5, 0.51}}},
		Edges:         52, Possible: 208, Paper: Split{60, 61, 62, 0.63, 0.64},
	}
}

const distinctTables = `calls seen | runs | calls | init | serving | all | refused early | late | paper: init | serving | all | refused early | late
a | 2 | 1003 | 11 | 12 | 10 | 13.0 % | 14.0 % | 61 | 62 | 60 | 63.0 % | 64.0 %

refused of the calls seen | one list: early | late | two filters: early | late | phases: early | late
a | 18.0 % | 19.0 % | 23.0 % | 24.0 % | 28.0 % | 29.0 %

the ready policy | allows | early | late | refused early | late | of Docker's | allows early | late | refused early | late | not in Docker's list
a | 30 | 31 | 32 | 33.0 % | 34.0 % | 35 | 36 | 37 | 38.0 % | 39.0 % | bpf clone3

phases | phase | processes | made in it | policy allows
a | start | 40 | 41 | 42
a | serve | 43 | 44 | 45

kinds of processes | end in | processes | before | there | all | refused before | there
a | serve | 46 | 48 | 49 | 47 | 50.0 % | 51.0 %

flow | edges allowed | of possible | share
a | 52 | 208 | 25.0 %

transitions
a | start: accept → serve

`

// cells has one bar between the cells of a table, in place of as many blanks as align them.
func cells(text string) string {
	var out strings.Builder
	for _, line := range strings.SplitAfter(text, "\n") {
		var all []string
		for _, cell := range strings.Split(strings.TrimSuffix(line, "\n"), "  ") {
			if cell = strings.TrimSpace(cell); cell != "" {
				all = append(all, cell)
			}
		}
		out.WriteString(strings.Join(all, " | ") + line[len(strings.TrimSuffix(line, "\n")):])
	}
	return out.String()
}

// TestTables has each figure below its heading, which says what it is.
func TestTables(t *testing.T) {
	var out strings.Builder
	if err := tables(&out, []Result{distinct()}); err != nil {
		t.Fatal(err)
	}
	if got := cells(out.String()); got != distinctTables {
		t.Errorf("found\n%s, expected\n%s", got, distinctTables)
	}
}

// TestNoFlow has no share of no edges.
func TestNoFlow(t *testing.T) {
	var out strings.Builder
	if err := tables(&out, []Result{{Server: "a"}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(cells(out.String()), "\na | 0 | 0 | 0.0 %\n\ntransitions") {
		t.Errorf("found\n%s", out.String())
	}
}

const distinctJSON = `[{"Server": "a", "Transition": "start: accept → serve", "Runs": 2, "Calls": 1003,
	"Recorded": {"All": 10, "Init": 11, "Serving": 12, "Early": 0.13, "Late": 0.14},
	"OneList": {"All": 15, "Init": 16, "Serving": 17, "Early": 0.18, "Late": 0.19},
	"TwoFilters": {"All": 20, "Init": 21, "Serving": 22, "Early": 0.23, "Late": 0.24},
	"ByPhases": {"All": 25, "Init": 26, "Serving": 27, "Early": 0.28, "Late": 0.29},
	"Policy": {"All": 30, "Init": 31, "Serving": 32, "Early": 0.33, "Late": 0.34},
	"Docker": {"All": 35, "Init": 36, "Serving": 37, "Early": 0.38, "Late": 0.39},
	"OutsideDocker": ["bpf", "clone3"],
	"Phases": [{"Name": "start", "Processes": 40, "Made": 41, "Allowed": 42}, {"Name": "serve", "Processes": 43, "Made": 44, "Allowed": 45}],
	"Kinds": [{"Phase": "serve", "Processes": 46, "All": 47, "Init": 48, "Serving": 49, "Early": 0.5, "Late": 0.51}],
	"Edges": 52, "Possible": 208,
	"Paper": {"All": 60, "Init": 61, "Serving": 62, "Early": 0.63, "Late": 0.64}}]`

// TestJSON has the names that programs read.
func TestJSON(t *testing.T) {
	var out strings.Builder
	if err := asJSON(&out, []Result{distinct()}); err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(distinctJSON), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found\n%s, expected\n%s", out.String(), distinctJSON)
	}
}

// TestAskedFor refuses what is no server of the comparison before it plays any.
func TestAskedFor(t *testing.T) {
	for _, name := range []string{"nobody", "git", ""} {
		if all, err := measure(1, []string{name}); err == nil || all != nil || !strings.Contains(err.Error(), "expected a server, one of [nginx ") {
			t.Errorf("%q: %v, %v", name, all, err)
		}
	}
}
