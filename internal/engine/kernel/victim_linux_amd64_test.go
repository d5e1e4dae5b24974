package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"portcullis/internal/cbpf"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/sys"
	"portcullis/internal/verify"
)

// victimMark is argv[0] of a victim. Its arguments are what it does, one after
// another; it prints a word for each.
const victimMark = "victim"

// victim is a command that does words in a process of its own.
func victim(words ...string) *exec.Cmd {
	return &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{victimMark}, words...), Env: []string{}, Stderr: os.Stderr}
}

// runVictim does what a victim is told.
func runVictim() {
	runtime.LockOSThread()
	fmt.Println(strings.Join(perform(os.Args[1:]), " "))
	os.Exit(0)
}

// perform does words on the calling thread, and returns what it saw.
func perform(words []string) (seen []string) {
	for i, word := range words {
		rest := words[i+1:]
		switch word {
		case "ppid":
			seen = append(seen, call(syscall.SYS_GETPPID, 0, 0, 0))
		case "seccomp": // SECCOMP_GET_ACTION_AVAIL of ALLOW
			action := uint32(0x7fff0000)
			const sysSeccomp = 317
			seen = append(seen, call(sysSeccomp, 2, 0, uintptr(unsafe.Pointer(&action))))
		case "noexec": // ENOENT, unless a filter says otherwise
			seen = append(seen, executeNothing())
		case "probe":
			seen = append(seen, probed())
		case "divide":
			seen = append(seen, loading(divisions()))
		case "blind":
			seen = append(seen, loading(constants()))
		case "load":
			_, err := more(nil)
			seen = append(seen, fmt.Sprint(err))
		case "crowded":
			return append(seen, crowded(rest[0])...)
		case "laden":
			return append(seen, laden(rest[0])...)
		case "fill":
			seen = append(seen, fill()...)
		case "cache":
			seen = append(seen, cached("39"), cached("110"))
		case "inplace":
			return []string{inPlace(rest, seen)} // which has printed the others
		case "tamper":
			seen = append(seen, tampered()...)
		case "children":
			seen = append(seen, children(24))
		case "pgrp":
			seen = append(seen, call(getpgrp, 0, 0, 0))
		case "join":
			seen = append(seen, joined())
		case "orders":
			seen = append(seen, orders()...)
		case "hold":
			seen = append(seen, hold())
		case "villain":
			return append(seen, villainy(rest[0])...)
		case "announce":
			announce()
		case "notified":
			seen = append(seen, blocking(getppid, 0, 0, 0))
		case "unanswered":
			seen = append(seen, unanswered())
		case "diverge":
			return append(seen, diverge(rest[0])...)
		case "listen":
			seen = append(seen, listen()...)
		case "cloned":
			seen = append(seen, cloned()...)
		case "synced-not", "synced-deny", "synced-read":
			seen = append(seen, synced(strings.TrimPrefix(word, "synced-")))
		case "own":
			seen = append(seen, own()...)
		case "compat":
			seen = append(seen, compat())
		case "answered":
			seen = append(seen, fmt.Sprint(answered()))
		case "gusty":
			seen = append(seen, syncStorm()...)
		case "perish":
			seen = append(seen, perish())
		case "keep":
			return append(seen, keeps(rest[0], rest[1])...)
		case "bystand":
			return append(seen, bystands()...)
		case "asks":
			seen = append(seen, asks()...)
		case "level":
			seen = append(seen, writesLevel())
		case "privs":
			seen = append(seen, failure(sys.NoNewPrivs()))
		case "fds":
			seen = append(seen, descriptors())
		case "thread":
			return append(seen, onThread(func() []string { return perform(rest) })...)
		case "fork":
			return append(seen, inChild(rest)...)
		case "exec":
			return append(seen, onThreadThat(isLeader, func() string { return replace(rest, seen) }))
		case "threadexec":
			return append(seen, onThreadThat(isOther, func() string { return replace(rest, seen) }))
		default:
			if strings.HasPrefix(word, "storm") {
				seen = append(seen, storm(word)...)
				continue
			}
			if how, is := strings.CutPrefix(word, "await-"); is {
				seen = append(seen, await(how)...)
				continue
			}
			if path, is := strings.CutPrefix(word, "open-"); is {
				seen = append(seen, openPath(path))
				continue
			}
			if how, is := strings.CutPrefix(word, "inside-"); is {
				seen = append(seen, inside(how))
				continue
			}
			return append(seen, "what is "+word+"?")
		}
	}
	return seen
}

// call makes a system call and names its outcome.
func call(nr, a, b, c uintptr) string {
	_, _, errno := syscall.RawSyscall(nr, a, b, c)
	return outcome(errno)
}

