package kernel

import (
	"encoding/binary"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

// A call that keeps all registers but the first makes spills around it needless, and the
// verifier takes them away; not those that a helper reads afterwards, which would read
// what else is on the kernel's stack.
func TestGuestSpillForAHelper(t *testing.T) {
	inGuest(t)
	m := counter(prog.Hash)
	const slot, one = -8, 1
	p := newAssembler().mov(1, one).
		spill(10, slot, 1).
		call(helper.GetSmpProcessorID).
		load64(1, 10, slot).
		mapTo(1, prog.PseudoMapFD, m).copy(2, 10).add(2, slot).copy(3, 2).mov(4, 0).call(helper.MapUpdateElem).
		answer(abi.Allow).program("spills")
	l, err := load(plain(p))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if _, err := testRun(l.progs[0], &abi.SeccompData{Arch: abi.ArchX86_64}); err != nil {
		t.Fatal(err)
	}
	key, value := make([]byte, 8), make([]byte, 8)
	binary.NativeEndian.PutUint64(key, one)
	if _, err := confined(func() (bool, error) { return true, sys.MapLookup(l.maps[m], key, value) }); err != nil {
		t.Fatalf("the key that was spilled: %v", err)
	}
	if got := binary.NativeEndian.Uint64(value); got != one {
		t.Errorf("the value that was spilled: %#x, expected %d", got, one)
	}
}
