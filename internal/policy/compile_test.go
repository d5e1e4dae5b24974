package policy

import (
	"fmt"
	"strings"
	"testing"

	"portcullis/internal/prog"
	"portcullis/internal/verify"
)

func compile(t *testing.T, text string) *prog.Program {
	t.Helper()
	m, err := Load("test.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Program(p, verify.Options{}); err != nil {
		t.Fatalf("%v\n%s", err, listing(p))
	}
	return p
}

// listing is a program as text.
func listing(p *prog.Program) string {
	var b strings.Builder
	for pc := 0; pc < len(p.Insns); pc++ {
		fmt.Fprintf(&b, "%4d %s  ; %s\n", pc, p.Disasm(pc), p.LineOf(pc))
		if p.Insns[pc].IsLoadImm64() {
			pc++
		}
	}
	return b.String()
}

func TestEverythingVerifies(t *testing.T) {
	p := compile(t, `
version: 1
default: allow
rules:
  - deny: [ptrace]
  - deny: socket
    if: {family: {not: [AF_UNIX, AF_INET]}}
    error: EAFNOSUPPORT
  - deny: mmap
    if: {prot: {all: PROT_WRITE|PROT_EXEC}}
limits:
  - calls: [execve, execveat]
    max: 5
  - calls: [clone, fork, vfork, clone3]
    max: 32
    window: 1s
    burst: 64
phases:
  - name: init
    deny: [accept4, chown]
    next:
      - {on: listen, to: serve}
  - name: serve
    deny: [open, chown]
flow:
  - per: thread
    edges:
      - {from: start, to: [bind, listen]}
      - {from: bind, to: [listen]}
order:
  - calls: execve
    before: connect
    per: process
serialize:
  - first: rename
    second: chmod
`)
	t.Logf("%d insns\n%s", len(p.Insns), listing(p))
}
