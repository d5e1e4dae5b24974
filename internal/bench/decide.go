//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"portcullis"
	"portcullis/internal/sys"
)

// calls is how many notified calls one round makes.
const calls = 50_000

// decide compares a decision of about a hundred instructions and two map
// operations with the two floors: a C notifier and a Go loop that answer
// without looking.
func decide(l *lab) error {
	ways := []struct {
		name string
		run  func() (float64, error)
	}{
		{"C notifier", func() (float64, error) { return nanoseconds(exec.Command(l.victim, "floor", strconv.Itoa(calls))) }},
		{"Go loop", l.goLoop},
		{"agent, counter", func() (float64, error) { return l.agent("bench/bench.o:counter", portcullis.Agent) }},
		{"agent, 100 instructions, 2 map operations", func() (float64, error) { return l.agent("bench/bench.o:hundred", portcullis.Agent) }},
		{"agent, static", func() (float64, error) { return l.agent("bench/bench.o:static", portcullis.Agent) }},
		{"no filter", func() (float64, error) { return nanoseconds(exec.Command(l.victim, "call", strconv.Itoa(20*calls))) }},
	}
	figures := make([][]float64, len(ways))
	for i := 0; i < l.rounds; i++ {
		for w, way := range ways {
			ns, err := way.run()
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			figures[w] = append(figures[w], ns)
		}
	}
	for w, way := range ways {
		row(way.name, "%8.1f ns/call  %5.2f x Go loop  %5.2f x C notifier", median(figures[w]),
			median(ratios(figures[w], figures[1])), median(ratios(figures[w], figures[0])))
	}
	return nil
}

// nanoseconds runs a victim and reads the figure it prints.
func nanoseconds(cmd *exec.Cmd) (float64, error) {
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return figure(out)
}

func figure(out []byte) (float64, error) {
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// agent runs the victim under a filter.
func (l *lab) agent(spec string, engine portcullis.Engine) (float64, error) {
	f, err := l.load(spec)
	if err != nil {
		return 0, err
	}
	cmd := portcullis.Command(l.victim, "call", strconv.Itoa(calls))
	var out bytes.Buffer
	cmd.Filters, cmd.Engine, cmd.Stdout, cmd.Stderr = []*portcullis.Filter{f}, engine, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	<-cmd.Done()
	return figure(out.Bytes())
}

// goLoop answers the victim's calls with the least Go can do: the two system
// calls of a notifier, on a locked thread.
func (l *lab) goLoop() (float64, error) {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return 0, err
	}
	defer sys.Close(ours)
	socket := os.NewFile(uintptr(theirs), "listener")
	cmd := exec.Command(l.victim, "share", strconv.Itoa(calls))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, os.Stderr, []*os.File{socket}
	err = cmd.Start()
	socket.Close()
	if err != nil {
		return 0, err
	}
	_, listener, err := sys.RecvMessage(ours, make([]byte, 1))
	if err != nil {
		return 0, err
	}
	go answer(listener)
	if err := cmd.Wait(); err != nil {
		return 0, err
	}
	return figure(out.Bytes())
}

// answer returns when the last filtered task is gone (6.11 and later).
func answer(listener int) {
	runtime.LockOSThread() // as the agent: a notifier owns its thread
	defer runtime.UnlockOSThread()
	defer sys.Close(listener)
	_ = sys.NotifSyncWakeUp(listener)
	n, r := new(sys.Notif), new(sys.NotifResp)
	for {
		switch err := sys.NotifRecv(listener, n); {
		case err == nil:
			*r = sys.NotifResp{ID: n.ID, Flags: sys.NotifContinue}
			_ = sys.NotifSend(listener, r)
		case !errors.Is(err, syscall.EINTR):
			return
		}
	}
}
