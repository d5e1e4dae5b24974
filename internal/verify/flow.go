package verify

import (
	"fmt"

	"portcullis/internal/absint"
	"portcullis/internal/prog"
)

// halves marks the second slots of 64-bit immediate loads.
func halves(p *prog.Program) []bool {
	second := make([]bool, len(p.Insns))
	for pc := 0; pc < len(p.Insns); pc++ {
		if p.Insns[pc].IsLoadImm64() {
			pc++
			second[pc] = true
		}
	}
	return second
}

// callTargets: functions begin at instructions of the program.
func callTargets(p *prog.Program) *Error {
	second := halves(p)
	for _, f := range p.Funcs {
		if f.Start < 0 || f.Start >= len(p.Insns) || second[f.Start] {
			return &Error{Program: p.Name, Insn: -1, Reason: fmt.Sprintf("function %s begins at %d, which is no instruction", f.Name, f.Start)}
		}
	}
	for pc, in := range p.Insns {
		if second[pc] || in.Op != prog.OpCallInsn || in.Src != prog.PseudoCall {
			continue
		}
		if t := int64(pc) + 1 + int64(in.Imm); t < 0 || t >= int64(len(p.Insns)) || second[t] {
			return at(p, pc, fmt.Sprintf("call of %d, which is no instruction", t), "")
		}
	}
	return nil
}

// jumpTargets: a jump stays in its function, and hits an instruction.
func jumpTargets(p *prog.Program, funcs []absint.Func) *Error {
	second := halves(p)
	for _, f := range funcs {
		for pc := f.Start; pc < f.End; pc++ {
			if second[pc] || p.Insns[pc].IsLoadImm64() {
				continue
			}
			next, n := absint.Next(p, pc)
			for _, t := range next[:n] {
				switch {
				case t == pc+1 && t == f.End:
					// ends reports this.
				case t < f.Start || t >= f.End:
					return at(p, pc, fmt.Sprintf("jump to %d, outside its function (%d..%d)", t, f.Start, f.End-1), "")
				case second[t]:
					return at(p, pc, fmt.Sprintf("jump to %d, the second half of a 64-bit load", t), "")
				}
			}
		}
	}
	return nil
}

// ends: no function runs into what follows it.
func ends(p *prog.Program, funcs []absint.Func) *Error {
	second := halves(p)
	for _, f := range funcs {
		last := f.End - 1
		if second[last] {
			return at(p, last-1, "a function ends without exit or jump", "return a verdict on every path")
		}
		next, n := absint.Next(p, last)
		for _, t := range next[:n] {
			if t == f.End {
				return at(p, last, "a function ends without exit or jump", "return a verdict on every path")
			}
		}
	}
	return nil
}

// reachable: there is no code that no path from the entry gets to.
func reachable(p *prog.Program, _ []absint.Func) *Error {
	seen := make([]bool, len(p.Insns))
	work := []int{0}
	visit := func(pc int) {
		if !seen[pc] {
			seen[pc] = true
			work = append(work, pc)
		}
	}
	seen[0] = true
	for len(work) > 0 {
		pc := work[len(work)-1]
		work = work[:len(work)-1]
		in := p.Insns[pc]
		if in.IsLoadImm64() {
			seen[pc+1] = true
		}
		if in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall {
			visit(pc + 1 + int(in.Imm))
		}
		next, n := absint.Next(p, pc)
		for _, t := range next[:n] {
			visit(t)
		}
	}
	for pc, ok := range seen {
		if !ok {
			return at(p, pc, "unreachable instruction", "remove it")
		}
	}
	return nil
}

type edge struct{ pc, callee int }

// callGraph lists the calls of each function.
func callGraph(p *prog.Program, funcs []absint.Func) [][]edge {
	byStart := map[int]int{}
	for i, f := range funcs {
		byStart[f.Start] = i
	}
	graph := make([][]edge, len(funcs))
	for i, f := range funcs {
		for pc := f.Start; pc < f.End; pc++ {
			if in := p.Insns[pc]; in.Op == prog.OpCallInsn && in.Src == prog.PseudoCall {
				graph[i] = append(graph[i], edge{pc, byStart[pc+1+int(in.Imm)]})
			}
		}
	}
	return graph
}

// recursion refuses it, and chains that are too long.
func recursion(p *prog.Program, funcs []absint.Func) *Error {
	graph := callGraph(p, funcs)
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(funcs))
	height := make([]int, len(funcs))
	var visit func(i int) *Error
	visit = func(i int) *Error {
		state[i] = open
		for _, e := range graph[i] {
			if state[e.callee] == open {
				return at(p, e.pc, "a function calls itself", "use a bounded loop")
			}
			if state[e.callee] == unseen {
				if err := visit(e.callee); err != nil {
					return err
				}
			}
			if h := height[e.callee] + 1; h > height[i] {
				height[i] = h
			}
		}
		state[i] = done
		if height[i] >= prog.MaxCallFrames {
			return at(p, funcs[i].Start, fmt.Sprintf("more than %d nested calls", prog.MaxCallFrames), "inline a function")
		}
		return nil
	}
	return visit(0)
}
