package cli

import (
	"bufio"
	"fmt"
	"os"

	"portcullis"
	"portcullis/internal/event"
	"portcullis/internal/record"
)

// backlog is how many events wait to be learnt from, and to be written. Calls come in bursts,
// and what finds no room is lost.
const backlog = 1 << 16

// keeper takes events to a Recorder, and to a file. Writing takes longer than learning, so each
// has a line of its own: what the file lacks is learnt from all the same.
type keeper struct {
	recorder  *record.Recorder
	write     *event.Queue
	file      *os.File
	buffer    *bufio.Writer
	writer    *event.Writer
	unwritten uint64
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
	if k.writer != nil {
		// An error of the file stays with the buffer, and is what close returns.
		k.write = event.NewQueue(backlog, func(e *event.Event) { _ = k.writer.Write(e) })
	}
}

// event is for Cmd.Events, which is not called any more when the run has ended.
func (k *keeper) event(e portcullis.Event) {
	k.recorder.Add(&e)
	if k.write != nil {
		k.write.Emit(&e)
	}
}

func (k *keeper) finish() {
	if k.write != nil {
		k.write.Close()
		k.unwritten += k.write.Lost()
	}
}

// close is the first error of writing the file.
func (k *keeper) close() error {
	if k.file == nil {
		return nil
	}
	err := k.buffer.Flush() // which has the errors of earlier writes too
	if closed := k.file.Close(); err == nil {
		err = closed
	}
	return err
}
