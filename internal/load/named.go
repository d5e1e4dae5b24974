package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

func named() Program {
	return Program{Name: "named", Command: "named", Package: "bind9", play: playNamed, intrude: intrudeNamed}
}

const namedConf = `options { directory "DIR/run"; pid-file "DIR/run/pid"; session-keyfile "DIR/run/session.key"; managed-keys-directory "DIR/run";
  dump-file "DIR/run/dump"; statistics-file "DIR/run/stats"; lock-file none; listen-on port PORT { 127.0.0.1; }; listen-on-v6 { none; };
  recursion RECURSION; forward only; forwarders port CLOSED { 127.0.0.1; }; resolver-query-timeout 400; allow-transfer { any; };
  dnssec-validation no; empty-zones-enable no; querylog yes; OPTIONS };
MORE
key "k" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0"; };
controls { inet 127.0.0.1 port CONTROL allow { any; } keys { "k"; }; };
zone "example" { type primary; file "example.zone"; allow-update { any; }; };
zone "static.example" { type primary; file "static.zone"; };
zone "other" { type secondary; file "other.zone"; primaries port CLOSED { 127.0.0.1; }; };
`

const namedZone = `$TTL 60
@ IN SOA ns a 1 60 60 60 60
@ NS ns
ns A 127.0.0.1
www A 127.0.0.1
www AAAA ::1
@ MX 10 ns
many TXT "TEXT"
`

const rndcConf = `key "k" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0"; };
options { default-key "k"; default-server 127.0.0.1; default-port CONTROL; };
`

// startNamed starts a server with zones, and a channel for rndc.
func startNamed(s *session) (address string, err error) {
	ports, err := freePorts(3)
	if err != nil {
		return "", err
	}
	conf := strings.NewReplacer("DIR", s.dir, "PORT", ports[0], "CLOSED", ports[1], "CONTROL", ports[2],
		"RECURSION", s.either("yes", "no"),
		"OPTIONS", s.extra("minimal-responses yes;", "zone-statistics full;", "notify yes;", "ixfr-from-differences yes;", "allow-new-zones yes;", "tcp-clients 10;",
			"max-cache-size 4m;", "masterfile-format text;", "version none;", "server-id hostname;",
			"prefetch 0;", "max-journal-size 100k;", "transfer-format one-answer;", "reuseport no;", "memstatistics yes;", "memstatistics-file \""+s.file("run/memory")+"\";",
			"edns-udp-size 512;", "recursing-file \""+s.file("run/recursing")+"\";", "secroots-file \""+s.file("run/roots")+"\";"),
		"MORE", s.extra("logging { channel f { file \""+s.file("run/log")+"\" versions 3 size 4k; severity debug; print-time yes; }; category queries { f; }; category client { f; }; };",
			"statistics-channels { };", "acl local { 127.0.0.1; };"),
		"TEXT", strings.Repeat("x", 100+s.rand.Intn(100)))
	args := []string{"-g", "-n", s.either("1", "2"), "-c", s.file("named.conf")}
	if user := ifRoot("bind"); user != "" {
		args = append(args, "-u", user)
	}
	return "127.0.0.1:" + ports[0], first(
		func() error { return s.folder("run") },
		func() error { return s.write("named.conf", conf.Replace(namedConf)) },
		func() error { return s.write("rndc.conf", conf.Replace(rndcConf)) },
		func() error { return s.write("run/example.zone", conf.Replace(namedZone)) },
		func() error { return s.write("run/static.zone", conf.Replace(namedZone)) },
		func() error { return s.run(args...) },
		func() error { return s.await("all zones loaded") },
	)
}

func playNamed(s *session) error {
	address, err := startNamed(s)
	if err != nil {
		return err
	}
	steps := namedSteps(s, address)
	return first(
		func() error { return s.rounds(steps, namedMore(s, address)) },
		func() error { return s.signal(syscall.SIGHUP, "all zones loaded") },
		func() error { return s.rounds(steps, namedMore(s, address)) },
		func() error {
			if s.rand.Intn(3) == 0 {
				return first(func() error { return s.rndc("stop") }, s.end)
			}
			return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[s.rand.Intn(2)])
		},
	)
}

// intrudeNamed seizes a server while it waits.
func intrudeNamed(s *session) (bool, error) {
	address, err := startNamed(s)
	if err != nil {
		return false, err
	}
	return s.intrudeAt(address)
}

// Types and codes of RFC 1035, 2136 and 5936.
const (
	typeA, typeSOA, typeMX, typeTXT, typeAAAA, typeAXFR = 1, 6, 15, 16, 28, 252
	opUpdate                                            = 5
)

