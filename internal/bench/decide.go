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
	"unsafe"

	"portcullis"
	"portcullis/internal/bench/tables"
	"portcullis/internal/sys"
)

// calls is how many notified calls one round makes.
const calls = 50_000

// decide compares a decision of about a hundred instructions and two map
// operations with the two floors: a C notifier and a Go loop that answer
// without looking.
func decide(l *lab) error {
	if err := need(compiler); err != nil {
		return err
	}
	victim, err := l.compile("victim", "-static")
	if err != nil {
		return err
	}
	agent := func(program string) func() (float64, error) {
		return func() (float64, error) {
			return l.agent(victim, "filters/testdata/bench/bench.o:"+program, portcullis.Agent)
		}
	}
	ways := []struct {
		name string
		run  func() (float64, error)
		bars bool
	}{
		{name: "C notifier", run: func() (float64, error) {
			return nanoseconds(exec.Command(victim, "floor", strconv.Itoa(calls)))
		}},
		{name: "Go loop", run: func() (float64, error) { return goLoop(victim) }},
		{name: "agent, counter", run: agent("counter")},
		{name: "agent, 100 instructions, 2 map operations", run: agent("hundred"), bars: true},
		{name: "agent, static", run: agent("static")},
		{name: "no filter", run: func() (float64, error) {
			return nanoseconds(exec.Command(victim, "call", strconv.Itoa(20*calls)))
		}},
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
		loop := tables.Times(median(ratios(figures[w], figures[1])), "Go loop")
		notifier := tables.Times(median(ratios(figures[w], figures[0])), "C notifier")
		if way.bars {
			loop, notifier = loop.AtMost(1.15), notifier.AtMost(1.4)
		}
		l.Row(way.name, perCall(median(figures[w])), loop, notifier)
	}
	return nil
}

// nanoseconds runs a victim and reads the figure it prints.
func nanoseconds(cmd *exec.Cmd) (float64, error) {
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return figureOf(out)
}

func figureOf(out []byte) (float64, error) {
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// agent runs the victim under a filter.
func (l *lab) agent(victim, spec string, engine portcullis.Engine) (float64, error) {
	f, err := l.load(spec)
	if err != nil {
		return 0, err
	}
	cmd := portcullis.Command(victim, "call", strconv.Itoa(calls))
	var out bytes.Buffer
	cmd.Filters, cmd.Engine, cmd.Stdout, cmd.Stderr = []*portcullis.Filter{f}, engine, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	<-cmd.Done()
	return figureOf(out.Bytes())
}

// goLoop answers the victim's calls with the least Go can do: the two system
// calls of a notifier, on a locked thread.
func goLoop(victim string) (float64, error) {
	cmd := exec.Command(victim, "share", strconv.Itoa(calls))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := notified(cmd); err != nil {
		return 0, err
	}
	if err := cmd.Wait(); err != nil {
		return 0, err
	}
	return figureOf(out.Bytes())
}

// notified starts a command that hands its listener out over fd 3, and answers
// what comes from it.
func notified(cmd *exec.Cmd) error {
	ours, theirs, err := sys.SocketPair()
	if err != nil {
		return err
	}
	defer sys.Close(ours)
	socket := os.NewFile(uintptr(theirs), "listener")
	cmd.ExtraFiles = []*os.File{socket}
	err = cmd.Start()
	socket.Close()
	if err != nil {
		return err
	}
	_, listener, err := sys.RecvMessage(ours, make([]byte, 1))
	if err == nil && listener < 0 {
		err = errors.New("expected a listener, found none")
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	go answer(listener)
	return nil
}

// notifSend is SECCOMP_IOCTL_NOTIF_SEND.
const notifSend = 0xc0182101

// answer returns when the last filtered task is gone (6.11 and later). RECV then
// fails for ever with what it also says of a task that died meanwhile.
func answer(listener int) {
	runtime.LockOSThread() // as the agent: a notifier owns its thread
	defer runtime.UnlockOSThread()
	defer sys.Close(listener)
	_ = sys.NotifWaking(listener, sys.WakeHere)
	n, r := new(sys.Notif), new(sys.NotifResp)
	for {
		switch err := sys.NotifRecv(listener, n); {
		case err == nil:
			*r = sys.NotifResp{ID: n.ID, Flags: sys.NotifContinue}
			// As Go programs make calls: the agent tells the scheduler nothing of this one.
			_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, uintptr(listener), notifSend, uintptr(unsafe.Pointer(r)))
		case errors.Is(err, syscall.ENOENT):
			if ready, _, err := sys.Poll(listener, -1, 0); err != nil || ready&sys.Hangup != 0 {
				return
			}
		case !errors.Is(err, syscall.EINTR):
			return
		}
	}
}
