package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"portcullis/internal/kit"
)

const root = "../../../.."

// TestFilesAreCurrent compares what is committed with the table, twice: the same
// table makes the same bytes.
func TestFilesAreCurrent(t *testing.T) {
	for _, o := range outputs() {
		have, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(o.path)))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 2; i++ {
			want, err := o.render(root)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(have, want) {
				t.Errorf("%s differs from what the table makes: run go generate ./internal/abi/args", o.path)
			}
		}
	}
}

// TestSignaturesAreCurrent reads the signatures out of the kernel's source again.
func TestSignaturesAreCurrent(t *testing.T) {
	tarball := os.Getenv("PORTCULLIS_LINUX_SOURCE")
	if tarball == "" {
		tarball = "/usr/src/linux-source-6.12.tar.xz"
	}
	if _, err := os.Stat(tarball); err != nil {
		t.Skip("needs linux-source-6.12: to read the kernel's signatures again")
	}
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("needs xz: to unpack the kernel's source")
	}
	t.Parallel()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	if kit.Passed(t, append(sources, tarball, filepath.Join(root, filepath.FromSlash(signatureFile)))...) {
		return
	}
	want, err := extract(tarball)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(signatureFile)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s differs from %s: run gen -signatures", signatureFile, tarball)
	}
}

// The header's enumerators are indexed by their values.
func TestEnumeratorsAreInOrder(t *testing.T) {
	for _, all := range [][]constant{shapes(), directions()} {
		for i, c := range all {
			if c.Value != i {
				t.Errorf("%s is %d, at place %d", c.Name, c.Value, i)
			}
		}
	}
}

func TestParseType(t *testing.T) {
	for text, want := range map[string]string{
		"int": "4", "umode_t": "2", "const size_t": "8", "char __user *": "*", "const char __user *": "const*",
		"const char __user *const __user *": "const*", "const void __user * __user *": "*", "struct iocb __user * __user *": "*",
		"const struct x __user *const": "const*", "cap_user_header_t": "*", "const cap_user_data_t": "*",
	} {
		if p, err := parseType(text); err != nil || p.String() != want {
			t.Errorf("parseType(%q) = %v, %v; want %s", text, p, err, want)
		}
	}
	if _, err := parseType("wide_t"); err == nil {
		t.Error("an unknown type has a size")
	}
}

func TestParseSignature(t *testing.T) {
	for _, line := range []string{"0 read 4 * 8", "134 uselib gone", "39 getpid", "1 write 4 const* 8"} {
		if s, err := parseSignature(line); err != nil || s.String() != line {
			t.Errorf("%q becomes %q, %v", line, s, err)
		}
	}
	for _, line := range []string{"", "x read", "0", "0 read 3", "0 read 4 4 4 4 4 4 4"} {
		if s, err := parseSignature(line); err == nil {
			t.Errorf("%q becomes %q: want an error", line, s)
		}
	}
}

const probe = `
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define PORTCULLIS_ARGS_TABLE
#include "portcullis_args.h"
_Static_assert(PORTCULLIS_PINNABLE(openat2) == 0x6, "path and how");
_Static_assert(PORTCULLIS_PINNABLE(read) == 0, "written");
_Static_assert(PORTCULLIS_PINNABLE(fcntl) == 0 && PORTCULLIS_PINNABLE_IF(fcntl) == 0x4, "by command");
#define ROWS (sizeof(portcullis_args) / sizeof(portcullis_args[0]))
int main(void)
{
	unsigned nr, i, seen = 0;

	for (nr = 0; nr < PORTCULLIS_ARGS_CALLS; nr++)
		for (i = portcullis_args_at[nr]; i < portcullis_args_at[nr + 1]; i++, seen++)
			if (portcullis_args[i].nr != nr)
				return 1;
	return seen == ROWS && seen > 300 ? 0 : 2;
}
`

// TestHeaderCompiles as strict C, without a warning, and walks the table.
func TestHeaderCompiles(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc: to compile the header")
	}
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "probe.c"), filepath.Join(dir, "probe")
	if err := os.WriteFile(src, []byte(probe), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-I", filepath.Join(root, "include"), "-o", bin, src)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := exec.Command(bin).Run(); err != nil {
		t.Errorf("the index of the table: %v", err)
	}
}
