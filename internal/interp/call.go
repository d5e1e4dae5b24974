package interp

import (
	"bytes"

	"portcullis/internal/helper"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
)

// negative is an error number as R0 holds it.
func negative(e maps.Errno) uint64 { return uint64(-int64(e)) }

// helper calls the helper with this id; false after a fault. Arguments are in
// R1 to R5 and the result goes to R0.
func (m *Machine) helper(id helper.ID) bool {
	r, ok := &m.r, true
	switch id {
	case helper.MapUpdateElem:
		return m.update()
	case helper.MapDeleteElem:
		return m.remove()
	case helper.TaskStorageGet:
		return m.storageGet()
	case helper.TaskStorageDelete:
		return m.storageDelete()
	case helper.KtimeGetNs:
		r[0] = m.env.Now()
	case helper.KtimeGetBootNs:
		r[0] = m.env.BootNow()
	case helper.GetPrandomU32:
		r[0] = uint64(m.env.Rand())
	case helper.GetSmpProcessorID:
		r[0] = 0
	case helper.GetCurrentPidTgid:
		r[0] = m.env.PidTgid()
	case helper.GetCurrentUidGid:
		r[0] = m.env.UidGid()
	case helper.GetCurrentComm:
		return m.comm()
	case helper.TracePrintk:
		return m.printk()
	case helper.TailCall:
		return m.tailCall()
	case helper.ProbeReadUser:
		return m.readUser()
	case helper.ProbeReadUserStr:
		return m.readUserStr()
	case helper.SafeReadUser:
		return m.safeRead()
	case helper.SafeReadUserStr:
		return m.safeReadStr()
	case helper.WaitSyscall:
		r[0] = negative(m.await(r[1], r[2]))
	case helper.SpinLock, helper.SpinUnlock:
		// Nothing else runs on the map meanwhile, so the lock is free.
		_, ok = m.writable(r[1], 4)
	case helper.RingbufOutput, helper.RingbufReserve, helper.RingbufSubmit, helper.RingbufDiscard, helper.RingbufQuery:
		return m.ring(id)
	default:
		m.fault, ok = faultEngine, false
	}
	return ok
}

// mapArg is the map in R1.
func (m *Machine) mapArg() (*bound, bool) {
	i := m.r[1] ^ handles
	if i >= uint64(len(m.maps)) {
		m.fault = faultMap
		return nil, false
	}
	return &m.maps[i], true
}

// keyed is the map in R1 and the key in R2.
func (m *Machine) keyed() (*bound, []byte, bool) {
	b, ok := m.mapArg()
	if !ok {
		return nil, nil, false
	}
	key, ok := m.readable(m.r[2], uint64(b.spec.KeySize))
	return b, key, ok
}

// setValue makes R0 a pointer to a value of the map in R1, or NULL.
func (m *Machine) setValue(off uint32, found bool) {
	m.r[0] = 0
	if found {
		m.r[0] = address(regionMaps+int(m.r[1]^handles), off)
	}
}

// lookup calls maps by their own types: a call through the interface would
// cost as much as the search of a small hash.
func (m *Machine) lookup() bool {
	b, key, ok := m.keyed()
	if !ok {
		return false
	}
	var off uint32
	switch {
	case b.hash != nil:
		off, ok = b.hash.Lookup(key)
	case b.array != nil:
		off, ok = b.array.Lookup(key)
	default:
		off, ok = b.m.Lookup(key)
	}
	m.setValue(off, ok)
	return true
}

// changed is keyed for an operation that changes the map.
func (m *Machine) changed() (*bound, []byte, bool) {
	b, key, ok := m.keyed()
	if ok && readOnly(b.spec) {
		m.fault, ok = faultReadOnly, false
	}
	return b, key, ok
}

func (m *Machine) update() bool {
	b, key, ok := m.changed()
	if !ok {
		return false
	}
	value, ok := m.readable(m.r[3], uint64(b.spec.ValueSize))
	if !ok {
		return false
	}
	m.r[0] = negative(b.m.Update(key, value, m.r[4]))
	m.remap(int(m.r[1] ^ handles))
	return true
}

