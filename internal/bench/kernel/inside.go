//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"portcullis"
	"portcullis/internal/cbpf"
	"portcullis/internal/engine/kernel"
	"portcullis/internal/object"
	"portcullis/internal/prog"
	"portcullis/internal/split"
	"portcullis/internal/verify"
)

// insideWord is the argument with which this program measures, in the guest.
const insideWord = "measure"

// order is what is to be measured there.
type order struct {
	Dir, Clock    string
	Calls, Rounds int
	Ways          []string
}

// result is what a call takes, or why that is not known.
type result struct {
	Value   float64 `json:"value"`
	Lacking string  `json:"lacking,omitempty"`
}

// results are by the names of ways.
type results map[string]result

// inside measures what an order in JSON names, and writes results in JSON.
func inside(text string, w io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	got := make(results)
	for _, name := range o.Ways {
		way, known := ways()[name]
		if !known {
			return fmt.Errorf("no way %q", name)
		}
		v, err := way(&o)
		var unsupported *kernel.UnsupportedError
		var unserved *unservedError
		switch {
		case errors.As(err, &unsupported), errors.As(err, &unserved):
			got[name] = result{Lacking: err.Error()}
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		default:
			got[name] = result{Value: v}
		}
	}
	return json.NewEncoder(w).Encode(got)
}

// argv is the measured program's.
func (o *order) argv(rival, call string) []string {
	if rival == listFile {
		rival = filepath.Join(o.Dir, listFile)
	}
	return []string{
		filepath.Join(o.Dir, callsFile), o.Clock, rival, call, strconv.Itoa(o.Calls), strconv.Itoa(o.Rounds),
	}
}

// classic measures a call under a rival of calls.c.
func classic(rival, call string) way {
	return func(o *order) (float64, error) {
		argv := o.argv(rival, call)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return figureOf(out, err)
	}
}

// alone measures a call under a program with nothing before it, in the kernel.
func alone(file, program, call string) way {
	return func(o *order) (float64, error) {
		tree, err := splitOf(filepath.Join(o.Dir, file), program)
		if err != nil {
			return 0, err
		}
		argv := o.argv("none", call)
		cmd := exec.Command(argv[0], argv[1:]...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := kernel.Start([]*split.Tree{tree}, cbpf.Program{}, cmd); err != nil {
			return 0, err
		}
		err = cmd.Wait()
		return figureOf(out.Bytes(), err)
	}
}

// splitOf reads one program of an object.
func splitOf(path, name string) (*split.Tree, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	programs, err := object.Read(path, data)
	if err != nil {
		return nil, err
	}
	p := named(programs, name)
	if p == nil {
		return nil, fmt.Errorf("%s holds no program %s", path, name)
	}
	v, err := verify.Program(p, verify.Options{})
	if err != nil {
		return nil, err
	}
	return split.Split(v), nil
}

func named(programs []*prog.Program, name string) *prog.Program {
	for _, p := range programs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// filter loads and sets a filter. A spec that begins with a slash is of a file of the lab.
func (o *order) filter(spec string, set []string) (*portcullis.Filter, error) {
	if strings.HasPrefix(spec, "/") {
		spec = o.Dir + spec
	}
	f, err := portcullis.Load(spec)
	for i := 0; err == nil && i+1 < len(set); i += 2 {
		err = f.Set(set[i], set[i+1])
	}
	return f, err
}

// asRun measures a call under a filter as the command would install it.
func asRun(engine portcullis.Engine, spec, call string, set ...string) way {
	return func(o *order) (float64, error) {
		f, err := o.filter(spec, set)
		if err != nil {
			return 0, err
		}
		argv := o.argv("none", call)
		cmd := portcullis.Command(argv[0], argv[1:]...)
		var out bytes.Buffer
		cmd.Filters, cmd.Engine, cmd.Stdout, cmd.Stderr = []*portcullis.Filter{f}, engine, &out, os.Stderr
		if err := cmd.Run(); err != nil {
			return 0, err
		}
		<-cmd.Done()
		return figureOf(out.Bytes(), nil)
	}
}

// figureOf reads what the measured program printed.
func figureOf(out []byte, err error) (float64, error) {
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
