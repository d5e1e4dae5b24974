package maps

import "portcullis/internal/prog"

// LRUMap is BPF_MAP_TYPE_LRU_HASH: a hash that makes room by dropping a key
// that was not used lately. Which one is not part of the interface; here every
// use gives a key a second chance (the clock algorithm), as the kernel's
// inactive list does. Source: kernel/bpf/bpf_lru_list.c.
type LRUMap struct {
	HashMap
	used []bool // by slot: looked up or stored since the hand passed
	hand uint32
}

func newLRU(spec *prog.Map) *LRUMap {
	l := &LRUMap{HashMap: *newHash(spec)}
	l.track()
	return l
}

// track gives every slot there is a mark.
func (l *LRUMap) track() {
	for uint32(len(l.used)) < l.t.fresh {
		l.used = append(l.used, false)
	}
}

// Lookup finds the value of key, and keeps it from being dropped soon.
func (l *LRUMap) Lookup(key []byte) (off uint32, ok bool) {
	slot, ok := l.t.find(key)
	if ok {
		l.used[slot] = true
	}
	return slot * l.t.stride, ok
}

// Update stores value under key, and drops another key if the map is full.
// Unlike that of a HASH it does not take BPF_F_LOCK.
func (l *LRUMap) Update(key, value []byte, flags uint64) Errno {
	if flags > Exist {
		return EINVAL
	}
	if _, found := l.t.find(key); !found && flags != Exist && l.count == l.full {
		l.evict()
	}
	e := l.HashMap.Update(key, value, flags)
	l.track()
	return e
}

// evict drops a key of a full map, in which every slot but the spare is taken.
func (l *LRUMap) evict() {
	for {
		l.hand = (l.hand + 1) % l.t.fresh
		switch {
		case l.hand == l.spare:
		case l.used[l.hand]:
			l.used[l.hand] = false
		default:
			l.HashMap.Delete(l.t.key(l.hand))
			return
		}
	}
}
