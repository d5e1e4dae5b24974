package kernel

import (
	"os"
	"os/exec"
	"time"

	"portcullis/internal/cbpf"
	"portcullis/internal/engine/launch"
	"portcullis/internal/sys"
)

// start installs filters, and guards before them, on the target that cmd
// describes, and starts it. It is cmd that is started: Wait is its own.
func start(filters []filter, guards cbpf.Program, cmd *exec.Cmd) error {
	l, err := load(filters)
	if err != nil {
		return err
	}
	defer l.close() // the target must not reach them by way of this process
	return l.launch(guards, cmd)
}

// launch starts cmd's target under l, whose programs it closes.
func (l *loaded) launch(guards cbpf.Program, cmd *exec.Cmd) error {
	cfg := l.config(guards)
	defer closePrograms(cfg)
	_, err := launch.Start(cmd, cfg)
	return err
}

// execute makes path, under l, whose programs it closes, what this process is.
func (l *loaded) execute(guards cbpf.Program, path string, argv, env []string) error {
	cfg := l.config(guards)
	defer closePrograms(cfg)
	return launch.Exec(path, argv, env, cfg)
}

// config hands the programs over as files.
func (l *loaded) config(guards cbpf.Program) launch.Config {
	cfg := launch.Config{Filter: classic(guards), Log: l.options.Log}
	for i, fd := range l.progs {
		p := launch.Program{Name: l.names[i], Extension: l.extensions[i]}
		p.File = os.NewFile(uintptr(fd), p.Name)
		l.order(i, &p.Extension)
		cfg.Programs = append(cfg.Programs, p)
	}
	l.progs = nil // the files own them
	return cfg
}

// order sets how the i-th program orders calls: together with those before it.
func (l *loaded) order(i int, x *sys.Extension) {
	if !l.waits {
		return
	}
	x.WaitMS = uint32((l.options.WaitLimit + time.Millisecond - 1) / time.Millisecond)
	if i > 0 {
		x.Flags |= sys.JoinWaits
	}
}

func closePrograms(cfg launch.Config) {
	for _, p := range cfg.Programs {
		p.File.Close()
	}
}

// classic is a program as the kernel takes it.
func classic(p cbpf.Program) []sys.FilterInsn {
	var insns []sys.FilterInsn
	for _, in := range p.Insns() {
		insns = append(insns, sys.FilterInsn{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
	}
	return insns
}
