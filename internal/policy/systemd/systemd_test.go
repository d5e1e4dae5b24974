package systemd

import (
	"errors"
	"flag"
	"math/rand"
	"os"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/tools/txtar"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

var update = flag.Bool("update", false, "write what is found into testdata")

// TestUnits: units become the policies of testdata/units.txtar.
func TestUnits(t *testing.T) {
	const file = "testdata/units.txtar"
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range a.Files {
		want[f.Name] = string(f.Data)
	}
	var found []txtar.File
	for _, f := range a.Files {
		name, ok := strings.CutSuffix(f.Name, ".conf")
		if !ok {
			continue
		}
		m, losses, err := Read(f.Name, f.Data)
		if err != nil {
			t.Fatal(err)
		}
		yaml, lost := string(policy.Write(m)), ""
		for _, l := range losses {
			lost += l.String() + "\n"
		}
		found = append(found, f, txtar.File{Name: name + ".yaml", Data: []byte(yaml)}, txtar.File{Name: name + ".lost", Data: []byte(lost)})
		if _, err := policy.Compile(m); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		if !*update && (want[name+".yaml"] != yaml || want[name+".lost"] != lost) {
			t.Errorf("%s: found\n%s%s\nexpected\n%s%s", f.Name, yaml, lost, want[name+".yaml"], want[name+".lost"])
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(&txtar.Archive{Comment: a.Comment, Files: found}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                        "u.conf: expected directives such as SystemCallFilter=, found none",
		"[Service]\nExecStart=x":                  "u.conf: expected directives such as SystemCallFilter=, found none",
		"[Service":                                `u.conf:1:1: expected a section such as [Service], found "[Service"`,
		"SystemCallFilter":                        `u.conf:1:1: expected NAME=VALUE, found "SystemCallFilter"`,
		"systemcallfilter=read":                   "u.conf:1:1: systemcallfilter= means nothing to systemd: write SystemCallFilter=",
		"SystemCallFilter=read write:EPERM":       "u.conf:1:23: a call that is let through cannot fail with an error: write ~ in front of the list",
		"SystemCallFilter=~read:EWHAT":            `u.conf:1:24: expected an error such as EPERM, or a number up to 4095, found "EWHAT"`,
		"\n  SystemCallFilter=~ read:4096":        `u.conf:2:27: expected an error such as EPERM, or a number up to 4095, found "4096"`,
		"SystemCallFilter=~@sandbox":              `u.conf:1:19: systemd 252 has no group "@sandbox": name its calls`,
		"SystemCallErrorNumber=no":                `u.conf:1:23: expected an error such as EPERM, or a number up to 4095, found "no"`,
		"SystemCallArchitectures=amd64":           `u.conf:1:25: expected an architecture such as native, found "amd64"`,
		"RestrictAddressFamilies=inet":            `u.conf:1:25: expected an address family such as AF_INET, found "inet"`,
		"RestrictNamespaces=network":              `u.conf:1:20: expected a namespace such as user, found "network"`,
		"LockPersonality=maybe":                   `u.conf:1:17: LockPersonality=: expected yes or no, found "maybe"`,
		"SystemCallFilter=read\x00":               "u.conf:1:1: expected text, found a zero byte",
		strings.Repeat("#", maxSize) + "\n\n\n\n": "u.conf: the file has 1048580 bytes: expected at most 1048576",
	} {
		_, _, err := Read("u.conf", []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%.60q: %v\nexpected %s", text, err, want)
		}
	}
}

// decide is the table of a policy.
func decide(t testing.TB, m *policy.Model) *static.Table {
	table, err := static.Decide(m)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// drawn is a unit of directives that are drawn.
func drawn(r *rand.Rand) string {
	lines := []string{
		"SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @swap", "SystemCallFilter=~socket:EACCES clone:kill",
		"SystemCallFilter=socket mmap mprotect open", "SystemCallFilter=", "SystemCallErrorNumber=EPERM", "SystemCallErrorNumber=EACCES",
		"SystemCallLog=@file-system", "SystemCallLog=~@basic-io", "RestrictAddressFamilies=AF_UNIX AF_INET", "RestrictAddressFamilies=~AF_PACKET",
		"RestrictAddressFamilies=none", "RestrictNamespaces=yes", "RestrictNamespaces=user", "RestrictNamespaces=~mnt net",
		"MemoryDenyWriteExecute=yes", "LockPersonality=yes", "RestrictRealtime=yes", "RestrictSUIDSGID=yes", "ProtectClock=yes",
		"ProtectKernelModules=yes", "PrivateDevices=yes", "ProtectHostname=yes", "ProtectKernelLogs=yes",
	}
	text := ""
	for n := 1 + r.Intn(10); n > 0; n-- {
		text += lines[r.Intn(len(lines))] + "\n"
	}
	return text
}

// arguments are around those that directives ask about.
func arguments(r *rand.Rand) (args [6]uint64) {
	values := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 38, 46, 0x40, 0x41, 0o4755, 0o2000, 0o755, 0o100000, 0x10000000, 0x20000, 0x7e020000, 0x80, 0x11, 1 << 32}
	for i := range args {
		if args[i] = values[r.Intn(len(values))]; r.Intn(3) == 0 {
			args[i] |= values[r.Intn(len(values))]
		}
	}
	return args
}

// TestUnitsComeBack: the lines for a unit's policy say the same as the unit, and need no
// more than directives have words for.
func TestUnitsComeBack(t *testing.T) {
	for seed := int64(0); seed < 60; seed++ {
		r := rand.New(rand.NewSource(seed))
		text := drawn(r)
		m, _, err := Read("u.conf", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		data, losses, err := Write(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range losses {
			if !strings.Contains(l.What, "the start of the program") {
				t.Errorf("%s\n%s\n%s", text, data, l)
			}
		}
		if calls := unlike(t, r, m, data); calls != "" {
			t.Fatalf("%d: %s\n%s\n%s", seed, calls, text, data)
		}
	}
}

// unlike are calls about which a policy and lines do not agree.
func unlike(t testing.TB, r *rand.Rand, m *policy.Model, data []byte) string {
	if len(data) == len("[Service]\n") {
		return "" // nothing is restricted, and so nothing to be read
	}
	back, _, err := Read("back.conf", data)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	a, b := decide(t, m), decide(t, back)
	for _, c := range syscalls.All() {
		for i := 0; i < 50; i++ {
			args := arguments(r)
			x, _ := a.Verdict(c.Nr, args)
			y, _ := b.Verdict(c.Nr, args)
			if x.Verdict() != y.Verdict() {
				return c.Name + ": " + x.String() + ", but " + y.String()
			}
			if a.Find(c.Nr).Cases == nil && b.Find(c.Nr).Cases == nil {
				break
			}
		}
	}
	return ""
}

// TestNeverLooser: what systemd has no words for is denied.
func TestNeverLooser(t *testing.T) {
	m, err := policy.Parse("p.yaml", []byte(`
version: 1
default: EPERM
rules:
  - allow: [read, write, execve, exit_group]
  - allow: openat
    if: {path: [/usr/]}
  - allow: ioctl
    if: {arg1: 0x5401}
  - trap: ptrace
limits:
  - calls: execve
    max: 1
`))
	if err != nil {
		t.Fatal(err)
	}
	data, losses, err := Write(m)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := Read("back.conf", data)
	if err != nil {
		t.Fatal(err)
	}
	table := decide(t, back)
	for name, permits := range map[string]bool{"read": true, "write": true, "openat": false, "ioctl": false, "execve": false, "ptrace": false} {
		if a, _ := table.Verdict(number(name), [6]uint64{}); a.Permits() != permits {
			t.Errorf("%s: %s\n%s", name, a, data)
		}
	}
	if len(losses) < 5 {
		t.Errorf("losses: %v", losses)
	}
}

func FuzzRead(f *testing.F) {
	r := rand.New(rand.NewSource(1))
	for i := 0; i < 10; i++ {
		f.Add([]byte(drawn(r)))
	}
	a, err := txtar.ParseFile("testdata/units.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range a.Files {
		if strings.HasSuffix(file.Name, ".conf") {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := Read("fuzz.conf", data)
		if err != nil {
			var e *policy.Error
			if !errors.As(err, &e) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%T %q", err, err)
			}
			return
		}
		written, losses, err := Write(m)
		if err != nil {
			t.Fatal(err)
		}
		if calls := unlike(t, rand.New(rand.NewSource(1)), m, written); calls != "" && len(losses) == 0 {
			t.Errorf("%s\n%s\n%s", calls, data, written)
		}
	})
}

// TestNamesOnTerminals: nothing of a unit reaches a terminal as it is.
func TestNamesOnTerminals(t *testing.T) {
	for _, text := range []string{
		"[\x1b[2J]\nSystemCallFilter=~ptrace\n[Service]\nSystemCallFilter=~ptrace\n",
		"[Service]\nSystemCallFilter=~ptrace\n\x1b[2J\u009b=x\n",
		"[Service]\nSystemCallFilter=~\x1b[2J\n",
	} {
		_, lost, err := Read("x\x1b.conf", []byte(text))
		if err != nil || len(lost) != 1 {
			t.Fatalf("%q: %v, %v", text, lost, err)
		}
		if s := lost[0].String(); strings.IndexFunc(s, unicode.IsControl) >= 0 {
			t.Errorf("%q holds a control character", s)
		}
	}
}

// TestOtherSpellings: a file that holds nothing but a directive in another spelling is told so.
func TestOtherSpellings(t *testing.T) {
	text := []byte("[Service]\nsystemcallfilter=~ptrace\n")
	if _, _, err := Read("x.conf", text); !Recognise(text) || err == nil || !strings.Contains(err.Error(), "write SystemCallFilter=") {
		t.Errorf("recognised %v, got %v", Recognise(text), err)
	}
}
