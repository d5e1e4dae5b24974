package load

import (
	"context"
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
	if os.Getuid() != 0 { // whose account may be locked, as that of nobody is
		p.closed = "only root is sure to be let in, by a key, to have something executed"
		return p
	}
	p.intrude = intrudeSSHD
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
EXTRA
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
	conf := strings.NewReplacer("DIR", s.dir, "PORT", ports[0], "FORCE", force,
		"EXTRA", s.extra("Compression no", "MaxStartups 3:30:10", "LoginGraceTime 20", "ClientAliveInterval 1", "Banner "+s.file("host.pub"), "RekeyLimit 32k", "UseDNS yes",
			"AllowTcpForwarding no", "MaxSessions 2", "PrintMotd no", "TCPKeepAlive no", "IPQoS lowdelay throughput", "Ciphers aes128-ctr", "Ciphers chacha20-poly1305@openssh.com",
			"KexAlgorithms diffie-hellman-group14-sha256", "MACs hmac-sha2-512", "X11Forwarding yes", "PermitUserEnvironment yes", "PubkeyAcceptedAlgorithms ssh-ed25519",
			"DisableForwarding yes", "ExposeAuthInfo yes", "StreamLocalBindUnlink yes", "LogLevel DEBUG2"))
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
	soon, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(soon, program, args...)
	cmd.WaitDelay = grace
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
		func() error { return byItself(s.stop(syscall.SIGTERM)) }, // 255 is its status for that
	)
}

func sshdSteps(s *session, c *sshClient) []step {
	steps := sshdRefusals(c)
	if os.Getuid() != 0 { // whose account may be locked, as that of nobody is
		return steps
	}
	at := s.file("files/")
	if s.varied {
		steps = append(steps, c.sftpMore(at)...)
	}
	return append(steps,
		c.transfer("ls "+s.dir, "pwd"),
		c.transfer("put "+s.file("up")+" "+at+"/a", "get "+at+"/a "+s.file("down"), "chmod 600 "+at+"/a", "ls -l "+at, "rm "+at+"/a"),
		c.transfer("mkdir "+at+"/d", "put "+s.file("up")+" "+at+"/d/b", "rename "+at+"/d/b "+at+"/d/c", "ln -s c "+at+"/d/l", "rm "+at+"/d/*", "rmdir "+at+"/d"),
		c.transfer("df "+at, "-rm "+at+"/none", "-get /nonexistent"),
	)
}

// sftpMore are further steps of a varied load.
func (c *sshClient) sftpMore(at string) []step {
	up := c.s.file("up")
	return []step{
		c.transfer("mkdir "+at+"/e", "put -p "+up+" "+at+"/e/a", "-put -a "+up+" "+at+"/e/a", "-reput "+up+" "+at+"/e/a", "get -p "+at+"/e/a "+c.s.file("down2"), "-reget "+at+"/e/a "+c.s.file("down2"),
			"-chown 0 "+at+"/e/a", "-chgrp 0 "+at+"/e/a", "ln "+at+"/e/a "+at+"/e/h", "ln -s a "+at+"/e/s", "ls -lat "+at+"/e", "-df -h", "-rm "+at+"/e/*", "rmdir "+at+"/e"),
		c.transfer("-put -f "+up+" "+at+"/f", "-ls -1 /proc/self", "-cd /etc", "-get passwd "+c.s.file("p"), "-lls", "-chmod 777 "+at+"/f", "-version", "-symlink /etc/passwd "+at+"/l", "-rm "+at+"/f", "-rm "+at+"/l"),
		{"at the same time", func() error {
			return together(3, func(i int) error {
				name := fmt.Sprint(at, "/t", i)
				return c.transfer("put "+up+" "+name, "ls "+at, "rm "+name).do()
			})
		}},
	}
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
	got, err := c.run("ssh", "mine", "", c.user+"@127.0.0.1", "echo from a shell")
	if err := first(func() error { return byItself(err) }, func() error { return byItself(s.stop(syscall.SIGTERM)) }); err != nil {
		return false, err
	}
	if !s.output.has("Accepted publickey") { // who does not get in has not tried
		return false, fmt.Errorf("expected the server to accept the key, found %v", err)
	}
	return strings.Contains(got, "from a shell"), nil
}
