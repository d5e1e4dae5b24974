package portcullis

import (
	"portcullis/internal/engine"
	"portcullis/internal/prefilter"
	"portcullis/internal/why"
)

// Suspects are what can have denied a call of which the kernel's log says that it was denied.
type Suspects = why.Suspects

// Suspect makes suspects of a stack, the first installed first, and of the guards before it on
// the running kernel. The error is that of a filter that cannot be verified.
func Suspect(stack []*Filter) (*Suspects, error) {
	var filters []why.Filter
	for _, f := range stack {
		if err := f.Verify(); err != nil {
			return nil, err
		}
		one := why.Filter{Tree: f.tree}
		if f.model != nil {
			one.Rules = f.model.Rules
		}
		filters = append(filters, one)
	}
	return why.NewSuspects(filters, prefilter.Options{Slots: engine.Slots()})
}
