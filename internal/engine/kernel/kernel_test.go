package kernel

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/btf"

	"portcullis/internal/prog"
)

func TestValueBTF(t *testing.T) {
	for _, c := range []struct {
		key, size uint32
		lock      int
		members   string
	}{
		{4, 8, -1, "bytes@0"},
		{4, 16, 0, "lock@0 after@4"},
		{4, 16, 4, "before@0 lock@4 after@8"},
		{8, 16, 12, "before@0 lock@12"},
		{1, 4, 0, "lock@0"},
	} {
		data, keyID, valueID := valueBTF(c.key, c.size, c.lock)
		spec, err := btf.LoadSpecFromReader(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if got := sizeOf(t, spec, keyID); got != int(c.key) {
			t.Errorf("%+v: key of %d bytes", c, got)
		}
		if got := sizeOf(t, spec, valueID); got != int(c.size) {
			t.Errorf("%+v: value of %d bytes", c, got)
		}
		typ, _ := spec.TypeByID(btf.TypeID(valueID))
		if got := members(t, typ.(*btf.Struct)); got != c.members {
			t.Errorf("%+v: members %s", c, got)
		}
	}
}

func sizeOf(t *testing.T, spec *btf.Spec, id uint32) int {
	t.Helper()
	typ, err := spec.TypeByID(btf.TypeID(id))
	if err != nil {
		t.Fatal(err)
	}
	n, err := btf.Sizeof(typ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// members lists the members of s, and checks that they follow each other and fill it.
func members(t *testing.T, s *btf.Struct) string {
	t.Helper()
	var list []string
	end := uint32(0)
	for _, m := range s.Members {
		at := m.Offset.Bytes()
		if at != end {
			t.Errorf("%s starts at %d: %d expected", m.Name, at, end)
		}
		n, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		if m.Name == "lock" && m.Type.TypeName() != "bpf_spin_lock" {
			t.Errorf("the lock is a %v", m.Type)
		}
		end = at + uint32(n)
		list = append(list, fmt.Sprintf("%s@%d", m.Name, at))
	}
	if end != s.Size {
		t.Errorf("the members end at %d of %d", end, s.Size)
	}
	return strings.Join(list, " ")
}

func TestObjectName(t *testing.T) {
	for in, want := range map[string]string{
		"count":                    "count",
		"seccomp/count-exec.v2":    "seccomp_count_e",
		"":                         "",
		"a name that is far too l": "a_name_that_is_",
	} {
		if got := objectName(in); got != want {
			t.Errorf("objectName(%q) = %q: %q expected", in, got, want)
		}
	}
}

const refusal = `func#0 @0
0: R1=ctx() R10=fp0
0: (85) call bpf_get_prandom_u32#7    ; R0_w=scalar()
1: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'scalar'
verification time 21 usec
stack depth 0
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`

func TestLoadError(t *testing.T) {
	p := &prog.Program{Name: "bad", Lines: []prog.Line{{Insn: 0, File: "a.c", Line: 3}, {Insn: 1, File: "a.c", Line: 7}}}
	err := newLoadError(p, syscall.EACCES, refusal)
	want := "kernel engine: program bad: instruction 1 (a.c:7): the kernel's verifier refuses: R0 invalid mem access 'scalar': permission denied"
	if err.Error() != want {
		t.Errorf("%v\nexpected\n%s", err, want)
	}
	if silent := newLoadError(p, syscall.EPERM, "").Error(); silent != "kernel engine: program bad: operation not permitted" {
		t.Errorf("without a log: %s", silent)
	}
}
