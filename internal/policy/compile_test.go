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

func TestMemoryVerifies(t *testing.T) {
	p := compile(t, `
version: 1
default: EACCES
rules:
  - allow: [openat]
    if:
      path: [/usr/, /etc, /tmp/x*, ./]
      flags: {mask: O_ACCMODE, is: O_RDONLY}
  - allow: [open]
    if: {path: [/usr/, ""]}
  - allow: connect
    if: {address: {address: ["127.0.0.0/8:80", "[::1]:*", "unix:/run/x", "unix:@foo*", none, "*:53"]}}
  - allow: execve
    if:
      path: [/usr/bin/git]
      argv: [[status], [log, "--oneline"], ["*", x]]
  - kill: mount
    if: {type: {text: [nfs, "fuse*"]}}
  - allow: ["@basic-io"]
`)
	t.Logf("%d insns\n%s", len(p.Insns), listing(p))
}
