package record

import (
	"fmt"
	"strings"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
)

// firstPhase is the name of the phase that programs begin in.
const firstPhase = "start"

// maxTransitions is how many phases a policy has room for beside the first.
const maxTransitions = 31

// maxTitle is how long the name of a phase can be.
const maxTitle = 64

// CheckTransitions finds what is wrong with calls that are to end the initialization, each CALL or
// CALL=NAME with the name of the phase that it leads to.
func CheckTransitions(texts []string) error {
	_, err := titles(texts)
	return err
}

// named are the names of the phases to which calls lead that were named.
func (r *Recorder) named(texts []string) (map[uint32]string, error) {
	all, err := titles(texts)
	if err != nil {
		return nil, err
	}
	for _, nr := range sorted(numbersOf(keys(all))) {
		if r.calls[nr] == nil {
			return nil, fmt.Errorf("--transition %s: expected the name of a call that was seen", callName(nr))
		}
	}
	return all, nil
}

func keys(titles map[uint32]string) map[uint32]bool {
	all := map[uint32]bool{}
	for nr := range titles {
		all[nr] = true
	}
	return all
}

// titles reads CALL and CALL=NAME.
func titles(texts []string) (map[uint32]string, error) {
	given, ends := map[uint32]string{}, map[uint32]bool{}
	for _, text := range texts {
		nr, title, err := transition(text)
		if err != nil {
			return nil, err
		}
		if ends[nr] && given[nr] != title {
			return nil, fmt.Errorf("--transition %s: expected each call once, and %s leads to another phase already: leave one out", text, callName(nr))
		}
		ends[nr], given[nr] = true, title
	}
	if len(ends) > maxTransitions {
		return nil, fmt.Errorf("--transition: expected at most %d calls, found %d", maxTransitions, len(ends))
	}
	all := titled(ends)
	for nr, title := range given {
		if title != "" {
			all[nr] = title
		}
	}
	return all, distinct(all)
}

// transition reads one CALL or CALL=NAME.
func transition(text string) (nr uint32, title string, err error) {
	call, title, named := strings.Cut(text, "=")
	nr, ok := syscalls.Number(call)
	switch {
	case !ok:
		return 0, "", fmt.Errorf("--transition %s: expected CALL or CALL=NAME, with the name of a call", policy.Shown(text))
	case named && !isTitle(title):
		return 0, "", fmt.Errorf("--transition %s: expected behind = a name of 1 to %d letters, digits, dots, - and _", policy.Shown(text), maxTitle)
	case title == firstPhase:
		return 0, "", fmt.Errorf("--transition %s: expected another name than that of the first phase", text)
	}
	return nr, title, nil
}

// isTitle tells whether a policy takes the name.
func isTitle(text string) bool {
	for _, c := range text {
		if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return text != "" && len(text) <= maxTitle
}

// titled gives the phases of calls the names that they have if nobody gave them others.
func titled(ends map[uint32]bool) map[uint32]string {
	all := map[uint32]string{}
	for nr := range ends {
		all[nr] = "serve-" + strings.ReplaceAll(callName(nr), "_", "-")
		if len(ends) == 1 {
			all[nr] = "serve"
		}
	}
	return all
}

func distinct(titles map[uint32]string) error {
	by := map[string]uint32{}
	for _, nr := range sorted(numbersOf(keys(titles))) {
		title := titles[nr]
		if other, twice := by[title]; twice {
			return fmt.Errorf("--transition: expected a name of its own for each phase, and %s and %s lead to %s: name one otherwise",
				callName(other), callName(nr), title)
		}
		by[title] = nr
	}
	return nil
}
