//go:build linux && amd64

package main

import (
	"os"
	"testing"
	"unsafe"

	"portcullis/internal/abi"
	"portcullis/internal/sys"
)

// It judges what it reads, and that is what the caller has there at that moment.
func TestAnswer(t *testing.T) {
	for path, proceeds := range map[string]bool{"/a/allowed\x00": true, "/a//allowed\x00": true, "/a/secret\x00": false, "/a/allowed/b\x00": false} {
		memory := []byte(path)
		d := abi.SeccompData{Args: [6]uint64{1: uint64(uintptr(unsafe.Pointer(&memory[0])))}}
		n := sys.Notif{ID: 7, Pid: uint32(os.Getpid()), Data: d.Bytes()}
		got := answer(&n, "/a/allowed")
		if proceeds != (got.Flags == sys.NotifContinue) || proceeds != (got.Error == 0) || got.ID != n.ID {
			t.Errorf("%q: %+v", path, got)
		}
	}
	n := sys.Notif{Pid: uint32(os.Getpid())} // a path at address 0
	if got := answer(&n, "/a/allowed"); got.Error == 0 || got.Flags != 0 {
		t.Errorf("no path: %+v", got)
	}
}
