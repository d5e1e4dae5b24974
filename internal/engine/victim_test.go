//go:build linux && amd64

package engine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"portcullis/internal/sys"
)

// victims are what the test binary does in a target, by its first argument.
func victims() map[string]func(args []string) int {
	return map[string]func([]string) int{
		"echo": echo, "storm": storm, "attack": attack, "nest": nest, "supervise": superviseEcho,
		"threads": threads, "reuse": reuse, "remap": remap, "flip": flip, "crowd": crowd, "opens": opens, "tries": tries, "hide": hide,
	}
}

// ask makes the call that the tests' filters judge.
func ask() syscall.Errno {
	_, _, errno := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	return errno
}

// echo makes the call for each line it reads, and prints the outcome; first its
// process id.
func echo([]string) int {
	fmt.Println(os.Getpid())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(int(ask()))
	}
	return 0
}

// threads makes the call in many threads for ever, after saying so.
func threads([]string) int {
	var ready sync.WaitGroup
	for i := 0; i < 4; i++ {
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ask()
			ready.Done()
			for ask() != syscall.ENOSYS { // which says that the supervisor is gone
				runtime.Gosched() // a raw call is no place to be preempted
			}
			os.Exit(1)
		}()
	}
	ready.Wait()
	fmt.Println("running")
	select {}
}

// storm starts many short processes from many threads and kills some of them
// in the middle of their calls.
func storm(args []string) int {
	n, _ := strconv.Atoi(args[0])
	var group sync.WaitGroup
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for j := 0; j < n/4 && ask() != syscall.ENOSYS; j++ {
				killOne(j%2 == 0)
			}
		}(i)
	}
	group.Wait()
	fmt.Println("survived")
	return 0
}

// killOne kills a process of many threads: some time in its start, or once all
// of them are making calls.
func killOne(running bool) {
	cmd := exec.Command("/proc/self/exe", "threads")
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	if running {
		_, _ = out.Read(make([]byte, 1))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// superviseEcho supervises an echo that inherits its streams.
func superviseEcho(args []string) int {
	cmd := exec.Command("/proc/self/exe", "echo")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	p, err := Start(&Stack{[]Filter{conformance(nil, args[0])}}, cmd, Options{Engine: Agent})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, _ = p.Wait()
	return 0
}

// nest starts a target of its own, with each filter that is named.
func nest(args []string) int {
	for _, name := range args {
		cmd := exec.Command("/bin/true")
		p, err := Start(&Stack{[]Filter{conformance(nil, name)}}, cmd, Options{Engine: Agent})
		if err == nil {
			_, err = p.Wait()
		}
		fmt.Println(err)
	}
	return 0
}

// attack tries to reach into its supervisor, its parent, and says what it could.
func attack(args []string) int {
	sup, _ := strconv.Atoi(args[0])
	try := func(what string, err error) {
		if err == nil {
			fmt.Println("could", what)
		}
	}
	try("trace it", syscall.PtraceAttach(sup))
	_, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", sup), os.O_RDWR, 0)
	try("open its memory", err)
	_, err = os.ReadDir(fmt.Sprintf("/proc/%d/fd", sup))
	try("list its descriptors", err)
	_, err = os.ReadFile(fmt.Sprintf("/proc/%d/environ", sup))
	try("read its environment", err)
	_, err = sys.ReadProcess(sup, make([]byte, 1), 0x400000)
	try("read its memory", err)
	fd, err := sys.PidfdProcess(sup)
	if err != nil {
		fmt.Println("pidfd_open:", err)
	}
	for n := 0; n < 64; n++ {
		_, _, errno := syscall.Syscall(sysPidfdGetfd, uintptr(fd), uintptr(n), 0)
		if errno == 0 || !errors.Is(errno, syscall.EPERM) {
			fmt.Printf("pidfd_getfd of %d: %v\n", n, errno)
		}
	}
	fmt.Println("tried")
	return 0
}

const sysPidfdGetfd = 438

// reuse makes the call four times in each of two processes, the second of which
// has the process id that the first one had, and prints the outcomes.
func reuse([]string) int {
	const lastPid = "/proc/sys/kernel/ns_last_pid"
	for try := 0; try < 100; try++ {
		first, pid := echoed()
		if os.WriteFile(lastPid, []byte(strconv.Itoa(pid-1)), 0) != nil {
			return 77
		}
		if second, again := echoed(); again == pid {
			fmt.Println(first, second)
			return 0
		}
	}
	return 1
}

// echoed is what an echo of four calls printed.
func echoed() (outcomes []string, pid int) {
	cmd := exec.Command("/proc/self/exe", "echo")
	cmd.Stdin = strings.NewReader("\n\n\n\n")
	out, err := cmd.Output()
	if err != nil {
		return nil, 0
	}
	lines := strings.Fields(string(out))
	return lines[1:], cmd.Process.Pid
}
