package load

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
)

func sshd() Program {
	p := Program{Name: "sshd", Command: "sshd", Package: "openssh-server", play: playSSHD}
	if os.Getuid() == 0 {
		p.intrude = intrudeSSHD
	}
	return p
}

const sshdConf = `ListenAddress 127.0.0.1:PORT
HostKey DIR/host
PidFile DIR/pid
AuthorizedKeysFile DIR/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
LogLevel VERBOSE
Subsystem sftp internal-sftp
FORCE
`

// separation is where sshd that root starts has its unprivileged half. Debian's service makes
// it.
const separation = "/run/sshd"

// sshClient asks a server.
type sshClient struct {
	s          *session
	port, user string
}

// startSSHD starts a server to which the user that the caller is can log in, by a key.
func startSSHD(s *session, force string) (*sshClient, error) {
	for _, c := range []string{"ssh", "sftp", "ssh-keygen"} {
		if _, err := find(c, "openssh-client"); err != nil {
			return nil, err
		}
	}
	if os.Getuid() == 0 {
		if err := os.Mkdir(separation, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	conf := strings.NewReplacer("DIR", s.dir, "PORT", ports[0], "FORCE", force)
	c := &sshClient{s, ports[0], me.Username}
	return c, first(
		func() error { return s.keys("host", "mine", "other") },
		func() error { return os.Rename(s.file("mine.pub"), s.file("authorized")) },
		func() error { return s.write("sshd_config", conf.Replace(sshdConf)) },
		func() error { return s.run("-D", "-e", "-f", s.file("sshd_config")) },
		func() error { return s.await("Server listening") },
	)
}

// keys makes pairs of keys.
func (s *session) keys(names ...string) error {
	for _, name := range names {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.file(name)).CombinedOutput(); err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	return nil
}

// run runs a client with a key and an input, and gives what it prints.
func (c *sshClient) run(program, key, input string, args ...string) (string, error) {
	port := map[string]string{"ssh": "-p", "sftp": "-P"}[program]
	args = append([]string{
		"-F", "none", port, c.port, "-i", c.s.file(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "IdentityAgent=none",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
	}, args...)
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return string(out), err
}

// transfer is a step of commands to sftp.
func (c *sshClient) transfer(lines ...string) step {
	return step{lines[0], func() error {
		_, err := c.run("sftp", "mine", strings.Join(lines, "\n")+"\n", "-b", "-", c.user+"@127.0.0.1")
		return err
	}}
}

func playSSHD(s *session) error {
	c, err := startSSHD(s, "ForceCommand internal-sftp")
	if err != nil {
		return err
	}
	if err := first(func() error { return s.write("up", s.text(1, 100000)) }, func() error { return s.folder("files") }); err != nil {
		return err
	}
	steps := sshdSteps(s, c)
	return first(
		func() error { return s.few(3, steps...) },
		func() error { return s.signal(syscall.SIGHUP, "Server listening") },
		func() error { return s.few(1, steps...) },
		func() error {
			_ = s.stop(syscall.SIGTERM) // 255 is its status for that
			return nil
		},
	)
}

func sshdSteps(s *session, c *sshClient) []step {
	steps := sshdRefusals(c)
	if os.Getuid() != 0 { // whose account may be locked, as that of nobody is
		return steps
	}
	at := s.file("files/")
	return append(steps,
		c.transfer("ls "+s.dir, "pwd"),
		c.transfer("put "+s.file("up")+" "+at+"/a", "get "+at+"/a "+s.file("down"), "chmod 600 "+at+"/a", "ls -l "+at, "rm "+at+"/a"),
		c.transfer("mkdir "+at+"/d", "put "+s.file("up")+" "+at+"/d/b", "rename "+at+"/d/b "+at+"/d/c", "ln -s c "+at+"/d/l", "rm "+at+"/d/*", "rmdir "+at+"/d"),
		c.transfer("df "+at, "-rm "+at+"/none", "-get /nonexistent"),
	)
}

// sshdRefusals are who does not get in.
func sshdRefusals(c *sshClient) []step {
	return []step{
		{"a wrong key", func() error {
			if _, err := c.run("ssh", "other", "", c.user+"@127.0.0.1", "true"); err == nil {
				return errors.New("expected a refusal")
			}
			return nil
		}},
		{"no such user", func() error {
			if _, err := c.run("ssh", "mine", "", "nobody-of-that-name@127.0.0.1", "true"); err == nil {
				return errors.New("expected a refusal")
			}
			return nil
		}},
		{"garbage", func() error { return garbage("127.0.0.1:" + c.port) }},
		{"nothing", func() error { _, err := talk("tcp", "127.0.0.1:"+c.port, "SSH-2.0-x\r\n"); return err }},
	}
}

// intrudeSSHD logs in to a server that lets anything be executed.
func intrudeSSHD(s *session) (bool, error) {
	c, err := startSSHD(s, "")
	if err != nil {
		return false, err
	}
	got, _ := c.run("ssh", "mine", "", c.user+"@127.0.0.1", "echo from a shell")
	_ = s.stop(syscall.SIGTERM)
	return strings.Contains(got, "from a shell"), nil
}
