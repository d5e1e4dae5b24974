package conformance

import "testing"

// signalled is a thread that waits for another's call, and is sent a signal meanwhile.
// It comes after the prelude.
const signalled = `
import signal, threading
r, w = os.pipe()
main, me = threading.main_thread(), os.getpid()
def until(what, *args):
    signal.alarm(60) # a wait that is never over
    while not what(*args): os.sched_yield()
    signal.alarm(0)
def taken(): return "\nSigPnd:\t0000000000000000\n" in open("/proc/self/task/%d/status" % me).read()
def disturb(how):
    until(waits, me, 121)
    slept = False
    while not slept: slept = sleep_of(me)
    signal.pthread_kill(main.ident, signal.SIGUSR1)
    if how != "interrupt":
        until(taken)
        until(lambda: sleep_of(me) not in (False, slept))
        until(waits, me, 121)
        print("still waits", flush=True)
        os.write(w, b"x")
def once(how):
    signal.signal(signal.SIGUSR1, lambda *a: None)
    signal.siginterrupt(signal.SIGUSR1, how == "interrupt")
    first = threading.Thread(target=lambda: os.readv(r, [bytearray(1)]))
    first.start()
    until(waits_in, first.native_id, 19)
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
	got := run(t, command(t, one("serialize first=readv second=getpgid any=true"), python, "-ISc", prelude+signalled))
	const want = "still waits\nrestart made\ninterrupt Interrupted system call"
	if got.out != want || got.status != 0 {
		t.Errorf("printed %q (status %d), expected %q", got.out, got.status, want)
	}
}
