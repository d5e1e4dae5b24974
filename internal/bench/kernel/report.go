//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"portcullis/internal/bench/tables"
)

// report is everything that one run measured, in the form of bench's.
type report struct {
	Date    string `json:"date"`
	Command string `json:"command"`
	Go      string `json:"go"`
	Rounds  int    `json:"rounds"`
	Calls   int    `json:"calls"`
	tables.Tables
}

func newReport(o options) *report {
	r := &report{
		Date: time.Now().Format("2006-01-02"), Go: runtime.Version(), Rounds: o.rounds, Calls: o.calls, Tables: tables.New(o.text),
		Command: strings.Join(append([]string{"bench/kernel"}, os.Args[1:]...), " "),
	}
	fmt.Fprintf(o.text, "%s, %s, %s, %d rounds of %d calls\n", r.Command, r.Date, r.Go, r.Rounds, r.Calls)
	return r
}
