//go:build linux && amd64

package shadow

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// sealing skips what is only true where mappings can be sealed.
func sealing(t *testing.T) {
	t.Helper()
	if !sys.MsealKnown() {
		t.Skip("needs mseal: Linux 6.10")
	}
}

func lines(s string) map[string]string {
	m := map[string]string{}
	for _, line := range strings.Split(s, "\n") {
		name, value, _ := strings.Cut(line, " ")
		m[name] = value
	}
	return m
}

func compare(t *testing.T, got string, want map[string]string) {
	t.Helper()
	have := lines(got)
	for name, value := range want {
		if have[name] != value {
			t.Errorf("%s: %q, expected %q", name, have[name], value)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d results, expected %d:\n%s", len(have), len(want), got)
	}
}

func TestSlotsCannotBeChanged(t *testing.T) {
	sealing(t)
	v := start(t, nil, "attacks")
	s := v.have(v.trigger(), "decided")
	v.again()
	v.cont(v.pid)
	compare(t, v.untilEnd(), map[string]string{
		"openat": "ENOENT, descriptors same, maps changed, signals same",
		"store":  "SEGV", "store-inner": "SEGV", "store-beyond": "SEGV",
		"munmap": "EPERM", "munmap-part": "EPERM", "munmap-around": "EPERM",
		"mremap-away": "EPERM", "mremap-shrink": "EPERM",
		"mprotect-write": "EACCES", "mprotect-none": "EPERM", "pkey_mprotect": "EACCES",
		// The pages are the file's: what is dropped here comes back.
		"dontneed": "ok",
		"remove":   "EACCES", "populate-write": "EINVAL", "wipe-on-fork": "EINVAL",
		"map-over": "EPERM", "map-part-over": "EPERM", "map-beyond": "EPERM",
		"remap_file_pages": "EINVAL", "shmat": "EPERM",
		"process_vm_writev": "EFAULT", "proc-mem": "EIO", "kernel-write": "EFAULT",
		"userfaultfd": "EPERM", "request": "ENOSYS", "read-slot": "ENOENT", "read-beyond": "EFAULT",
		"content": "decided",
	})
	if !bytes.HasPrefix(s.memory.bytes, []byte("decided\x00\x00")) {
		t.Errorf("the slot holds %q", s.memory.bytes[:16])
	}
}

// Another thread can keep the descriptor in the moment in which it is there.
func TestDescriptorIsForReading(t *testing.T) {
	v := start(t, nil, "helped")
	stop := v.trigger()
	kept := false
	s, err := v.mapped(v.memory(), stop, func(p *Mapping, _ sys.Stop) {
		if p.fd >= 0 && !kept {
			kept = true
			v.say("k")
			v.hear()
		}
	})
	v.must(err)
	v.must(s.Put(0, []byte("decided")))
	v.again()
	v.cont(v.pid)
	compare(t, v.rest(), map[string]string{
		"openat":     "ENOENT, descriptors changed, maps changed, signals same",
		"write-lent": "EBADF", "map-lent": "ok", "mprotect-lent": "EACCES",
		"reopen": "ok", "write": "EPERM", "map-write": "EPERM", "map-read": "ok", "mprotect": "EACCES",
		"shrink": "EPERM", "grow": "EPERM", "punch": "EPERM", "allocate": "EPERM", "reseal": "EPERM",
		"content": "decided",
	})
}

// What a thread of the target's does at the right moment is found out.
func TestSwappedMappingsAreSeen(t *testing.T) {
	type moment struct {
		command string
		when    func(p *Mapping) bool
	}
	for name, m := range map[string]moment{
		"another file":    {"s", func(p *Mapping) bool { return p.fd >= 0 && !p.mapped }},
		"another mapping": {"m", func(p *Mapping) bool { return p.mapped && p.fd < 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			v := start(t, nil, "helped")
			stop := v.trigger()
			said := false
			_, err := v.mapped(v.memory(), stop, func(p *Mapping, _ sys.Stop) {
				if m.when(p) && !said {
					said = true
					v.say(m.command)
					v.hear()
				}
			})
			var tamper *TamperError
			if !errors.As(err, &tamper) || !strings.HasPrefix(tamper.Have, fmt.Sprintf("%08x-", where)) {
				t.Fatalf("%v: expected a TamperError with what is there", err)
			}
			v.again()
			v.cont(v.pid)
			if got := v.rest(); !strings.HasPrefix(got, "openat ENOENT") {
				t.Errorf("the victim printed %q", got)
			}
		})
	}
}

// intact is what the victim prints where nothing has changed.
const intact = "openat ENOENT, descriptors same, maps same, signals same"

// Each injected call fails once, by a filter that knows injected calls.
func TestFailureLeavesTheTargetAsItWas(t *testing.T) {
	for _, c := range []struct {
		nr   uint32
		call string
	}{
		{abi.RequestCall, nameRequest},
		{syscall.SYS_MMAP, nameMap},
		{syscall.SYS_MADVISE, "madvise(MADV_DONTFORK)"},
		{462, "mseal"},
	} {
		t.Run(c.call, func(t *testing.T) {
			if c.nr == 462 {
				sealing(t)
			}
			v := start(t, []rule{{c.nr, abi.Errno(uint16(syscall.ENOMEM))}}, "answer", "-1", "0")
			_, err := v.mapped(v.memory(), v.trigger(), nil)
			var ce *CallError
			if !errors.As(err, &ce) || ce.Call != c.call || !errors.Is(err, syscall.ENOMEM) || ce.Left != "" {
				t.Fatalf("%v: expected a CallError of %s", err, c.call)
			}
			v.again()
			v.cont(v.pid)
			if got := v.rest(); got != intact {
				t.Errorf("the victim printed %q, expected %q", got, intact)
			}
		})
	}
}

// A filter of the target's own says that a call was made which was not.
func TestFakedSuccessIsSeen(t *testing.T) {
	sealing(t)
	for _, c := range []struct {
		nr   int
		want string
		left string
	}{
		{syscall.SYS_MADVISE, "VM_DONTCOPY", "the mapping"}, // for it is sealed
		{462, "VM_SEALED", ""},
		{syscall.SYS_MMAP, "", ""},
	} {
		t.Run(fmt.Sprint(c.nr), func(t *testing.T) {
			v := start(t, nil, "answer", fmt.Sprint(c.nr), "0")
			_, err := v.mapped(v.memory(), v.trigger(), nil)
			if c.want == "" {
				var ce *CallError
				if !errors.As(err, &ce) || ce.Call != nameMap {
					t.Fatalf("%v: expected a CallError of mmap", err)
				}
			} else {
				var tamper *TamperError
				if !errors.As(err, &tamper) || !strings.HasPrefix(tamper.Want, c.want) || tamper.Left != c.left {
					t.Fatalf("%v: expected a TamperError of %s", err, c.want)
				}
			}
			v.again()
			v.cont(v.pid)
			if got := v.rest(); c.nr != syscall.SYS_MADVISE && got != intact {
				t.Errorf("the victim printed %q, expected %q", got, intact)
			}
		})
	}
}

func TestWhatIsThereStays(t *testing.T) {
	v := start(t, nil, "occupied")
	_, err := v.mapped(v.memory(), v.trigger(), nil)
	if !errors.Is(err, syscall.EEXIST) || !strings.Contains(err.Error(), "has something else there") {
		t.Errorf("%v: expected EEXIST", err)
	}
	v.again()
	v.cont(v.pid)
	if got := v.rest(); got != intact+"\nours" {
		t.Errorf("the victim printed %q", got)
	}
}

func TestNoDescriptorIsFree(t *testing.T) {
	v := start(t, nil, "limited")
	_, err := v.mapped(v.memory(), v.trigger(), nil)
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%v: expected EMFILE", err)
	}
	v.again()
	v.cont(v.pid)
	if got := v.rest(); got != "openat EMFILE\ndescriptors ok" {
		t.Errorf("the victim printed %q", got)
	}
}

