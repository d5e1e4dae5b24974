package conformance

import "testing"

// signalled is a thread that waits for another's call, and is sent a signal meanwhile.
// Who waits is in poll where a tracer has it wait, else in its call.
const signalled = `
import ctypes, os, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
r, w = os.pipe()
main, me = threading.main_thread(), os.getpid()
def status(tid, key): return dict(l.split(":", 1) for l in open("/proc/%d/task/%d/status" % (me, tid)))[key].split()
def waits(tid, nr):
    if status(tid, "State")[0] != "S": return False
    return open("/proc/%d/task/%d/syscall" % (me, tid)).read().split()[0] in (str(nr), "7")
def until(what, *args):
    signal.alarm(60) # a wait that is never over
    while not what(*args): os.sched_yield()
    signal.alarm(0)
def taken(): return int(status(me, "SigPnd")[0], 16) == 0
def disturb(how):
    until(waits, me, 121)
    slept = status(me, "voluntary_ctxt_switches")
    signal.pthread_kill(main.ident, signal.SIGUSR1)
    if how != "interrupt":
        until(taken)
        until(lambda: status(me, "voluntary_ctxt_switches") != slept)
        until(waits, me, 121)
        print("still waits", flush=True)
        os.write(w, b"x")
def once(how):
    signal.signal(signal.SIGUSR1, lambda *a: None)
    signal.siginterrupt(signal.SIGUSR1, how == "interrupt")
    first = threading.Thread(target=lambda: os.readv(r, [bytearray(1)]))
    first.start()
    until(waits, first.native_id, 19)
    second = threading.Thread(target=disturb, args=(how,))
    second.start()
    ctypes.set_errno(0)
    got = libc.syscall(121, 0)
    print(how, "made" if got > 0 else os.strerror(ctypes.get_errno()), flush=True)
    if how == "interrupt": os.write(w, b"x")
    first.join(); second.join()
for how in "restart", "interrupt": once(how)
`

// TestSignalsWhileWaiting: a call that waits for others goes on waiting after a handler
// that has calls restarted; after another handler it fails with EINTR. A stop would end the
// other's call, too.
func TestSignalsWhileWaiting(t *testing.T) {
	need(t, python)
	got := run(t, command(t, one("serialize first=readv second=getpgid any=true"), python, "-ISc", signalled))
	const want = "still waits\nrestart made\ninterrupt Interrupted system call"
	if got.out != want || got.status != 0 {
		t.Errorf("printed %q (status %d), expected %q", got.out, got.status, want)
	}
}
