//go:build linux && amd64

// Command race opens a file whose name other threads change meanwhile, over and over.
//
//	race DIR ATTEMPTS WINS
//
// DIR, an absolute path, has the files "allowed" and "secret", of which each begins with
// its own name. It makes so many attempts, or fewer if it has had the secret so often
// before, and says what came of them.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
)

// openers is how many threads call; one more changes the name.
const openers = 2

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	attempts, wins, err := numbers(args)
	if err != nil {
		return err
	}
	n, err := newName(args[0])
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(openers + 2) // nobody waits for another's time slice to run at all
	t := &tally{attempts: attempts, wins: wins}
	race(t, n)
	fmt.Println(t)
	return t.failure()
}

func numbers(args []string) (attempts, wins int64, err error) {
	if len(args) != 3 {
		return 0, 0, fmt.Errorf("%d arguments: expected DIR ATTEMPTS WINS", len(args))
	}
	if attempts, err = strconv.ParseInt(args[1], 10, 64); err == nil {
		wins, err = strconv.ParseInt(args[2], 10, 64)
	}
	return attempts, wins, err
}

// race has threads open what n names, while another changes it, until t is full.
func race(t *tally, n *name) {
	var calling, changing sync.WaitGroup
	changing.Add(1)
	go func() {
		defer changing.Done()
		runtime.LockOSThread() // a thread of its own, for the kernel to run beside the others
		n.change(&t.over)
	}()
	for i := 0; i < openers; i++ {
		calling.Add(1)
		go func() {
			defer calling.Done()
			runtime.LockOSThread()
			for t.more() {
				t.count(n.open())
			}
		}()
	}
	calling.Wait()
	t.over.Store(true)
	changing.Wait()
}
