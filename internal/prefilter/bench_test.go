package prefilter_test

import (
	"testing"
	"time"

	"portcullis/filters"
	"portcullis/internal/object"
	"portcullis/internal/prefilter"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

func builtin(b testing.TB, name string) *prog.Program {
	raw, ok := filters.Object(name)
	if !ok {
		b.Fatalf("no filter %s", name)
	}
	ps, err := object.Read(name, raw)
	if err != nil {
		b.Fatal(err)
	}
	return ps[0]
}

func ready(b testing.TB, p *prog.Program) (took [3]time.Duration) {
	at := time.Now()
	lap := func(i int) { took[i], at = time.Since(at), time.Now() }
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		b.Fatal(err)
	}
	lap(0)
	t := split.Split(v)
	t.Ranges(0xc000003e)
	lap(1)
	if _, err := prefilter.Build([]*split.Tree{t}, prefilter.Options{Token: 1}); err != nil {
		b.Fatal(err)
	}
	lap(2)
	return took
}

// BenchmarkReady is what stands between a loaded filter and its installation.
func BenchmarkReady(b *testing.B) {
	for _, name := range []string{"no-exec", "count-exec"} {
		b.Run(name, func(b *testing.B) {
			p := builtin(b, name)
			b.Logf("first: verified, split and built in %v", ready(b, p))
			b.ReportAllocs()
			for i := 0; i < b.N; i++ {
				ready(b, p)
			}
		})
	}
}
