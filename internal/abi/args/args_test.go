package args_test

import (
	"fmt"
	"strings"
	"testing"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
)

func call(t *testing.T, name string) args.Call {
	t.Helper()
	nr, ok := syscalls.Number(name)
	if !ok {
		t.Fatalf("no call %s", name)
	}
	c, ok := args.Of(nr)
	if !ok || c.Name != name || c.Nr != nr {
		t.Fatalf("Of(%d) = %s, %v; want %s", nr, c.Name, ok, name)
	}
	return c
}

func TestPinnable(t *testing.T) {
	for _, k := range []struct {
		call string
		arg  int
		regs [6]uint64
		want args.Reason
	}{
		{"openat", 0, [6]uint64{}, args.NotPointer},
		{"openat", 1, [6]uint64{}, args.MayPin},
		{"openat", 4, [6]uint64{}, args.NoArgument},
		{"read", 1, [6]uint64{}, args.KernelWrites},
		{"sched_setattr", 1, [6]uint64{}, args.KernelWrites},
		{"rseq", 0, [6]uint64{}, args.KernelKeeps},
		{"futex", 0, [6]uint64{}, args.AddressCounts},
		{"capset", 1, [6]uint64{}, args.DependsOnMemory},
		{"semctl", 3, [6]uint64{0, 0, 17}, args.DependsOnObject},
		{"ioctl", 2, [6]uint64{0, 0xabcdef}, args.DependsOnDriver},
		{"ioctl", 2, [6]uint64{0, 0x5412}, args.MayPin},
		{"fcntl", 2, [6]uint64{0, 5}, args.KernelWrites},
		{"fcntl", 2, [6]uint64{0, 6}, args.MayPin},
		{"fcntl", 2, [6]uint64{0, 1<<40 | 6}, args.MayPin}, // the kernel ignores the upper half
		{"fcntl", 2, [6]uint64{0, 999}, args.DependsOnArgument},
		{"ptrace", 3, [6]uint64{13}, args.MayPin},
		{"ptrace", 3, [6]uint64{1<<40 | 13}, args.DependsOnArgument}, // and here it does not
		{"futex", 3, [6]uint64{0, 128 | 256 | 9}, args.MayPin},
		{"futex", 3, [6]uint64{0, 1}, args.AddressCounts},
		{"sendto", 1, [6]uint64{0, 0, 0, 0x40}, args.MayPin},
		{"sendto", 1, [6]uint64{0, 0, 0, 0x4000040}, args.KernelKeeps},
		{"sendto", 4, [6]uint64{0, 0, 0, 0x4000040}, args.MayPin},
		{"prctl", 1, [6]uint64{15}, args.MayPin},
		{"prctl", 2, [6]uint64{15}, args.DependsOnArgument},
		{"prctl", 2, [6]uint64{35, 14}, args.MayPin},
		{"prctl", 2, [6]uint64{35, 13}, args.DependsOnArgument},
		{"epoll_ctl", 3, [6]uint64{0, 2}, args.AddressCounts},
		{"bpf", 1, [6]uint64{5}, args.KernelWrites},
	} {
		why, ok := call(t, k.call).Arg(k.arg, k.regs).Pinnable()
		if why != k.want || ok != (why == args.MayPin) {
			t.Errorf("%s.%d with %#x: %v, %v; want %v", k.call, k.arg, k.regs, why, ok, k.want)
		}
	}
}

func TestPinnableBeforeACall(t *testing.T) {
	for _, k := range []struct {
		call         string
		arg          int
		some, always bool
		why          args.Reason
	}{
		{"openat", 1, true, true, args.MayPin},
		{"openat", 2, false, false, args.NotPointer},
		{"fcntl", 2, true, false, args.MayPin},
		{"sendto", 1, true, false, args.MayPin},
		{"sendmsg", 1, true, true, args.MayPin},
		{"recvmsg", 1, false, false, args.KernelWrites},
		{"prctl", 0, false, false, args.NotPointer},
		{"utimensat", 1, true, true, args.MayPin},
	} {
		c := call(t, k.call)
		if why, some := c.Pinnable(k.arg); some != k.some || why != k.why || c.AlwaysPinnable(k.arg) != k.always {
			t.Errorf("%s.%d: %v, %v, always %v; want %+v", k.call, k.arg, why, some, c.AlwaysPinnable(k.arg), k)
		}
	}
}

