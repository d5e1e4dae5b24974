package kit

import (
	"bytes"
	"os"
	"path/filepath"
)

// InPatches is the file name as a patch of the kernel adds it, one of linux/ or of those
// that come to it; nil if none does. root is the repository's.
func InPatches(root, name string) ([]byte, error) {
	patches, _ := filepath.Glob(filepath.Join(root, "linux", "patches", "*.patch"))
	coming, _ := filepath.Glob(filepath.Join(root, "internal", "engine", "kernel", "testdata", "pins", "*.patch"))
	for _, path := range append(patches, coming...) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if _, diff, found := bytes.Cut(text, []byte("--- /dev/null\n+++ b/"+name+"\n")); found {
			return added(diff), nil
		}
	}
	return nil, nil
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
