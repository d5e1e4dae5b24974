package object_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"portcullis/internal/object"
	"portcullis/internal/prog"
)

// writtenObjects are what Write makes of all objects.
func writtenObjects(t *testing.T) map[string][]byte {
	t.Helper()
	all := objects(t)
	for name, data := range all {
		ps, err := object.Read(name, data)
		if err != nil {
			t.Fatal(err)
		}
		all[name], _ = written(t, name, ps)
	}
	return all
}

// TestWrittenAgainstOtherReader has cilium/ebpf read what is written: instructions, maps
// and lines are those that are read here.
func TestWrittenAgainstOtherReader(t *testing.T) {
	all := writtenObjects(t)
	for _, name := range sortedNames(all) {
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(all[name]))
		if err != nil {
			t.Fatal(name, err)
		}
		ps, err := object.Read(name, all[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			compareProgram(t, p, spec.Programs[p.Funcs[0].Name])
			compareMaps(t, p, spec.Maps)
		}
	}
}

// TestWrittenAgainstELFReader has the standard library read the sections: every symbol
// lies in its section, and every relocation names a symbol.
func TestWrittenAgainstELFReader(t *testing.T) {
	all := writtenObjects(t)
	for _, name := range sortedNames(all) {
		f, err := elf.NewFile(bytes.NewReader(all[name]))
		if err != nil {
			t.Fatal(name, err)
		}
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(name, err)
		}
		local := true
		for _, s := range symbols {
			if in := f.Sections[s.Section]; s.Value+s.Size > in.Size {
				t.Errorf("%s: symbol %s ends at %d of section %s of %d bytes", name, s.Name, s.Value+s.Size, in.Name, in.Size)
			}
			if isLocal := elf.ST_BIND(s.Info) == elf.STB_LOCAL; isLocal && !local {
				t.Errorf("%s: local symbol %s behind a global one", name, s.Name)
			} else {
				local = isLocal
			}
		}
	}
}

// needBPF skips where the kernel lets nobody load.
func needBPF(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs bpf(2): %v", err)
	}
}

// TestKernelTakesTypes loads .BTF as it is into the kernel.
func TestKernelTakesTypes(t *testing.T) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	needBPF(t, err)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	all := writtenObjects(t)
	for _, name := range sortedNames(all) {
		h, err := btf.NewHandleFromRawBTF(sectionOf(t, all[name], ".BTF"))
		if err != nil {
			t.Errorf("%s: the kernel refuses its types: %+v", name, err)
			continue
		}
		h.Close()
	}
}

// sectionOf is the contents of a section of an object.
func sectionOf(t *testing.T, data []byte, name string) []byte {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	contents, err := f.Section(name).Data()
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// TestKernelTakesWhatItTookOfTheCompiler loads each program as a socket filter, with its
// maps, functions and lines: the kernel accepts it if and only if it accepts what was compiled.
func TestKernelTakesWhatItTookOfTheCompiler(t *testing.T) {
	compiled, again, accepted := objects(t), writtenObjects(t), 0
	delete(compiled, "programs.o") // has a static map, which the other reader refuses
	for _, name := range sortedNames(compiled) {
		ps, err := object.Read(name, compiled[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			was, is := loadSocket(compiled[name], p), loadSocket(again[name], p)
			needBPF(t, unprivileged(was))
			if (was == nil) != (is == nil) {
				t.Errorf("%s: compiled, the kernel says %v; written, %v", p.Name, was, is)
			}
			if is == nil {
				accepted++
			}
		}
	}
	if accepted < 8 {
		t.Errorf("the kernel accepts %d programs: expected those that use no helpers of filters alone", accepted)
	}
}

// unprivileged is err if it tells that nothing may be loaded at all, and not that a
// program is refused.
func unprivileged(err error) error {
	var refused *ebpf.VerifierError
	if os.Geteuid() == 0 || errors.As(err, &refused) {
		return nil
	}
	return err
}

// loadSocket loads one program of an object as a socket filter, and lets go of it.
func loadSocket(data []byte, p *prog.Program) error {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	entry := spec.Programs[p.Funcs[0].Name]
	entry.Type = ebpf.SocketFilter
	only := &ebpf.CollectionSpec{Maps: map[string]*ebpf.MapSpec{}, Programs: map[string]*ebpf.ProgramSpec{"p": entry}, Types: spec.Types, ByteOrder: spec.ByteOrder}
	for _, m := range p.Maps {
		only.Maps[m.Name] = spec.Maps[m.Name]
		if m.Record != nil {
			only.Maps[m.Name].ValueSize = 0
		}
		only.Maps[m.Name].Contents = withoutPrograms(only.Maps[m.Name])
	}
	c, err := ebpf.NewCollection(only)
	if err == nil {
		c.Close()
	}
	return err
}

// withoutPrograms leaves the programs of a PROG_ARRAY out: they are not loaded.
func withoutPrograms(m *ebpf.MapSpec) []ebpf.MapKV {
	if m.Type == ebpf.ProgramArray {
		return nil
	}
	return m.Contents
}

// tool is a program that reads objects.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	if err != nil {
		t.Skipf("needs %s: %v", name, err)
	}
	return path
}

