package kernel

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/guest"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
)

func TestMain(m *testing.M) {
	if os.Args[0] == victimMark {
		runVictim()
	}
	guest.Main(m)
}

// guards is a classic filter that fails getppid with EDOM and allows the rest.
func guards(t *testing.T) cbpf.Program {
	t.Helper()
	p, err := cbpf.Validate([]cbpf.Insn{
		{Op: cbpf.LdAbs, K: 0},
		{Op: 0x15, Jf: 1, K: syscall.SYS_GETPPID},
		{Op: 0x06, K: 0x00050000 | uint32(syscall.EDOM)},
		{Op: 0x06, K: 0x7fff0000},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The stage hands the target over as os/exec would have started it.
func TestTargetIsAsDescribed(t *testing.T) {
	const script = `printf "%s|" "$@" "$VAR" "$PWD" "$(ulimit -Sn)" "$(cat <&3)" "$(ls /proc/self/fd | tr '\n' ' ')"
		grep -E '^(NoNewPrivs|Seccomp|SigBlk|SigIgn|SigCgt):' /proc/$$/status | tr '\n\t' '  '; exit 3`
	describe := func() (*exec.Cmd, *bytes.Buffer) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString("extra"); err != nil {
			t.Fatal(err)
		}
		w.Close()
		t.Cleanup(func() { r.Close() })
		cmd := exec.Command("sh", "-c", script, "name", "one", "two words")
		cmd.Env, cmd.Dir = []string{"VAR=value", "PATH=/usr/bin:/bin"}, "/"
		cmd.ExtraFiles = []*os.File{r}
		out := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	plain, want := describe()
	plainErr := plain.Run()
	cmd, got := describe()
	if err := start(nil, guards(t), cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != plainErr.Error() {
		t.Errorf("ended with %v: %v expected", err, plainErr)
	}
	sandboxed := strings.NewReplacer("NoNewPrivs: 0", "NoNewPrivs: 1", "Seccomp: 0", "Seccomp: 2").Replace(want.String())
	if got.String() != sandboxed {
		t.Errorf("got      %s\nexpected %s", got, sandboxed)
	}
	if cmd.Path != plain.Path || len(cmd.Args) != len(plain.Args) || len(cmd.ExtraFiles) != 1 {
		t.Errorf("start left other things in the description: %+v", cmd)
	}
}

func TestTargetMissing(t *testing.T) {
	cmd := exec.Command("/nowhere/at/all")
	err := start(nil, guards(t), cmd)
	if want := exec.Command("/nowhere/at/all").Start(); err == nil || err.Error() != want.Error() || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: %v expected", err, want)
	}
	if err := start(nil, guards(t), exec.Command("no-such-command-anywhere")); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v: exec.ErrNotFound expected", err)
	}
}

func TestTargetNotExecutable(t *testing.T) {
	path := t.TempDir() + "/text"
	if err := os.WriteFile(path, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := start(nil, guards(t), exec.Command(path)); !errors.Is(err, syscall.ENOEXEC) {
		t.Errorf("%v: ENOEXEC expected", err)
	}
}

// Every type of map is one that a kernel creates, with our type information.
func TestCreateMaps(t *testing.T) {
	for _, m := range []prog.Map{
		{Type: prog.Array, KeySize: 4, ValueSize: 8, MaxEntries: 3, SpinLock: -1},
		{Type: prog.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1, SpinLock: 8},
		{Type: prog.Hash, KeySize: 24, ValueSize: 16, MaxEntries: 10, SpinLock: 0},
		{Type: prog.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 10, Flags: prog.FlagNoPrealloc, SpinLock: -1},
		{Type: prog.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: 10, SpinLock: -1},
		{Type: prog.PercpuArray, KeySize: 4, ValueSize: 8, MaxEntries: 3, SpinLock: -1},
		{Type: prog.PercpuHash, KeySize: 8, ValueSize: 8, MaxEntries: 3, SpinLock: -1},
		{Type: prog.TaskStorage, KeySize: 4, ValueSize: 12, SpinLock: -1},
		{Type: prog.TaskStorage, ValueSize: 12, Flags: prog.FlagNoPrealloc, SpinLock: 4},
		{Type: prog.RingBuf, MaxEntries: 4096, SpinLock: -1},
		{Type: prog.ProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 8, SpinLock: -1},
		{Name: ".rodata", Type: prog.Array, KeySize: 4, ValueSize: 3, MaxEntries: 1, Contents: []byte("abc"), Frozen: true, SpinLock: -1},
	} {
		m.Name = objectName(m.Name + m.Type.String())
		fd, err := createMap(&m)
		if errors.Is(err, syscall.EPERM) {
			t.Skip("needs CAP_BPF, or a kernel with the engine")
		}
		if err != nil {
			t.Errorf("%+v: %v", m, err)
			continue
		}
		checkGlobals(t, fd, &m)
		syscall.Close(fd)
	}
}

// checkGlobals reads a frozen section back, and fails to change it.
func checkGlobals(t *testing.T, fd int, m *prog.Map) {
	t.Helper()
	if !m.Frozen {
		return
	}
	key, value := make([]byte, 4), make([]byte, m.ValueSize)
	if err := sys.MapLookup(fd, key, value); err != nil || !bytes.Equal(value, m.Contents) {
		t.Errorf("%s holds %q, %v: %q expected", m.Name, value, err, m.Contents)
	}
	if err := sys.MapUpdate(fd, key, value, 0); err != syscall.EPERM {
		t.Errorf("%s is changed once frozen: %v: EPERM expected", m.Name, err)
	}
}

// What the kernel has not is refused before it is asked.
func TestUnsupportedHelpers(t *testing.T) {
	p := newAssembler().call(helper.TracePrintk).answer(abi.Allow).program("p")
	p.Lines = []prog.Line{{File: "p.c", Line: 4}}
	var u *UnsupportedError
	if err := supported(p); !errors.As(err, &u) || !strings.Contains(err.Error(), "p.c:4") {
		t.Errorf("%v: an UnsupportedError at p.c:4 expected", err)
	}
	if err := supported(limitByStorage(counter(prog.TaskStorage), 1, 0)); err != nil {
		t.Error(err)
	}
}

func TestRelocated(t *testing.T) {
	m := &prog.Map{Name: "m"}
	p := &prog.Program{Maps: []*prog.Map{{}, m}, Insns: []prog.Insn{
		{Op: prog.OpLoadImm64, Dst: 1, Src: prog.PseudoMapFD, Imm: 1},
		{Imm: 9}, // a second slot, whatever its fields look like
		{Op: prog.OpLoadImm64, Dst: 2, Imm: 1},
		{Op: prog.OpLoadImm64},
		{Op: prog.OpExitInsn},
	}}
	l := &loaded{maps: map[*prog.Map]int{m: 77}}
	got, err := prog.Decode(l.relocated(p))
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Imm != 77 || got[1].Imm != 9 || got[2].Imm != 1 || p.Insns[0].Imm != 1 {
		t.Errorf("relocated %v from %v: descriptor 77 in the first load alone expected", got, p.Insns)
	}
}
