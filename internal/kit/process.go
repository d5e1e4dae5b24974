package kit

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// The words of Stat that are asked for.
const (
	StatState  = 0 // a letter
	StatParent = 1
	StatGroup  = 2
	StatSystem = 12 // time in the kernel, in hundredths of a second
)

// Stat are the words of /proc/PID/stat behind the name in brackets, which may have any in it
// (proc_pid_stat(5)).
func Stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(words) <= StatSystem {
		return nil, fmt.Errorf("/proc/%d/stat: expected more than %d words behind the name, found %q", pid, StatSystem, text)
	}
	return words, nil
}