// inFiles writes objects to files of their names.
func inFiles(t *testing.T, all map[string][]byte) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range sortedNames(all) {
		path := filepath.Join(dir, strings.TrimSuffix(name, ".o")+".o")
		if err := os.WriteFile(path, all[name], 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// says runs a tool that must have nothing to complain about.
func says(t *testing.T, path string, args ...string) string {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("%s %s: %v\n%.1000s", filepath.Base(path), strings.Join(args, " "), err, complaints.String())
	}
	return out.String()
}

func TestLLVMReadsWhatIsWritten(t *testing.T) {
	readelf, objdump := tool(t, "llvm-readelf-19"), tool(t, "llvm-objdump-19")
	paths := inFiles(t, writtenObjects(t))
	if text := says(t, readelf, append([]string{"-a"}, paths...)...); strings.Count(text, "EM_BPF") != len(paths) {
		t.Errorf("llvm-readelf: %d of %d objects are for eBPF", strings.Count(text, "EM_BPF"), len(paths))
	}
	if text := says(t, objdump, append([]string{"--mcpu=v4", "-d", "-r", "-S"}, paths...)...); strings.Contains(text, "<unknown>") {
		t.Error("llvm-objdump knows not every instruction")
	}
}

func TestBpftoolReadsWhatIsWritten(t *testing.T) {
	bpftool := tool(t, "bpftool")
	for _, path := range inFiles(t, writtenObjects(t)) {
		if text := says(t, bpftool, "btf", "dump", "file", path); !strings.Contains(text, "STRUCT 'seccomp_data'") {
			t.Errorf("bpftool btf dump file %s: no struct seccomp_data", path)
		}
		if text := says(t, bpftool, "gen", "skeleton", path); !strings.Contains(text, "struct bpf_program *") {
			t.Errorf("bpftool gen skeleton %s: no program", path)
		}
	}
}

// TestLinesOfPolicies wants the lines of a file that is not C where instructions are
// listed.
func TestLinesOfPolicies(t *testing.T) {
	p := tiny()
	p.Lines = []prog.Line{{Insn: 0, File: "./deny.yaml", Line: 12, Text: "  - deny: [mount]  # for ever"}}
	data, again := written(t, "p", []*prog.Program{p})
	want := prog.Line{File: "./deny.yaml", Line: 12, Text: "- deny: [mount]  # for ever"}
	if got := again[0].LineOf(1); got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
	objdump := tool(t, "llvm-objdump-19")
	text := says(t, objdump, append([]string{"-d", "-S", "-l"}, inFiles(t, map[string][]byte{"p": data})...)...)
	for _, part := range []string{"deny.yaml:12", "; - deny: [mount]  # for ever"} {
		if !strings.Contains(text, part) {
			t.Errorf("llvm-objdump -S -l shows no %q:\n%s", part, text)
		}
	}
}
