package conformance

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"portcullis"
	"portcullis/internal/event"
)

// script is an ordinary program that does the same each time.
type script struct {
	name  string
	needs []string
	argv  []string
	// unstable are names of files whose contents differ from run to run.
	unstable map[string]bool
}

func bash(name, needs, text string) script {
	return script{name: name, needs: strings.Fields(needs), argv: []string{"bash", "-c", text}}
}

// scripts are run with and without a filter, and must not tell the difference.
var scripts = []script{
	bash("pipes", "bash", `seq 5000 | sort -rn | tee copy | tail -n 3; yes | head -n 100000 | wc -l
cat <<<"$(tr a-z A-Z < <(printf 'from a %s\n' process))"; mkfifo p; (cat p & echo through > p; wait); ls; exit 3`),
	bash("job control", "bash", `set -m; (kill -STOP $BASHPID; echo went on >> log) & wait $!; echo "stopped with $?"; jobs | tr -d 0-9
kill -CONT %1; wait %1; echo "ended with $?"; cat log
sh -c 'kill -STOP $$; exit 5' & wait $!; fg %% > out; echo "$? $(cat out)"; set +m
coproc tr a-z A-Z; echo coprocess >&${COPROC[1]}; exec {COPROC[1]}>&-; cat <&${COPROC[0]}; wait`),
	bash("traps", "bash", `trap 'echo usr1 $((++n))' USR1; for i in 1 2 3; do kill -USR1 $$; done; trap 'echo left' EXIT; mkfifo p; exec 3<>p
trap 'echo term; exit 9' TERM; trap 'echo child' CHLD; (exit 3); trap - CHLD; (kill -TERM $$) & while :; do read -t 0.2 -u 3; done`),
	bash("python", python, python+` - <<'END'
import concurrent.futures, hashlib, multiprocessing, os, signal, subprocess, sys, tempfile, threading, time
lock, total = threading.Lock(), 0
def add(n):
    global total
    for i in range(200):
        with lock: total += n
ts = [threading.Thread(target=add, args=(i,)) for i in range(16)]
[t.start() for t in ts]; [t.join() for t in ts]
print("threads", total)
with concurrent.futures.ThreadPoolExecutor(6) as pool:
    out = pool.map(lambda i: subprocess.run(["sh", "-c", "cat; exit %d" % i], input=b"x" * i, capture_output=True), range(12))
    print("subprocess", [(len(r.stdout), r.returncode) for r in out])
r, w = os.pipe()
for i in range(8):
    if os.fork() == 0: os.write(w, b"%d" % i); os._exit(i)
print("forks", sorted(os.waitstatus_to_exitcode(os.wait()[1]) for i in range(8)), sorted(os.read(r, 8)))
hits = []
signal.signal(signal.SIGALRM, lambda *a: hits.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while len(hits) < 20: time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0)
with tempfile.TemporaryFile() as f:
    f.write(b"a" * 100000); f.seek(0); print("file", hashlib.sha256(f.read()).hexdigest()[:12])
p = subprocess.Popen(["sleep", "100"]); p.terminate(); print("terminated", p.wait())
try: os.open("missing", os.O_RDONLY)
except OSError as e: print(e, file=sys.stderr)
sys.exit(4)
END`),
	bash("gcc", "gcc", `cat > sum.c <<'END'
long sum(const int *v, int n) { long s = 0; for (int i = 0; i < n; i++) s += v[i]; return s; }
END
cat > main.c <<'END'
#include <pthread.h>
#include <stdio.h>
long sum(const int *, int);
static int v[4] = {1, 2, 3, 36};
static void *go(void *out) { *(long *)out = sum(v, 4); return 0; }
int main(void) { long s; pthread_t t; pthread_create(&t, 0, go, &s); pthread_join(t, 0); printf("%ld\n", s); return s; }
END
gcc -O2 -c sum.c && gcc -O2 -pipe -pthread -o sum main.c sum.o && ar rc lib.a sum.o; ./sum; echo "status $?"
echo 'int main(void) { return missing; }' > bad.c; gcc bad.c; echo "status $?"`),
	{
		name: "git", needs: []string{"git"}, unstable: map[string]bool{"index": true},
		argv: []string{"bash", "-c", `set -e; export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
printf '[user]\nname=a\nemail=a@b\n[init]\ndefaultBranch=main\n[pack]\nthreads=1\n[gc]\nauto=0\n[protocol "file"]\nallow=always\n' > .gitconfig
git init -q origin; cd origin; for i in 1 2 3 4 5; do seq $i $((i * 300)) > f$i; git add .; git commit -qm "commit $i"; done
git tag -a -m one v1; git branch side HEAD~2; cd ..; git clone -q "file://$PWD/origin" copy 2>&1; cd copy
git checkout -q -b topic origin/side; echo more >> f1; git commit -qam topic; git merge -q -m merge origin/main
git log --graph --format='%h %s'; git diff --stat HEAD~1; git push -q origin topic; git gc -q; git fsck --strict
git count-objects -v | grep -v size; git stash list; git status --short --branch; git rev-parse HEAD missing`},
	},
}

// outcome is what a program left behind.
type outcome struct {
	Out, Err string
	Status   int
	Files    map[string]string
}

// TestAuditChangesNothing runs programs twice in the same place, without a filter
// and under audit with every call observed.
func TestAuditChangesNothing(t *testing.T) {
	for _, s := range allScripts(t) {
		s := s
		t.Run(s.name, func(t *testing.T) {
			for _, n := range s.needs {
				need(t, n)
			}
			place := filepath.Join(openDir(t), "place")
			want := s.plain(t, place)
			var seen tally
			got := s.filtered(t, place, &seen)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("under audit: %s", difference(got, want))
			}
			seen.check(t)
		})
	}
}

