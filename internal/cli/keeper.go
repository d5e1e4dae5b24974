package cli

import (
	"bufio"
	"fmt"
	"os"

	"portcullis"
	"portcullis/internal/event"
	"portcullis/internal/record"
)

// backlog is how many events wait to be learnt from. Calls come in bursts, and what finds no
// room is lost.
const backlog = 1 << 16

// keeper takes events to a Recorder, and to a file, on a goroutine of its own.
type keeper struct {
	recorder *record.Recorder
	events   chan portcullis.Event
	done     chan struct{}
	file     *os.File
	buffer   *bufio.Writer
	writer   *event.Writer
	err      error
}

// newKeeper writes to a file too, if it has a name.
func newKeeper(r *record.Recorder, file string) (*keeper, error) {
	k := &keeper{recorder: r}
	if file == "" {
		return k, nil
	}
	var err error
	if k.file, err = os.Create(file); err != nil {
		return nil, fmt.Errorf("record: --events: %w", err)
	}
	k.buffer = bufio.NewWriterSize(k.file, 1<<16)
	k.writer = event.NewWriter(k.buffer)
	return k, nil
}

// start begins to take the events of a run, finish ends when all have been taken.
func (k *keeper) start() {
	k.events, k.done = make(chan portcullis.Event, backlog), make(chan struct{})
	go func() {
		defer close(k.done)
		for e := range k.events {
			k.keep(&e)
		}
	}()
}

// event is for Cmd.Events, which is not called any more when the run has ended.
func (k *keeper) event(e portcullis.Event) { k.events <- e }

func (k *keeper) finish() {
	close(k.events)
	<-k.done
}

func (k *keeper) keep(e *portcullis.Event) {
	k.recorder.Add(e)
	if k.writer != nil && k.err == nil {
		k.err = k.writer.Write(e)
	}
}

// close is the first error of writing the file.
func (k *keeper) close() error {
	if k.file == nil {
		return nil
	}
	if err := k.buffer.Flush(); k.err == nil {
		k.err = err
	}
	if err := k.file.Close(); k.err == nil {
		k.err = err
	}
	return k.err
}
