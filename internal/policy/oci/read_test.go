package oci

import (
	"fmt"
	"strings"
	"testing"

	"portcullis/internal/abi/syscalls"
	"portcullis/internal/policy"
	"portcullis/internal/policy/oci/static"
)

// profileWith is a profile with one more field, and an entry.
func profileWith(field, entry string) string {
	return "{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n" + field + "\"syscalls\": [\n" + entry + "]}"
}

func TestErrors(t *testing.T) {
	entry := func(fields string) string { return profileWith("", `{"names": ["read"], `+fields+"}") }
	arg := func(fields string) string { return entry(`"action": "SCMP_ACT_ALLOW", "args": [{` + fields + "}]") }
	for text, want := range map[string]string{
		"":                                     "p.json:1:1: expected a seccomp profile in JSON, found its end too soon",
		"[]":                                   "p.json:1:1: a profile: expected an object, found an array",
		"{}":                                   "p.json:1:1: expected a defaultAction, found none: a profile without it switches seccomp off",
		"{} x":                                 "p.json:1:4: something stands behind the profile: remove it",
		"{,":                                   "p.json:1:2: expected a seccomp profile in JSON: invalid character ','",
		strings.Repeat("[", 40):                "p.json:1:33: values are nested more than 32 deep",
		`{"a": 1, "a": 2}`:                     `p.json:1:10: "a" is given twice: keep one of them`,
		`{"defaultaction": ""}`:                `p.json:1:2: the profile has "defaultaction", which some readers take for "defaultAction": write defaultAction`,
		`{"defaultAction": "ALLOW"}`:           `p.json:1:19: expected an action such as SCMP_ACT_ERRNO, found "ALLOW"`,
		`{"defaultAction": "SCMP_ACT_NOTIFY"}`: "p.json:1:19: SCMP_ACT_NOTIFY cannot be the defaultAction: runc refuses it: name the calls to notify of in rules",
		`{"linux": {"sysctl": {}}}`:            "p.json:1:11: the container's configuration has no linux.seccomp",
		profileWith(`"architectures": ["x86"],`, ""):                               `p.json:2:19: expected an architecture such as SCMP_ARCH_X86_64, found "x86"`,
		profileWith(`"architectures": ["SCMP_ARCH_X86_64"], "archMap": [{}],`, ""): "p.json:2:51: both architectures and archMap are given: keep one of them",
		profileWith(`"flags": ["SECCOMP_FILTER_FLAG_NEW"],`, ""):                   `p.json:2:11: expected a flag such as SECCOMP_FILTER_FLAG_LOG, found "SECCOMP_FILTER_FLAG_NEW"`,
		profileWith(`"defaultErrnoRet": -1,`, ""):                                  "p.json:2:20: defaultErrnoRet: expected a number from 0 to 4095, found -1",
		profileWith(`"defaultErrno": "EWHAT",`, ""):                                `p.json:2:17: expected an error such as EPERM, or a number up to 4095, found "EWHAT"`,
		profileWith("", "3"):                                                  "p.json:3:1: an entry of syscalls: expected an object, found a number",
		profileWith("", `{"action": "SCMP_ACT_ALLOW"}`):                       "p.json:3:1: an entry of syscalls names no call",
		profileWith("", `{"names": ["a"], "name": "b"}`):                      "p.json:3:26: both name and names are given: keep one of them",
		entry(`"comment": ""`):                                                "p.json:3:1: an entry of syscalls has no action",
		entry(`"action": "SCMP_ACT_ERRNO", "errnoRet": 4096`):                 "p.json:3:61: errnoRet: expected a number from 0 to 4095, found 4096",
		entry(`"action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}`): `p.json:3:75: minKernel: expected a version such as 4.8, found "new"`,
		arg(`"index": 6, "op": "SCMP_CMP_EQ"`):                                "p.json:3:68: index: expected a number from 0 to 5, found 6",
		arg(`"index": 1, "op": "=="`):                                         `p.json:3:77: expected an op such as SCMP_CMP_EQ, found "=="`,
		arg(`"index": 1`):                                                     "p.json:3:58: an entry of args has no op",
		arg(`"value": 18446744073709551616, "op": "SCMP_CMP_EQ"`):             "p.json:3:68: value: expected a number from 0 to 18446744073709551615, found 18446744073709551616",
		profileWith("", `{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}`):  "p.json:3:12: SCMP_ACT_NOTIFY cannot be the action for write: runc refuses it: choose another action",
		profileWith("", `{"names": ["prctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 5, "op": "SCMP_CMP_EQ"}]}`): "p.json:3:12: a policy has no name for one of the arguments of prctl that are compared: leave the rule out",
		entry(`"action": "SCMP_ACT_ALLOW", "args": [` + strings.Repeat("{},", 64) + "{}]"):                               "p.json:3:57: args has 65 conditions: expected at most 64: make entries of it",
		strings.Repeat(" ", maxSize+1): "p.json: the profile has 1048577 bytes: expected at most 1048576",
	} {
		_, _, err := Read("p.json", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) { // encoding/json says more
			t.Errorf("%.120q:\n%v\nexpected\n%s", text, err, want)
		}
	}
}

