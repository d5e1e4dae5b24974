package interp

import (
	"portcullis/internal/helper"
	"portcullis/internal/maps"
)

// Flags of bpf_ringbuf_output, BPF_RB_NO_WAKEUP and BPF_RB_FORCE_WAKEUP. They
// change nothing here: the supervisor looks after every evaluation.
const ringWakeups = 1 | 2

// ring calls one of the helpers on ring buffers; false after a fault.
func (m *Machine) ring(id helper.ID) bool {
	switch id {
	case helper.RingbufSubmit:
		return m.release((*maps.Ring).Submit)
	case helper.RingbufDiscard:
		return m.release((*maps.Ring).Discard)
	}
	b, ok := m.mapArg()
	if !ok || b.ring == nil {
		m.fault = faultMap
		return false
	}
	switch id {
	case helper.RingbufOutput:
		return m.output(b.ring)
	case helper.RingbufReserve:
		m.reserve(b.ring)
	default:
		m.r[0] = b.ring.Query(m.r[2])
	}
	return true
}

// output is bpf_ringbuf_output(map, data, size, flags).
func (m *Machine) output(ring *maps.Ring) bool {
	record, ok := m.readable(m.r[2], m.r[3])
	if !ok {
		return false
	}
	m.r[0] = 0
	switch {
	case m.r[4]&^ringWakeups != 0:
		m.r[0] = negative(maps.EINVAL)
	case !ring.Output(record):
		m.r[0] = negative(maps.EAGAIN)
	}
	return true
}

// reserve is bpf_ringbuf_reserve(map, size, flags): a record or NULL.
func (m *Machine) reserve(ring *maps.Ring) {
	m.r[0] = 0
	if m.r[3] == 0 {
		m.setValue(ring.Reserve(m.r[2]))
	}
}

// release is bpf_ringbuf_submit or bpf_ringbuf_discard(record, flags).
func (m *Machine) release(how func(*maps.Ring, uint32) bool) bool {
	i := m.r[1]>>32 - regionMaps
	if i >= uint64(len(m.maps)) || m.maps[i].ring == nil || !how(m.maps[i].ring, uint32(m.r[1])) {
		m.fault = faultRecord
		return false
	}
	return true
}
