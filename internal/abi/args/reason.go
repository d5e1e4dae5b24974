package args

// Reason is why an argument may not be pinned.
type Reason uint8

// The reasons, and none.
const (
	MayPin            Reason = iota
	NoArgument               // the call takes fewer arguments
	NotPointer               // a number
	KernelWrites             // pinned memory is read-only
	KernelKeeps              // it would find what a later call puts there
	AddressCounts            // a copy elsewhere is something else
	DependsOnArgument        // an option of the call that the table does not know
	DependsOnDriver          // what stands behind the descriptor decides
	DependsOnMemory          // its length is behind another argument
	DependsOnObject          // its length is a property of a kernel object
)

// String says the reason, as the end of a sentence like "argument 1 of ioctl
// cannot be pinned: its shape depends on the file's driver".
func (r Reason) String() string {
	switch r {
	case MayPin:
		return "nothing is against it"
	case NoArgument:
		return "the call has no such argument"
	case NotPointer:
		return "it is not a pointer"
	case KernelWrites:
		return "the kernel writes it"
	case KernelKeeps:
		return "the kernel keeps it after the call"
	case AddressCounts:
		return "the call is about the address, not about what is there"
	case DependsOnArgument:
		return "its shape depends on another argument"
	case DependsOnDriver:
		return "its shape depends on the file's driver"
	case DependsOnMemory:
		return "its shape depends on memory behind another argument"
	case DependsOnObject:
		return "its shape depends on a kernel object"
	}
	return "it is unknown"
}
