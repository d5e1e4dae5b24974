package maps_test

import (
	"encoding/binary"
	"math/rand"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"portcullis/internal/absint/bpfasm"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// scribe puts a record of as many bytes as it is told into a ring, and says what
// came of it and what the ring answers to questions.
const scribe = `
	map desk ARRAY key 4 value 8240 entries 1
	map m RINGBUF key 0 value 0 entries 4096
	*(u32 *)(r10 -4) = 0
	r1 = map[desk]
	r2 = r10
	r2 += -4
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r9 = r0
	r3 = *(u64 *)(r9 +0)
	if r3 > 8192 goto out
	r1 = map[m]
	r2 = r9
	r2 += 48
	r4 = 0
	call bpf_ringbuf_output
	*(u64 *)(r9 +8) = r0
	r1 = map[m]
	r2 = 0
	call bpf_ringbuf_query
	*(u64 *)(r9 +16) = r0
	r1 = map[m]
	r2 = 1
	call bpf_ringbuf_query
	*(u64 *)(r9 +24) = r0
	r1 = map[m]
	r2 = 2
	call bpf_ringbuf_query
	*(u64 *)(r9 +32) = r0
	r1 = map[m]
	r2 = 3
	call bpf_ringbuf_query
	*(u64 *)(r9 +40) = r0
	out:
	r0 = 0
	exit
`

const (
	scribeSize = 8240
	ringSize   = 4096
)

// noted is what the scribe says: the result, then bytes available, size, and the
// positions of consumer and producer.
type noted [5]int64

// ring is one ring, here or in the kernel.
type ring struct {
	output func(n int) noted
	drain  func()
}

func note(desk []byte) (n noted) {
	for i := range n {
		n[i] = int64(binary.LittleEndian.Uint64(desk[8+8*i:]))
	}
	return n
}

func ringHere(t *testing.T, p *prog.Program) (ring, *maps.Ring) {
	t.Helper()
	m, set := machine(t, p)
	desk, r := set[p.Maps[0]].Mem(), set[p.Maps[1]].(*maps.Ring)
	return ring{
		output: func(n int) noted {
			binary.LittleEndian.PutUint64(desk, uint64(n))
			if res := m.RunRaw(nil, make([]byte, 64)); res.Fault != nil {
				t.Fatal(res.Fault)
			}
			return note(desk)
		},
		drain: func() { r.Drain(func([]byte) {}) },
	}, r
}

func ringInKernel(t *testing.T, p *prog.Program) ring {
	t.Helper()
	fds, run := loaded(t, p)
	page := os.Getpagesize()
	cons, err := unix.Mmap(fds[1], 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	prod, err := unix.Mmap(fds[1], int64(page), page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(cons); unix.Munmap(prod) })
	desk, zero := make([]byte, scribeSize), make([]byte, 4)
	return ring{
		output: func(n int) noted {
			binary.LittleEndian.PutUint64(desk, uint64(n))
			err := sys.MapUpdate(fds[0], zero, desk, 0)
			if err == nil {
				err = run()
			}
			if err == nil {
				err = sys.MapLookup(fds[0], zero, desk)
			}
			if err != nil {
				t.Fatal(err)
			}
			return note(desk)
		},
		drain: func() { copy(cons[:8], prod[:8]) },
	}
}

// TestFullRingLikeTheKernels fills rings to the byte, and over it: what finds no
// room is refused as in the kernel, leaves no trace in the ring, and is counted.
func TestFullRingLikeTheKernels(t *testing.T) {
	p, err := bpfasm.Assemble("scribe", scribe)
	if err != nil {
		t.Fatal(err)
	}
	theirs := ringInKernel(t, p)
	ours, r := ringHere(t, p)
	rnd := rand.New(rand.NewSource(1))
	kept, refused := 0, uint64(0)
	for i := 0; i < 4000; i++ {
		n := rnd.Intn(600)
		switch rnd.Intn(4) {
		case 0: // exactly what is left, or a little off
			left := ringSize - 1 - int(r.Query(maps.RingAvail)) - 8
			n = left + rnd.Intn(20) - 10
		case 1:
			n = rnd.Intn(8193)
		}
		if n < 0 {
			n = 0
		}
		a, b := ours.output(n), theirs.output(n)
		if a != b {
			t.Fatalf("step %d, %d bytes: here %d, in the kernel %d", i, n, a, b)
		}
		if kept++; a[0] != 0 {
			kept--
			refused++
		}
		if rnd.Intn(12) == 0 {
			ours.drain()
			theirs.drain()
		}
	}
	if got := r.Refused(); got != refused || refused < 500 || kept < 500 {
		t.Errorf("%d records were refused and %d kept: counted were %d", refused, kept, got)
	}
	if r.Refused() != 0 {
		t.Error("what was refused is counted twice")
	}
}
