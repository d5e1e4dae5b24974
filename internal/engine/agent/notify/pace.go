//go:build linux && amd64

package notify

// pace finds out whether so many tasks call at once that each should be woken
// wherever a processor is free. A few are served fastest on the supervisor's own
// processor, one after the other (SYNC_WAKE_UP): elsewhere each wake-up crosses
// processors, several times a decision's cost. A crowd is not: all of it would
// queue for that one processor, behind the supervisor. The two meet at about
// eight tasks.
type pace struct {
	served uint32
	crowd  int              // how sure it is, 0 to sure
	recent [distinct]uint32 // tasks of the latest samples
	next   int              // the oldest of them
	spread bool             // woken anywhere
}

const (
	// sampled is the distance of samples, in decisions: one costs a poll.
	sampled = 16
	// distinct is how many samples must be of different tasks.
	distinct = 8
	// sure is how many samples in a row change the mode.
	sure = 8
)

// due tells whether to sample the call that is being served.
func (p *pace) due() bool {
	p.served++
	return p.served%sampled == 0
}

// sample takes the task that is being served, and whether another call waits
// meanwhile. It tells whether spread has changed.
func (p *pace) sample(task uint32, waiting bool) (changed bool) {
	if waiting && p.fresh(task) {
		p.crowd = min(p.crowd+1, sure)
	} else {
		p.crowd = max(p.crowd-1, 0)
	}
	was := p.spread
	switch p.crowd {
	case sure:
		p.spread = true
	case 0:
		p.spread = false
	}
	return p.spread != was
}

// fresh tells whether task is in none of the latest samples, and adds it.
func (p *pace) fresh(task uint32) bool {
	found := false
	for _, t := range p.recent {
		found = found || t == task
	}
	p.recent[p.next] = task
	p.next = (p.next + 1) % distinct
	return !found
}