func TestBytes(t *testing.T) {
	const none = ^uint64(0)
	for _, k := range []struct {
		call string
		arg  int
		regs [6]uint64
		n    uint64
		all  bool
	}{
		{"openat2", 2, [6]uint64{0, 0, 0, 24}, 24, true},
		{"openat2", 2, [6]uint64{0, 0, 0, 1 << 40}, 4096, true},
		{"write", 1, [6]uint64{0, 0, none}, none, true},
		{"connect", 1, [6]uint64{0, 0, 7<<32 | 16}, 16, true},
		{"connect", 1, [6]uint64{0, 0, 0xffffffff}, 128, true},
		{"msgsnd", 1, [6]uint64{0, 0, 5}, 13, true},
		{"msgsnd", 1, [6]uint64{0, 0, none}, none, true},
		{"move_pages", 2, [6]uint64{0, 3}, 24, true},
		{"move_pages", 2, [6]uint64{0, none}, none, true},
		{"writev", 1, [6]uint64{0, 0, 1<<32 | 2}, 32, false},
		{"writev", 1, [6]uint64{0, 0, 5000}, 16384, false},
		{"process_vm_writev", 3, [6]uint64{0, 0, 0, 0, 1<<32 | 2}, 16384, false},
		{"sendmsg", 1, [6]uint64{}, 56, false},
		{"nanosleep", 0, [6]uint64{}, 16, true},
		{"set_mempolicy", 1, [6]uint64{0, 0, 0}, 4096, true},
		{"set_mempolicy", 1, [6]uint64{0, 0, 1}, 0, true},
		{"set_mempolicy", 1, [6]uint64{0, 0, 2}, 8, true},
		{"set_mempolicy", 1, [6]uint64{0, 0, 65}, 8, true},
		{"set_mempolicy", 1, [6]uint64{0, 0, 66}, 16, true},
		{"openat", 1, [6]uint64{}, 0, false},
		{"execve", 1, [6]uint64{}, 0, false},
		{"statmount", 0, [6]uint64{}, 0, false},
		{"mount", 4, [6]uint64{}, 0, false},
		{"read", 1, [6]uint64{}, 0, false},
	} {
		if n, all := call(t, k.call).Arg(k.arg, k.regs).Bytes(k.regs); n != k.n || all != k.all {
			t.Errorf("%s.%d with %#x is %d bytes, %v; want %d, %v", k.call, k.arg, k.regs, n, all, k.n, k.all)
		}
	}
}

func TestUnknownNumbers(t *testing.T) {
	for _, nr := range []uint32{337, 423, 1023, 0x40000000, 0x40000001, 0xffffffff} {
		if c, ok := args.Of(nr); ok {
			t.Errorf("Of(%#x) = %s; want none", nr, c.Name)
		}
	}
}

// forms calls f for everything that an argument of any call can be.
func forms(f func(where string, c args.Call, a args.Arg)) {
	for _, c := range args.All() {
		for i, a := range c.Args {
			f(fmt.Sprintf("%s.%d", c.Name, i), c, a)
		}
		for _, k := range c.Cases() {
			f(fmt.Sprintf("%s.%d where %v", c.Name, k.Arg, k.When), c, k.Is)
		}
	}
}

func TestFormsAreSane(t *testing.T) {
	forms(func(where string, c args.Call, a args.Arg) {
		for _, bad := range faults(c, a) {
			t.Errorf("%s is %+v: %s", where, a, bad)
		}
	})
}

func faults(c args.Call, a args.Arg) (all []string) {
	want := func(ok bool, text string) {
		if !ok {
			all = append(all, text)
		}
	}
	pointer := a.Shape > args.Value
	want(pointer == (a.Dir != args.NoMemory), "memory has a direction, a number has none")
	want((a.Dir == args.Unknown) == (a.Why != args.MayPin), "what is unknown has a reason, and nothing else")
	want((a.Dir == args.In) == (a.Shape > args.Memory), "input has a shape, and nothing else needs one")
	want((a.Data != args.NoMemory) == (a.Shape == args.Iovec || a.Shape == args.Msghdr), "buffers have a direction")
	want(pointer || !a.Null, "a number is not null")
	switch a.Shape {
	case args.Value:
		want(a.Size == 2 || a.Size == 4 || a.Size == 8, "a number has 2, 4 or 8 bytes")
	case args.Struct, args.Msghdr:
		want(a.Size > 0 && a.Size <= 4096, "a structure has a size")
	case args.Array, args.Iovec:
		want(a.Unit > 0 && a.Unit <= 64 && a.Size <= 8, "an element has a size")
	case args.String:
		want(a.Max <= 4096, "a string ends within a page, or has no limit")
	case args.Sized, args.Readable, args.Nodes:
		want(a.Max > 0 && a.Max <= 4096, "it has a limit")
	}
	counted := a.Shape == args.Array || a.Shape == args.Iovec || a.Shape == args.Nodes
	want(counted == (a.Count.Bytes != 0), "what is counted has a count")
	if counted {
		want(a.Count.Bytes == 4 || a.Count.Bytes == 8, "a count has 4 or 8 bytes")
		want(int(a.Count.Arg) < c.Arity(), "a count is an argument")
	}
	return all
}

