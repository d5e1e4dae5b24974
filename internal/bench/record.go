//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"portcullis/internal/bench/tables"
)

// recording compares requests per second of nginx while it is recorded with those of one
// that is not.
func recording(l *lab) error {
	if err := need(webServer, webClient, pinner); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return &missingError{tools: []string{"root"}, packages: []string{"sudo"}}
	}
	b, err := l.newServing()
	if err != nil {
		return err
	}
	cli, err := l.cli()
	if err != nil {
		return err
	}
	all := l.recordings(cli)
	for r := 0; r < l.rounds; r++ {
		for _, way := range all {
			if r%way.every != 0 {
				continue
			}
			if err := way.compare(b, r/way.every); err != nil {
				return err
			}
		}
	}
	for i, s := range speeds() {
		l.slowed(s, all, i)
	}
	return nil
}

// recorded is a way to record, which is measured in some of the rounds, and how fast the
// server was with it; and without, next to it.
type recorded struct {
	way
	every         int
	with, without [][]float64
}

// recordings are what is compared.
func (l *lab) recordings(cli string) []*recorded {
	record := func(every int, name string, flags ...string) *recorded {
		out := filepath.Join(l.dir, "recorded.yaml")
		run := prefixed(append([]string{cli, "record", "--allow-loss", "-o", out}, append(flags, "--")...)...)
		return &recorded{way{name, run}, every, make([][]float64, len(speeds())), make([][]float64, len(speeds()))}
	}
	return []*recorded{ // what has a bar is close to it
		record(1, "recorded by eBPF", "--with", "ebpf"),
		record(3, "recorded by the agent", "--with", "agent"),
		record(3, "recorded with names", "--mode", "paths"),
	}
}

// compare measures one pair. What a server leaves behind, such as closed connections and a warm
// processor, is not always the same one's to find: the order changes from round to round.
func (w *recorded) compare(b *serving, round int) error {
	for i := 0; i < 2; i++ {
		one, to := way{"not recorded", plain}, w.without
		if (i+round)%2 == 1 {
			one, to = w.way, w.with
		}
		all, err := b.speeds(one)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		for s, v := range all {
			to[s] = append(to[s], v)
		}
	}
	return nil
}

// speeds are the manners in which the server is asked, and whose seconds are counted. The
// client's calls pass the kernel's tracepoint as well, and it needs more time for a fresh
// connection than the server: the rate then is the client's. The server's own is what its
// worker does in a second of its processor's time.
func speeds() []string { return []string{"kept", "kept, busy", "fresh", "fresh, busy"} }

// speeds asks a server in both manners.
func (b *serving) speeds(w way) (all []float64, err error) {
	err = b.serve(w, func(url string) (err error) {
		all, err = b.timed(url)
		return err
	})
	return all, err
}

// timed asks in both manners.
func (b *serving) timed(url string) (all []float64, err error) {
	worker, err := b.worker()
	if err != nil {
		return nil, err
	}
	for _, flags := range [][]string{nil, {"-H", "Connection: close"}} {
		begin, before := time.Now(), processor(worker)
		rate, err := b.load(url, flags...)
		took, used := time.Since(begin), processor(worker)-before
		if err != nil || used <= 0 {
			return nil, fmt.Errorf("the worker, process %s, used %v of its processor: %v", worker, used, err)
		}
		all = append(all, rate, rate*float64(took)/float64(used))
	}
	return all, nil
}

// worker is the process that serves: the child of the one whose number is in the server's file.
func (b *serving) worker() (string, error) {
	master, err := os.ReadFile(filepath.Join(b.dir, "pid"))
	if err != nil {
		return "", err
	}
	pid := strings.TrimSpace(string(master))
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return "", err
	}
	all := strings.Fields(string(children))
	if len(all) != 1 {
		return "", fmt.Errorf("nginx has the children %q, expected one worker", all)
	}
	return all[0], nil
}

// processor is for how long a process has had one: /proc/PID/schedstat; 0 if that is not known.
func processor(pid string) time.Duration {
	ns, err := strconv.ParseInt(firstField("/proc/"+pid+"/schedstat"), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}

// enough is how much of the requests a server must keep that is recorded by eBPF.
const enough = 0.95

// slowed prints a speed, and holds the first way against the bar.
func (l *lab) slowed(manner string, ways []*recorded, at int) {
	const measure = "not recorded"
	var without []float64
	for _, w := range ways {
		without = append(without, w.without[at]...)
	}
	l.Row(manner+": "+measure, perSecond(median(without), "requests"))
	for i, w := range ways {
		ratio := tables.Times(median(ratios(w.with[at], w.without[at])), measure)
		if i == 0 {
			ratio = ratio.AtLeast(enough)
		}
		l.Row(manner+": "+w.name, perSecond(median(w.with[at]), "requests"), ratio)
	}
}
