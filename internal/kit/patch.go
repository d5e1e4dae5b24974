package kit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// InPatches is the file name as a patch of linux/ adds it. root is the repository's.
func InPatches(root, name string) ([]byte, error) {
	patches, _ := filepath.Glob(filepath.Join(root, "linux", "patches", "*.patch"))
	for _, path := range patches {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if _, diff, found := bytes.Cut(text, []byte("--- /dev/null\n+++ b/"+name+"\n")); found {
			return added(diff), nil
		}
	}
	return nil, fmt.Errorf("no patch of linux/ adds %s", name)
}

// added is what the first file of a patch adds.
func added(diff []byte) (text []byte) {
	for _, line := range bytes.SplitAfter(diff, []byte("\n")) {
		switch {
		case bytes.HasPrefix(line, []byte("@@ ")):
		case bytes.HasPrefix(line, []byte("+")):
			text = append(text, line[1:]...)
		default:
			return text
		}
	}
	return text
}
