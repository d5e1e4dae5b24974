package interp

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"portcullis/internal/abi"
	"portcullis/internal/maps"
	"portcullis/internal/prog"
)

// caller is a task that looks the same in every test. Its memory begins at
// 0x1000.
type caller struct {
	memory string
	log    []byte
	awaits int
}

func newCaller() *caller { return &caller{memory: "hello\x00world"} }

func (c *caller) PidTgid() uint64 { return 42<<32 | 43 }
func (c *caller) UidGid() uint64  { return 100<<32 | 101 }
func (c *caller) Comm() [16]byte  { return [16]byte{'w', 'o', 'r', 'k', 'e', 'r'} }
func (c *caller) Process() uint64 { return 1 }
func (c *caller) Thread() uint64  { return 1 }
func (c *caller) Now() uint64     { return 2000 }
func (c *caller) BootNow() uint64 { return 3000 }
func (c *caller) Rand() uint32    { return 4 }
func (c *caller) Printk(l []byte) { c.log = append(c.log[:0], l...) }
func (c *caller) ReadUser(dst []byte, addr uint64) (int, error) {
	if addr < 0x1000 || addr >= 0x1000+uint64(len(c.memory)) {
		return 0, os.ErrInvalid
	}
	return copy(dst, c.memory[addr-0x1000:]), nil
}

// pinned is where the calls of tests have a pinned argument, and pinnedString a string.
const (
	pinned       = 0x2000
	pinnedString = 0x3000
)

func (c *caller) SafeRead(dst []byte, addr uint64) maps.Errno {
	switch {
	case addr < pinned || addr+uint64(len(dst)) > pinned+8:
		copy(dst, "left behind")
		return maps.EFAULT
	}
	copy(dst, "8 bytes!"[addr-pinned:])
	return maps.OK
}

func (c *caller) SafeReadStr(dst []byte, addr uint64) (int, maps.Errno) {
	const text = "/etc/passwd\x00"
	switch {
	case addr == pinned:
		return 0, EOPNOTSUPP
	case addr == pinned+1: // what an Env that is wrong could say
		return len(dst) + 1, maps.OK
	case addr != pinnedString:
		return 0, maps.EFAULT
	case len(dst) < len(text):
		copy(dst, text)
		return len(text), maps.E2BIG
	}
	for i := range dst {
		dst[i] = 'x'
	}
	return copy(dst, text), maps.OK
}

func (c *caller) Await(curr, target uint64) maps.Errno {
	c.awaits++
	if c.awaits > MaxAwaits {
		return maps.E2BIG
	}
	return maps.OK
}

func call110() *abi.SeccompData { return &abi.SeccompData{Nr: 110, Arch: abi.ArchX86_64} }

// TestPrograms runs the programs of testdata. Comments say what each must do:
//
//	# returns N    R0, all 64 bits, at the end
//	# source N     the instruction that explains it
//	# logs TEXT    what the log holds
//	# faults TEXT  the run ends with this reason
//	# refused TEXT the program is not run
func TestPrograms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of programs: %v", len(files), err)
	}
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar")+"/"+f.Name, func(t *testing.T) {
				runCase(t, string(f.Data))
			})
		}
	}
}

func runCase(t *testing.T, text string) {
	want := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			what, value, _ := strings.Cut(rest, " ")
			want[what] = value
		}
	}
	p := assemble(t, text)
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(p, set)
	if refused, ok := want["refused"]; ok {
		if err == nil || !strings.Contains(err.Error(), refused) {
			t.Fatalf("error %v, expected %q", err, refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newCaller()
	judge(t, want, m, m.Run(c, call110()), c)
}

func judge(t *testing.T, want map[string]string, m *Machine, got Result, c *caller) {
	if reason, ok := want["faults"]; ok {
		if got.Fault == nil || !strings.Contains(got.Fault.Error(), reason) || got.Ret != uint32(abi.KillProcess) {
			t.Fatalf("fault %v, verdict %#x, expected %q and KILL_PROCESS", got.Fault, got.Ret, reason)
		}
		return
	}
	if got.Fault != nil {
		t.Fatal(got.Fault)
	}
	ret, err := strconv.ParseUint(want["returns"], 0, 64)
	if err != nil {
		t.Fatalf("the case expects nothing: %v", err)
	}
	if m.r[0] != ret || got.Ret != uint32(ret) {
		t.Errorf("R0 is %#x, the verdict %#x, expected %#x", m.r[0], got.Ret, ret)
	}
	if source, ok := want["source"]; ok && source != strconv.Itoa(got.PC) {
		t.Errorf("instruction %d explains the verdict, expected %s", got.PC, source)
	}
	if log, ok := want["logs"]; ok && !strings.HasPrefix(string(c.log), log) {
		t.Errorf("the log holds %q, expected %q", c.log, log)
	}
}

const counting = `
	map counts HASH key 8 value 8 entries 64
	map per TASK_STORAGE key 4 value 8 entries 0
	r6 = r1
	r1 = *(u64 *)(r6 +16)
	*(u64 *)(r10 -8) = r1
	*(u64 *)(r10 -16) = 1
	r1 = map[counts]
	r2 = r10
	r2 += -8
	call bpf_map_lookup_elem
	if r0 == 0 goto first
	r1 = 1
	lock *(u64 *)(r0 +0) += r1
	goto storage
	first:
	r1 = map[counts]
	r2 = r10
	r2 += -8
	r3 = r10
	r3 += -16
	r4 = 1
	call bpf_map_update_elem
	storage:
	r1 = map[per]
	r2 = 0
	r3 = 0
	r4 = 257
	call bpf_task_storage_get
	if r0 == 0 goto out
	r1 = *(u64 *)(r0 +0)
	r1 += 1
	*(u64 *)(r0 +0) = r1
	r0 = r1
	out:
	exit`

func TestRunAllocatesNothing(t *testing.T) {
	m, c, d := machine(t, assemble(t, counting)), newCaller(), call110()
	i := uint64(0)
	n := testing.AllocsPerRun(1000, func() {
		i++
		d.Args[0] = i % 60
		if r := m.Run(c, d); r.Fault != nil {
			t.Fatal(r.Fault)
		}
	})
	// The hash doubles a few times on its way to 60 entries; no more.
	if n != 0 {
		t.Errorf("%v allocations in a run, expected none on average", n)
	}
	if m.r[0] != i {
		t.Errorf("the thread counted %d calls of %d", m.r[0], i)
	}
}

// A map that one program makes grow has moved; the other must follow it.
func TestProgramsShareMaps(t *testing.T) {
	p := assemble(t, counting)
	set, err := maps.NewSet(p.Maps)
	if err != nil {
		t.Fatal(err)
	}
	var ms [2]*Machine
	for i := range ms {
		if ms[i], err = newMachine(p, set); err != nil {
			t.Fatal(err)
		}
	}
	c, d := newCaller(), call110()
	for i := 0; i < 200; i++ {
		d.Args[0] = uint64(i % 60)
		if r := ms[i%2].Run(c, d); r.Fault != nil || r.Ret != uint32(i+1) {
			t.Fatalf("call %d: counted %d, fault %v", i, r.Ret, r.Fault)
		}
	}
}

func TestMissingMap(t *testing.T) {
	p := assemble(t, counting)
	if _, err := newMachine(p, map[*prog.Map]maps.Map{}); err == nil {
		t.Error("a program without its maps is accepted")
	}
}
