package record

import (
	"fmt"
	"testing"
)

func TestSpell(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"/etc/passwd", "/etc/passwd"},
		{"/usr/lib/libfoo.so.1.2.3", "/usr/lib/libfoo.so.*"},
		{"/usr/lib/libfoo.so", "/usr/lib/libfoo.so"},
		{"/usr/bin/sha256sum", "/usr/bin/sha256sum"},
		{"/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.*"},
		{"/tmp/ccAbCdEf.o", "/tmp/cc*"},
		{"/tmp/ccabcdef.s", "/tmp/cc*"},
		{"/tmp/tmpab_d1fgh/x", "/tmp/tmp*"},
		{"/tmp/tmp.Ab3dEfGh1J", "/tmp/tmp*"},
		{"/tmp/project/file", "/tmp/project/file"},
		{"/var/tmp/sess_a1b2c3", "/var/tmp/sess_*"},
		{"/tmp/go-build123456789/a", "/tmp/go-build*"},
		{"/srv/data/out.aB3dEf", "/srv/data/out.*"},
		{"/srv/data/Notes.txt", "/srv/data/Notes.txt"},
		{"/run/x.4711.pid", "/run/x.*"},
		{"/run/x.47110", "/run/x.*"},
		{"/run/x.1471", "/run/x.1471"},
		{"/proc/self/maps", "/proc/self/maps"},
		{"/proc/self/exe", "linked /proc/self/exe"},
		{"/proc/self/fd/3", "linked /proc/self/fd/3"},
		{"/proc/4711/stat", "process /proc/4711/stat"},
		{"/dev/stdin", "linked /dev/stdin"},
		{"/usr/lib/../x", "odd /usr/lib/../x"},
		{"/usr/lib/", "odd /usr/lib/"},
		{"", "none "},
		{"a/b", "here a/b"},
		{"./a", "here ./a"},
		{"../a", "odd ../a"},
		{"a//b", "odd a//b"},
		{"tmp_obj_AbC1eF", "here tmp*"},
		{"/a\x01b", "/a*"},
		{"/\x01", "odd /*"},
		{"\xe9t\xe9", "here *"},
		{"t\xe9", "here t*"},
		{"/srv/\xe9t\xe9", "/srv/*"},
		{"/x/a*b", "odd /x/a*b"},
		{"/x/.\x01", "odd /x/.*"},
	} {
		n := spell(c.raw, false, 4711, 4712)
		got := n.text
		if n.form != absolute {
			got = fmt.Sprint(n.form, " ", n.text)
		}
		if n.glob {
			got += "*"
		}
		if got != c.want {
			t.Errorf("%q: got %s, want %s", c.raw, got, c.want)
		}
	}
}