// TestLosses: what a policy does not say is listed.
func TestLosses(t *testing.T) {
	const text = `{
"defaultAction": "SCMP_ACT_TRACE", "extra": 1,
"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
"flags": ["SECCOMP_FILTER_FLAG_LOG"],
"listenerPath": "/run/agent.sock",
"syscalls": [
{"names": ["no_such_call", "socketcall", "io_uring_setup"], "action": "SCMP_ACT_ALLOW"},
{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0},
{"names": ["fcntl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]},
{"names": ["kill"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.20"}}
]}`
	_, losses, err := Read("p.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var found string
	for _, l := range losses {
		found += l.String() + "\n"
	}
	const want = `p.json:2:36: "extra" in the profile: not known, ignored as runc does
p.json:2:18: SCMP_ACT_TRACE: calls fail with ENOSYS, as they do without a tracer
p.json:3:39: the rules for calls of i386: policies are about x86-64; a guard kills who makes others, unless it is lifted, and then they are not filtered
p.json:4:11: SECCOMP_FILTER_FLAG_LOG: it is a matter of installing a filter, not of its rules
p.json:5:17: listenerPath: a policy has no agent of others: calls that are notified of fail with ENOSYS
p.json:7:12: the rule for "no_such_call": no call has that name; runc ignores it, too
p.json:7:42: the permission of io_uring_setup: a guard fails it with ENOSYS, unless io_uring is lifted
p.json:8:62: an entry of syscalls for containers with "CAP_SYS_ADMIN": the policy is for a process without
p.json:9:31: SCMP_ACT_ERRNO with error 0: calls fail with EPERM: a call that is not made and succeeds cannot be said
p.json:10:58: args with two conditions on one argument: one of the conditions has to hold, as in runc, not all
p.json:11:75: minKernel 6.20: the kernel is taken for older
`
	if found != want {
		t.Errorf("found\n%sexpected\n%s", found, want)
	}
}

// TestEffects: only what cannot let more calls be made is said not to.
func TestEffects(t *testing.T) {
	const any, caps = `"args": []`, `"includes": {"caps": ["CAP_BPF"]}`
	entry := func(call, action, more string) string {
		return `{"names": ["` + call + `"], "action": "SCMP_ACT_` + action + `", ` + more + `}`
	}
	arg := func(i, v string) string { return `{"index": ` + i + `, "value": ` + v + `, "op": "SCMP_CMP_EQ"}` }
	args := func(all ...string) string { return `"args": [` + strings.Join(all, ", ") + `]` }
	tangle := func(action string) string {
		return entry("fcntl", action, args(arg("1", "1"), arg("2", "2"))) + "," + entry("fcntl", action, args(arg("0", "3")))
	}
	for _, c := range []struct {
		deflt, entries string
		want           static.Effect
	}{
		{"ERRNO", entry("mount", "ALLOW", caps), static.Stricter},
		{"ALLOW", entry("mount", "ERRNO", caps), static.Open},
		{"ERRNO", entry("mount", "KILL", caps), static.Open},
		{"ALLOW", entry("mount", "NOTIFY", caps), static.Open},
		{"ERRNO", entry("no_such", "ALLOW", any), static.Stricter},
		{"ALLOW", entry("no_such", "LOG", any), static.Stricter},
		{"ERRNO", entry("no_such", "KILL", any), static.Stricter},
		{"ALLOW", entry("no_such", "ERRNO", any), static.Open},
		{"ERRNO", entry("mount", "ALLOW", `"includes": {"minKernel": "6.20"}`), static.Stricter},
		{"ALLOW", entry("mount", "ERRNO", `"includes": {"minKernel": "6.20"}`), static.Open},
		{"ERRNO", entry("mount", "ALLOW", `"excludes": {"minKernel": "6.20"}`), static.Open},
		{"ALLOW", entry("mount", "ERRNO", `"excludes": {"minKernel": "6.20"}`), static.Stricter},
		{"ERRNO", entry("mount", "TRACE", any), static.Stricter},
		{"ALLOW", entry("mount", "ERRNO", `"errnoRet": 0`), static.Stricter},
		{"ERRNO", entry("mount", "ALLOW", `"extra": 0`), static.Open},
		{"ALLOW", tangle("ERRNO"), static.Stricter},
		{"ERRNO", tangle("ALLOW"), static.Open},
		{"KILL", entry("fcntl", "ALLOW", args(arg("0", "1"))) + "," + entry("fcntl", "ERRNO", args(arg("1", "1"))), static.Stricter},
		{"KILL", entry("fcntl", "ALLOW", args(arg("0", "1"))) + "," + entry("fcntl", "ERRNO", args(arg("1", "1"))) + "," + tangle("LOG"), static.Open},
	} {
		_, losses, err := Read("p.json", []byte(`{"defaultAction": "SCMP_ACT_`+c.deflt+`", "syscalls": [`+c.entries+`]}`))
		if err != nil || len(losses) == 0 {
			t.Errorf("%s, %s: %d losses, %v", c.deflt, c.entries, len(losses), err)
			continue
		}
		for _, l := range losses {
			if l.Effect != c.want {
				t.Errorf("%s, %s: %s: %d, expected %d", c.deflt, c.entries, l, l.Effect, c.want)
			}
		}
	}
}

// TestManyLosses: those that are not listed may let anything through.
func TestManyLosses(t *testing.T) {
	names := strings.Repeat(`"no_such_call",`, 1001) + `"read"`
	_, losses, err := Read("p.json", []byte(`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": [`+names+`], "action": "SCMP_ACT_ALLOW"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if last := losses[len(losses)-1]; len(losses) != 1001 || losses[0].Effect != static.Stricter || last.Effect != static.Open {
		t.Errorf("%d losses, the last %s: %d", len(losses), last, last.Effect)
	}
}

// TestCapabilities: entries are for containers with capabilities, or without.
func TestCapabilities(t *testing.T) {
	text := profileWith("", `{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
{"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
{"names": ["kill"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm", "amd64"]}, "excludes": {"minKernel": "3.0"}},
{"names": ["tkill"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}}`)
	for _, c := range []struct {
		caps []string
		want string
	}{
		{nil, "chroot"},
		{[]string{"CAP_SYS_ADMIN"}, "mount"},
		{[]string{"CAP_SYS_ADMIN", "CAP_BPF"}, "mount bpf"},
	} {
		m, _, err := Options{Capabilities: c.caps}.Read("p.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		table := tableOf(t, m)
		var allowed []string
		for _, name := range []string{"mount", "chroot", "bpf", "kill", "tkill"} {
			nr, _ := syscalls.Number(name)
			if a, _ := table.Verdict(nr, [6]uint64{}); a.Permits() {
				allowed = append(allowed, name)
			}
		}
		if got := strings.Join(allowed, " "); got != c.want {
			t.Errorf("%v: %s; expected %s", c.caps, got, c.want)
		}
	}
}

// TestNewer: runc's answer to calls that are newer than the profile.
func TestNewer(t *testing.T) {
	for _, c := range []struct {
		deflt, arch string
		want        string
	}{
		{`"SCMP_ACT_ERRNO"`, `"SCMP_ARCH_X86_64"`, "EPERM ENOSYS ENOSYS"},
		{`"SCMP_ACT_ERRNO"`, `"SCMP_ARCH_AARCH64"`, "EPERM EPERM EPERM"},
		{`"SCMP_ACT_ERRNO", "defaultErrnoRet": 38`, `"SCMP_ARCH_X86_64"`, "ENOSYS ENOSYS ENOSYS"},
		{`"SCMP_ACT_KILL_PROCESS"`, `"SCMP_ARCH_X86_64"`, "kill ENOSYS ENOSYS"},
		{`"SCMP_ACT_ALLOW"`, `"SCMP_ARCH_X86_64"`, "allow allow allow"},
		{`"SCMP_ACT_TRACE"`, `"SCMP_ARCH_X86_64"`, "ENOSYS ENOSYS ENOSYS"},
	} {
		text := fmt.Sprintf(`{"defaultAction": %s, "architectures": [%s], "syscalls": [{"names": ["openat2"], "action": "SCMP_ACT_LOG"}]}`, c.deflt, c.arch)
		m, _, err := Read("p.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		table, got := tableOf(t, m), ""
		for _, nr := range []uint32{0, 448, 9999} {
			a, _ := table.Verdict(nr, [6]uint64{})
			got += " " + a.String()
		}
		if got[1:] != c.want {
			t.Errorf("%s, %s: %s; expected %s", c.deflt, c.arch, got, c.want)
		}
	}
}

// TestWriteLosses: what a profile does not say of a policy is listed, and is stricter.
func TestWriteLosses(t *testing.T) {
	m, err := policy.Parse("p.yaml", []byte(`
version: 1
default: EPERM
unknown: kill
rules:
  - allow: [write]
  - trap: [mount]
    data: 7
  - allow: openat
    if: {path: [/usr/]}
limits:
  - calls: write
    max: 5
`))
	if err != nil {
		t.Fatal(err)
	}
	back, data, losses := again(t, m)
	var found string
	for _, l := range losses {
		found += l.String() + "\n"
	}
	const want = `p.yaml:4:10: the answer to calls without a name, kill: runc's is ENOSYS
p.yaml:6:5: the decision about write: runc does not let an agent decide about it; it fails with EPERM
p.yaml:7:5: trap(7): SCMP_ACT_TRAP has no data
p.yaml:12:5: a limit: its calls are for an agent to decide (SCMP_ACT_NOTIFY); without a listenerPath to one no container starts
p.yaml:9:5: a rule that asks for more than numbers: its calls are for an agent to decide (SCMP_ACT_NOTIFY); without a listenerPath to one no container starts
`
	if found != want {
		t.Errorf("found\n%sexpected\n%s%s", found, want, data)
	}
	table := tableOf(t, back)
	for name, want := range map[string]string{"write": "EPERM", "mount": "trap", "openat": "notify", "read": "EPERM"} {
		nr, _ := syscalls.Number(name)
		if a, _ := table.Verdict(nr, [6]uint64{}); a.String() != want {
			t.Errorf("%s: %s, expected %s", name, a, want)
		}
	}
}