func (m *Machine) remove() bool {
	b, key, ok := m.changed()
	if !ok {
		return false
	}
	m.r[0] = negative(b.m.Delete(key))
	return true
}

// storage is the TASK_STORAGE map in R1.
func (m *Machine) storage() (*bound, bool) {
	b, ok := m.mapArg()
	if ok && b.store == nil {
		m.fault, ok = faultMap, false
	}
	return b, ok
}

// storageGet is bpf_task_storage_get(map, NULL, value, flags).
func (m *Machine) storageGet() bool {
	b, ok := m.storage()
	if !ok {
		return false
	}
	var init []byte
	if m.r[3] != 0 {
		if init, ok = m.readable(m.r[3], uint64(b.spec.ValueSize)); !ok {
			return false
		}
	}
	if m.r[2] != 0 || m.r[4]&^(helper.StorageCreate|helper.StorageThread) != 0 {
		m.r[0] = 0
		return true
	}
	space, key := maps.Process, uint64(0)
	if m.r[4]&helper.StorageThread != 0 {
		space, key = maps.Thread, m.env.Thread()
	} else {
		key = m.env.Process()
	}
	m.storageValue(b, space, key, init)
	return true
}

func (m *Machine) storageValue(b *bound, space maps.Space, key uint64, init []byte) {
	if m.r[4]&helper.StorageCreate == 0 {
		m.setValue(b.store.Get(space, key))
		return
	}
	off, ok := b.store.Create(space, key, init)
	m.remap(int(m.r[1] ^ handles))
	m.setValue(off, ok)
}

// storageDelete is bpf_task_storage_delete(map, NULL).
func (m *Machine) storageDelete() bool {
	b, ok := m.storage()
	switch {
	case !ok:
		return false
	case m.r[2] != 0:
		m.r[0] = negative(maps.EINVAL)
	default:
		m.r[0] = negative(b.store.Remove(maps.Process, m.env.Process()))
	}
	return true
}

// tailCall is bpf_tail_call(ctx, map, index): where it finds a program, the run
// goes on in that. False ends this program then, too.
func (m *Machine) tailCall() bool {
	i := m.r[2] ^ handles
	if i >= uint64(len(m.maps)) || m.depth > 0 {
		m.fault = faultMap
		return false
	}
	if m.tails < prog.MaxTailCalls {
		m.next = m.maps[i].progs[uint32(m.r[3])]
	}
	return m.next == nil
}

// comm is bpf_get_current_comm: truncated to leave room for a NUL, and padded.
func (m *Machine) comm() bool {
	dst, ok := m.writable(m.r[1], m.r[2])
	if !ok {
		return false
	}
	if len(dst) == 0 {
		m.r[0] = negative(maps.EINVAL)
		return true
	}
	name := m.env.Comm()
	n := copy(dst[:len(dst)-1], name[:len(name)-1])
	clear(dst[n:])
	m.r[0] = 0
	return true
}

// readUser is bpf_probe_read_user: all of it, or zeroes and -EFAULT.
func (m *Machine) readUser() bool {
	dst, ok := m.writable(m.r[1], m.r[2])
	if !ok {
		return false
	}
	m.r[0] = 0
	if len(dst) == 0 {
		return true
	}
	if n, err := m.env.ReadUser(dst, m.r[3]); err != nil || n < len(dst) {
		clear(dst)
		m.r[0] = negative(maps.EFAULT)
	}
	return true
}

// readUserStr is bpf_probe_read_user_str: at most size bytes with the NUL that
// always ends them, their number in R0. What is left of the buffer is zeroed,
// where the kernel leaves all but a few bytes of it alone.
func (m *Machine) readUserStr() bool {
	dst, ok := m.writable(m.r[1], m.r[2])
	if !ok {
		return false
	}
	m.r[0] = 0
	if len(dst) == 0 {
		return true
	}
	n, err := m.env.ReadUser(dst, m.r[3])
	end := bytes.IndexByte(dst[:n], 0)
	switch {
	case end >= 0:
	case err != nil || n < len(dst):
		clear(dst)
		m.r[0] = negative(maps.EFAULT)
		return true
	default:
		end = len(dst) - 1
	}
	clear(dst[end:])
	m.r[0] = uint64(end + 1)
	return true
}
