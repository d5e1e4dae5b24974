package maps

import "portcullis/internal/prog"

// lockSize is the size of struct bpf_spin_lock.
const lockSize = 4

// copyValue stores a value without touching its spin lock, as the kernel's
// copy_map_value does. A nil src means zeroes.
func copyValue(spec *prog.Map, dst, src []byte) {
	if spec.SpinLock < 0 || int(spec.SpinLock)+lockSize > len(dst) {
		fill(dst, src)
		return
	}
	lock := spec.SpinLock
	if src == nil {
		fill(dst[:lock], nil)
		fill(dst[lock+lockSize:], nil)
		return
	}
	copy(dst[:lock], src)
	copy(dst[lock+lockSize:], src[lock+lockSize:])
}

func fill(dst, src []byte) {
	if src != nil {
		copy(dst, src)
		return
	}
	for i := range dst {
		dst[i] = 0
	}
}

// lockable tells whether BPF_F_LOCK may be used on the map.
func lockable(spec *prog.Map) bool { return spec.SpinLock >= 0 }
