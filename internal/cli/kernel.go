package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/spf13/cobra"

	"portcullis/internal/guest"
)

// kernel groups the commands around the kernel engine in QEMU.
func (a *app) kernel() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "kernel",
		Short:   "Build the kernel engine's kernel and run commands in it, in QEMU",
		Example: examples("portcullis kernel build", "portcullis kernel run -- uname -r", "portcullis kernel shell"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return errors.New("kernel: expected build, run or shell")
		},
	}
	cmd.AddCommand(a.kernelBuild(), a.kernelRun(), a.kernelShell())
	return cmd
}

func (a *app) kernelBuild() *cobra.Command {
	debug := false
	cmd := a.withJSON(&cobra.Command{
		Use:     "build",
		Short:   "Build the kernel with linux/build of the repository around the current directory",
		Example: examples("portcullis kernel build", "portcullis kernel build --debug"),
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.buildKernel(flavour(debug)) },
	})
	cmd.Flags().BoolVar(&debug, "debug", false, debugHelp)
	return cmd
}

// debugHelp describes --debug wherever it is.
const debugHelp = "the kernel that checks itself (KASAN, lockdep), which is slow"

// flavour is what --debug chooses.
func flavour(debug bool) guest.Flavour {
	if debug {
		return guest.Debug
	}
	return guest.Plain
}

// buildKernel builds a kernel unless it is there, and prints where it is.
func (a *app) buildKernel(f guest.Flavour) error {
	script, err := buildScript()
	if err != nil {
		return exit(exitUsage, err)
	}
	build := exec.Command(script, f.BuildArgs()...)
	build.Stdout, build.Stderr = a.Err, a.Err
	if err := build.Run(); err != nil {
		return exit(exitNo, fmt.Errorf("%s: %w", script, err))
	}
	image, err := f.Image()
	if err != nil {
		return exit(exitNo, err)
	}
	return a.print(map[string]string{"image": image}, func(w io.Writer) { fmt.Fprintln(w, image) })
}

// buildScript walks up from the current directory to a repository of this project.
func buildScript() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		script := filepath.Join(at, "linux", "build")
		if _, err := os.Stat(script); err == nil {
			return script, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no linux/build above %s: expected to be run inside the source repository", dir)
		}
	}
}

// guestFlags are the flags of kernel run and kernel shell.
type guestFlags struct {
	config guest.Config
	debug  bool
	uid    int
}

func (g *guestFlags) add(cmd *cobra.Command) *cobra.Command {
	fs := cmd.Flags()
	fs.SetInterspersed(false)
	fs.StringVar(&g.config.Kernel, "kernel", "", "kernel `IMAGE` instead of the one linux/build made")
	fs.BoolVar(&g.debug, "debug", false, debugHelp)
	cmd.MarkFlagsMutuallyExclusive("kernel", "debug")
	fs.IntVar(&g.config.Memory, "memory", 0, "memory of the guest in `MIB` (default 512, with --debug 2048)")
	fs.IntVar(&g.config.CPUs, "cpus", 1, "processors of the guest")
	fs.StringArrayVar(&g.config.Share, "share", nil, "`DIR` of the host that the guest may write to; the rest is read-only")
	fs.IntVar(&g.uid, "uid", 0, "user and group of the command")
	cmd.Annotations = map[string]string{runsCommand: "yes"}
	return cmd
}

func (a *app) kernelRun() *cobra.Command {
	var g guestFlags
	cmd := &cobra.Command{
		Use:   "run [flags] [--] CMD [ARGS...]",
		Short: "Run a command in a guest that sees this machine's files, read-only",
		Example: examples("portcullis kernel run -- uname -r",
			"portcullis kernel run --uid 65534 -- portcullis run --engine kernel -f count-exec -- bash"),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.inGuest(&g, args, nil) },
	}
	g.add(cmd).Flags().DurationVar(&g.config.Timeout, "timeout", 0, "end the guest after this `TIME`, such as 90s")
	return cmd
}

func (a *app) kernelShell() *cobra.Command {
	var g guestFlags
	cmd := &cobra.Command{
		Use:     "shell [flags]",
		Short:   "Open a shell in a guest",
		Example: examples("portcullis kernel shell --uid 65534", "portcullis kernel shell --debug --cpus 2"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inGuest(&g, []string{"/bin/sh", "-i"}, guest.Terminal(a.In))
		},
	}
	return g.add(cmd)
}

// inGuest runs argv in a guest, on a terminal of its own where tty is one, and
// passes its exit status on.
func (a *app) inGuest(g *guestFlags, argv []string, tty *os.File) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	g.config.Flavour = flavour(g.debug)
	cmd := guest.CommandContext(ctx, g.config, argv[0], argv[1:]...)
	cmd.UID = g.uid
	cmd.TTY = tty
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.In, a.Out, a.Err
	err := cmd.Run()
	for _, line := range cmd.Complaints() {
		fmt.Fprintf(a.Err, "portcullis: the guest's kernel complained: %s\n", line)
	}
	return guestStatus(err)
}

func guestStatus(err error) error {
	var ended *guest.ExitError
	var unstarted *guest.StartError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return exit(ended.ExitCode(), nil)
	case errors.As(err, &unstarted) && errors.Is(err, os.ErrNotExist):
		return exit(exitNotFound, err)
	case errors.As(err, &unstarted):
		return exit(exitCannotInvoke, err)
	}
	return exit(exitOurs, err)
}