func outcome(errno syscall.Errno) string {
	switch errno {
	case 0:
		return "ok"
	case syscall.EDOM:
		return "EDOM"
	case syscall.EPERM:
		return "EPERM"
	case syscall.EIO:
		return "EIO"
	case syscall.ENOENT:
		return "ENOENT"
	}
	return fmt.Sprintf("errno%d", int(errno))
}

func executeNothing() string {
	path, _ := syscall.BytePtrFromString("/nothing/there")
	null := uintptr(0)
	return call(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&null)), uintptr(unsafe.Pointer(&null)))
}

// descriptors lists what is open beyond the standard streams and the runtime's own.
func descriptors() string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var list []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || e.Name() < "3" || to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]" {
			continue
		}
		list = append(list, to)
	}
	sort.Strings(list)
	return "[" + strings.Join(list, ",") + "]"
}

// onThread runs f on a thread of its own, which then ends. The first thread would not: the
// runtime parks it, with what it has.
func onThread[T any](f func() T) T {
	var result T
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		runtime.LockOSThread()
		if isLeader() {
			defer runtime.UnlockOSThread()
			result = onThread(f)
			return
		}
		result = f()
	}()
	wg.Wait()
	return result
}

// isLeader and isOther tell apart the thread whose id is the process's.
func isLeader() bool { return syscall.Getpid() == syscall.Gettid() }
func isOther() bool  { return !isLeader() }

// onThreadThat runs f on a thread that is as wanted. One that is not waits
// until then, so that the scheduler has to take another.
func onThreadThat(wanted func() bool, f func() string) string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if wanted() {
		return f()
	}
	result := make(chan string)
	go func() { result <- onThreadThat(wanted, f) }()
	return <-result
}

// inChild does words in a child, which is a fork that then executes this program.
func inChild(words []string) []string {
	out, err := victim(words...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return []string{"child:" + exit.Error()}
		}
		return []string{"child:" + err.Error()}
	}
	return strings.Fields(string(out))
}

// replace executes a victim with words in place of this process; what has been
// seen before is printed first, and nothing after.
func replace(words, seen []string) string {
	for _, s := range seen {
		fmt.Print(s, " ")
	}
	if isLeader() {
		fmt.Print("leader ")
	} else {
		fmt.Print("other ")
	}
	err := syscall.Exec("/proc/self/exe", append([]string{victimMark}, words...), nil)
	return outcome(err.(syscall.Errno))
}

// probed is "ok", or why the engine is not available.
func probed() string {
	if err := Probe(); err != nil {
		return err.Error()
	}
	return "ok"
}

// cached is what the kernel knows without asking the filters of the native call
// nr, or why it does not say.
func cached(nr string) string {
	text, err := os.ReadFile("/proc/self/seccomp_cache")
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut("\n"+string(text), "\nx86_64 "+nr+" ")
	state, _, _ := strings.Cut(rest, "\n")
	return state
}

// tampered is what comes of reaching for programs and maps by their ids, by the
// descriptors of other processes, and of taking no_new_privs back.
func tampered() []string {
	const bpf, progNext, mapNext, progFD, mapFD = 321, 11, 12, 13, 14
	var seen []string
	for _, cmd := range []uintptr{progNext, mapNext, progFD, mapFD} {
		attr := [3]uint32{}
		if cmd == progFD || cmd == mapFD {
			attr[0] = 1
		}
		seen = append(seen, call(bpf, cmd, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr)))
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	found := "unreachable"
	for _, link := range links {
		if to, _ := os.Readlink(link); strings.HasPrefix(to, "anon_inode:bpf") {
			found = link
		}
	}
	const prctl, setNoNewPrivs, setSeccomp = 157, 38, 22
	return append(seen, found, call(prctl, setNoNewPrivs, 0, 0), call(prctl, setSeccomp, 0, 0))
}

// children starts n processes at once that each make a getppid, and counts what
// they saw.
func children(n int) string {
	total := make(chan string, n)
	for i := 0; i < n; i++ {
		go func() { total <- strings.Join(inChild([]string{"ppid"}), "+") }()
	}
	counts := map[string]int{}
	for i := 0; i < n; i++ {
		counts[<-total]++
	}
	return fmt.Sprint(counts)
}

// inPlace puts a limit of one getppid on this process, which goes on with words.
func inPlace(words, seen []string) string {
	v, err := verify.Program(limitByMap(counter(prog.Hash), 1), verify.Options{})
	if err != nil {
		return err.Error()
	}
	fmt.Print(strings.Join(append(seen, ""), " "))
	stack := []*split.Tree{split.Split(v)}
	path := "/proc/self/exe"
	if len(words) == 0 {
		path = "/nothing/there"
	}
	return ExecAs(Options{}, stack, cbpf.Program{}, path, append([]string{victimMark}, words...), nil).Error()
}
