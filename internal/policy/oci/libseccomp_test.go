package oci

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/cbpf"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

// golden is what libseccomp makes of a profile; the program is nil if it refuses it.
type golden struct {
	name    string
	profile []byte
	largest uint32
	refused string
	program cbpf.Program
}

// recorded reads testdata/libseccomp.txt, which testdata/libseccomp.py wrote.
func recorded(t *testing.T, file string) []golden {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	var g golden
	var code string
	flush := func() {
		if g.name != "" {
			g.program = program(t, code)
			all = append(all, g)
		}
		g, code = golden{}, ""
	}
	for _, line := range strings.Split(string(data), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "profile":
			flush()
			g.profile = []byte(rest)
		case "refused", "program":
			if g.name != "" {
				flush()
			}
			if _, err := fmt.Sscan(rest, &g.name, &g.largest); err != nil {
				t.Fatal(line, err)
			}
			if word == "refused" {
				g.refused = rest
			}
			if g.profile == nil {
				g.profile = profileOf(t, g.name)
			}
		default:
			code += line
		}
	}
	flush()
	return all
}

func profileOf(t *testing.T, name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata/profiles", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func program(t *testing.T, code string) cbpf.Program {
	if code == "" {
		return cbpf.Program{}
	}
	raw, err := hex.DecodeString(code)
	if err != nil {
		t.Fatal(err)
	}
	var insns []cbpf.Insn
	for ; len(raw) >= 8; raw = raw[8:] {
		insns = append(insns, cbpf.Insn{Op: binary.LittleEndian.Uint16(raw), Jt: raw[2], Jf: raw[3], K: binary.LittleEndian.Uint32(raw[4:])})
	}
	p, err := cbpf.Validate(insns)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// interesting are values of arguments around those that profiles compare with.
func interesting(r *rand.Rand) uint64 {
	base := []uint64{0, 1, 2, 3, 5, 7, 8, 9, 16, 22, 38, 39, 40, 255, 4096, 21522, 2114060288, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<32 + 7, 1 << 63, 1<<64 - 1}
	switch r.Intn(6) {
	case 0:
		return r.Uint64()
	case 1:
		return uint64(r.Uint32())
	case 2:
		return 1 << uint(r.Intn(64))
	}
	return base[r.Intn(len(base))] + uint64(r.Intn(3)) - 1
}

// TestLibseccomp: what Read makes of a profile decides every call as libseccomp's program
// does, behind what runc puts in front of it; where rules say different things of the same
// call, at least as strictly.
func TestLibseccomp(t *testing.T) {
	programs := 0
	for _, g := range recorded(t, "testdata/libseccomp.txt") {
		m, losses, err := Read(g.name, g.profile)
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		table, err := static.Decide(m)
		if err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		if g.refused == "" {
			programs++
			compare(t, g, m, table, overlapping(losses))

		}
	}
	if programs < 25 {
		t.Errorf("%d programs to compare with: expected more", programs)
	}
}

// overlapping are the calls whose rules can match at the same time.
func overlapping(losses []Loss) map[string]bool {
	calls := map[string]bool{}
	for _, l := range losses {
		if rest, ok := strings.CutPrefix(l.What, "rules of "); ok {
			calls[strings.TrimSuffix(rest, " that overlap")] = true
		}
	}
	return calls
}

func compare(t *testing.T, g golden, m *policy.Model, table *static.Table, loose map[string]bool) {
	r := rand.New(rand.NewSource(1))
	for _, c := range syscalls.All() {
		if loose[c.Name] {
			continue
		}
		for i := 0; i < 400; i++ {
			d := abi.SeccompData{Nr: int32(c.Nr), Arch: abi.ArchX86_64}
			for k := range d.Args {
				d.Args[k] = interesting(r)
			}
			want := g.program.Run(&d)
			if m.Unknown.Verdict() == abi.Errno(static.ENOSYS) && !m.Default.Permits() && m.Default.Data != static.ENOSYS && c.Nr > g.largest {
				want = abi.Errno(static.ENOSYS)
			}
			a, dynamic := table.Verdict(c.Nr, d.Args)
			if got := a.Verdict(); got != want || dynamic {
				t.Errorf("%s: %s %#x: %s; libseccomp says %s", g.name, c.Name, d.Args, got, want)
				return
			}
			if table.Find(c.Nr).Cases == nil {
				break // no test of arguments
			}
		}
	}
}
