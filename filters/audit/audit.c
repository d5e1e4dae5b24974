// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/*
 * Denies nothing and reports calls that matter, with who made them and how.
 *
 * Each call of the set calls leaves a record in a ring buffer, which becomes an
 * event of the sandbox: process, thread and user, number and arguments, as they
 * were when the call began, whether or not it succeeds. By default those are the
 * calls that start programs, open files, use the network, change identity and
 * namespaces, and reach into other processes or the kernel.
 *
 *	--events audit.jsonl --set audit.calls=execve,execveat
 *
 * Pointers are reported as such: what they point to may change until the call
 * reads it. The kernel engine has no reader for the records yet. Where they
 * come faster than they are read, new ones are dropped, and the next says
 * how many; the call is let through all the same.
 *
 * Nothing is remembered of a process: a child and a new program are reported as
 * their parent was. The launch of the sandboxed command is not reported. Calls of
 * other tables than x86-64's, which reach the filter only where a guard was
 * lifted, are all reported.
 */
#include "portcullis.h"

#define MATTER(in, w) \
	in(w, execve) in(w, execveat) in(w, open) in(w, openat) in(w, openat2) in(w, creat) \
	in(w, connect) in(w, bind) in(w, listen) in(w, accept) in(w, accept4) \
	in(w, setuid) in(w, setgid) in(w, setreuid) in(w, setregid) in(w, setresuid) \
	in(w, setresgid) in(w, setgroups) in(w, capset) in(w, unshare) in(w, setns) \
	in(w, chroot) in(w, pivot_root) in(w, mount) in(w, umount2) in(w, ptrace) \
	in(w, process_vm_readv) in(w, process_vm_writev) in(w, pidfd_getfd) in(w, bpf) \
	in(w, perf_event_open) in(w, init_module) in(w, finit_module) in(w, kexec_load)

/* The calls to report. */
const volatile portcullis_callset calls = PORTCULLIS_CALLSET(MATTER);

/* One call. */
struct audited {
	__u64 time; /* nanoseconds since boot */
	__u64 lost; /* how many records had found no room by then */
	__u32 pid, tid, uid, gid;
	__u32 arch;
	__s32 nr;
	__u64 args[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
	__type(value, struct audited);
} records SEC(".maps");

static volatile __u64 lost;

SEC("seccomp/audit")
int audit(const struct seccomp_data *ctx)
{
	struct audited *r;
	__u64 who, as;

	if (portcullis_native(ctx) && !portcullis_has(&calls, ctx->nr))
		return SECCOMP_RET_ALLOW;
	r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&lost, 1);
		return SECCOMP_RET_ALLOW;
	}
	who = bpf_get_current_pid_tgid();
	as = bpf_get_current_uid_gid();
	r->time = bpf_ktime_get_ns();
	r->lost = lost;
	r->pid = who >> 32;
	r->tid = who;
	r->uid = as;
	r->gid = as >> 32;
	r->arch = ctx->arch;
	r->nr = ctx->nr;
	for (int i = 0; i < 6; i++)
		r->args[i] = ctx->args[i];
	bpf_ringbuf_submit(r, 0);
	return SECCOMP_RET_ALLOW;
}

PORTCULLIS_LICENSE("Dual BSD/GPL");
