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
	"time"

	"github.com/spf13/cobra"

	"portcullis"
	"portcullis/internal/engine"
	"portcullis/internal/engine/target"
	"portcullis/internal/event"
)

// runFlags are the flags of run.
type runFlags struct {
	spec           specFlags
	filters, lift  []string
	engine, events string
	waitLimit      time.Duration
	quiet          bool
	permissive     bool
	audit          bool
}

func (a *app) run() *cobra.Command {
	var o runFlags
	cmd := &cobra.Command{
		Use:   "run -f SPEC [flags] [--] CMD [ARGS...]",
		Short: "Run a command under filters",
		Long: "Run CMD and everything it starts under a stack of filters. What is denied is explained on\n" +
			"standard error.\n\n" + specHelp + "\n" +
			"With --permissive the filters deny nothing: what they would deny is reported, and let through.\n" +
			"Guards still deny. It takes the agent engine.\n\n" +
			"The exit status is CMD's, or 128 and the signal that ended it; 125 if CMD could not be put\n" +
			"under the filters, 126 if it could not be executed, 127 if it was not found.",
		Example: examples("portcullis run -f count-exec --set max=3 -- bash",
			"portcullis run -f no-network -- make",
			"portcullis run -f ./policy.yaml -- make",
			"portcullis run -f ./profile.json --allow-loss -- ./server",
			"portcullis run -f ./app.service -- ./app",
			"portcullis run -f no-exec -f count --set count.calls=socket --set count.max=10 -- python3 app.py",
			"portcullis run -f ./my-filter.o --events denials.jsonl -- make",
			"portcullis run -f ./my-filter.o --permissive --events would-deny.jsonl -- make",
			"portcullis run -f ./one-fsync-at-a-time.o --wait-limit 500ms -- postgres"),
		Annotations: map[string]string{runsCommand: "yes"},
		RunE:        func(_ *cobra.Command, args []string) error { return o.run(a, args) },
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.StringArrayVarP(&o.filters, "filter", "f", nil, "`SPEC` of a filter; repeat for a stack, the first installed first")
	o.spec.add(cmd)
	fs.StringVar(&o.engine, "engine", string(portcullis.Auto), "`ENGINE` that enforces: auto, agent or kernel")
	fs.StringArrayVar(&o.lift, "lift", nil, "`GUARD` to leave out: i386, x32 or io_uring; repeat for more")
	fs.StringVar(&o.events, "events", "", "write events as JSON lines to `FILE`, or - for standard output")
	fs.DurationVar(&o.waitLimit, "wait-limit", portcullis.DefaultWaitLimit,
		"`DURATION` for which a call may wait for others (bpf_wait_syscall) before it fails with ETIMEDOUT")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "do not explain denials")
	fs.BoolVar(&o.permissive, "permissive", false, "let through what the filters deny, and report it; guards stay")
	fs.BoolVar(&o.audit, "audit", false, "have the kernel log denials too, for portcullis why -f SPEC; docs/RECORDING.md says which")
	return cmd
}

func (o *runFlags) run(a *app, args []string) error {
	launcher := a.launcher(o)
	cmd, err := o.command(a, args)
	if err != nil {
		return exit(exitOurs, err)
	}
	watch, err := o.watch(a)
	if err != nil {
		return exit(exitOurs, err)
	}
	defer watch.close()
	if watch.needed() {
		cmd.Events, cmd.Observe = watch.event, portcullis.ObserveDenials
	}
	if o.permissive {
		fmt.Fprintln(a.Err, "portcullis: permissive: what the filters deny is let through; guards stay")
	}
	return startStatus(cmd, launcher.launch(cmd, watch))
}

// suggested are built-in filters that do something by themselves.
func suggested() []string { return []string{"count-exec", "no-exec", "phases"} }

