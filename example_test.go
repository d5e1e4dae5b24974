package portcullis_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"

	"portcullis"
)

// Filters are built in, or objects compiled from C.
func ExampleLoad() {
	f, err := portcullis.Load("count-exec")
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Set("max", "3"); err != nil {
		log.Fatal(err)
	}
	for _, v := range f.Variables() {
		fmt.Println(f.Name(), "has", v.Name, v.Type)
	}

	_, err = portcullis.Load("./missing.o")
	var missing *portcullis.LoadError
	fmt.Println(errors.As(err, &missing), errors.Is(err, os.ErrNotExist))
	// Output:
	// count-exec has max u64
	// true true
}

// What the kernel decides alone costs no more than any seccomp filter.
func ExampleFilter_Check() {
	f, err := portcullis.Load("count")
	if err != nil {
		log.Fatal(err)
	}
	for _, calls := range []string{"socket,socketpair", ""} {
		if err := f.Set("calls", calls); err != nil {
			log.Fatal(err)
		}
		r, err := f.Check()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s of %q: %d calls need the agent\n", r.Program, calls, r.Notify)
	}
	// Output:
	// count of "socket,socketpair": 2 calls need the agent
	// count of "": 0 calls need the agent
}

// Each call is decided in the kernel, or there is a reason and a line for it.
func ExampleFilter_Explain() {
	f, err := portcullis.Load("count-exec")
	if err != nil {
		log.Fatal(err)
	}
	decisions, err := f.Explain()
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range decisions {
		switch {
		case d.Leaf != "static":
			fmt.Printf("%s asks the agent: %s\n", d.Call, d.Why)
		case d.Arguments != nil:
			fmt.Printf("%s is decided by its arguments: if %s, …\n", d.Call, d.Arguments.If)
		case d.Verdict != "ALLOW":
			fmt.Printf("%s is always %s by guard %s\n", d.Call, d.Verdict, d.Guard)
		}
	}
	// Output:
	// execve asks the agent: changes map .bss
	// seccomp is decided by its arguments: if args[0].low == 0x1, …
	// execveat asks the agent: changes map .bss
	// io_uring_setup is always ERRNO(38) by guard io_uring
	// io_uring_enter is always ERRNO(38) by guard io_uring
	// io_uring_register is always ERRNO(38) by guard io_uring
}

// A count that children and programs started by them share.
func ExampleCommand() {
	f, err := portcullis.Load("count-exec")
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Set("max", "2"); err != nil {
		log.Fatal(err)
	}
	cmd := portcullis.Command("/bin/sh", "-c",
		"/bin/echo one; (/bin/echo two); /bin/echo three || { echo refused; exit 7; }")
	cmd.Filters = []*portcullis.Filter{f}
	cmd.Stdout = os.Stdout

	err = cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		fmt.Println("status", ended.ExitCode())
	}
	// Output:
	// one
	// two
	// refused
	// status 7
}

// Events say what was denied to whom, and which line of the filter did it.
func ExampleCmd_events() {
	f, err := portcullis.Load("once")
	if err != nil {
		log.Fatal(err)
	}
	// After the first umask no program is started any more.
	if err := f.Set("mark", "umask"); err != nil {
		log.Fatal(err)
	}
	cmd := portcullis.Command("/bin/sh", "-c", "/bin/true && umask 077 && /bin/true")
	cmd.Filters = []*portcullis.Filter{f}
	cmd.Engine = portcullis.Agent // which sees every decision that needs state
	cmd.Observe = portcullis.ObserveDenials
	cmd.Events = func(e portcullis.Event) {
		fmt.Println(e.Call.Name, e.Verdict, "in", e.Comm, "by", e.Source)
	}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cmd.Wait())
	<-cmd.Done() // every event has been delivered
	// Unordered output:
	// execve ERRNO(1) in sh by PORTCULLIS_DENY(EPERM); /* after the mark */
	// exit status 126
}

// A filter that looks at what pointers point to: the kernel then uses what it saw,
// whatever the command's other threads write there meanwhile. On the agent engine the
// command is traced for that.
func ExampleCommand_pinned() {
	f, err := portcullis.Load("exec-list")
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Set("allow", "/bin/echo"); err != nil {
		log.Fatal(err)
	}
	cmd := portcullis.Command("/bin/sh", "-c", "/bin/echo listed; exec /bin/cat /etc/passwd 2>/dev/null")
	cmd.Filters = []*portcullis.Filter{f}
	out, err := cmd.Output()
	fmt.Printf("%s%v\n", out, err)
	// This prints, unless the agent engine is denied ptrace:
	// listed
	// exit status 126
}
