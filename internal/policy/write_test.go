package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func names(texts ...string) []Name {
	all := make([]Name, len(texts))
	for i, t := range texts {
		all[i].Text = t
	}
	return all
}

func values(texts ...string) []Value {
	all := make([]Value, len(texts))
	for i, t := range texts {
		all[i].Text = t
	}
	return all
}

// whole is a Model that uses every field.
func whole() *Model {
	arg := func(c Condition) Condition { c.Arg = "flags"; return c }
	return &Model{
		Comment: "What it is for.\n\nAnd more.",
		Name:    "whole", Include: []Include{{Path: "base.yaml"}},
		Default: Action{Kind: Kill}, Unknown: Action{Kind: Errno, Data: 38}, Links: LinksTrusted,
		Groups: []Group{{Comment: "mine", Name: "@mine", Calls: names("read", "@io-event")}},
		Rules: []Rule{
			{Comment: "one", Action: Action{Kind: Allow}, Calls: names("read", "write", "@mine")},
			{Action: Action{Kind: Errno, Data: 1}, Calls: names("ptrace")},
			{Action: Action{Kind: Errno, Data: 13}, Calls: names("open"), If: &Condition{Op: Any, Sub: []Condition{
				arg(Condition{Values: values("O_RDONLY", "5")}),
				arg(Condition{Compare: IsNot, Values: values("1"), Width: 64}),
				arg(Condition{Compare: MaskedIs, Mask: Value{Text: "O_ACCMODE"}, Values: values("O_RDONLY|O_CLOEXEC")}),
				arg(Condition{Compare: Between, Values: values("1", "2")}),
				{Op: Not, Sub: []Condition{arg(Condition{Compare: AllBits, Values: values("1")})}},
				{Op: All, Sub: []Condition{arg(Condition{Compare: Less, Values: values("1")}), arg(Condition{Compare: Greater, Values: values("1")})}},
				{Op: All, Sub: []Condition{arg(Condition{Compare: NoBit, Values: values("1")}), {Subject: UID, Values: values("0")}}},
			}}},
			{Action: Action{Kind: Log}, Calls: names("open"), If: &Condition{Subject: Path, Arg: "path", Values: values("/usr/", "./", "")}},
			{Action: Action{Kind: Allow}, Calls: names("connect"), If: &Condition{Subject: Address, Arg: "address", Values: values("127.0.0.0/8:80")}},
			{Action: Action{Kind: Allow}, Calls: names("execve"), If: &Condition{Subject: Arguments, Arg: "argv", Argv: [][]Value{values("git", "a b\n\"\\é")}}},
			{Action: Action{Kind: Trap, Data: 7}, Calls: names("mount"), If: &Condition{Subject: Text, Arg: "type", Values: values("nfs")}},
			{Action: Action{Kind: Trap}, Calls: names("mount")},
			{Action: Action{Kind: Notify}, Calls: names("mount"), If: &Condition{Subject: Comm, Values: values("sh")}},
			{Action: Action{Kind: KillThread}, Calls: names("mount"), If: &Condition{Subject: GID, Compare: GreaterEqual, Values: values("0x10")}},
		},
		Programs: []Program{
			{Comment: "git", Name: "g", Paths: values("/usr/bin/git", "/usr/lib/git-core/"), Deny: names("@network-io"), Action: Action{Kind: Kill}},
			{Paths: values("/bin/x*"), Allow: names("read")},
		},
		Phases: []Phase{
			{Comment: "first", Name: "init", Allow: names("read"), Next: []Transition{{On: names("accept"), If: &Condition{Arg: "fd", Values: values("3")}, To: "serve"}}},
			{Name: "serve", Deny: names("execve"), Action: Action{Kind: Errno, Data: 13}},
		},
		Order: []Order{
			{Comment: "once", Kind: Once, Calls: names("setns"), Name: "o", Per: Process},
			{Kind: Before, Calls: names("execve"), Mark: names("listen"), Per: Thread},
			{Kind: After, Calls: names("execve"), Mark: names("listen"), Action: Action{Kind: Kill}},
		},
		Flows:     []Flow{{Comment: "flow", Name: "f", Per: Thread, Edges: []Edge{{From: names("start"), To: names("bind")}}, Action: Action{Kind: Kill}}},
		Limits:    []Limit{{Comment: "few", Name: "l", Calls: names("clone"), If: &Condition{Arg: "flags", Values: values("0")}, Max: 3, Window: time.Minute, Burst: 9, Per: Process, Action: Action{Kind: Errno, Data: 11}}},
		Serialize: []Serialize{{Comment: "apart", Name: "s", First: names("rename"), Second: names("chmod"), Any: true}},
	}
}

func TestWriteAndParseAgree(t *testing.T) {
	text := Write(whole())
	got, err := Parse("whole.yaml", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(whole(), got, cmpopts.IgnoreTypes(Pos{}), cmpopts.IgnoreFields(Model{}, "Lines")); diff != "" {
		t.Errorf("a Model, written and parsed, differs: (- want, + got)\n%s\n%s", diff, text)
	}
	if again := Write(got); string(again) != string(text) {
		t.Errorf("written again it is another text:\n%s\n%s", text, again)
	}
}