// command puts the filters on CMD; nothing runs yet.
func (o *runFlags) command(a *app, args []string) (*portcullis.Cmd, error) {
	switch {
	case len(o.filters) == 0:
		return nil, fmt.Errorf("run: no filter given: expected -f SPEC, such as -f %s; portcullis list shows what they do",
			strings.Join(suggested(), ", -f "))
	case len(args) == 0:
		return nil, errors.New("run: no command given: expected CMD after the flags")
	}
	if err := engine.CheckWaitLimit(o.waitLimit); err != nil {
		return nil, fmt.Errorf("--wait-limit: %w", err)
	}
	filters, err := o.spec.load(o.filters)
	if err != nil {
		return nil, err
	}
	if err := o.checkLift(); err != nil {
		return nil, err
	}
	cmd := portcullis.Command(args[0], args[1:]...)
	cmd.Filters, cmd.Lift, cmd.Engine = filters, o.lift, portcullis.Engine(o.engine)
	cmd.WaitLimit, cmd.Permissive, cmd.Audit = o.waitLimit, o.permissive, o.audit
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Log = a.In, a.Out, a.Err, a.Err
	a.warnOfPrograms(cmd)
	return cmd, nil
}

// checkLift refuses to lift guards that keep what is lost of a profile from letting calls through.
func (o *runFlags) checkLift() error {
	for _, guard := range o.lift {
		if o.spec.guarded != "" && guard != "io_uring" { // which the profile allows, or not, by itself
			return fmt.Errorf("--lift %s: with --allow-loss its calls would not be filtered; lost is: %s", guard, o.spec.guarded)
		}
	}
	return nil
}

// warnOfPrograms says which programs of a policy are CMD itself: they are for what it executes.
func (a *app) warnOfPrograms(cmd *portcullis.Cmd) {
	path, err := filepath.Abs(cmd.Path)
	if err != nil {
		return // it does not start either
	}
	for _, f := range cmd.Filters {
		for _, at := range f.Programs(path) {
			fmt.Fprintf(a.Err, "portcullis: warning: %s: this program is the command itself, whose start is not asked about: "+
				"start %s through another, such as env, for it to take effect\n", at, event.Printable(path))
		}
	}
}

// watcher takes a run's events to where they were asked for.
type watcher struct {
	digest *digest
	writer *event.Writer
	file   *os.File
	err    error
	errOut io.Writer
}

// watched tells whether anything is to be told of the run.
func (o *runFlags) watched() bool { return !o.quiet || o.events != "" }

func (o *runFlags) watch(a *app) (*watcher, error) {
	w := &watcher{errOut: a.Err}
	if !o.quiet {
		w.digest = newDigest(a.Err)
	}
	switch o.events {
	case "":
	case "-":
		w.writer = event.NewWriter(a.Out)
	default:
		// Appending: lines written at once do not mix with another run's.
		file, err := os.OpenFile(o.events, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o666)
		if err != nil {
			return nil, fmt.Errorf("--events: %w", err)
		}
		w.file, w.writer = file, event.NewWriter(file)
	}
	return w, nil
}

func (w *watcher) needed() bool { return w.digest != nil || w.writer != nil }

func (w *watcher) event(e portcullis.Event) {
	if w.digest != nil {
		w.digest.add(&e)
	}
	if w.writer != nil && w.err == nil {
		w.err = w.writer.Write(&e)
	}
}

// close finishes the report. That events could not be written does not change
// the exit status, which is CMD's.
func (w *watcher) close() {
	if w.digest != nil {
		if w.writer != nil {
			w.digest.records = 0 // they are where the hint would point to
		}
		w.digest.close()
	}
	if w.file != nil {
		if err := w.file.Close(); w.err == nil {
			w.err = err
		}
	}
	if w.err != nil {
		fmt.Fprintf(w.errOut, "portcullis: --events: %v: the events are incomplete\n", w.err)
	}
}

// startStatus is run's exit status for the error of running cmd. Only what went
// wrong with CMD itself is 126 or 127: that a file which the launch needs is not
// there says nothing about CMD.
func startStatus(cmd *portcullis.Cmd, err error) error {
	var ended *exec.ExitError
	var lookup *exec.Error
	var at *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return exit(target.ExitStatus(ended.ProcessState), nil)
	case errors.As(err, &lookup), errors.As(err, &at) && at.Path == cmd.Path:
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return exit(exitNotFound, err)
		}
		return exit(exitCannotInvoke, err)
	}
	return exit(exitOurs, err)
}
