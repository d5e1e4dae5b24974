// Package group holds the named sets of system calls that policies may use: systemd's,
// such as @system-service, and @docker-default.
//
// The data are two tables of names, as their sources give them. systemd.txt says which
// command printed it; a newer one is made by running that command again and dropping
// the descriptions. A group holds what its source had: a call that is newer than the
// source is in none, so that a policy of groups denies it.
//
// What @docker-default names is not all allowed by Docker whatever the arguments;
// Remarks says what is not, and a policy that is to deny it needs rules of its own.
package group

import (
	_ "embed"
	"sort"
	"strings"

	"portcullis/internal/abi/syscalls"
)

//go:embed systemd.txt
var systemd string

//go:embed docker.txt
var docker string

// maxDepth bounds how deep groups hold groups: far deeper than the data do, so that
// a circle in data ends.
const maxDepth = 8

// Lookup is the x86-64 calls of the group with that name, "@" and all: sorted, without
// duplicates, those of the groups it holds among them. False if there is no such
// group. The caller owns the slice.
func Lookup(name string) ([]string, bool) {
	if !strings.HasPrefix(name, "@") || strings.ContainsAny(name, " \n") || len(members(name)) == 0 {
		return nil, false
	}
	set := map[string]bool{}
	collect(set, name, maxDepth)
	calls := make([]string, 0, len(set))
	for call := range set {
		calls = append(calls, call)
	}
	sort.Strings(calls)
	return calls, true
}

// collect adds the calls of group to set, and those of the groups it holds.
func collect(set map[string]bool, group string, depth int) {
	if depth == 0 {
		return
	}
	for _, name := range members(group) {
		if strings.HasPrefix(name, "@") {
			collect(set, name, depth-1)
		} else if _, ok := syscalls.Number(name); ok {
			set[name] = true
		}
	}
}

// members is what a group's source lists for it: calls, also of other architectures,
// and groups. Nil for what is no group.
func members(group string) []string {
	for _, table := range []string{systemd, docker} {
		_, rest, ok := strings.Cut(table, "\n"+group+" ")
		if !ok {
			continue
		}
		if end := strings.Index(rest, "\n@"); end >= 0 {
			rest = rest[:end]
		}
		return strings.Fields(rest)
	}
	return nil
}

// Names is every group, sorted. The caller owns the slice.
func Names() []string {
	var names []string
	for _, line := range strings.Split(systemd+docker, "\n") {
		if strings.HasPrefix(line, "@") {
			name, _, _ := strings.Cut(line, " ")
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Known tells whether any architecture has a call of that name, as far as systemd's
// table goes: what is known and not x86-64's can be passed over, what is unknown is
// likely a mistake.
func Known(call string) bool {
	if _, ok := syscalls.Number(call); ok {
		return true
	}
	for _, name := range members("@known") {
		if name == call {
			return true
		}
	}
	for _, name := range members("@obsolete") {
		if name == call {
			return true
		}
	}
	return false
}

// Remarks is what a group's names do not say about its source: sentences, each about
// one call. Nil for most groups. The caller owns the slice.
func Remarks(name string) []string {
	if name != "@docker-default" {
		return nil
	}
	return []string{
		"clone: Docker allows it only without CLONE_NEW flags, args[0] & 0x7e020000 == 0",
		"clone3: not in the group; Docker fails it with ENOSYS, so that libc falls back to clone",
		"personality: Docker allows it only for the persona 0, 8, 0x20000, 0x20008 and 0xffffffff",
		"socket: Docker allows it for every address family but AF_ALG (38) and AF_VSOCK (40)",
		"chroot: not in the group; Docker allows it to containers with CAP_SYS_CHROOT, which is its default",
	}
}
