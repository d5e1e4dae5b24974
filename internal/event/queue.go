package event

import (
	"sync"
	"sync/atomic"
	"time"
)

// Sink takes events from a decider. Emit must neither block nor keep e: a
// target waits for the decision that e reports.
type Sink interface {
	Emit(e *Event)
}

// Discard is a sink that keeps nothing.
type Discard struct{}

// Emit does nothing.
func (Discard) Emit(*Event) {}

// Queue is a bounded sink: it hands events in order to a consumer on a
// goroutine of its own, and drops and counts what does not fit. Without the
// bound a target that is denied in a loop could fill its supervisor's memory;
// with blocking instead it could be held up by a slow log.
type Queue struct {
	events  chan *Event
	spare   sync.Pool // of events that are in no use: most runs have none
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
	lost    atomic.Uint64
	told    uint64
	consume func(*Event)
}

// NewQueue starts a queue of size events. consume is called on one goroutine,
// never after Close has returned, and must not keep its argument; losses reach it as an event of KindLost.
func NewQueue(size int, consume func(*Event)) *Queue {
	q := &Queue{
		events:  make(chan *Event, size),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
		spare:   sync.Pool{New: func() any { return new(Event) }},
		consume: consume,
	}
	go q.run()
	return q
}

// Emit queues a copy of e, or counts it as lost.
func (q *Queue) Emit(e *Event) {
	kept := q.spare.Get().(*Event)
	*kept = *e
	select {
	case q.events <- kept:
	default:
		q.spare.Put(kept)
		q.lost.Add(1)
	}
}

// Lost is the number of events dropped so far.
func (q *Queue) Lost() uint64 { return q.lost.Load() }

// Close delivers what is queued and stops the queue. What is emitted at the
// same time or later may be lost without being counted to the consumer.
func (q *Queue) Close() {
	q.once.Do(func() { close(q.stop) })
	<-q.done
}

func (q *Queue) run() {
	defer close(q.done)
	for {
		select {
		case e := <-q.events:
			q.deliver(e)
		case <-q.stop:
			q.drain()
			return
		}
	}
}

func (q *Queue) drain() {
	for {
		select {
		case e := <-q.events:
			q.deliver(e)
		default:
			q.tellLost()
			return
		}
	}
}

func (q *Queue) deliver(e *Event) {
	q.tellLost()
	q.consume(e)
	*e = Event{} // what it refers to is not kept alive
	q.spare.Put(e)
}

func (q *Queue) tellLost() {
	lost := q.lost.Load()
	if lost == q.told {
		return
	}
	e := Event{Kind: KindLost, Time: time.Now(), Insn: -1, Lost: lost - q.told}
	q.told = lost
	q.consume(&e)
}
