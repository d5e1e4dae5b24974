//go:build linux && amd64

package trace

import (
	"bytes"
	"os"
	"strconv"

	"portcullis/internal/sys"
)

// orphans are processes whose end the kernel has passed on to a parent that may never
// wait for it: they become children of this process when that one ends, and nobody
// else's. A number says which process is meant together with its start, for what has
// the number by then may be a command that somebody here started, whose status is not
// to be taken away.
type orphans struct {
	all     []orphan
	sweepAt int
}

type orphan struct {
	pid     int
	started uint64 // in ticks of the clock, within which no number comes round
}

// firstOrphans is how many there are before the first look for those to be reaped.
const firstOrphans = 64

// note takes note of a process that has ended, unless it is reaped already.
func (o *orphans) note(pid int) {
	z, ok := zombieOf(pid)
	if !ok {
		return
	}
	o.all = append(o.all, orphan{pid, z.started})
	if len(o.all) >= max(o.sweepAt, firstOrphans) {
		o.sweep()
		o.sweepAt = 2 * len(o.all)
	}
}

// sweep reaps those that have become children of this process.
func (o *orphans) sweep() {
	self, kept := os.Getpid(), o.all[:0]
	for _, c := range o.all {
		z, ok := zombieOf(c.pid)
		switch {
		case !ok || z.started != c.started: // its parent has waited for it
		case z.parent == self:
			_ = sys.ReapChild(c.pid) // nobody else would: it stays what it was seen to be
		default:
			kept = append(kept, c)
		}
	}
	o.all = kept
}

// zombie is what /proc says of a process that has ended and was not waited for.
type zombie struct {
	parent  int
	started uint64
}

func zombieOf(pid int) (z zombie, ok bool) {
	var buf [1024]byte
	n, err := sys.ReadFile([]byte("/proc/"+strconv.Itoa(pid)+"/stat\x00"), buf[:])
	if err != nil {
		return z, false
	}
	// Behind the name, which may hold anything: state, parent, and 17 fields on the start.
	fields := bytes.Fields(buf[bytes.LastIndexByte(buf[:n], ')')+1 : n])
	if len(fields) < 20 || fields[0][0] != 'Z' {
		return z, false
	}
	z.parent, _ = strconv.Atoi(string(fields[1]))
	z.started, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return z, err == nil
}
