package symbol

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"portcullis/internal/abi/args"
	"portcullis/internal/abi/syscalls"
)

// includes are where the headers of libc and of the kernel are, where there are any.
var includes = []string{"/usr/include", "/usr/include/x86_64-linux-gnu"}

// TestConstantsAreThoseOfTheHeaders compares what a header defines as a plain number.
func TestConstantsAreThoseOfTheHeaders(t *testing.T) {
	if _, err := os.Stat("/usr/include/linux/prctl.h"); err != nil {
		t.Skip("needs linux-libc-dev: its headers")
	}
	compared := 0
	var header map[string]uint64
	for _, l := range strings.Split(constants, "\n") {
		w := strings.Fields(l)
		switch {
		case len(w) == 3 && w[0] == "=":
			header = defined(closure(w[2]))
		case len(w) == 2 && w[0][0] != '#':
			want, ok := header[w[0]]
			if !ok {
				continue
			}
			compared++
			if got, err := strconv.ParseUint(w[1], 0, 64); err != nil || uint32(got) != uint32(want) {
				t.Errorf("%s is %s, and %#x in the headers", w[0], w[1], want)
			}
		}
	}
	if compared < 500 {
		t.Errorf("%d constants were found in the headers: expected most", compared)
	}
}

var included = regexp.MustCompile(`(?m)^#\s*include\s*<([^>]+)>`)

// closure is the text of a header and of those that it includes, two deep.
func closure(name string) string {
	text := read(name)
	for depth := 0; depth < 3; depth++ {
		for _, m := range included.FindAllStringSubmatch(text, -1) {
			text += read(m[1])
		}
		if len(text) > 1<<20 {
			break
		}
	}
	return text
}

func read(name string) string {
	for _, dir := range includes {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return string(data)
		}
	}
	return ""
}

var define = regexp.MustCompile(`(?m)^#\s*define\s+(\w+)\s+\(?(-?(?:0[xX][0-9a-fA-F]+|[0-9]+))[UL]*\)?\s*(?:/\*.*)?$`)

// defined are the macros that are written as one number. Of several the first counts.
func defined(text string) map[string]uint64 {
	all := map[string]uint64{}
	for _, m := range define.FindAllStringSubmatch(text, -1) {
		if v, err := strconv.ParseInt(m[2], 0, 64); err == nil {
			if _, twice := all[m[1]]; !twice {
				all[m[1]] = uint64(v)
			}
		}
	}
	return all
}

// TestArgumentsAreThoseOfTheTable: as many as the table of package args has.
func TestArgumentsAreThoseOfTheTable(t *testing.T) {
	named := 0
	for _, c := range syscalls.All() {
		all := Arguments(c.Nr)
		call, ok := args.Of(c.Nr)
		if !ok || len(all) == 0 {
			continue
		}
		named++
		if len(all) != call.Arity() {
			t.Errorf("%s has %d names for %d arguments", c.Name, len(all), call.Arity())
		}
		seen := map[string]bool{}
		for _, a := range all {
			if seen[a.Name] {
				t.Errorf("%s has two arguments %s", c.Name, a.Name)
			}
			seen[a.Name] = true
			if a.Set != "" && len(Names(a.Set)) == 0 {
				t.Errorf("%s: there is no set %s", c.Name, a.Set)
			}
			if strings.HasSuffix(a.Name, "path") && a.Arg.Shape != args.String && a.Arg.Shape != args.Memory {
				t.Errorf("%s: %s is not a string", c.Name, a.Name)
			}
			if a.Set != "" && a.Set != "at_fd" && a.Arg.Shape != args.Value {
				t.Errorf("%s: %s has constants and is not a number", c.Name, a.Name)
			}
		}
	}
	if named < 300 {
		t.Errorf("%d calls have named arguments: expected most", named)
	}
}

// TestNamesAreOneNumber: a name means the same in a set wherever it is from.
func TestNamesAreOneNumber(t *testing.T) {
	set, seen := "", map[string]string{}
	for _, l := range strings.Split(constants, "\n") {
		w := strings.Fields(l)
		switch {
		case len(w) == 3 && w[0] == "=":
			set = w[1]
		case len(w) == 2 && w[0][0] != '#':
			if before, ok := seen[set+" "+w[0]]; ok && before != w[1] {
				t.Errorf("%s of %s is %s and %s", w[0], set, before, w[1])
			}
			seen[set+" "+w[0]] = w[1]
		}
	}
}

func TestEvaluate(t *testing.T) {
	for _, c := range []struct {
		set, text string
		want      uint64
		unknown   string
	}{
		{"open", "O_RDONLY", 0, ""},
		{"open", "O_WRONLY|O_CREAT", 0o101, ""},
		{"open", "O_WRONLY | 0x40", 0o101, ""},
		{"open", "AF_INET", 0, "AF_INET"},
		{"", "O_RDONLY", 0, "O_RDONLY"},
		{"", "010", 8, ""},
		{"", "-1", 1<<64 - 1, ""},
		{"", "0b11|0o17|0XfF00", 0xff0f, ""},
		{"", "-0x8000000000000000", 1 << 63, ""},
		{"", "-0x8000000000000001", 0, "-0x8000000000000001"},
		{"", "18446744073709551615", 1<<64 - 1, ""},
		{"", "18446744073709551616", 0, "18446744073709551616"},
		{"", "1_0", 0, "1_0"},
		{"open", "O_WRONLY|0x_1", 0, "0x_1"},
		{"", "-1_0", 0, "-1_0"},
		{"", "+1", 0, "+1"},
		{"", "--1", 0, "--1"},
		{"", "-+1", 0, "-+1"},
		{"", "-", 0, "-"},
		{"", "08", 0, "08"},
		{"", "0x", 0, "0x"},
		{"", "0b2", 0, "0b2"},
		{"", "1e3", 0, "1e3"},
		{"", "1.0", 0, "1.0"},
		{"", "١", 0, "١"},
		{"family", "AF_INET6", 10, ""},
		{"at_fd", "AT_FDCWD", 0xffffff9c, ""},
		{"open", "", 0, `""`},
		{"open", "O_WRONLY|", 0, `"O_WRONLY|"`},
		{"open", "O_RDONLY 0", 0, "O_RDONLY 0"},
	} {
		got, unknown := Evaluate(c.set, c.text)
		if got != c.want || unknown != c.unknown {
			t.Errorf("%q of %s: %#x %q, want %#x %q", c.text, c.set, got, unknown, c.want, c.unknown)
		}
	}
}
