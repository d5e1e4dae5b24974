//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"portcullis/internal/bench/tables"
)

// kernelSource is what Debian's package linux-source-6.12 installs.
const kernelSource = "/usr/src/linux-source-6.12.tar.xz"

// defaultProject is what is built where no other one is chosen.
const defaultProject = "libbpf.a"

// project is something to be built, again and again in a new directory.
type project struct {
	name  string
	needs []string
	// prepare is done once; it returns where the sources are.
	prepare func(l *lab) (string, error)
	// argv builds it from the sources to a directory.
	argv func(source, out string) []string
	env  func(source, out string) []string
	// sets are constants of the filter, beside its lists.
	sets []string
	// makes is a file that is there in the end, "" where the status says enough.
	makes string
}

// projects are from small to large. Compilers of C look for each header in many
// directories: so many calls with paths a second are seldom.
func projects() []project {
	goTools, goSets := []string{"go"}, []string{"descriptors=true"}
	cSets := []string{"relative=true", "descriptors=true", "dotdot=true", "symlinks=true"}
	cTools := []string{compiler, "make", "python3", "xz", "gelf.h", kernelSource}
	return []project{
		{"libbpf.a", cTools, libbpf, func(source, out string) []string {
			return makeIn(source, out, out+"/libbpf.a")
		}, debian, cSets, "libbpf.a"},
		{"libbpf", cTools, libbpf, func(source, out string) []string {
			return makeIn(source, out)
		}, debian, cSets, "libbpf.so"},
		{"net/http", goTools, goRoot, goBuild("net/http"), goCache, goSets, ""},
		{"std", goTools, goRoot, goBuild("std"), goCache, goSets, ""},
	}
}

func makeIn(source, out string, targets ...string) []string {
	return append([]string{"make", "-s", "-C", source, "-j", strconv.Itoa(runtime.NumCPU()), "O=" + out, "OUTPUT=" + out + "/"}, targets...)
}

// debian takes tools from where the lists say that they are.
func debian(string, string) []string { return []string{"PATH=/usr/bin:/bin"} }

func goBuild(pkg string) func(string, string) []string {
	return func(string, string) []string { return []string{"go", "build", "-a", "-o", os.DevNull, pkg} }
}

// goCache leaves nothing to be found out, or kept, outside of the lists.
func goCache(root, out string) []string {
	return []string{"GOROOT=" + root, "GOCACHE=" + out, "HOME=" + out, "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOFLAGS="}
}

// goRoot is where Go's own sources are.
func goRoot(*lab) (string, error) {
	out, err := output(exec.Command("go", "env", "GOROOT"))
	return strings.TrimSpace(string(out)), err
}

// libbpf unpacks what it is built from.
func libbpf(l *lab) (string, error) {
	dir := filepath.Join(l.dir, "linux")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	argv := []string{"tar", "-C", dir, "--strip-components=1", "-xf", kernelSource, "--wildcards"}
	for _, part := range []string{"tools/lib", "tools/include", "tools/build", "tools/scripts", "tools/arch", "scripts", "include/uapi"} {
		argv = append(argv, "linux-source-*/"+part)
	}
	_, err := output(command(argv))
	return filepath.Join(dir, "tools/lib/bpf"), err
}

// build compares how long a project takes to be built under a filter of its paths.
func build(l *lab) error {
	p, err := chosen(l.project)
	if err != nil {
		return err
	}
	if err := need(append(p.needs, compiler, callTracer)...); err != nil {
		return err
	}
	b, err := l.newBuilding(p)
	if err != nil {
		return err
	}
	return l.raceBuilds(b)
}