// Who is not dumpable can be looked at by a privileged supervisor only.
func TestTargetThatIsNotDumpable(t *testing.T) {
	v := start(t, nil, "hidden")
	_, err := v.mapped(v.memory(), v.trigger(), nil)
	var te *TraceError
	if os.Getuid() == 0 {
		v.must(err)
	} else if !errors.As(err, &te) || !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v: expected a TraceError, EPERM", err)
	}
	v.cont(v.pid)
	if got := v.untilEnd(); !strings.HasPrefix(got, "openat ENOENT, descriptors same") || os.Getuid() != 0 && got != intact {
		t.Errorf("the victim printed %q", got)
	}
}

func TestRegistersAreRestored(t *testing.T) {
	v := start(t, nil, "registers")
	stop := v.trigger()
	var was, is sys.Regs
	v.must(sys.TraceRegs(v.pid, &was))
	s := v.have(stop, "/dev/null")
	v.again()
	v.must(sys.TraceRegs(v.pid, &is))
	if was != is {
		t.Errorf("at the stop for the same call again:\n%+v\nbefore:\n%+v", is, was)
	}
	v.redirect(1, s.Address(0))
	v.cont(v.pid)
	if got := v.rest(); got != "openat ok" {
		t.Errorf("the victim printed %q", got)
	}
}

