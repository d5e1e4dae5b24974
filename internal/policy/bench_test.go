package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/abi"
	"portcullis/internal/policy"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// BenchmarkReady is what run -f does with each ready policy before it installs anything: from YAML
// to instructions, then their proof, the split, and the program in front; and the first of it alone.
func BenchmarkReady(b *testing.B) {
	files, err := filepath.Glob("../../policies/*.yaml")
	if err != nil || len(files) == 0 {
		b.Fatalf("no policies: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		b.Run(name+"/compiled", func(b *testing.B) {
			p := instructions(b, file, data)
			b.ReportMetric(float64(len(p.Insns)), "insns")
			for i := 0; i < b.N; i++ {
				instructions(b, file, data)
			}
		})
		b.Run(name+"/ready", func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				ready(b, instructions(b, file, data))
			}
		})
	}
}

func instructions(b *testing.B, file string, data []byte) *prog.Program {
	m, err := policy.Load(file, data, nil)
	if err != nil {
		b.Fatal(err)
	}
	p, err := policy.Compile(m)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func ready(b *testing.B, p *prog.Program) {
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		b.Fatal(err)
	}
	t := split.Split(v)
	t.Ranges(abi.ArchX86_64)
	if _, err := prefilter.Build([]*split.Tree{t}, prefilter.Options{Token: 1}); err != nil {
		b.Fatal(err)
	}
}
