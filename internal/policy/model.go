// Package policy is the declarative form of filters: a Model of rules and of state, read
// from YAML and written as YAML, that becomes an eBPF program of the filter ABI.
//
// docs/POLICIES.md says what a policy means. A Model is plain data, made by Parse or by
// whoever imports another form; Compile resolves its names and makes a program of it.
package policy

import (
	"fmt"
	"time"
)

// Version is the version of the language that this package reads and writes.
const Version = 1

// Pos is a place in a policy; the zero Pos is that of a Model nobody wrote.
type Pos struct {
	// File is the path as it was given; Line and Col count from 1.
	File      string
	Line, Col int
}

// String is file:line:column, or less of it where that is not known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.File == "":
		return fmt.Sprintf("%d:%d", p.Line, p.Col)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Model is a policy. A call is let through if the first of Rules that matches it says so,
// or Default where none does, and nothing of the rest of the Model denies it.
type Model struct {
	Pos Pos
	// Comment is text in front of the policy, lines without "#".
	Comment string
	// Name is the program's; "" takes the file's.
	Name string
	// Include are policies whose rules come behind these and whose state is added.
	Include []Include
	// Default is the answer to calls that no rule matches; its Kind is NoAction where the
	// policy does not say.
	Default Action
	// Unknown is the answer to calls whose number has no name here, likewise; then they
	// fail with ENOSYS.
	Unknown Action
	// Links tells that what rules say of paths is to hold although other rules let links be
	// made, and files be renamed, to any path.
	Links Links
	// Groups are groups of calls of this policy's own.
	Groups []Group
	// Rules are in order: the first that matches decides.
	Rules []Rule
	// Programs are what takes effect when programs are executed.
	Programs []Program
	// Phases are those that each process goes through, from the first on.
	Phases []Phase
	// Order says which calls are for before or after others.
	Order []Order
	// Flows say which call may follow which.
	Flows []Flow
	// Limits say how many calls, or how fast.
	Limits []Limit
	// Serialize says which calls are not made at the same time.
	Serialize []Serialize
	// Lines are the lines of each file that it was read from, for messages.
	Lines map[string][]string
}

// Include names another policy by its path, which is relative to the file's directory.
type Include struct {
	Pos  Pos
	Path string
}

// Links is whether links and renames have been thought of.
type Links uint8

// The values of Links.
const (
	// LinksChecked refuses a policy that tells calls apart by path and lets links be made
	// to anywhere.
	LinksChecked Links = iota
	// LinksTrusted takes it.
	LinksTrusted
)

// Name is the name of a call or, with an @ in front, of a group.
type Name struct {
	Pos  Pos
	Text string
}

// Group is a set of calls under a name that begins with @.
type Group struct {
	Pos     Pos
	Comment string
	Name    string
	Calls   []Name
}

// ActionKind is what happens to a call.
type ActionKind uint8

// The actions, from the least to the most restrictive.
const (
	NoAction ActionKind = iota
	// Allow lets the call be made; Log also notes it in the kernel's log.
	Allow
	Log
	// Notify is SECCOMP_RET_USER_NOTIF: without another listener the call fails with ENOSYS.
	Notify
	// Errno has the call fail with the error Data.
	Errno
	// Trap sends SIGSYS, with Data as si_errno.
	Trap
	// KillThread ends the thread, Kill the process.
	KillThread
	Kill
)

// Action is what happens to a call.
type Action struct {
	Pos  Pos
	Kind ActionKind
	// Data is the errno of Errno, 1 to 4095, or the data of Trap.
	Data uint16
}

// Permits tells whether a call is made under the action.
func (a Action) Permits() bool { return a.Kind == Allow || a.Kind == Log }

// Rule says what happens to calls.
type Rule struct {
	Pos     Pos
	Comment string
	Action  Action
	Calls   []Name
	// If is what has to hold of the call; nil is always.
	If *Condition
}

// Op is how a Condition is made.
type Op uint8

// The forms of a Condition.
const (
	// Test is one test.
	Test Op = iota
	// All holds if all of Sub do, Any if one does, Not if the only one does not.
	All
	Any
	Not
)

// Condition is what has to hold of a call. A condition can hold, not hold, or be unknown, as
// it is for a path that may lead elsewhere: rules that permit do not match then, and those
// that restrict do.
type Condition struct {
	Pos Pos
	Op  Op
	// Sub are the conditions of All, Any and Not.
	Sub []Condition
	// What a Test is about: of the call an argument, or of its caller.
	Subject Subject
	// Arg is the argument's name, or arg0 to arg5.
	Arg string
	// Width is how many bits of the argument are compared, 32 or 64; 0 takes what the
	// kernel looks at.
	Width int
	// Compare is how the argument is compared with Values.
	Compare Compare
	// Mask is taken from the argument before MaskedIs compares it.
	Mask Value
	// Values are what the test compares with: those of Between are its ends, and of the
	// bit tests, the orders and Between there are no alternatives. Paths, addresses and
	// names of programs are in their Text.
	Values []Value
	// Argv are the first arguments of a program, likewise alternatives.
	Argv [][]Value
}