func TestFaultingPage(t *testing.T) {
	v := start(t, nil, "registers")
	s := v.have(v.trigger(), "/dev/null")
	v.again()
	v.redirect(1, s.Faulting())
	v.cont(v.pid)
	if got := v.rest(); got != "openat EFAULT" {
		t.Errorf("the victim printed %q", got)
	}
	if !s.Contains(s.Faulting()) || !s.Contains(where) || s.Contains(where-1) || s.Contains(s.Faulting()+pageSize) {
		t.Error("Contains is not the mapping")
	}
}

// A child has no slots of its parent's, and is given its own at its first stop.
func TestChildHasItsOwn(t *testing.T) {
	for _, c := range []struct{ name, child string }{
		{"none", "EFAULT"}, {"its own", "of the child"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := start(t, nil, "family")
			s := v.have(v.trigger(), "of the parent")
			v.again()
			v.must(s.Put(1, []byte("/dev/null\x00")))
			v.redirect(1, s.Address(1))
			v.cont(v.pid)
			v.wait(v.pid, sys.ForkStop)
			child, err := sys.TraceMessage(v.pid)
			v.must(err)
			stop := v.wait(int(child), sys.TrapStop)
			if c.name != "none" {
				v.have(stop, c.child)
			}
			v.cont(int(child))
			v.cont(v.pid)
			v.wait(int(child), sys.Ended)
			if stop := v.wait(v.pid, sys.SignalStop); stop.Value != int(syscall.SIGCHLD) {
				t.Fatal(stop)
			}
			v.cont(v.pid)
			want := "openat ok, descriptors changed, maps changed, signals same\nparent sees of the parent\nchild sees " +
				c.child + "\nthe child exited with 7\nparent sees of the parent"
			if got := strings.ReplaceAll(v.rest(), "\x00", ""); got != want {
				t.Errorf("the family printed\n%s\nexpected\n%s", got, want)
			}
		})
	}
}

func TestPutLeavesNothingBehind(t *testing.T) {
	m, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := &Slots{m, where}
	for _, text := range []string{"a long one", "short", ""} {
		if err := s.Put(1, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := string(bytes.TrimRight(m.bytes[SlotSize:], "\x00")); got != text {
			t.Errorf("the slot holds %q, expected %q", got, text)
		}
	}
	var size *SizeError
	for slot, n := range map[int]int{0: SlotSize + 1, -1: 0, 2: 0} {
		if err := s.Put(slot, make([]byte, n)); !errors.As(err, &size) {
			t.Errorf("slot %d, %d bytes: %v, expected a SizeError", slot, n, err)
		}
	}
}

// The supervisor's own mapping is the only way in, for itself too.
func TestMemoryIsSealed(t *testing.T) {
	m, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", m.lent.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte{1}); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v, expected EPERM", err)
	}
	if err := f.Truncate(0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("ftruncate: %v, expected EPERM", err)
	}
	if _, err := sys.MapShared(f, SlotSize); !errors.Is(err, syscall.EPERM) {
		t.Errorf("mmap: %v, expected EPERM", err)
	}
}

// What is lent is this memory and nothing else, also when it is not there any more.
func TestNothingIsLentAfterClose(t *testing.T) {
	v := start(t, nil, "signals")
	m, err := New(slots)
	v.must(err)
	v.lender.Store(m)
	v.must(m.Close())
	_, err = v.mapped(m, v.trigger(), nil)
	var ce *CallError
	if !errors.As(err, &ce) || ce.Call != nameRequest || !errors.Is(err, syscall.ECANCELED) {
		t.Errorf("%v: expected a CallError of the request", err)
	}
	v.cont(v.pid)
	if got := v.untilEnd(); got != intact+"\ncaught 0" {
		t.Errorf("the victim printed %q, expected %q", got, intact)
	}
}

// What the slots of a process cost, once.
func BenchmarkMap(b *testing.B) {
	v := start(b, nil, "loop")
	stop := v.trigger()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		m, err := New(slots)
		v.must(err)
		v.lender.Store(m)
		// Downwards, so that the newest is the first of the maps.
		if _, err := v.mappedAt(where<<8-uint64(i)<<20, m, stop, nil); err != nil {
			b.Fatal(err)
		}
		v.must(m.Close())
		stop = v.again()
	}
}

// The tests that need no root run without it.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: the other tests ran without it")
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", made.Flag())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v:\n%s", err, out)
	}
}
