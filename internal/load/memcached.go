package load

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

func memcached() Program {
	return Program{Name: "memcached", Command: "memcached", Package: "memcached", play: playMemcached}
}

func playMemcached(s *session) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	network, address := "tcp", "127.0.0.1:"+ports[0]
	if err := s.folder("run"); err != nil {
		return err
	}
	udp := s.either("0", ports[0])
	args := []string{"-vv", "-t", s.either("1", "2", "4"), "-m", "16", "-l", "127.0.0.1", "-p", ports[0], "-U", udp}
	if s.rand.Intn(3) == 0 {
		network, address = "unix", s.file("run/sock")
		args = []string{"-vv", "-t", "2", "-s", address, "-a", "0666"}
	}
	if user := ifRoot("nobody"); user != "" {
		args = append(args, "-u", user)
	}
	if err := s.run(args...); err != nil {
		return err
	}
	if err := s.await("server listening"); err != nil {
		return err
	}
	steps := memcachedSteps(s, network, address)
	if udp != "0" && network == "tcp" {
		steps = append(steps, step{"datagram", func() error { return memcachedDatagram(address) }})
	}
	for round := 0; round < 2; round++ {
		if err := s.some(steps...); err != nil {
			return err
		}
	}
	return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1}[s.rand.Intn(3)])
}

func memcachedSteps(s *session, network, address string) []step {
	ask := func(want, text string) step {
		return step{strings.TrimSpace(text[:min(20, len(text))]), func() error {
			got, err := talk(network, address, text+"quit\r\n")
			if err == nil && !strings.Contains(got, want) {
				err = fmt.Errorf("expected %q, found %.200q", want, got)
			}
			return err
		}}
	}
	key, value := fmt.Sprint("k", s.rand.Intn(20)), s.text(1, 100000)
	set := fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, len(value), value)
	return []step{
		ask("STORED", set),
		ask("VALUE", set+"get "+key+"\r\n"),
		ask("END", "get none\r\n"),
		ask("1", "set n 0 0 1\r\n0\r\nincr n 1\r\n"),
		ask("DELETED", set+"delete "+key+"\r\n"),
		ask("TOUCHED", set+"touch "+key+" 1\r\n"),
		ask("STAT pid", "stats\r\n"),
		ask("END", "stats items\r\nstats slabs\r\nstats conns\r\n"),
		ask("OK", "flush_all\r\n"),
		ask("VERSION", "version\r\n"),
		ask("OK", "slabs automove 1\r\n"),
		ask("OK", "lru_crawler crawl all\r\n"),
		ask("ERROR", "nothing\r\n"),
		ask("too large", fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, 2<<20, strings.Repeat("x", 2<<20))),
		{"garbage", func() error { _, err := talk(network, address, "\x80\x0b\x00\x00garbage"); return err }},
	}
}

// memcachedDatagram asks for the version in a datagram: a header of four numbers, and text.
func memcachedDatagram(address string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("\x00\x01\x00\x00\x00\x01\x00\x00version\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 1500)
	n, err := c.Read(answer)
	if err == nil && !strings.Contains(string(answer[:n]), "VERSION") {
		err = fmt.Errorf("expected a version, found %q", answer[:n])
	}
	return err
}
