//go:build linux && amd64

package verify_test

import (
	"bytes"
	"errors"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"portcullis/internal/absint/bpfgen"
	"portcullis/internal/golden"
	"portcullis/internal/helper"
	"portcullis/internal/prog"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// kernelMaps creates maps; a frozen one gets its contents.
func kernelMaps(t *testing.T, ms []*prog.Map) []int {
	var fds []int
	for _, m := range ms {
		flags := m.Flags
		if m.Frozen {
			flags |= prog.FlagRdonlyProg
		}
		fd, err := sys.MapCreate(sys.MapAttr{
			Type: uint32(m.Type), KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries, Flags: flags,
		})
		if err != nil {
			t.Skipf("needs bpf(2): creating map %s: %v", m.Name, err)
		}
		fds = append(fds, fd)
		if m.Frozen {
			freeze(t, fd, m)
		}
	}
	t.Cleanup(func() {
		for _, fd := range fds {
			sys.Close(fd)
		}
	})
	return fds
}

func freeze(t *testing.T, fd int, m *prog.Map) {
	err := sys.MapUpdate(fd, make([]byte, 4), m.Contents, 0)
	if err == nil {
		err = sys.MapFreeze(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kernelVerify asks the kernel's verifier about p as a socket filter. A refused
// program leaves the last lines of the log.
func kernelVerify(p *prog.Program, fds []int) (accepted bool, log string) {
	insns := append([]prog.Insn(nil), p.Insns...)
	for i, in := range insns {
		if in.IsLoadImm64() && (in.Src == prog.PseudoMapFD || in.Src == prog.PseudoMapValue) && int(in.Imm) < len(fds) && in.Imm >= 0 {
			insns[i].Imm = int32(fds[in.Imm])
		}
	}
	var text []byte
	err := kernelLoad(insns, nil)
	if err != nil {
		text = make([]byte, 16<<20)
		kernelLoad(insns, text)
	}
	lines := strings.Split(strings.TrimSpace(string(bytes.TrimRight(text, "\x00"))), "\n")
	if n := len(lines); n > 4 {
		lines = lines[n-4:]
	}
	return err == nil, strings.Join(lines, "\n")
}

// kernelLoad loads and closes a program; the log is written where there is room
// for one.
func kernelLoad(insns []prog.Insn, log []byte) error {
	fd, err := sys.ProgLoad(sys.ProgAttr{
		Type: unix.BPF_PROG_TYPE_SOCKET_FILTER, Insns: prog.Encode(insns), License: "GPL", Log: log,
	})
	if err == nil {
		sys.Close(fd)
	}
	return err
}

// unprivileged runs f on a thread that may use bpf(2) but not see pointers:
// with CAP_BPF, without CAP_PERFMON and CAP_SYS_ADMIN. That is how the kernel
// verifies for those it does not trust.
func unprivileged(t *testing.T, f func()) {
	done := make(chan error, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its capabilities
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&hdr, &data[0]); err != nil {
			done <- err
			return
		}
		data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		data[1].Effective &^= 1 << (unix.CAP_PERFMON - 32)
		if err := unix.Capset(&hdr, &data[0]); err != nil {
			done <- err
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Skipf("needs bpf(2): dropping capabilities: %v", err)
	}
}

// goldenDifferences are the cases on which the two are known to differ, with why.
func goldenDifferences() map[string]string {
	return map[string]string{
		"may-goto":                    "not in RFC 9669; the kernel has it since 6.9",
		"jump-into-function":          "the kernel knows no functions that are not called",
		"lookup-with-half-a-key":      "the kernel takes the rest of a slot that was written in part for written",
		"saved-number-in-part":        "the kernel forgets a number of which a part is read back",
		"map-value-not-tested":        "the kernel knows since 6.14 that a constant index into an array is found",
		"map-value-of-another-lookup": "the same",
		"pointer-or-null-arithmetic":  "the same",
		"bounded-loop":                "the kernel also follows what a processor may speculate on, and gives up",
		"nested-loops":                "the same",
	}
}

// loads bounds the programs given to the kernel in one run: it frees them in
// the background, and freeing many at once has locked kernels up.
const loads = 60

func TestAcceptsNoMoreThanKernel(t *testing.T) {
	r := rand.New(rand.NewSource(seed(t)))
	ms := bpfgen.Maps(r)
	fds := kernelMaps(t, ms)
	accepted := 0
	for i := 0; i < loads; {
		p := bpfgen.Program(r, bpfgen.Options{Context: bpfgen.Opaque, Statements: 1 + r.Intn(14), Wild: r.Intn(4)})
		p.Maps = ms
		if !comparable(p) {
			continue
		}
		if _, err := verify.Program(p, verify.Options{}); err != nil {
			continue
		}
		i++
		ok, log := kernelVerify(p, fds)
		if ok {
			accepted++
		} else if !divides(p) {
			t.Errorf("the kernel refuses: %s\n%s", log, listing(p))
		}
	}
	t.Logf("the kernel accepts %d of %d", accepted, loads)
}

func TestRefusesNoMoreThanKernel(t *testing.T) {
	r := rand.New(rand.NewSource(seed(t)))
	ms := bpfgen.Maps(r)
	fds := kernelMaps(t, ms)
	refused := 0
	unprivileged(t, func() {
		for i := 0; i < loads; {
			p := bpfgen.Program(r, bpfgen.Options{Context: bpfgen.Opaque, Statements: 1 + r.Intn(5), Wild: 1 + r.Intn(3)})
			p.Maps = ms
			if !comparable(p) {
				continue
			}
			_, err := verify.Program(p, verify.Options{})
			var e *verify.Error
			if !errors.As(err, &e) {
				continue
			}
			i++
			ok, _ := kernelVerify(p, fds)
			if !ok {
				refused++
			} else if !laxer(p, e) {
				t.Errorf("the kernel accepts: %v\n%s", err, listing(p))
			}
		}
	})
	t.Logf("the kernel refuses %d of %d", refused, loads)
}

// seed is the same for every ordinary run: what is found then, a change has done.
func seed(t *testing.T) int64 {
	n := int64(20_261_125)
	if s := os.Getenv("PORTCULLIS_FUZZ_SEED"); s != "" {
		n, _ = strconv.ParseInt(s, 0, 64)
	}
	t.Logf("PORTCULLIS_FUZZ_SEED=%d", n)
	return n
}

// laxer tells whether the kernel is known to accept what e refuses in p.
func laxer(p *prog.Program, e *verify.Error) bool {
	switch {
	case e.Err == nil:
		return true // it looks at encodings only where it comes by; the golden cases compare them
	case strings.Contains(e.Reason, "which was not written"):
		return true // it takes the rest of a slot written in part for written
	}
	for _, in := range p.Insns {
		if in.Op == prog.OpCallInsn && in.Src == 0 && in.Imm == int32(helper.MapLookupElem) {
			return true // it knows that a constant index into an array is found
		}
	}
	return false
}

// divides tells whether p has quotients or remainders, about which the kernel
// knows nothing unless they are constant.
func divides(p *prog.Program) bool {
	for _, in := range p.Insns {
		if op := in.Op & prog.OpMask; in.Class()|3 == prog.ClassALU64 && (op == prog.OpDiv || op == prog.OpMod) {
			return true
		}
	}
	return false
}

// comparable tells whether p means the same to the kernel: it does not read the
// context, which is another there, and calls only the kernel's helpers that a
// socket filter has.
func comparable(p *prog.Program) bool {
	for _, m := range p.Maps {
		if m.Contents == nil && m.SpinLock >= 0 {
			return false // needs BTF
		}
	}
	for _, in := range p.Insns {
		if in.Class() == prog.ClassLDX && (in.Src == 9 || in.Src == 1) {
			return false
		}
		if in.Op != prog.OpCallInsn || in.Src != 0 {
			continue
		}
		switch helper.ID(in.Imm) {
		case helper.MapLookupElem, helper.MapUpdateElem, helper.MapDeleteElem,
			helper.GetPrandomU32, helper.GetSmpProcessorID, helper.KtimeGetNs:
		default:
			return false
		}
	}
	return true
}

func listing(p *prog.Program) string {
	text := ""
	for pc := range p.Insns {
		text += strconv.Itoa(pc) + ": " + p.Disasm(pc) + "\n"
	}
	return text
}

// TestGoldenAgainstKernel asks the kernel about the cases of testdata that mean
// the same to it.
func TestGoldenAgainstKernel(t *testing.T) {
	kernelMaps(t, bpfgen.Maps(rand.New(rand.NewSource(1)))) // skips here, not on the other goroutine
	cases, compared := golden.Programs(t), 0
	unprivileged(t, func() {
		for _, c := range cases {
			if _, differs := goldenDifferences()[c.Name]; differs || !comparable(c.Program) || len(c.Insns) == 0 {
				continue
			}
			compared++
			_, here := verify.Program(c.Program, verify.Options{})
			ok, log := kernelVerify(c.Program, kernelMaps(t, c.Maps))
			if ok != (here == nil) {
				t.Errorf("%s: the kernel accepts: %v, here: %v\n%s", c.Name, ok, here, log)
			}
		}
	})
	t.Logf("%d cases", compared)
}
