package main

import (
	"fmt"
	"testing"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
)

// carriers are numbers by signature that are pointers by another argument.
func carriers() map[string]bool {
	return map[string]bool{
		"ioctl.2": true, "fcntl.2": true, "semctl.3": true, "kcmp.4": true, "arch_prctl.1": true,
		"prctl.1": true, "prctl.2": true, "prctl.3": true, "prctl.4": true,
		"keyctl.1": true, "keyctl.2": true, "keyctl.3": true, "keyctl.4": true,
		"ptrace.2": true, "ptrace.3": true, "sysfs.1": true, "sysfs.2": true,
	}
}

// notConst are pointers that the kernel only reads without saying const: each was
// looked up in the function that takes it.
func notConst() map[string]bool {
	all := map[string]bool{}
	for _, name := range []string{
		"bind.1", "connect.1", "sendto.1", "sendto.4", "sendmsg.1", "setsockopt.3",
		"semop.1", "semtimedop.1", "shmctl.2", "msgsnd.1", "msgctl.2", "mq_open.3",
		"rt_sigprocmask.1", "rt_sigqueueinfo.2", "rt_tgsigqueueinfo.3", "rt_sigsuspend.0", "pidfd_send_signal.2",
		"signalfd.1", "signalfd4.1", "epoll_ctl.3", "pselect6.5",
		"nanosleep.0", "setitimer.1", "timer_create.1", "settimeofday.0", "settimeofday.1",
		"utime.0", "utime.1", "utimes.0", "utimes.1", "futimesat.2", "utimensat.2",
		"io_submit.2", "io_getevents.4", "io_pgetevents.4",
		"sethostname.0", "setdomainname.0", "setrlimit.1", "setgroups.1", "reboot.3", "modify_ldt.1",
		"sched_setparam.1", "sched_setscheduler.2", "sched_setaffinity.2", "clone3.0",
		"futex_waitv.0", "futex_waitv.3", "futex_wait.4", "futex_requeue.0",
		"init_module.0", "kexec_load.2", "seccomp.2",
		"mount.0", "mount.1", "mount.2", "mount.4", "umount2.0", "mount_setattr.3", "open_tree_attr.3",
		"quotactl.3", "quotactl_fd.3", "openat2.2", "open_by_handle_at.1", "file_setattr.2", "getxattrat.4",
		"move_pages.2", "cachestat.1", "lsm_set_self_attr.1",
	} {
		all[name] = true
	}
	return all
}

// constButNotRead are pointers to const that are not input in every call.
func constButNotRead() map[string]string {
	return map[string]string{
		"fsconfig.3":          "read only by the commands that take a value",
		"futex.3":             "a number for the commands that do not wait",
		"landlock_add_rule.2": "of another size for each type of rule",
		"io_uring_enter.4":    "an offset with IORING_ENTER_EXT_ARG_REG",
	}
}

// narrowed are counts of which the function behind the call takes the lower half.
func narrowed() map[string]string {
	importIovec := "import_iovec takes an unsigned"
	return map[string]string{
		"readv.1": importIovec, "writev.1": importIovec, "preadv.1": importIovec, "pwritev.1": importIovec,
		"preadv2.1": importIovec, "pwritev2.1": importIovec, "vmsplice.1": importIovec,
		"process_vm_readv.1": importIovec, "process_vm_writev.1": importIovec, "process_madvise.1": importIovec,
		"keyctl.2": "keyctl_instantiate_key_iov takes an unsigned",
	}
}

// known pairs every call with its signature.
func known(t *testing.T) map[string]signature {
	t.Helper()
	all, err := signatures(root)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]signature{}
	for _, s := range all {
		if _, twice := byName[s.name]; twice {
			t.Errorf("%s has two signatures", s.name)
		}
		byName[s.name] = s
	}
	return byName
}

func at(c args.Call, i int) string { return fmt.Sprintf("%s.%d", c.Name, i) }

// forms is all that argument i of c can be.
func forms(c args.Call, i int) []args.Arg {
	all := []args.Arg{c.Args[i]}
	for _, k := range c.Cases() {
		if int(k.Arg) == i {
			all = append(all, k.Is)
		}
	}
	return all
}

