package load

import (
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os/exec"
	"strings"
	"time"
)

func git() Program {
	return Program{Name: "git", Command: "git", Package: "git", play: playGit, intrude: intrudeGit}
}

// git runs a git in a directory, to an end that has to be good.
func (s *session) git(dir string, args ...string) error {
	who := []string{"-C", s.file(dir), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0", "-c", "init.defaultBranch=main", "-c", "core.pager=cat"}
	if s.varied {
		who = append(who, "-c", "protocol.file.allow=always", "-c", "core.editor=true", "-c", "sequence.editor=true", "-c", s.either(
			"core.fsync=all", "pack.threads=4", "index.threads=4", "core.sharedRepository=group", "core.untrackedCache=true", "core.preloadIndex=true",
			"core.packedGitWindowSize=32k", "core.bigFileThreshold=1k", "feature.manyFiles=true", "fetch.writeCommitGraph=true", "checkout.workers=2",
			"core.logAllRefUpdates=always", "rerere.enabled=true", "diff.algorithm=histogram", "gc.writeCommitGraph=true", "core.fsyncMethod=batch",
			"color.ui=always", "index.version=4", "repack.writeBitmaps=true", "fetch.parallel=3"))
	}
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
		err := s.git(dir, strings.Fields(line)...)
		if err == nil {
			return errors.New("expected a failure")
		}
		return byItself(err)
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
	if !s.varied {
		return s.few(5, gitSteps(s)...)
	}
	return first(
		func() error { return gitHooks(s) },
		func() error { return s.few(5+s.rand.Intn(10), append(gitSteps(s), gitMore(s)...)...) },
	)
}

// gitHooks are shell scripts that a git executes.
func gitHooks(s *session) error {
	for _, hook := range []string{"pre-commit", "post-commit", "post-checkout", "pre-push"} {
		name := "work/.git/hooks/" + hook
		if s.rand.Intn(2) == 0 {
			continue
		}
		if err := first(func() error {
			return s.write(name, "#!/bin/sh\ngit rev-parse HEAD >/dev/null\ncat /dev/null | wc -l >/dev/null\n")
		},
			func() error { return s.executable(name) }); err != nil {
			return err
		}
	}
	return nil
}

// tries is a step of gits of which not all have to succeed.
func (s *session) tries(dir string, lines ...string) step {
	return step{lines[0], func() error {
		for _, l := range lines {
			if err := anyStatus(s.git(dir, strings.Fields(l)...)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// gitMore are further steps of a varied load. Each works on clones of its own, so that none
// has to care for what others leave.
func gitMore(s *session) []step {
	n, made := s.rand.Intn(1<<30), 0
	clone := func(how string, lines ...string) step {
		return step{lines[0], func() error {
			made++
			dir := fmt.Sprint("m", n, "-", made)
			return first(
				s.gits(".", "clone -q "+how+" file://"+s.file("work")+" "+dir).do,
				func() error { return s.commit(dir) },
				func() error { return s.commit(dir) },
				s.tries(dir, lines...).do,
			)
		}}
	}
	return []step{
		clone("", "bisect start HEAD HEAD~2", "bisect run true", "bisect log", "bisect reset"),
		clone("", "cherry-pick -x HEAD~1", "cherry-pick --abort", "revert --no-edit HEAD", "notes add -m n", "notes show", "log --notes"),
		clone("--no-hardlinks", "checkout -qb x HEAD~1", "rm -qr d0", "commit -qm gone", "merge main", "merge --abort", "merge -X ours main", "log --graph --all"),
		clone("--depth 1", "fetch --unshallow", "fsck --full --lost-found", "gc --aggressive --prune=now -q", "verify-pack -v .git/objects/pack/*.idx"),
		clone("--shared", "format-patch -o patches HEAD~1", "reset -q --hard HEAD~1", "am patches/0001-change.patch", "apply --check patches/0001-change.patch"),
		clone("--no-single-branch", "for-each-ref", "pack-refs --all", "update-server-info", "rev-list --all --objects --count"),
		clone("", "push -q origin HEAD:refs/heads/p"+fmt.Sprint(n), "pull -q --rebase", "remote -v", "remote update", "ls-remote", "push -q --tags"),
		clone("", "submodule add -q file://"+s.file("work")+" sub", "commit -qm sub", "submodule status", "submodule update --init --recursive", "submodule foreach pwd"),
		clone("", "sparse-checkout set d1", "sparse-checkout list", "sparse-checkout disable", "checkout HEAD~1 -- .", "restore --staged .", "switch -q -c y", "clean -fdxq"),
		clone("", "bundle create b.bundle --all", "bundle verify b.bundle", "clone -q b.bundle from-bundle", "archive --format=zip -o a.zip HEAD", "archive --remote=. -o r.tar HEAD"),
		clone("", "rebase -qi --root", "commit -q --amend -m again", "reflog", "reflog expire --expire=now --all", "rev-parse --verify HEAD", "range-diff HEAD~1...HEAD"),
		clone("", "commit-graph write --reachable", "multi-pack-index write", "repack -adbq", "maintenance run", "prune-packed", "fast-export --all", "count-objects -vH"),
		clone("", "grep -P a+", "log -G a --oneline", "log --perl-regexp --grep=c.a", "log -S a", "blame d0/f0", "diff --stat HEAD~1", "diff --color-words HEAD~1", "show-branch"),
		clone("", "tag -a -m t t1", "tag -l", "describe", "name-rev HEAD", "whatchanged -1", "shortlog -sn HEAD", "mv d0 e0", "mv d1 e1", "commit -qm moved", "log --follow e0/f0"),
		clone("", "filter-branch -f --msg-filter cat HEAD~1..HEAD", "stash push -u", "stash apply", "stash drop", "worktree add -q w1", "worktree remove -f w1", "worktree prune"),
		clone("", "var -l", "help -a", "version --build-options", "config --global a.b c", "config --edit", "check-ignore -v x", "check-attr -a d0", "ls-tree -r HEAD", "hash-object -w d0"),
		clone("", "bugreport", "diagnose", "request-pull HEAD~1 .", "instaweb --stop", "merge-base HEAD HEAD~1", "merge-tree HEAD HEAD~1", "update-index --refresh", "read-tree HEAD", "write-tree"),
		s.tries("work", "init -q --bare --shared ../shared"+fmt.Sprint(n), "push -q --all ../shared"+fmt.Sprint(n), "-p log", "init -q --separate-git-dir=../sep"+fmt.Sprint(n)+" ../sepwork"),
		{"at the same time", func() error { return s.gitCrowd() }},
	}
}

// gitCrowd runs gits that read at the same time, and one that writes.
func (s *session) gitCrowd() error {
	lines := []string{"log -p", "status", "clone -q . ../crowd" + fmt.Sprint(s.rand.Int63()), "grep a", "fsck", "repack -aq"}
	each := make([]*session, len(lines))
	for i := range each {
		each[i] = &session{path: s.path, dir: s.dir, start: s.start, rand: rand.New(rand.NewSource(s.rand.Int63())), varied: true}
	}
	return together(len(each), func(i int) error {
		defer each[i].close()
		return anyStatus(each[i].git("work", strings.Fields(lines[i])...))
	})
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
		if err == nil { // who is hung up on before it has asked may die of that
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = c.Read(make([]byte, maxLine))
			c.Close()
		}
		came <- err == nil
	}()
	err = s.git(".", "ls-remote", "git://"+l.Addr().String()+"/x")
	l.Close()
	return <-came, gaveUp(err)
}

// gaveUp is an error unless a git has ended by itself, because nobody answers. One that does not come as
// far as that has not tried.
func gaveUp(err error) error {
	const fatal = 128
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == fatal {
		return nil
	}
	return fmt.Errorf("expected git to end with status %d, found %v", fatal, err)
}
