package kit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Passer is the part of testing.TB that Passed needs.
type Passer interface {
	Helper()
	Name() string
	Failed() bool
	Skipped() bool
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Passed tells whether the test has passed before with the same content in all of these
// files, and sees to it that it is known if it does now. It is for what takes long and
// depends on nothing else. What passed is kept in the user's cache; without one, nothing is.
func Passed(t Passer, files ...string) bool {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		return false
	}
	sum, err := digest(files)
	if err != nil {
		t.Fatalf("%v", err)
	}
	stamp := filepath.Join(cache, "portcullis", "passed", t.Name()+"-"+sum)
	if _, err := os.Stat(stamp); err == nil {
		t.Logf("passed with the same files before: %s", stamp)
		return true
	}
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		if err := write(stamp); err != nil {
			t.Logf("this test will be run again: %v", err)
		}
	})
	return false
}

func write(stamp string) error {
	if err := os.MkdirAll(filepath.Dir(stamp), 0o755); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// digest is one of the names and contents of files.
func digest(files []string) (string, error) {
	sum := sha256.New()
	for _, path := range files {
		one, err := digestFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %x\n", filepath.Base(path), one)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

func digestFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return sum.Sum(nil), err
}
