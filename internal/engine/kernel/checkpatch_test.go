package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"portcullis/internal/kit"
)

// sourceTarball is where Debian's linux-source-6.12 puts the kernel's source.
const sourceTarball = "/usr/src/linux-source-6.12.tar.xz"

// TestSeriesIsCleanUnderCheckpatch runs the kernel's own checker over the series.
// What it says of new files without an entry in MAINTAINERS is left out: the
// series is kept here.
func TestSeriesIsCleanUnderCheckpatch(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a long run: half a minute to unpack the checker")
	}
	patches, err := filepath.Glob("../../../linux/patches/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("%d patches, %v: a series expected", len(patches), err)
	}
	needChecker(t)
	if kit.Passed(t, append(patches, sourceTarball, "checkpatch_test.go")...) {
		return
	}
	script := checkpatch(t)
	for _, patch := range patches {
		cmd := exec.Command("perl", script, "--no-tree", "--strict", "--terse", "--show-types",
			"--ignore", "FILE_PATH_CHANGES", patch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(patch), err, out)
		}
	}
}

func needChecker(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(sourceTarball); err != nil {
		t.Skip("needs linux-source-6.12")
	}
	for _, tool := range []string{"perl", "tar", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
}

// checkpatch unpacks the checker, and what it reads.
func checkpatch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const scripts = "linux-source-6.12/scripts/"
	cmd := exec.Command("tar", "--occurrence=1", "-xf", sourceTarball, "-C", dir,
		scripts+"checkpatch.pl", scripts+"spelling.txt", scripts+"const_structs.checkpatch")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", strings.TrimSpace(string(out)), err)
	}
	return filepath.Join(dir, scripts, "checkpatch.pl")
}
