//go:build linux && amd64

package attack

import (
	"fmt"
	"testing"
	"time"

	"portcullis/internal/guest"
	"portcullis/internal/kit"
)

// alsoTheKernels are the attacks that the kernel engine is open to, too: not those on
// supervisors, their listeners and tokens, and on what reads files alone.
const alsoTheKernels = "I386|Numbers|ProbeCalls|HalvesOfArguments|Vsyscall|InheritedRing|RingWorks|" +
	"OwnFilters|OwnListener|OwnTracer|LaunchIsOnce|FilterCannotBeRead|NoDescriptorIsInherited|" +
	"ParallelLaunches|StateOfTheTarget|SetuidGainsNothing|FailedLaunch|BrokenProgram|OneGuardLifted|" +
	"Crowd|Alarms|StopStorm|KillStorm|ExecStorm|Condemned|ExecIdentified|ShortLives|ReusedNumbers|" +
	"Namespaces|Daemon|FullHash|NestedSandboxes|ExecInPlace|LimitedLaunch|ManyProcesses|" +
	"HiddenMemory|FaultHandler|HeldUpTracer"

// someReads are attacks on pinned reads by memory, mappings, tasks and signals. All take
// minutes in a guest, most of them to win against the plain defender.
const someReads = "thread|mapped-file|alias|fault|move|heap|inherit|ring|handler|fork|exec|daemon|port|open-flags"

// slow are attacks that are made as root alone, on the agent, where time is short.
const slow = "^Test(ExecIdentified|KillStorm|HeldUpTracer|LimitedLaunch|NestedSandboxes|ExecStorm|ManyProcesses|ExecInPlace)$"

// faultsForAll has the kernel let every user answer faults of the kernel itself: a filter's
// reads of arguments among them.
const faultsForAll = "sysctl.vm.unprivileged_userfaultfd=1"

// TestKernel makes them in a guest, as nobody. It is slower there: a twentieth of the
// attempts will do.
func TestKernel(t *testing.T) {
	attacker(t)
	cfg := guest.Suite(made.Dir())
	cfg.Append = append(cfg.Append, faultsForAll)
	n := attempts(t) / 20
	run, skip := "^Test("+alsoTheKernels+"|PinnedReads)$", "^$"
	if !kit.Wide() {
		run, skip = "^Test("+alsoTheKernels+")$|^TestPinnedReads$/^("+someReads+")$", slow+"|^Test(ShortLives|FullHash)$"
	}
	cfg.Timeout = 5*time.Minute + time.Duration(n)*10*time.Millisecond
	guest.TestIn(t, cfg, guest.Nobody, "-test.run="+run, "-test.skip="+skip, made.Flag(),
		"-engine=kernel", fmt.Sprint("-attempts=", n))
}
