package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"text/template"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
)

//go:embed kernel.h.tmpl
var kernelTemplate string

// kernelHeader is the path of the table in the kernel's source, to which a patch adds it.
const kernelHeader = "include/linux/seccomp_ebpf_args.h"

// most is how many groups of tests a byte can name.
const most = 256

// kernelTable renders the table for the kernel of the kernel engine.
func kernelTable(string) ([]byte, error) {
	t, err := template.New("kernel.h").Parse(kernelTemplate)
	if err != nil {
		return nil, err
	}
	k, err := newKernelRows()
	if err != nil {
		return nil, err
	}
	newest := len(k.starts) - 2
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Shapes": kernelNames(shapes()), "Directions": kernelNames(directions()), "MaxPin": args.MaxPin,
		"Whens": maxWhens, "Tests": k.tests, "Rows": k.rows, "Numbers": newest + 1, "Starts": lines(k.starts),
		"Known":     spans(newest, func(nr uint32) bool { _, ok := args.Of(nr); return ok }),
		"Dependent": spans(newest, abi.Dependent),
	})
	return out.Bytes(), err
}

// kernelRows are the rows of the kernel's table, which has the tests apart.
type kernelRows struct {
	rows, tests []string
	starts      []int
	index       map[string]int // of tests
}

func newKernelRows() (*kernelRows, error) {
	calls := args.All()
	sort.Slice(calls, func(i, j int) bool { return calls[i].Nr < calls[j].Nr })
	k := &kernelRows{index: map[string]int{}}
	k.when(nil)
	for _, c := range calls {
		for len(k.starts) <= int(c.Nr) {
			k.starts = append(k.starts, len(k.rows))
		}
		for i := range c.Args {
			if err := k.arg(c, i); err != nil {
				return nil, err
			}
		}
	}
	k.starts = append(k.starts, len(k.rows))
	return k, nil
}

// arg adds what argument i of c can be, nothing for a plain number.
func (k *kernelRows) arg(c args.Call, i int) error {
	forms := 0
	for _, x := range c.Cases() {
		if int(x.Arg) != i {
			continue
		}
		if len(x.When) > maxWhens || len(k.tests) == most {
			return fmt.Errorf("%s: expected at most %d tests of a case and %d groups of them: make room in the kernel's header", c.Name, maxWhens, most)
		}
		k.row(i, x.Is, k.when(x.When))
		forms++
	}
	if a := c.Args[i]; forms > 0 || a.Shape > args.Value {
		k.row(i, a, 0)
	}
	return nil
}

// when is the index of a group of tests.
func (k *kernelRows) when(tests []args.When) int {
	var words []string
	for _, w := range tests {
		words = append(words, fmt.Sprintf("{ 0x%xULL, 0x%xULL, %d }", w.Mask, w.Value, w.Arg))
	}
	if len(words) == 0 {
		words = []string{"{ 0, 0, 0 }"}
	}
	text := "{ " + strings.Join(words, ", ") + " },"
	i, known := k.index[text]
	if !known {
		i = len(k.tests)
		k.index[text], k.tests = i, append(k.tests, text)
	}
	return i
}

func (k *kernelRows) row(i int, a args.Arg, when int) {
	null := 0
	if a.Null {
		null = 1
	}
	k.rows = append(k.rows, fmt.Sprintf("{ %d, %s, %s, %s, %d, %d, %d, %d, %d, %d, %d },", i,
		kernelName(shapes()[a.Shape].Name), kernelName(directions()[a.Dir].Name), kernelName(directions()[a.Data].Name),
		null, a.Count.Arg, a.Count.Bytes, when, a.Size, a.Unit, a.Max))
}

// kernelName is a name of include/portcullis_args.h as it is in the kernel.
func kernelName(name string) string { return strings.Replace(name, "PORTCULLIS", "SECCOMP", 1) }

func kernelNames(all []constant) []constant {
	for i := range all {
		all[i].Name = kernelName(all[i].Name)
	}
	return all
}

// spans are the numbers up to newest for which is holds, as labels of a switch.
func spans(newest int, is func(uint32) bool) []string {
	var all []string
	for from := 0; from <= newest; from++ {
		if !is(uint32(from)) {
			continue
		}
		to := from
		for to < newest && is(uint32(to+1)) {
			to++
		}
		label := fmt.Sprint(from)
		if to > from {
			label += fmt.Sprintf(" ... %d", to)
		}
		all, from = append(all, label), to
	}
	return all
}