func TestEveryCallHasASignature(t *testing.T) {
	sigs := known(t)
	for _, call := range syscalls.All() {
		s, ok := sigs[call.Name]
		if !ok || s.nr != call.Nr {
			t.Errorf("%s is %d: the signature found is %q", call.Name, call.Nr, s)
			continue
		}
		c, ok := args.Of(call.Nr)
		if !ok || c.Name != call.Name || c.Nr != call.Nr {
			t.Errorf("Of(%d) = %s, %v; want %s", call.Nr, c.Name, ok, call.Name)
		}
		if c.Arity() != len(s.params) {
			t.Errorf("%s takes %d arguments, the table has %d", c.Name, len(s.params), c.Arity())
		}
		delete(sigs, call.Name)
	}
	for name := range sigs {
		t.Errorf("%s has a signature and no number", name)
	}
	if n := len(args.All()); n != len(syscalls.All()) {
		t.Errorf("the table has %d calls: want %d", n, len(syscalls.All()))
	}
}

func TestPointersArePointers(t *testing.T) {
	sigs, exceptions := known(t), carriers()
	for _, c := range args.All() {
		for i, p := range sigs[c.Name].params {
			a := c.Args[i]
			switch {
			case p.pointer() && a.Shape == args.Value:
				t.Errorf("%s is a pointer, the table has a number", at(c, i))
			case !p.pointer() && exceptions[at(c, i)]:
				delete(exceptions, at(c, i))
			case !p.pointer() && (a.Shape != args.Value || a.Size != p.bytes || len(forms(c, i)) > 1):
				t.Errorf("%s is a number of %d bytes, the table has %+v", at(c, i), p.bytes, a)
			}
		}
	}
	for name := range exceptions {
		t.Errorf("%s is no exception: remove it", name)
	}
}

func TestDirectionFollowsConst(t *testing.T) {
	sigs, quiet, odd := known(t), notConst(), constButNotRead()
	for _, c := range args.All() {
		for i, p := range sigs[c.Name].params {
			name, in, other := at(c, i), 0, 0
			for _, a := range forms(c, i) {
				if a.Dir == args.In {
					in++
				} else {
					other++
				}
			}
			switch {
			case p.readOnly && other > 0 && odd[name] == "":
				t.Errorf("%s points at const: want input, the table has %+v", name, forms(c, i))
			case p.pointer() && !p.readOnly && in > 0 && !quiet[name]:
				t.Errorf("%s does not point at const, and the table has input: look it up, and list it", name)
			}
			if p.readOnly && other > 0 {
				delete(odd, name)
			}
			if p.pointer() && !p.readOnly && in > 0 {
				delete(quiet, name)
			}
		}
	}
	for name := range odd {
		t.Errorf("%s is no exception: remove it", name)
	}
	for name := range quiet {
		t.Errorf("%s is no exception: remove it", name)
	}
}

// A count or a test that looks at more of a register than the kernel does lets a
// caller choose what the engine sees.
func TestWidths(t *testing.T) {
	sigs, exceptions, used := known(t), narrowed(), map[string]bool{}
	for _, c := range args.All() {
		params := sigs[c.Name].params
		for i := range params {
			for _, a := range forms(c, i) {
				if a.Count.Bytes == 0 {
					continue
				}
				if want := params[a.Count.Arg].bytes; uint32(a.Count.Bytes) != want {
					if exceptions[at(c, i)] == "" || want != 8 || a.Count.Bytes != 4 {
						t.Errorf("%s: the count in argument %d is %d bytes wide, the table takes %d", at(c, i), a.Count.Arg, want, a.Count.Bytes)
					}
					used[at(c, i)] = true
				}
			}
		}
		for _, k := range c.Cases() {
			for _, w := range k.When {
				if p := params[w.Arg]; p.pointer() || p.bytes < 8 && w.Mask>>(8*p.bytes) != 0 {
					t.Errorf("%s: a test of argument %d with mask %#x, which is %s", at(c, int(k.Arg)), w.Arg, w.Mask, p)
				}
			}
		}
	}
	for name := range exceptions {
		if !used[name] {
			t.Errorf("%s is no exception: remove it", name)
		}
	}
}
