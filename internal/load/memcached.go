package load

import (
	"fmt"
	"io"
	"strings"
	"syscall"
)

func memcached() Program {
	return Program{Name: "memcached", Command: "memcached", Package: "memcached", play: playMemcached, intrude: intrudeMemcached}
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
	args = append(args, strings.Fields(s.extra("-C", "-M", "-F", "-k", "-R 2", "-b 16", "-B auto", "-I 2m", "-D :", "-f 1.5", "-n 100", "-W", "-r", "-c 64",
		"-o hashpower=18", "-o idle_timeout=60", "-o no_lru_maintainer", "-o track_sizes", "-o no_maxconns_fast",
		"-o hash_algorithm=jenkins", "-o no_hashexpand"))...)
	if err := runMemcached(s, args); err != nil {
		return err
	}
	steps := memcachedSteps(s, network, address)
	if udp != "0" && network == "tcp" {
		steps = append(steps, step{"datagram", func() error { return memcachedDatagram(address) }})
	}
	for round := 0; round < 2; round++ {
		if err := s.rounds(steps, memcachedMore(s, network, address)); err != nil {
			return err
		}
	}
	return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1}[s.rand.Intn(3)])
}

// runMemcached starts a server that is nobody where root starts it.
func runMemcached(s *session, args []string) error {
	if user := ifRoot("nobody"); user != "" {
		args = append(args, "-u", user)
	}
	return first(func() error { return s.run(args...) }, func() error { return s.await("server listening") })
}

// intrudeMemcached seizes a server while it waits.
func intrudeMemcached(s *session) (bool, error) {
	ports, err := freePorts(1)
	if err != nil {
		return false, err
	}
	if err := runMemcached(s, []string{"-vv", "-m", "16", "-l", "127.0.0.1", "-p", ports[0], "-U", "0"}); err != nil {
		return false, err
	}
	return s.intrudeAt("127.0.0.1:" + ports[0])
}

func memcachedSteps(s *session, network, address string) []step {
	ask := func(want, text string) step {
		return step{strings.TrimSpace(text[:min(20, len(text))]), func() error {
			got, err := talk(network, address, text+"quit\r\n")
			if err == nil && !s.varied && !strings.Contains(got, want) {
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
		ask("", "lru_crawler crawl all\r\n"), // which may be at it
		ask("ERROR", "nothing\r\n"),
		ask("too large", fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, 2<<20, strings.Repeat("x", 2<<20))),
		{"garbage", func() error { _, err := talk(network, address, "\x80\x0b\x00\x00garbage"); return err }},
	}
}

// memcachedMore are further steps of a varied load.
func memcachedMore(s *session, network, address string) []step {
	n, each := 2+s.rand.Intn(6), 5+s.rand.Intn(20)
	say := func(text string) step {
		return step{text, func() error { _, err := talk(network, address, text+"\r\nquit\r\n"); return err }}
	}
	return []step{
		{"crowd", func() error {
			return together(n, func(i int) error {
				for k := 0; k < each; k++ {
					text := fmt.Sprintf("set c%d 0 %d %d\r\n%s\r\nget c%d c%d\r\nquit\r\n", k, k%3, k*k, strings.Repeat("z", k*k), k, i)
					if _, err := talk(network, address, text); err != nil {
						return err
					}
				}
				return nil
			})
		}},
		say("mn"), say("ms k 2 T90\r\nhi"), say("mg k v t f"), say("md k"), say("ma n N0 J5"), say("me k"), say("append k 0 0 1\r\nx"), say("cas k 0 0 1 1\r\nx"),
		say("gat 10 k"), say("stats settings"), say("stats sizes"), say("stats detail dump"), say("stats reset"), say("stats conns"), say("stats cachedump 1 10"),
		say("lru_crawler metadump all"), say("lru_crawler enable"), say("lru tune 20 40 0.2 2"), say("cache_memlimit 32"), say("verbosity 1"), say("slabs reassign 1 2"),
		memcachedWatch(s, network, address), say("flush_all 1"), say("extstore free_memchunks 1 1"), say("shutdown"), say("misbehave"), say("refresh_certs"), say("debugitem x"),
		{"binary", func() error {
			_, err := talk(network, address, "\x80\x0b"+strings.Repeat("\x00", 22)+"\x80\x10"+strings.Repeat("\x00", 22)+"\x80\x07"+strings.Repeat("\x00", 22))
			return err
		}},
	}
}

// memcachedWatch has what it does told to a connection that stays: when the last of these leaves,
// memcached 1.6.18 waits for the next one, and does not see that it is to end if that comes between.
func memcachedWatch(s *session, network, address string) step {
	return step{"watch", func() error {
		c, err := dial(network, address)
		if err != nil {
			return err
		}
		s.kept = append(s.kept, c)
		if _, err := io.WriteString(c, "watch fetchers mutations\r\n"); err != nil {
			return err
		}
		if _, err = c.Read(make([]byte, 100)); err == io.EOF || isReset(err) {
			return nil // there are as many as may be
		}
		return err
	}}
}

// memcachedDatagram asks for the version in a datagram: a header of four numbers, and text.
func memcachedDatagram(address string) error {
	c, err := dial("udp", address)
	if err != nil {
		return err
	}
	defer c.Close()
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