func TestCasesAreSane(t *testing.T) {
	for _, c := range args.All() {
		seen := map[string]bool{}
		for _, k := range c.Cases() {
			if int(k.Arg) >= c.Arity() || len(k.When) == 0 {
				t.Errorf("%s: a case of argument %d with tests %v", c.Name, k.Arg, k.When)
			}
			for _, w := range k.When {
				if int(w.Arg) >= c.Arity() || w.Arg == k.Arg || w.Mask == 0 || w.Value&^w.Mask != 0 {
					t.Errorf("%s.%d: test %+v cannot be meant", c.Name, k.Arg, w)
				}
			}
			if key := fmt.Sprint(k.Arg, k.When); seen[key] {
				t.Errorf("%s: argument %d has two cases with %v", c.Name, k.Arg, k.When)
			} else {
				seen[key] = true
			}
		}
		for i := c.Arity(); i < len(c.Args); i++ {
			if c.Args[i].Shape != args.None {
				t.Errorf("%s has a gap before argument %d", c.Name, i)
			}
		}
	}
}

// What is handed out is the caller's own.
func TestTableCannotBeChanged(t *testing.T) {
	c := call(t, "fcntl")
	cases := c.Cases()
	cases[0].Is, cases[0].When[0].Value = args.Arg{}, 99
	c.Args[2] = args.Arg{}
	if why, _ := call(t, "fcntl").Arg(2, [6]uint64{0, 5}).Pinnable(); why != args.KernelWrites {
		t.Errorf("F_GETLK is changed: %v", why)
	}
	all := args.All()
	all[0].Args[0] = args.Arg{Shape: args.Value, Size: 8}
	if a := call(t, all[0].Name).Args[0]; a == all[0].Args[0] {
		t.Errorf("%s is changed: %+v", all[0].Name, a)
	}
}

func TestLookUpAllocatesNothing(t *testing.T) {
	nr, _ := syscalls.Number("sendto")
	regs := [6]uint64{0, 0, 10, 0, 0, 16}
	if n := testing.AllocsPerRun(100, func() {
		c, _ := args.Of(nr)
		for i := range c.Args {
			c.Arg(i, regs).Bytes(regs)
		}
	}); n != 0 {
		t.Errorf("%v allocations: want none", n)
	}
}

func TestReasonsRead(t *testing.T) {
	seen := map[string]bool{}
	for r := args.MayPin; r <= args.DependsOnObject; r++ {
		text := r.String()
		if text == "" || seen[text] || strings.HasSuffix(text, ".") || text == args.Reason(255).String() {
			t.Errorf("reason %d reads %q", r, text)
		}
		seen[text] = true
	}
}

// TestCoverage keeps the size of the table from shrinking unseen.
func TestCoverage(t *testing.T) {
	pointers, always, some := 0, 0, 0
	for _, c := range args.All() {
		for i, a := range c.Args {
			_, ok := c.Pinnable(i)
			switch {
			case c.AlwaysPinnable(i):
				always++
			case ok:
				some++
			}
			if a.Shape > args.Value || ok {
				pointers++
			}
		}
	}
	t.Logf("%d calls, %d arguments that can be pointers, %d always pinnable, %d in some calls", len(args.All()), pointers, always, some)
	if pointers < 398 || always < 214 || some < 27 {
		t.Errorf("fewer than there were")
	}
}

func ExampleOf() {
	c, _ := args.Of(257)
	for i := 0; i < c.Arity(); i++ {
		why, ok := c.Pinnable(i)
		fmt.Println(c.Name, i, ok, why)
	}
	// Output:
	// openat 0 false it is not a pointer
	// openat 1 true nothing is against it
	// openat 2 false it is not a pointer
	// openat 3 false it is not a pointer
}
