package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// tables prints what was measured.
func tables(w io.Writer, all []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []func(io.Writer, []Result){recorded, against, ready, kinds, flows, transitions} {
		part(t, all)
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// asJSON prints all of it.
func asJSON(w io.Writer, all []Result) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(all)
}

func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func recorded(w io.Writer, all []Result) {
	row(w, "calls seen", "runs", "calls", "init", "serving", "all", "refused early", "late", "paper: init", "serving", "all", "refused early", "late")
	for _, r := range all {
		s, p := r.Recorded, r.Paper
		row(w, r.Server, r.Runs, r.Calls, s.Init, s.Serving, s.All, percent(s.Early), percent(s.Late),
			p.Init, p.Serving, p.All, percent(p.Early), percent(p.Late))
	}
}

func against(w io.Writer, all []Result) {
	row(w, "refused of the calls seen", "one list: early", "late", "two filters: early", "late", "phases: early", "late")
	for _, r := range all {
		row(w, r.Server, percent(r.OneList.Early), percent(r.OneList.Late), percent(r.TwoFilters.Early), percent(r.TwoFilters.Late),
			percent(r.ByPhases.Early), percent(r.ByPhases.Late))
	}
}

func ready(w io.Writer, all []Result) {
	row(w, "the ready policy", "allows", "early", "late", "refused early", "late", "of Docker's", "allows early", "late", "refused early", "late", "not in Docker's list")
	for _, r := range all {
		p, d := r.Policy, r.Docker
		row(w, r.Server, p.All, p.Init, p.Serving, percent(p.Early), percent(p.Late),
			d.All, d.Init, d.Serving, percent(d.Early), percent(d.Late), strings.Join(r.OutsideDocker, " "))
	}
}

func kinds(w io.Writer, all []Result) {
	row(w, "phases", "phase", "processes", "made in it", "policy allows")
	for _, r := range all {
		for _, p := range r.Phases {
			row(w, r.Server, p.Name, p.Processes, p.Made, p.Allowed)
		}
	}
	fmt.Fprintln(w)
	row(w, "kinds of processes", "end in", "processes", "before", "there", "all", "refused before", "there")
	for _, r := range all {
		for _, k := range r.Kinds {
			row(w, r.Server, k.Phase, k.Processes, k.Init, k.Serving, k.All, percent(k.Early), percent(k.Late))
		}
	}
}

func flows(w io.Writer, all []Result) {
	row(w, "flow", "edges allowed", "of possible", "share")
	for _, r := range all {
		share := 0.0
		if r.Possible > 0 {
			share = float64(r.Edges) / float64(r.Possible)
		}
		row(w, r.Server, r.Edges, r.Possible, percent(share))
	}
}

func transitions(w io.Writer, all []Result) {
	row(w, "transitions")
	for _, r := range all {
		row(w, r.Server, r.Transition)
	}
}
