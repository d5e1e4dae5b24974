package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/internal/engine/target"
	"portcullis/internal/event"
	"portcullis/internal/policy"
	"portcullis/internal/record"
	"portcullis/internal/record/probe"
)

// recordFlags are the flags of record.
type recordFlags struct {
	out, name, mode, events string
	with                    string
	from, transitions       []string
	runs                    int
	allowLoss, strictStart  bool
	by                      string // how it was observed, for the policy
}

func (a *app) record() *cobra.Command {
	var o recordFlags
	cmd := &cobra.Command{
		Use:   "record [flags] (-- CMD [ARGS...] | --from EVENTS [EVENTS...])",
		Short: "Learn a policy from what a command does",
		Long: "Run CMD with all its system calls observed and none denied, and write a policy under which\n" +
			"it can do what it did: see docs/RECORDING.md. With --from, learn from files that\n" +
			"record --events wrote, each of them one run.\n\n" +
			"Without -o the policy goes to standard output, and what CMD prints there to standard error.\n\n" +
			"The exit status is 0 if the policy is whole, 1 if events were lost (it is written all the same),\n" +
			"2 if there is none; 125 if CMD could not be observed, 126 if it could not be executed, 127 if it was not found.",
		Example: examples("portcullis record -o policy.yaml -- git status",
			"portcullis record --runs 3 --mode phases -o nginx.yaml -- nginx -g 'daemon off;'",
			"portcullis record --events one.jsonl -o one.yaml -- python3 app.py",
			"portcullis record -o policy.yaml --from one.jsonl two.jsonl"),
		RunE: func(_ *cobra.Command, args []string) error { return o.run(a, args) },
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.StringVarP(&o.out, "output", "o", "", "`FILE` to write the policy to; standard output without")
	fs.StringVar(&o.name, "name", "", "`NAME` of the policy; the file's without")
	fs.StringVar(&o.mode, "mode", string(record.Allowlist), "`MODE`, what the policy says: "+modes())
	fs.StringVar(&o.events, "events", "", "also write the events, of all calls, as JSON lines to `FILE`, for --from")
	fs.StringVar(&o.with, "with", withAuto, "`HOW` CMD is observed: agent; ebpf, by counters in the kernel, for root; auto, ebpf where it can be had and does")
	fs.StringArrayVar(&o.from, "from", nil, "learn from `EVENTS` of an earlier run, not from a command; repeat, or name more behind it")
	fs.StringArrayVar(&o.transitions, "transition", nil, "`CALL` that ends the initialization, or CALL=NAME to name the phase behind it, for --mode phases; repeat for several")
	fs.BoolVar(&o.strictStart, "strict-start", false, "have the first phase deny what was not seen in it, for --mode phases")
	fs.IntVar(&o.runs, "runs", 1, "run CMD `N` times, 1 to 1000")
	fs.BoolVar(&o.allowLoss, "allow-loss", false, "exit with 0 although events were lost")
	return cmd
}

func modes() string {
	var all []string
	for _, m := range record.Modes() {
		all = append(all, string(m))
	}
	return strings.Join(all, ", ")
}

func (o *recordFlags) run(a *app, args []string) error {
	if err := o.check(args); err != nil {
		return exit(exitUsage, err)
	}
	r, title := record.New(), strings.Join(args, " ")
	var err error
	if len(o.from) > 0 {
		title, err = "recorded events", o.read(r, args)
	} else {
		err = o.command(a, r, args)
	}
	if err != nil {
		return err
	}
	m, err := r.Policy(record.Options{
		Mode: record.Mode(o.mode), Name: o.name, Title: shortTitle(title), By: o.by,
		Transitions: o.transitions, StrictStart: o.strictStart,
	})
	if err == nil {
		err = o.write(a, m)
	}
	if err != nil {
		return exit(exitUsage, fmt.Errorf("record: %w", err))
	}
	if n := record.Wide(m); n > 0 {
		fmt.Fprintf(a.Err, "portcullis: record: the policy lets through more than was seen where it says WIDE: %d times\n", n)
	}
	return o.verdict(a, r)
}

// shortTitle keeps a comment in one line.
func shortTitle(s string) string {
	const most = 60
	if s = event.Printable(s); len([]rune(s)) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return s
}

func (o *recordFlags) check(args []string) error {
	known := false
	for _, m := range record.Modes() {
		known = known || string(m) == o.mode
	}
	switch {
	case !known:
		return fmt.Errorf("record: --mode %s: expected one of %s", o.mode, modes())
	case o.runs < 1 || o.runs > 1000:
		return fmt.Errorf("record: --runs %d: expected 1 to 1000", o.runs)
	case len(args) == 0 && len(o.from) == 0:
		return errors.New("record: expected -- CMD to run, or --from EVENTS to learn from")
	case len(o.from) > 0 && (o.runs != 1 || o.events != ""):
		return errors.New("record: --runs and --events are for a command: leave them out, or --from")
	}
	for _, check := range []func() error{o.checkPhases, o.checkWith, o.writable} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkPhases finds what is wrong with the flags of phases before a command is run in vain.
func (o *recordFlags) checkPhases() error {
	has := o.mode == string(record.Phases) || o.mode == string(record.All)
	switch {
	case o.transitions != nil && !has:
		return errors.New("record: --transition is for --mode phases and all")
	case o.strictStart && !has:
		return errors.New("record: --strict-start is for --mode phases and all")
	}
	if err := record.CheckTransitions(o.transitions); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// How a command is observed.
const (
	withAuto  = "auto"
	withAgent = "agent"
	withEBPF  = "ebpf"
)

func (o *recordFlags) checkWith() error {
	switch {
	case o.with != withAuto && o.with != withAgent && o.with != withEBPF:
		return fmt.Errorf("record: --with %s: expected auto, agent or ebpf", o.with)
	case o.with != withAuto && len(o.from) > 0:
		return errors.New("record: --with is for a command: leave it out, or --from")
	case o.with == withEBPF && o.events != "":
		return errors.New("record: --with ebpf counts calls and has no events: expected --with agent for --events")
	case o.with == withEBPF && record.Mode(o.mode).Names():
		return errors.New("record: --with ebpf reads no names: expected --with agent for --mode paths and all")
	}
	return nil
}

// counts tells whether the kernel's counters are all that is asked for.
func (o *recordFlags) counts() bool {
	return o.with != withAgent && o.events == "" && !record.Mode(o.mode).Names()
}

// read learns from files, each of which is a run.
func (o *recordFlags) read(r *record.Recorder, more []string) error {
	for _, file := range append(o.from, more...) {
		if err := readRun(r, file); err != nil {
			return exit(exitUsage, fmt.Errorf("record: %s: %w", file, err))
		}
	}
	return nil
}

func readRun(r *record.Recorder, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return pathCause(err)
	}
	defer f.Close()
	r.Begin()
	events := event.NewReader(f)
	for {
		e, err := events.Read()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		r.Add(&e)
	}
}

// pathCause is an error of opening a file without the file's name.
func pathCause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// command has the command observed in the way that was asked for.
func (o *recordFlags) command(a *app, r *record.Recorder, args []string) error {
	if !o.counts() {
		return o.observe(a, r, args)
	}
	c, err := newCounter(r)
	if err != nil && o.with == withEBPF {
		return exit(exitOurs, fmt.Errorf("record: %w", err))
	}
	if err != nil {
		return o.observe(a, r, args)
	}
	o.by = "Counted in the kernel, by eBPF programs."
	for i := 0; i < o.runs && err == nil; i++ {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, o.output(a), a.Err
		err = o.ended(a, args[0], c.run(cmd))
	}
	return errors.Join(err, c.close())
}

// ended tells how a run ended. That it failed, or was ended by a signal, as a server is, does
// not make its calls less worth learning.
func (o *recordFlags) ended(a *app, name string, err error) error {
	var status *exec.ExitError
	if errors.As(err, &status) {
		fmt.Fprintf(a.Err, "portcullis: record: %s ended with status %d\n", name, target.ExitStatus(status.ProcessState))
		return nil
	}
	return err
}

// output is where the command's goes, if not to the policy.
func (o *recordFlags) output(a *app) io.Writer {
	if o.standard() {
		return a.Err
	}
	return a.Out
}

// observe has the agent observe the command, as often as was asked for.
func (o *recordFlags) observe(a *app, r *record.Recorder, args []string) error {
	allow, err := o.filter()
	if err != nil {
		return exit(exitOurs, err)
	}
	o.by = "Observed by the agent."
	k, err := newKeeper(r, o.events)
	if err != nil {
		return exit(exitUsage, err)
	}
	for i := 0; i < o.runs && err == nil; i++ {
		r.Begin()
		k.start()
		err = o.once(a, allow, args, k.event)
		k.finish()
	}
	if closed := k.close(); closed != nil && err == nil {
		err = exit(exitUsage, fmt.Errorf("record: --events: %w", closed))
	}
	if k.unwritten > 0 {
		fmt.Fprintf(a.Err, "portcullis: record: --events: %d events were learnt from and found no room in the file\n", k.unwritten)
	}
	return err
}

// filter is what the command runs under: it lets everything through, and where names are to
// be learnt reads them.
func (o *recordFlags) filter() (*portcullis.Filter, error) {
	if !record.Mode(o.mode).Names() {
		return portcullis.LoadPolicy(probe.Name, []byte("version: 1\ndefault: allow\n"))
	}
	object, err := probe.Object()
	if err != nil {
		return nil, err
	}
	return portcullis.LoadObject(probe.Name, object, probe.Name)
}

// once runs the command under the agent.
func (o *recordFlags) once(a *app, allow *portcullis.Filter, args []string, events func(portcullis.Event)) error {
	cmd := portcullis.Command(args[0], args[1:]...)
	cmd.Filters, cmd.Engine = []*portcullis.Filter{allow}, portcullis.Agent
	cmd.Events, cmd.EventQueue, cmd.Observe = events, backlog, portcullis.ObserveAll
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Log = a.In, o.output(a), a.Err, a.Err
	if err := o.ended(a, args[0], a.observed(cmd)); err != nil {
		return startStatus(cmd, err)
	}
	return nil
}

// write writes the policy, if it is one that can be loaded.
func (o *recordFlags) write(a *app, m *policy.Model) error {
	data := policy.Write(m)
	if err := loadable(data); err != nil {
		return fmt.Errorf("the policy that was made cannot be loaded, so it is not written: %w", err)
	}
	if o.standard() {
		_, err := a.Out.Write(data)
		return err
	}
	if err := replaceFile(o.out, data); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	return nil
}

// standard tells whether the policy goes to standard output.
func (o *recordFlags) standard() bool { return o.out == "" || o.out == "-" }

func loadable(data []byte) error {
	_, err := portcullis.LoadPolicy("recorded.yaml", data)
	return err
}

// writable finds what is wrong with the flags before a command is run in vain.
func (o *recordFlags) writable() error {
	if err := loadable(policy.Write(&policy.Model{Name: o.name, Default: policy.Action{Kind: policy.Allow}})); err != nil {
		return fmt.Errorf("record: --name %q: %w", o.name, err)
	}
	if o.standard() {
		return nil
	}
	if _, _, err := replaceable(o.out); err != nil {
		return fmt.Errorf("record: -o: %w", err)
	}
	if _, err := os.Stat(filepath.Dir(o.out)); err != nil {
		return fmt.Errorf("record: -o: %w", err)
	}
	return nil
}

// verdict says what the policy is worth.
func (o *recordFlags) verdict(a *app, r *record.Recorder) error {
	if n := r.Denied(); n > 0 {
		fmt.Fprintf(a.Err, "portcullis: record: %d calls were denied and are not in the policy: portcullis why says by what\n", n)
	}
	if r.Lost() == 0 {
		return nil
	}
	err := fmt.Errorf("record: %d events were lost, so the policy may lack calls: record more runs", r.Lost())
	if o.allowLoss {
		fmt.Fprintf(a.Err, "portcullis: %v\n", err)
		return nil
	}
	return exit(exitNo, err)
}
