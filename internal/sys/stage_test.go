//go:build linux && amd64

package sys

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
)

func TestStageIsAnELFFile(t *testing.T) {
	f, err := NewStage("/bin/true", []int{3})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := elf.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Mode() != 0o111 {
		t.Errorf("mode %v, %v: execution alone expected", info.Mode(), err)
	}
	for _, p := range file.Progs {
		if p.Flags&elf.PF_W != 0 && p.Flags&elf.PF_X != 0 {
			t.Errorf("%v is writable and executable", p.ProgHeader)
		}
	}
	if _, err := NewStage("a\x00b", []int{3}); err != syscall.EINVAL {
		t.Errorf("a path with a NUL: %v, want EINVAL", err)
	}
}

// In the file, the block and the texts behind it share a page.
func TestBlockEndsBeforeTheTexts(t *testing.T) {
	if end := unsafe.Offsetof(stageBlock{}.gate); end > textOffset {
		t.Errorf("the block ends at %d, the texts begin at %d", end, textOffset)
	}
	if unsafe.Sizeof(errnoText{}) != 64 {
		t.Error("the assembly takes an errnoText for 64 bytes")
	}
}

// Every errno has its whole text.
func TestStageTexts(t *testing.T) {
	texts := string(stageTexts())
	for errno := syscall.Errno(1); errno < errnos; errno++ {
		if !strings.Contains(texts, errno.Error()+"\n") {
			t.Errorf("errno %d: no %q", int(errno), errno.Error())
		}
	}
	if name := syscall.Errno(errnos).Error(); !strings.HasPrefix(name, "errno ") {
		t.Errorf("errno %d has a name: %s", errnos, name)
	}
}

// The thread that others can change while a tracer is awaited can wait, report and
// end, and nothing else.
func TestStageFilter(t *testing.T) {
	var insns []cbpf.Insn
	for _, in := range stageFilter() {
		insns = append(insns, cbpf.Insn{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	filter, err := cbpf.Validate(insns)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[int32]bool{
		syscall.SYS_READ: true, syscall.SYS_SENDMSG: true, syscall.SYS_NANOSLEEP: true,
		syscall.SYS_RESTART_SYSCALL: true, syscall.SYS_EXIT_GROUP: true,
	}
	for nr := int32(-1); nr < 1024; nr++ {
		for _, arch := range []abi.Arch{abi.ArchX86_64, abi.ArchI386} {
			for arg := uint64(0); arg < 64; arg++ {
				want := abi.KillProcess
				if arch == abi.ArchX86_64 && (allowed[nr] || nr == syscall.SYS_PRCTL && arg == 4) {
					want = abi.Allow
				}
				d := abi.SeccompData{Nr: nr, Arch: arch, Args: [6]uint64{arg}}
				if got := filter.Run(&d); got != want {
					t.Fatalf("%v: %v, expected %v", d, got, want)
				}
			}
		}
	}
}

// A stage that is not told anything ends.
func TestStageWithoutAnOrder(t *testing.T) {
	f, err := NewStage("/bin/echo", []int{3})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ours, theirs, err := SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	end := os.NewFile(uintptr(theirs), "stage")
	cmd := exec.Command("/proc/self/fd/4", "executed")
	cmd.ExtraFiles = []*os.File{end, f}
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	Close(ours)
	text, _ := io.ReadAll(out)
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 125 || len(text) > 0 {
		t.Errorf("%v, it printed %q: status 125 expected", err, text)
	}
}

// The file that stands in for one in memory is executable too, and has no name.
func TestTemporaryStage(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f, err := temporary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(stageImage("/bin/true", []int{9}, "")); err != nil {
		t.Fatal(err)
	}
	only, err := unreadable(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer only.Close()
	if info, err := only.Stat(); err != nil || info.Mode() != 0o111 {
		t.Errorf("mode %v, %v: execution alone expected", info.Mode(), err)
	}
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{only}
	if err := cmd.Run(); err == nil || err.Error() != "exit status 125" {
		t.Errorf("executed: %v: status 125 expected", err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestOrderIsBounded(t *testing.T) {
	insns := make([]FilterInsn, 4096)
	var full, many, long StageOrder
	full.Classic(insns, 0) // the largest of each, and all bitmaps
	for i := 1; i < maxInstalls; i++ {
		full.Extended(i, Extension{Native: make([]byte, 64), Compat: make([]byte, 64)})
	}
	if m, err := full.Message(); err != nil || len(m) > 200<<10 {
		t.Errorf("%d bytes, %v: a message that a socket takes expected", len(m), err)
	}
	many = full
	many.Extended(maxInstalls, Extension{})
	for i := 0; i < 3; i++ {
		long.Classic(insns, 0)
	}
	for _, o := range []*StageOrder{&many, &long} {
		var oe *OrderError
		if _, err := o.Message(); !errors.As(err, &oe) || oe.Filters != len(o.installs) {
			t.Errorf("%v: an OrderError of %d filters expected", err, len(o.installs))
		}
	}
}
