package why

import (
	"fmt"
	"strings"

	"portcullis/internal/abi"
	"portcullis/internal/abi/args"
	"portcullis/internal/event"
	"portcullis/internal/policy/symbol"
	"portcullis/internal/record"
)

// known are the arguments of a call that has names for them.
func known(c *event.Call) []symbol.Argument {
	if c.Arch != abi.ArchX86_64 {
		return nil
	}
	return symbol.Arguments(uint32(c.Nr))
}

// telling are the arguments whose values have names, by which calls are told apart. Others
// differ from call to call.
func telling(c *event.Call) (all [6]uint64) {
	for _, a := range known(c) {
		if a.Set != "" {
			all[a.Index] = cut(c.Args[a.Index], a)
		}
	}
	return all
}

// cut is as much of a register as the kernel looks at.
func cut(v uint64, a symbol.Argument) uint64 {
	return v & (1<<(a.Bits()-1)<<1 - 1)
}

// symbolic is a call with its arguments by their names.
func symbolic(c *event.Call) string {
	all := known(c)
	if all == nil {
		return c.Title() + "()"
	}
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = a.Name + "=" + value(a, c.Args[a.Index])
	}
	return c.Title() + "(" + strings.Join(words, ", ") + ")"
}

func value(a symbol.Argument, v uint64) string {
	switch v = cut(v, a); {
	case a.Arg.Shape != args.Value && a.Set == "":
		if v == 0 {
			return "0"
		}
		return "*"
	case a.Set == "socktype":
		if flags := record.Flags(a.Set, v&^0xf, 0x10); flags != "" {
			return name(a, v&0xf) + "|" + flags
		}
	}
	return name(a, v)
}

// sums are the sets whose names are added up.
const sums = " at clone close_range epoll eventfd falloc getrandom inotify map memfd mount mremap msg open perf prot rename " +
	"seccomp_flags shm signalfd splice timerfd umount userfaultfd wait waitid "

func name(a symbol.Argument, v uint64) string {
	for _, n := range symbol.Names(a.Set) {
		if k, _ := symbol.Constant(a.Set, n); cut(k, a) == v && n != "AF_FILE" && n != "AF_LOCAL" {
			return n
		}
	}
	if strings.Contains(sums, " "+a.Set+" ") {
		if text := record.Flags(a.Set, v, 1); text != "" {
			return text
		}
	}
	if v < 1<<16 {
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%#x", v)
}
