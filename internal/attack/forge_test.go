//go:build linux && amd64

package attack

import "testing"

// TestOwnFilters attacks the promise that nothing the target installs loosens: a
// filter of its own, whatever it answers, lets no call through that is denied,
// and each call that is made was counted. Its ERRNO 0 only looks like success.
func TestOwnFilters(t *testing.T) {
	expect(t, "deny-getppid", "own-filter",
		"ALLOW EBUSY", "LOG EBUSY", "TRACE EBUSY", "USER_NOTIF EBUSY", "ERRNO 0 not made", "ERRNO EXDEV")
	expect(t, "global-count limit=0", "own-filter",
		"ALLOW EPERM", "LOG EPERM", "TRACE EPERM", "USER_NOTIF "+by("ENOSYS", "EPERM"), "ERRNO 0 not made", "ERRNO EXDEV")
	expect(t, "global-count limit=2", "own-filter",
		"ALLOW made", "LOG made", "TRACE EPERM", "USER_NOTIF "+by("ENOSYS", "EPERM"), "ERRNO 0 not made", "ERRNO EXDEV")
}

// TestOwnListener attacks the same promise with a listener that lets every call
// continue. Over a stack without state the target may have one, and it is not
// asked about what is denied; where there is a supervisor it gets none. In the kernel
// the stricter answer counts.
func TestOwnListener(t *testing.T) {
	expect(t, "deny-getppid", "own-listener", "EBUSY")
	expect(t, "allow", "own-listener", "made")
	expect(t, "global-count limit=0", "own-listener", by("no listener", "EPERM"))
}

// TestOwnTracer attacks the promise that a call is judged as it is made: a tracer
// of the target's own turns an allowed number into a denied one, at the entry of
// the call and after a filter handed it over.
func TestOwnTracer(t *testing.T) {
	expect(t, "deny-getppid", "rewrite", "at the entry EBUSY", "after a filter EBUSY",
		"at the entry to x32 159", "after a filter to x32 159")
	expect(t, "global-count limit=0", "rewrite", "at the entry EPERM", "after a filter EPERM",
		"at the entry to x32 159", "after a filter to x32 159")
	expect(t, "global-count limit=1", "rewrite", "at the entry made", "after a filter EPERM",
		"at the entry to x32 159", "after a filter to x32 159")
}