func namedSteps(s *session, address string) []step {
	ask := func(network, name string, kind uint16) step {
		return step{name, func() error { return dns(network, address, question(0, name, kind)) }}
	}
	return []step{
		ask("udp", "www.example", typeA),
		ask("udp", "www.example", typeAAAA),
		ask("udp", "example", typeMX),
		ask("tcp", "many.static.example", typeTXT),
		ask("tcp", "example", typeAXFR),
		ask("udp", "missing.example", typeA),
		ask("udp", fmt.Sprintf("h%d.elsewhere", s.rand.Intn(1000)), typeA),
		ask("tcp", "www.static.example", typeA),
		{"update", func() error {
			return dns(s.either("udp", "tcp"), address, update(fmt.Sprintf("h%d.example", s.rand.Intn(1000))))
		}},
		{"garbage", func() error { _, err := talk("tcp", address, "\x00\x05garba"); return err }},
		s.rndcs("status"), s.rndcs("stats"), s.rndcs("flush"), s.rndcs("reload"), s.rndcs("dumpdb", "-all"), s.rndcs("freeze", "example").then(s.rndcs("thaw", "example")),
		s.rndcs("sync"), s.rndcs("querylog"), s.rndcs("reconfig"), s.rndcs("retransfer", "other"),
	}
}

// namedMore are further steps of a varied load.
func namedMore(s *session, address string) []step {
	n, each := 2+s.rand.Intn(6), 5+s.rand.Intn(30)
	say := func(words ...string) step {
		return step{words[0], func() error { return anyStatus(s.rndc(words...)) }} // not all are for this configuration
	}
	zone := fmt.Sprint("z", s.rand.Intn(1000))
	return []step{
		{"crowd", func() error {
			return together(n, func(i int) error {
				for k := 0; k < each; k++ {
					name := fmt.Sprintf("h%d.%s", k, []string{"example", "static.example", "elsewhere"}[(i+k)%3])
					if err := dns([]string{"udp", "tcp"}[i%2], address, question(0, name, uint16(1+k%28))); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						return err
					}
				}
				return nil
			})
		}},
		{"crowd of updates", func() error {
			return together(3, func(i int) error { return dns("tcp", address, update(fmt.Sprintf("u%d.example", i))) })
		}},
		say("zonestatus", "example"), say("notify", "example"), say("refresh", "other"), say("trace"), say("notrace"), say("recursing"), say("secroots"), say("tsig-list"),
		say("flushname", "www.example"), say("flushtree", "example"), say("dumpdb", "-zones"), say("validation", "check"), say("managed-keys", "status"),
		say("addzone", zone, "{ type primary; file \"static.zone\"; };"), say("showzone", "example"), say("delzone", zone), say("nta", "-d"), say("scan"),
		say("serve-stale", "status"), say("modzone", zone, "{ type primary; file \"example.zone\"; };"), say("sync", "-clean"), say("sign", "example"), say("loadkeys", "example"),
		say("reload", "static.example"),
	}
}

// then is a step that another follows.
func (a step) then(b step) step { return step{a.name, func() error { return inTurn(a, b) }} }

// rndcs is a step that tells the server something by its own channel.
func (s *session) rndcs(words ...string) step {
	return step{"rndc " + words[0], func() error { return s.rndc(words...) }}
}

func (s *session) rndc(words ...string) error {
	path, err := find("rndc", "bind9-utils")
	if err != nil {
		return err
	}
	// A server that reads its configuration anew opens its channel anew.
	for tries := 0; ; tries++ {
		out, err := exec.Command(path, append([]string{"-c", s.file("rndc.conf")}, words...)...).CombinedOutput()
		if err == nil {
			return nil
		}
		if !strings.Contains(string(out), "connection refused") {
			return fmt.Errorf("%w: %s", err, out)
		}
		if tries == 100 {
			return fmt.Errorf("expected the server to open its channel, found %.200q", out)
		}
	}
}

// question is a message with a question: a header of six numbers, the name, type and class.
func question(op uint16, name string, kind uint16) []byte {
	m := make([]byte, 12)
	m[1] = 7
	binary.BigEndian.PutUint16(m[2:], op<<11|0x100)
	m[5] = 1
	m = append(m, domain(name)...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(m, kind), 1)
}

func domain(name string) (d []byte) {
	for _, label := range strings.Split(name, ".") {
		d = append(append(d, byte(len(label))), label...)
	}
	return append(d, 0)
}

// update is a message that adds an address to the zone example.
func update(name string) []byte {
	m := question(opUpdate, "example", typeSOA)
	m[9] = 1
	m = append(m, domain(name)...)
	return append(m, 0, typeA, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 2)
}

// dns sends a message and wants an answer, whatever it is.
func dns(network, address string, m []byte) error {
	c, err := dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	if network == "tcp" {
		m = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
	}
	if _, err := c.Write(m); err != nil {
		return err
	}
	answer := make([]byte, 1<<16)
	n, err := io.ReadAtLeast(c, answer, 12)
	if err == nil && n < 12 {
		err = io.ErrUnexpectedEOF
	}
	return err
}
