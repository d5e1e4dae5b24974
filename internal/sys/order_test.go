//go:build linux && amd64

package sys

import "testing"

// TestOrderLogs has every filter of an order logged, and no other flag changed.
func TestOrderLogs(t *testing.T) {
	for _, log := range []bool{false, true} {
		var o StageOrder
		more := uint64(0)
		if log {
			o.LogDenials()
			more = FlagLog
		}
		o.Classic(make([]FilterInsn, 1), FlagNewListener|FlagWaitKillableRecv)
		o.Extended(3, Extension{})
		got := []uint64{o.installs[0].flags, o.installs[1].flags}
		if want := []uint64{FlagNewListener | FlagWaitKillableRecv | more, FlagExtended | more}; got[0] != want[0] || got[1] != want[1] {
			t.Errorf("log %v: flags %#x, want %#x", log, got, want)
		}
	}
}
