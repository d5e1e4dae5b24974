//go:build linux && amd64

// Command notifier runs a program that may open one file, by nothing but notifications.
//
//	notifier FILE PROGRAM [ARG]…
//
// Told of a call, it reads the path in the caller's memory and lets the call go on, which
// then reads the path once more. seccomp_unotify(2) warns of that, and the demonstration
// shows why: it is a sandbox that does not hold.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"portcullis/internal/engine/launch"
	"portcullis/internal/engine/target"
)

func main() {
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "notifier:", err)
	}
	os.Exit(status)
}

// ours is the status of a failure of this program.
const ours = 125

func run(args []string) (status int, err error) {
	if len(args) < 2 {
		return ours, errors.New("expected FILE PROGRAM [ARG]…")
	}
	filter, err := openat()
	if err != nil {
		return ours, err
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	listener, err := launch.Start(cmd, launch.Config{Filter: filter, Listen: launch.ListenProbe})
	if err != nil {
		return ours, err
	}
	if err := serve(listener, filepath.Clean(args[0])); err != nil {
		_ = cmd.Process.Kill()
		return ours, errors.Join(err, cmd.Wait())
	}
	if err = cmd.Wait(); cmd.ProcessState == nil {
		return ours, err
	}
	return target.ExitStatus(cmd.ProcessState), nil
}