// allScripts are scripts and the Go program, which takes a while to build. In a
// guest, where programs start slowly, the last three are left out, which start many: other
// tests run such programs there.
func allScripts(t *testing.T) []script {
	t.Helper()
	if *engine != "agent" {
		return scripts[:len(scripts)-3]
	}
	if testing.Short() {
		return scripts
	}
	return append([]script{{name: "go", argv: []string{build(t, preempted)}}}, scripts...)
}

func (s *script) plain(t *testing.T, place string) outcome {
	t.Helper()
	remake(t, place)
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir, cmd.Env = place, environment(place)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return outcome{out.String(), errs.String(), status(cmd.ProcessState), s.files(t, place)}
}

func (s *script) filtered(t *testing.T, place string, seen *tally) outcome {
	t.Helper()
	remake(t, place)
	cmd := command(t, one("audit"), s.argv[0], s.argv[1:]...)
	cmd.Dir, cmd.Env = place, environment(place)
	cmd.Observe, cmd.Events = portcullis.ObserveAll, seen.event
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	<-cmd.Done()
	return outcome{out.String(), errs.String(), status(cmd.ProcessState), s.files(t, place)}
}

func environment(place string) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC",
		"HOME=" + place, "TMPDIR=" + place,
	}
}

func remake(t *testing.T, place string) {
	t.Helper()
	err := os.RemoveAll(place)
	if err == nil {
		err = os.Mkdir(place, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// files says of everything in a place what it is and, where that is stable, what
// is in it.
func (s *script) files(t *testing.T, place string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == place {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		if info.Mode().IsRegular() && !s.unstable[d.Name()] {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d %.8x", len(data), sha256.Sum256(data))
		}
		all[strings.TrimPrefix(path, place)] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// difference names what is not the same.
func difference(got, want outcome) string {
	var all []string
	if got.Out != want.Out || got.Err != want.Err || got.Status != want.Status {
		all = append(all, fmt.Sprintf("status %d, printed %q and %q,\nexpected status %d, %q and %q",
			got.Status, got.Out, got.Err, want.Status, want.Out, want.Err))
	}
	for name, what := range want.Files {
		if got.Files[name] != what {
			all = append(all, fmt.Sprintf("%s is %q, expected %q", name, got.Files[name], what))
		}
	}
	for name, what := range got.Files {
		if want.Files[name] == "" {
			all = append(all, fmt.Sprintf("%s is %q, expected none", name, what))
		}
	}
	return strings.Join(all, "\n")
}

// tally is what was reported of a program.
type tally struct {
	verdicts map[int32]int // by number
	records  map[int32]int
	denied   []string
	lost     uint64
}

func (s *tally) event(e portcullis.Event) {
	if s.verdicts == nil {
		s.verdicts, s.records = map[int32]int{}, map[int32]int{}
	}
	switch e.Kind {
	case event.KindVerdict:
		s.verdicts[e.Call.Nr]++
		if e.Denies() {
			s.denied = append(s.denied, e.String())
		}
	case event.KindRecord:
		s.records[e.Call.Nr]++
	case event.KindLost:
		s.lost += e.Lost
	}
}

// check wants every record to have its verdict, every call allowed and nothing
// lost. What the kernel engine decides nobody is told.
func (s *tally) check(t *testing.T) {
	t.Helper()
	if *engine != "agent" {
		return
	}
	total := 0
	for nr, n := range s.verdicts {
		total += n
		if r := s.records[nr]; s.lost == 0 && r != 0 && r != n {
			t.Errorf("call %d: %d verdicts and %d records", nr, n, r)
		}
	}
	t.Logf("%d calls of %d numbers were seen, %d events were lost", total, len(s.verdicts), s.lost)
	if len(s.denied) != 0 || len(s.records) == 0 || total < 200 {
		t.Errorf("denied %v, recorded %v of %d calls", s.denied, s.records, total)
	}
}

// preempted is a program that spins where only a signal can take the processor
// from it, collects garbage meanwhile, and starts programs and threads.
const preempted = `package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

func spin(n int) (x uint64) {
	for i := 0; i < n; i++ {
		x = x*6364136223846793005 + 1
	}
	return x
}

func main() {
	runtime.GOMAXPROCS(3)
	debug.SetGCPercent(5)
	var group sync.WaitGroup
	sums := make([]uint64, 8)
	for i := range sums {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			sums[i] = spin(20_000_000 + i)
		}(i)
	}
	kept := [][]byte{}
	for i := 0; i < 200; i++ {
		kept = append(kept, make([]byte, 64<<10))
		runtime.Gosched()
	}
	runtime.GC()
	group.Wait()
	fmt.Printf("%x %d\n", sums, len(kept))
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	for i := 0; i < 20; i++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-usr1
	}
	var ticks int
	for tick := time.NewTicker(time.Millisecond); ticks < 20; ticks++ {
		<-tick.C
	}
	for i := 0; i < 10; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			runtime.LockOSThread()
			out, err := exec.Command("sh", "-c", fmt.Sprint("echo $((", i, " * ", i, ")); exit ", i)).Output()
			sums[i%8] += uint64(len(out)) + uint64(len(fmt.Sprint(err)))
		}(i)
	}
	group.Wait()
	os.WriteFile("sums", []byte(fmt.Sprint(sums)), 0o600)
	fmt.Fprintln(os.Stderr, "done")
	os.Exit(6)
}
`

// build compiles a Go program.
func build(t *testing.T, source string) string {
	t.Helper()
	need(t, "go")
	dir := openDir(t)
	write(t, filepath.Join(dir, "main.go"), source)
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "prog"), filepath.Join(dir, "main.go"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "prog")
}