// chosen is the project of a name.
func chosen(name string) (project, error) {
	var names []string
	for _, p := range projects() {
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return project{}, fmt.Errorf("no project %q: there are %s", name, strings.Join(names, ", "))
}

// building is a project with its sources.
type building struct {
	project
	*holding
	source string
	out    string // made anew for each build
}

func (l *lab) newBuilding(p project) (*building, error) {
	h, err := l.newHolding()
	if err != nil {
		return nil, err
	}
	b := &building{project: p, holding: h, out: filepath.Join(l.dir, "built")}
	b.source, err = p.prepare(l)
	return b, err
}

// raceBuilds builds in each way in turn, each round another one first. The first
// build of all counts calls, and fills the page cache.
func (l *lab) raceBuilds(b *building) error {
	calls, err := b.count()
	if err != nil {
		return err
	}
	rivals := b.rivals()
	wall, cpu := make(map[string][]float64), make(map[string][]float64)
	for r := 0; r < (l.rounds+4)/5; r++ {
		for i := range rivals {
			c := rivals[(i+r)%len(rivals)]
			took, used, err := b.time(c.prefix)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			wall[c.name], cpu[c.name] = append(wall[c.name], took), append(cpu[c.name], used)
		}
	}
	l.Note(b.name+": calls", calls)
	for _, c := range rivals {
		l.Row(b.name+": "+c.name,
			tables.Value(median(wall[c.name]), 2, "s"), tables.Times(median(ratios(wall[c.name], wall[noFilter])), noFilter),
			tables.Value(median(cpu[c.name]), 2, "s of processors"), tables.Times(median(ratios(cpu[c.name], cpu[noFilter])), noFilter))
	}
	return nil
}

func (b *building) rivals() []rival {
	read, written := b.lists()
	return []rival{
		{name: noFilter},
		{name: ourselves + ", paths read and written", prefix: b.under("paths", append(read, written...)...)},
		{name: ourselves + ", paths written", prefix: b.under("paths", written...)},
		{name: cTracer + ", unpinned", prefix: b.floored("paths")},
		{name: "C notifier, unpinned", prefix: b.floored("notify")},
		{name: "strace -f", prefix: []string{find(callTracer), "-f", "-o", "/dev/null"}},
	}
}

// lists are constants of the filter by which every build succeeds: what compilers read
// (Go's, where Debian or its own archive puts it), and that they write temporary files.
func (b *building) lists() (read, written []string) {
	temp := os.TempDir()
	read = []string{"--set", "read=/usr,/etc,/lib,/lib64,/bin,/dev,/proc,/sys," + temp}
	written = []string{"--set", "write=/dev/null," + temp}
	for _, s := range b.sets {
		written = append(written, "--set", s)
	}
	return read, written
}

// time builds once and returns the seconds that passed, and those that processors
// worked for it: for the supervisor, its target and all that they have waited for.
func (b *building) time(prefix []string) (passed, worked float64, err error) {
	cmd, err := b.fresh(prefix)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if _, err := output(cmd); err != nil {
		return 0, 0, err
	}
	passed = time.Since(start).Seconds()
	worked = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if b.makes != "" {
		_, err = os.Stat(filepath.Join(b.out, b.makes))
	}
	return passed, worked, err
}

// fresh is a build from nothing.
func (b *building) fresh(prefix []string) (*exec.Cmd, error) {
	if err := os.RemoveAll(b.out); err != nil {
		return nil, err
	}
	if err := os.Mkdir(b.out, 0o755); err != nil {
		return nil, err
	}
	cmd := command(prefix, b.argv(b.source, b.out))
	cmd.Dir = b.out // go enters the directory that it was started in
	cmd.Env = append(os.Environ(), b.env(b.source, b.out)...)
	return cmd, nil
}

// count tells how many calls the build makes that open files, or have paths.
func (b *building) count() (string, error) {
	table := b.out + ".calls"
	cmd, err := b.fresh([]string{find(callTracer), "-f", "-c", "-o", table, "-e", "trace=%file"})
	if err != nil {
		return "", err
	}
	if _, err := output(cmd); err != nil {
		return "", err
	}
	text, err := os.ReadFile(table)
	if err != nil {
		return "", err
	}
	by := callsOf(string(text))
	return fmt.Sprintf("%d opens, %d execs, %d with a path", by["open"]+by["openat"]+by["openat2"], by["execve"], by["total"]), nil
}

// callsOf reads the table of strace -c.
func callsOf(table string) map[string]int {
	by := make(map[string]int)
	for _, line := range strings.Split(table, "\n") {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if n, err := strconv.Atoi(f[3]); err == nil {
			by[f[len(f)-1]] = n
		}
	}
	return by
}
