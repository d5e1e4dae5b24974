//go:build linux && amd64

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"portcullis"
	"portcullis/internal/bench/tables"
)

// processes is how many run under one supervisor.
const processes = 1000

// each is how often each of them calls: so often that its end is nothing beside it.
const each = 400

// many compares a thousand filtered processes with one: decisions per second,
// and what the supervisor keeps for each. The C notifier, which keeps nothing,
// shows what the kernel makes of a thousand tasks that wait.
func many(l *lab) error {
	if err := need(compiler); err != nil {
		return err
	}
	victim, err := l.compile("victim", "-static")
	if err != nil {
		return err
	}
	var one, all, floorOne, floorAll, bytes []float64
	for i := 0; i < (l.rounds+2)/3; i++ {
		for _, m := range []struct {
			rates            *[]float64
			processes, calls int
			herd             func(victim string, n, calls int) (rate, bytes float64, err error)
		}{
			{&floorOne, 1, calls, crowd},
			{&one, 1, calls, l.herd},
			{&floorAll, processes, each, crowd},
			{&all, processes, each, l.herd},
		} {
			rate, memory, err := m.herd(victim, m.processes, m.calls)
			if err != nil {
				return err
			}
			if *m.rates = append(*m.rates, rate); m.rates == &all {
				bytes = append(bytes, memory)
			}
		}
	}
	l.Row("C notifier, 1 process", perSecond(median(floorOne), "decisions"))
	l.Row("C notifier, 1,000 processes", perSecond(median(floorAll), "decisions"), tables.Times(median(ratios(floorAll, floorOne)), "one process"))
	l.Row("agent, 1 process", perSecond(median(one), "decisions"))
	l.Row("agent, 1,000 processes", perSecond(median(all), "decisions"),
		tables.Times(median(ratios(all, one)), "one process").AtLeast(0.8), tables.Times(median(ratios(all, floorAll)), "C notifier, 1,000 processes"))
	l.Row("supervisor memory of each", tables.Value(median(bytes)/1024, 1, "KB").AtMost(20))
	return nil
}

// crowd runs n processes under the C notifier, in the manner of herd.
func crowd(victim string, n, calls int) (rate, bytes float64, err error) {
	cmd := exec.Command(victim, "crowd", strconv.Itoa(n), strconv.Itoa(calls))
	cmd.Stdin, cmd.Stderr = strings.NewReader(""), os.Stderr
	out, err := cmd.Output()
	if err == nil {
		rate, err = strconv.ParseFloat(strings.TrimSpace(strings.TrimPrefix(string(out), "ready\n")), 64)
	}
	return rate, 0, err
}

// herd runs n processes that each have state of their own in the supervisor.
func (l *lab) herd(victim string, n, calls int) (rate, bytes float64, err error) {
	f, err := l.load("filters/testdata/conformance/conformance.o:process-count")
	if err != nil {
		return 0, 0, err
	}
	if err := f.Set("limit", "1000000000"); err != nil {
		return 0, 0, err
	}
	before := resident()
	in, inW := io.Pipe()
	outR, out := io.Pipe()
	cmd := portcullis.Command(victim, "many", strconv.Itoa(n), strconv.Itoa(calls))
	cmd.Filters, cmd.Engine = []*portcullis.Filter{f}, portcullis.Agent
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(outR)
	lines.Scan() // "ready"
	bytes = (resident() - before) / float64(n)
	inW.Close()
	lines.Scan()
	rate, err = strconv.ParseFloat(lines.Text(), 64)
	if werr := cmd.Wait(); err == nil {
		err = werr
	}
	<-cmd.Done()
	return rate, bytes, err
}

// resident is this process's resident memory in bytes, after a collection.
func resident() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(status), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb * 1024
		}
	}
	return 0
}
