package load

import (
	"fmt"
	"net"
	"strings"
)

func git() Program {
	return Program{Name: "git", Command: "git", Package: "git", play: playGit, intrude: intrudeGit}
}

// git runs a git in a directory, to an end that has to be good.
func (s *session) git(dir string, args ...string) error {
	who := []string{"-C", s.file(dir), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0", "-c", "init.defaultBranch=main", "-c", "core.pager=cat"}
	if err := s.run(append(who, args...)...); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// gits is a step of some gits.
func (s *session) gits(dir string, lines ...string) step {
	return step{lines[0], func() error {
		for _, l := range lines {
			if err := s.git(dir, strings.Fields(l)...); err != nil {
				return err
			}
		}
		return nil
	}}
}

// fails is a step of a git that has to fail.
func (s *session) fails(dir, line string) step {
	return step{line, func() error {
		if s.git(dir, strings.Fields(line)...) == nil {
			return fmt.Errorf("expected a failure")
		}
		return nil
	}}
}

// commit changes some files and commits them.
func (s *session) commit(dir string) error {
	for i := 0; i < 1+s.rand.Intn(4); i++ {
		name := fmt.Sprintf("%s/d%d/f%d", dir, s.rand.Intn(3), s.rand.Intn(5))
		if err := s.write(name, s.text(1, 5000)+fmt.Sprint(s.rand.Int63())); err != nil {
			return err
		}
	}
	return inTurn(s.gits(dir, "add -A", "commit -qm change"))
}

func playGit(s *session) error {
	if err := first(
		func() error { return s.folder("work") },
		func() error { return s.git("work", "init", "-q", ".") },
		func() error { return s.commit("work") },
	); err != nil {
		return err
	}
	return s.few(5, gitSteps(s)...)
}

func gitSteps(s *session) []step {
	n := s.rand.Intn(1 << 30)
	branch, clone, tree := fmt.Sprint("b", n), fmt.Sprint("c", n), fmt.Sprint("t", n)
	again := 0
	return []step{
		{"commit", func() error { return s.commit("work") }},
		s.gits("work", "status", "log --oneline --stat", "show HEAD --format=%H"),
		s.gits("work", "log -p --graph --all", "shortlog -s HEAD"),
		s.fails("work", s.either("checkout nothing-of-that-name", "frobnicate")),
		s.fails("work", "clone /nonexistent/x y"),
		{"branch", func() error {
			again++
			b := fmt.Sprint(branch, "-", again)
			return first(
				s.gits("work", "checkout -qb "+b).do,
				func() error { return s.commit("work") },
				s.gits("work", "checkout -q main", "merge -q --no-ff --no-edit "+b, "branch -d "+b).do,
			)
		}},
		{"clone", func() error {
			again++
			c := fmt.Sprint(clone, "-", again)
			return first(
				s.gits(".", s.either("clone -q work ", "clone -q --no-local work ", "clone -q --bare work ")+c).do,
				s.gits(c, "fetch -q", "log --oneline", "fsck").do,
			)
		}},
		{"stash", func() error {
			return first(
				func() error { return s.write("work/new", s.text(1, 100)) },
				s.gits("work", "add new", "stash -q", "stash list", "stash pop -q", "reset -q --hard").do,
			)
		}},
		{"rebase", func() error {
			again++
			b := fmt.Sprint(branch, "r", again)
			return first(
				s.gits("work", "checkout -qb "+b).do,
				func() error { return s.commit("work") },
				s.gits("work", "rebase -q --force-rebase HEAD~1", "checkout -q main", "branch -D "+b).do,
			)
		}},
		{"worktree", func() error {
			again++
			return s.gits("work", fmt.Sprint("worktree add -q ../", tree, "-", again), "worktree list").do()
		}},
		s.gits("work", "gc -q", "count-objects -v"),
		s.gits("work", "repack -adq", "prune"),
		s.gits("work", "archive -o ../a.tar.gz HEAD"),
		s.gits("work", "config --local x.y z", "config --list", "tag -f t1", "describe --tags --always"),
		s.gits("work", "grep -c a HEAD", "ls-files -s", "cat-file -p HEAD^{tree}"),
	}
}

// intrudeGit has git ask a server on this machine. What comes is a connection.
func intrudeGit(s *session) (bool, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false, err
	}
	defer l.Close()
	came := make(chan bool, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		}
		came <- err == nil
	}()
	_ = s.git(".", "ls-remote", "git://"+l.Addr().String()+"/x") // nobody answers either way
	l.Close()
	return <-came, nil
}
