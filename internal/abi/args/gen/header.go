package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"text/template"

	"portcullis/internal/abi/args"
)

//go:embed portcullis_args.h.tmpl
var headerTemplate string

// maxWhens is how many tests a row of the header has room for.
const maxWhens = 2

// constant is one enumerator of the header.
type constant struct {
	Name  string
	Value int
	Doc   string
}

// masks are the two defines of a call.
type masks struct {
	Always, If         string
	AlwaysMask, IfMask string
}

// header renders include/portcullis_args.h.
func header(string) ([]byte, error) {
	t, err := template.New("portcullis_args.h").Parse(headerTemplate)
	if err != nil {
		return nil, err
	}
	calls := args.All()
	sort.Slice(calls, func(i, j int) bool { return calls[i].Nr < calls[j].Nr })
	rows, starts, err := table(calls)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Calls": defines(calls), "Shapes": shapes(), "Directions": directions(), "MaxPin": args.MaxPin,
		"Whens": maxWhens, "Rows": rows, "Numbers": len(starts) - 1, "Starts": lines(starts),
	})
	return out.Bytes(), err
}

func defines(calls []args.Call) []masks {
	var all []masks
	for _, c := range calls {
		var always, some uint
		for i := range c.Args {
			if c.AlwaysPinnable(i) {
				always |= 1 << i
			} else if _, ok := c.Pinnable(i); ok {
				some |= 1 << i
			}
		}
		all = append(all, masks{
			"PORTCULLIS_PINNABLE_" + c.Name, "PORTCULLIS_PINNABLE_IF_" + c.Name,
			fmt.Sprintf("0x%x", always), fmt.Sprintf("0x%x", some),
		})
	}
	return all
}

// table renders the rows, and where those of each number start.
func table(calls []args.Call) (rows []string, starts []int, err error) {
	for _, c := range calls {
		for len(starts) <= int(c.Nr) {
			starts = append(starts, len(rows))
		}
		for i := range c.Args {
			some, err := rowsOf(c, i)
			if err != nil {
				return nil, nil, err
			}
			rows = append(rows, some...)
		}
	}
	return rows, append(starts, len(rows)), nil
}

// rowsOf renders what argument i of c can be, none for a plain number.
func rowsOf(c args.Call, i int) ([]string, error) {
	var rows []string
	for _, k := range c.Cases() {
		if int(k.Arg) != i {
			continue
		}
		if len(k.When) > maxWhens {
			return nil, fmt.Errorf("%s: a case has %d tests: expected at most %d, or make room in the header", c.Name, len(k.When), maxWhens)
		}
		rows = append(rows, row(c.Nr, i, k.Is, k.When))
	}
	if a := c.Args[i]; len(rows) > 0 || a.Shape > args.Value {
		rows = append(rows, row(c.Nr, i, a, nil))
	}
	return rows, nil
}

func row(nr uint32, i int, a args.Arg, when []args.When) string {
	words := []string{
		fmt.Sprint(nr), fmt.Sprint(i), shapes()[a.Shape].Name, directions()[a.Dir].Name,
		directions()[a.Data].Name, map[bool]string{true: "1", false: "0"}[a.Null],
		fmt.Sprint(a.Count.Arg), fmt.Sprint(a.Count.Bytes), fmt.Sprint(a.Size), fmt.Sprint(a.Unit), fmt.Sprint(a.Max),
	}
	var tests []string
	for _, w := range when {
		tests = append(tests, fmt.Sprintf("{ 0x%xULL, 0x%xULL, %d }", w.Mask, w.Value, w.Arg))
	}
	if len(tests) == 0 {
		tests = []string{"{ 0, 0, 0 }"}
	}
	return "{ " + strings.Join(words, ", ") + ", { " + strings.Join(tests, ", ") + " } },"
}

// lines are numbers, sixteen to a line.
func lines(numbers []int) []string {
	var all []string
	for i := 0; i < len(numbers); i += 16 {
		end := i + 16
		if end > len(numbers) {
			end = len(numbers)
		}
		var words []string
		for _, n := range numbers[i:end] {
			words = append(words, fmt.Sprintf("%d,", n))
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

// shapes are the enumerators in the order of their values.
func shapes() []constant {
	return named("PORTCULLIS_SHAPE_", []constant{
		{"NONE", int(args.None), "no such argument"},
		{"VALUE", int(args.Value), "a number of size bytes"},
		{"MEMORY", int(args.Memory), "memory whose size is not given"},
		{"STRING", int(args.String), "to its first NUL, within max bytes"},
		{"STRUCT", int(args.Struct), "size bytes"},
		{"ARRAY", int(args.Array), "size bytes, and unit for each of count"},
		{"NODES", int(args.Nodes), "a bitmap of count - 1 bits in 64-bit words"},
		{"SIZED", int(args.Sized), "size bytes, and as many as its first 32 bits say"},
		{"READABLE", int(args.Readable), "as much of max bytes as can be read, then zeros"},
		{"STRINGS", int(args.Strings), "addresses of strings, the last of them 0"},
		{"IOVEC", int(args.Iovec), "count of struct iovec"},
		{"MSGHDR", int(args.Msghdr), "struct msghdr, and what it points at"},
	})
}

// directions are the enumerators in the order of their values.
func directions() []constant {
	return named("PORTCULLIS_DIR_", []constant{
		{"NONE", int(args.NoMemory), "a number"},
		{"IN", int(args.In), "read during the call only"},
		{"OUT", int(args.Out), "written"},
		{"INOUT", int(args.InOut), "read and written"},
		{"KEPT", int(args.Kept), "used after the call"},
		{"ADDRESS", int(args.Address), "the address counts, not what is there"},
		{"UNKNOWN", int(args.Unknown), "depends on what the table does not know"},
	})
}

// named puts a prefix before the names.
func named(prefix string, all []constant) []constant {
	for i := range all {
		all[i].Name = prefix + all[i].Name
	}
	return all
}
