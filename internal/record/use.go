package record

import (
	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy/symbol"
	"portcullis/internal/record/probe"
)

// use is what a call does with the name that it is given.
type use uint8

// The uses.
const (
	executes use = iota
	reads
	looks
	enters
	changes
	governs
	devices
	connects
	binds
	sends
	uses // how many there are
)

// Calls by what they do with a name. What is in no list changes something; opens depend on
// their flags.
const (
	executing = "execve execveat"
	looking   = "access faccessat faccessat2 stat lstat newfstatat statx readlink readlinkat statfs"
	reading   = "getxattr lgetxattr listxattr llistxattr getxattrat listxattrat file_getattr inotify_add_watch fanotify_mark name_to_handle_at"
	entering  = "chdir"
	governing = "chroot pivot_root mount umount2 swapon swapoff acct quotactl open_tree open_tree_attr move_mount mount_setattr fspick"
	opening   = "open openat"
	making    = "mknod mknodat"
)

// Flags of opening, and a descriptor that stands for the working directory.
const (
	openChanges = 0o3 | 0o100 | 0o1000 // O_ACCMODE|O_CREAT|O_TRUNC
	atFDCWD     = -100

	execveat = 322
)

// title is a heading.
func (u use) title() string {
	return [...]string{
		"programs executed", "files read", "files looked at", "directories entered", "files changed",
		"places mounted, or taken for the root", "device nodes made", "addresses connected to", "addresses bound", "addresses sent to",
	}[u]
}

// namer is what is known of a call with names.
type namer struct {
	use   use
	opens bool // for reading, or for changes, by its flags
	read  []probe.Named
	names [6]string // of the arguments
	// dirs are the arguments that a relative name in each argument is below, "" for none,
	// and dirAt their registers.
	dirs  [6]string
	dirAt [6]int
	// modeAt and devAt are the registers of what is made, for calls that make nodes; 0 for others.
	modeAt, devAt int
	// length is the name of the argument with an address's length, if it has one.
	length string
}

// namers are all calls with names, by their numbers.
func namers() map[uint32]*namer {
	all := map[uint32]*namer{}
	for nr := uint32(0); nr <= uint32(syscalls.Newest()); nr++ {
		if read := probe.Of(nr); read != nil {
			all[nr] = newNamer(nr, read)
		}
	}
	return all
}

func newNamer(nr uint32, read []probe.Named) *namer {
	n := &namer{use: useOf(nr), opens: callsOf(opening)[nr], read: read}
	arguments := symbol.Arguments(nr)
	if callsOf(making)[nr] {
		n.modeAt, n.devAt = arguments[len(arguments)-2].Index, arguments[len(arguments)-1].Index
	}
	for _, r := range read {
		n.names[r.Index] = arguments[r.Index].Name
		if r.Length >= 0 {
			n.length = arguments[r.Length].Name
			continue
		}
		for _, a := range arguments[:r.Index] {
			if a.Set == "at_fd" || nr == execveat && a.Index == 0 {
				n.dirs[r.Index], n.dirAt[r.Index] = a.Name, a.Index
			}
		}
	}
	return n
}

func useOf(nr uint32) use {
	for u, calls := range map[use]string{
		executes: executing, looks: looking, reads: reading, enters: entering, governs: governing,
		connects: "connect", binds: "bind", sends: "sendto",
	} {
		if callsOf(calls)[nr] {
			return u
		}
	}
	return changes
}

// of is what a call does, by its flags where they tell.
func (n *namer) of(args *[6]uint64) use {
	if _, ok := n.node(args); ok {
		return devices
	}
	if !n.opens {
		return n.use
	}
	flags := args[n.read[0].Index+1]
	if flags&openChanges == 0 {
		return reads
	}
	return changes
}

// below tells whether a relative name in an argument is below a descriptor's directory.
func (n *namer) below(index int, args *[6]uint64) bool {
	return n.dirs[index] != "" && int32(args[n.dirAt[index]]) != atFDCWD
}
