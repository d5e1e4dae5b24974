//go:build linux && amd64

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"portcullis/internal/bench/tables"
	"portcullis/internal/sys"
)

// report is everything that one run measured.
type report struct {
	Date    string `json:"date"`
	Command string `json:"command"`
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Go      string `json:"go"`
	// Load is the load average when the run began: above 0.5 or so, somebody
	// else was measured too.
	Load   string `json:"load"`
	Rounds int    `json:"rounds"`
	tables.Tables
}

func newReport(rounds int, text io.Writer) *report {
	r := &report{
		Date: time.Now().Format("2006-01-02"), Kernel: sys.Release(), CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Command: strings.Join(append([]string{"bench"}, os.Args[1:]...), " "),
		Go:      runtime.Version(), Load: firstField("/proc/loadavg"), Rounds: rounds, Tables: tables.New(text),
	}
	fmt.Fprintf(text, "%s, %s\nLinux %s, %d x %s, %s, load %s before, %d rounds\n",
		r.Command, r.Date, r.Kernel, r.CPUs, r.CPU, r.Go, r.Load, r.Rounds)
	return r
}

func cpuModel() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(info), "\n") {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func firstField(path string) string {
	text, _ := os.ReadFile(path)
	if f := strings.Fields(string(text)); len(f) > 0 {
		return f[0]
	}
	return "unknown"
}

func perCall(ns float64) tables.Figure             { return tables.Value(ns, 1, "ns/call") }
func millis(ms float64) tables.Figure              { return tables.Value(ms, 2, "ms") }
func perSecond(n float64, of string) tables.Figure { return tables.Value(n, 0, of+"/s") }
