package record

import (
	"fmt"
	"strings"

	"portcullis/internal/policy"
)

// kinds are the calls whose order a flow is about: by which programs are started, sockets
// made and used, identities changed, and the kernel reached into. There are fewer than the
// 63 that a flow may have.
const kinds = "execve execveat fork vfork clone clone3 socket socketpair bind listen accept accept4 connect " +
	"setuid setgid setgroups setreuid setregid setresuid setresgid setfsuid setfsgid capset chroot pivot_root " +
	"mount umount2 unshare setns ptrace process_vm_readv process_vm_writev pidfd_getfd seccomp bpf perf_event_open " +
	"memfd_create userfaultfd keyctl add_key request_key io_uring_setup init_module finit_module personality"

// step is an edge of a flow; from is start for the first call of a thread.
type step struct{ from, to uint32 }

// flow is one flow of each thread, or none where none of its kinds was seen.
func (r *Recorder) flow() []policy.Flow {
	loops := r.loops()
	froms := follow(r.steps, loops)
	if len(froms) == 0 {
		return nil
	}
	var nrs []uint32
	for from := range froms {
		if from != start {
			nrs = append(nrs, from)
		}
	}
	f := policy.Flow{
		Comment: fmt.Sprintf("which of %s may follow which in a thread, %s seen%s",
			many(uint64(len(nrs)), "kind"), many(uint64(len(r.steps)), "step"), inLoops(len(loops))),
		Per:   policy.Thread,
		Edges: []policy.Edge{{From: []policy.Name{{Text: policy.Start}}, To: r.flowNames(froms[start])}},
	}
	for _, nr := range sorted(nrs) {
		f.Edges = append(f.Edges, policy.Edge{From: r.flowNames(map[uint32]bool{nr: true}), To: r.flowNames(froms[nr])})
	}
	return []policy.Flow{f}
}

// follow tells of each kind which may follow it. A call may follow itself: how often one is
// made is no order.
func follow(all ...map[step]bool) map[uint32]map[uint32]bool {
	froms := map[uint32]map[uint32]bool{}
	add := func(from, to uint32) {
		if froms[from] == nil {
			froms[from] = map[uint32]bool{}
		}
		froms[from][to] = true
	}
	for _, steps := range all {
		for s := range steps {
			add(s.from, s.to)
			add(s.to, s.to)
		}
	}
	return froms
}

// inLoops says how many steps were added.
func inLoops(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more among calls that come round", n)
}

// flowNames are the names of calls, with clone3 beside clone where it was seen.
func (r *Recorder) flowNames(calls map[uint32]bool) []policy.Name {
	var nrs []uint32
	for nr := range calls {
		nrs = append(nrs, nr)
	}
	if calls[clone] && r.calls[clone3] != nil {
		nrs = append(nrs, clone3)
	}
	return names(nrs)
}

// flowKinds are the numbers of kinds.
func flowKinds() map[uint32]bool { return callsOf(strings.TrimSpace(kinds)) }

// step notes the call of a thread, if it is one of the kinds.
func (r *Recorder) step(t *thread, nr uint32) {
	if !r.kinds[nr] {
		return
	}
	if nr == clone3 {
		nr = clone // which takes its place where it is refused
	}
	for _, last := range t.last {
		if last != nr { // it always may
			r.steps[step{last, nr}] = true
		}
	}
	t.last = append(t.last[:0], nr)
}