// Subject is what a Test is about.
type Subject uint8

// The subjects.
const (
	// Argument is the number in an argument.
	Argument Subject = iota
	// Path is the path that an argument points to, Address a socket address, Arguments the
	// argv of a program, Text another string.
	Path
	Address
	Arguments
	Text
	// UID, GID and Comm are the caller's.
	UID
	GID
	Comm
)

// Compare is how an argument is compared.
type Compare uint8

// The comparisons, of numbers without a sign.
const (
	// Is holds if one of Values is equal, IsNot if none is.
	Is Compare = iota
	IsNot
	// MaskedIs holds if one of Values equals what Mask leaves.
	MaskedIs
	Less
	LessEqual
	Greater
	GreaterEqual
	// Between holds from the first of Values to the second.
	Between
	// AllBits holds if all bits of the value are set, AnyBit if one is, NoBit if none.
	AllBits
	AnyBit
	NoBit
)

// Value is a number, or the text of one.
type Value struct {
	Pos Pos
	// Text is how it was written, such as "O_RDONLY|O_CLOEXEC" or "/usr/"; "" where Number
	// is all there is.
	Text string
	// Number counts where Text is "".
	Number uint64
}

// Owner is whose a state is.
type Owner uint8

// The owners of state.
const (
	// Tree is all that runs under the policy.
	Tree Owner = iota
	// Process is each process: a child starts with a copy of its parent's.
	Process
	// Thread is each thread: a new one starts afresh.
	Thread
)

// Limit lets a number of calls be made, or of calls in a time.
type Limit struct {
	Pos     Pos
	Comment string
	// Name is for policies that include this one; may be "".
	Name  string
	Calls []Name
	If    *Condition
	// Max is how many; 0 is none.
	Max uint64
	// Window is the time in which Max calls are made in the long run; 0 is for ever.
	Window time.Duration
	// Burst is how many may follow each other at once where there is a Window; 0 is Max.
	Burst uint64
	Per   Owner
	// Action is the answer beyond it; NoAction is EPERM, with a Window EAGAIN.
	Action Action
}

// Program is a set of calls for what is executed by certain paths: a process that tries to
// execute one, and what comes of it, makes no others from then on.
type Program struct {
	Pos     Pos
	Comment string
	Name    string
	// Paths are those of a condition on a path; what is unknown counts.
	Paths []Value
	// Allow are the calls that are left, or Deny those that are not; one of both is nil.
	Allow, Deny []Name
	// Action is the answer to others; NoAction is EPERM.
	Action Action
}

// Phase is a named set of calls. Each process is in one phase at a time; the first is that
// of a process that has made no transition, and a child begins in its parent's.
type Phase struct {
	Pos     Pos
	Comment string
	Name    string
	// Allow are the calls of the phase, or Deny those that are not; one of both is nil.
	Allow, Deny []Name
	// Next are the ways out, which are calls of the phase too: the first that matches is
	// taken.
	Next []Transition
	// Action is the answer to other calls; NoAction is EPERM.
	Action Action
}

// Transition leads to another phase.
type Transition struct {
	Pos Pos
	On  []Name
	If  *Condition
	To  string
}

// Order says that calls are for before, or after, the first of others.
type Order struct {
	Pos     Pos
	Comment string
	Name    string
	Kind    OrderKind
	Calls   []Name
	// Mark are the calls of which the first counts; not those of Once.
	Mark   []Name
	Per    Owner
	Action Action
}

// OrderKind is what an Order says.
type OrderKind uint8

// The orders.
const (
	// Once lets one of Calls be made, one time.
	Once OrderKind = iota
	// Before lets Calls be made until the first of Mark was, After from then on.
	Before
	After
)

// Flow lets calls be made only as edges lead from one to the next. Those that no edge
// names are not its business.
type Flow struct {
	Pos     Pos
	Comment string
	Name    string
	Per     Owner
	Edges   []Edge
	Action  Action
}

// Start is the From of the first call, in place of a name.
const Start = "start"

// Edge leads from each of From to each of To.
type Edge struct {
	Pos      Pos
	From, To []Name
}

// Serialize keeps calls of First from being made while one of Second is, and the other way
// round.
type Serialize struct {
	Pos           Pos
	Comment       string
	Name          string
	First, Second []Name
	// Any takes calls whose end may depend on who waits for it.
	Any bool
}
