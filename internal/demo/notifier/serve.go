//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"portcullis/internal/abi"
	"portcullis/internal/cbpf"
	"portcullis/internal/sys"
)

// openat is a filter that notifies of openat, and allows all else.
func openat() (insns []sys.FilterInsn, err error) {
	var a cbpf.Assembler
	other := a.NewLabel()
	a.Emit(cbpf.LdAbs, abi.OffNr)
	a.Branch(cbpf.JeqK, syscall.SYS_OPENAT, cbpf.Next, other)
	a.Ret(abi.UserNotif)
	a.Bind(other)
	a.Ret(abi.Allow)
	program, err := a.Assemble()
	if err != nil {
		return nil, err
	}
	for _, in := range program.Insns() {
		insns = append(insns, sys.FilterInsn{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return insns, nil
}

// serve answers calls until there is nobody left who could make one.
func serve(listener int, file string) error {
	defer sys.Close(listener)
	var n sys.Notif
	for {
		ready, _, err := sys.Poll(listener, -1, -1)
		if err != nil || ready&sys.Readable == 0 {
			return err
		}
		switch err := sys.NotifRecv(listener, &n); {
		case gone(err):
			continue
		case err != nil:
			return fmt.Errorf("taking a call: %w", err)
		}
		answer := answer(&n, file)
		if !sys.NotifValid(listener, n.ID) { // what was read may be another task's memory
			continue
		}
		if err := sys.NotifSend(listener, &answer); err != nil && !gone(err) {
			return fmt.Errorf("answering a call: %w", err)
		}
	}
}

// gone tells whether an error only says that a caller is.
func gone(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EINPROGRESS)
}

// answer lets a call go on that names the file, now.
func answer(n *sys.Notif, file string) sys.NotifResp {
	const pathArg = 1
	d := abi.Data(n.Data)
	path, ok := readPath(int(n.Pid), d.Args[pathArg])
	if ok && filepath.Clean(path) == file {
		return sys.NotifResp{ID: n.ID, Flags: sys.NotifContinue}
	}
	return sys.NotifResp{ID: n.ID, Error: -int32(syscall.EACCES)}
}

// readPath reads a path of another process.
func readPath(tid int, addr uint64) (path string, ok bool) {
	const pathMax = 4096
	var b [pathMax]byte
	n, err := sys.ReadProcess(tid, b[:], addr)
	end := bytes.IndexByte(b[:n], 0)
	if err != nil || end < 0 {
		return "", false
	}
	return string(b[:end]), true
}
