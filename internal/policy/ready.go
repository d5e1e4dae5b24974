package policy

import (
	"fmt"
	"sort"
	"strings"

	"portcullis/policies"
)

// IsName tells names of ready policies from paths: there is neither a slash nor a dot in them.
func IsName(s string) bool { return s != "" && !strings.ContainsAny(s, "/.") }

// Ready is the text of the ready policy of that name.
func Ready(name string) ([]byte, error) {
	if data, ok := policies.Policy(name); IsName(name) && ok {
		return data, nil
	}
	hint := "there are " + strings.Join(policies.Names(), ", ")
	if near := Nearest(name, policies.Names()); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return nil, fmt.Errorf("no ready policy of that name; %s; a file needs a path such as ./base.yaml", hint)
}

// maxNear is how many names are offered for a mistyped one.
const maxNear = 3

// Nearest are the few of the names that may have been meant by a mistyped one, the closest first.
func Nearest(typed string, names []string) []string {
	const far = 3
	apart := map[string]int{}
	var near []string
	for _, n := range names {
		d := distance(typed, n, far)
		if len(typed) >= far && strings.HasPrefix(n, typed) {
			d = 1 // it was not written to the end
		}
		if d < far && d < len(typed) {
			apart[n], near = d, append(near, n)
		}
	}
	sort.SliceStable(near, func(i, j int) bool { return apart[near[i]] < apart[near[j]] })
	return near[:min(len(near), maxNear)]
}
