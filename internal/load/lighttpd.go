package load

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

func lighttpd() Program {
	return Program{Name: "lighttpd", Command: "lighttpd", Package: "lighttpd", play: playLighttpd, intrude: intrudeLighttpd}
}

const lighttpdConf = `server.document-root = "DIR/www"
server.port = PORT
server.bind = "127.0.0.1"
server.pid-file = "DIR/pid"
server.upload-dirs = ( "DIR/tmp" )
server.max-worker = WORKERS
server.modules = ( "mod_accesslog", "mod_alias", "mod_redirect", "mod_dirlisting", "mod_proxy", "mod_status", "mod_cgi" MORE )
server.network-backend = "BACKEND"
accesslog.filename = "DIR/access.log"
dir-listing.activate = "enable"
index-file.names = ( "index.html" )
mimetype.assign = ( "" => "text/plain" )
server.stream-request-body = STREAM
status.status-url = "/status"
$HTTP["url"] =~ "^/proxied/" { proxy.server = ( "" => ( ( "host" => "127.0.0.1", "port" => PORT ) ) )
  proxy.header = ( "map-urlpath" => ( "/proxied/" => "/" ) ) }
$HTTP["url"] =~ "^/nobody/" { proxy.server = ( "" => ( ( "host" => "127.0.0.1", "port" => CLOSED ) ) ) }
$HTTP["url"] =~ "^/cgi/" { cgi.assign = ( "" => "/bin/sh" ) }
url.redirect = ( "^/old/" => "/list/" )
USER
EXTRA
`

// lighttpdExtra are further lines of a varied load.
func (s *session) lighttpdExtra() string {
	return s.extra(
		`server.max-keep-alive-requests = 3`, `server.stat-cache-engine = "disable"`, `server.max-fds = 256`, `server.max-connections = 64`,
		`server.max-request-size = 1000`, `server.upload-temp-file-size = 4096`,
		`server.listen-backlog = 8`, `server.core-files = "disable"`, `server.kbytes-per-second = 40000`, `server.tag = "x"`,
		`server.follow-symlink = "disable"`,
		`server.stream-response-body = 2`, `server.max-read-idle = 2`, `server.defer-accept = 1`, `server.chunkqueue-chunk-sz = 2048`)
}

func lighttpdPaths() []string {
	return []string{"/large", "/", "/list/", "/proxied/index.html", "/proxied/large", "/missing", "/status", "/old/x", "/nobody/"}
}

// startLighttpd starts a server with a website.
func startLighttpd(s *session, workers string) (*web, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	conf := strings.NewReplacer("DIR", s.dir, "PORT", ports[0], "CLOSED", ports[1], "WORKERS", workers,
		"BACKEND", s.either("sendfile", "writev"), "STREAM", s.either("0", "1", "2"),
		"MORE", s.drawn("", `, "mod_expire", "mod_setenv", "mod_rewrite", "mod_ssi", "mod_evhost", "mod_userdir", "mod_access", "mod_extforward"`),
		"EXTRA", s.lighttpdExtra(), "USER", ifRoot("server.username = \"www-data\"\nserver.groupname = \"www-data\""))
	err = first(
		s.website,
		func() error { return s.folder("tmp") },
		func() error { return s.write("www/cgi/hello", "echo; echo from a shell\n") },
		func() error { return s.write("lighttpd.conf", conf.Replace(lighttpdConf)) },
		func() error { return s.write("access.log", "") },
		func() error { return os.Chmod(s.file("access.log"), 0o666) },
		func() error { return s.run("-D", "-f", s.file("lighttpd.conf")) },
		func() error { return s.await("server started") },
	)
	return newWeb(s, "http", "127.0.0.1:"+ports[0]), err
}

func playLighttpd(s *session) error {
	workers := s.either("0", "0", s.drawn("2", "1", "4"))
	w, err := startLighttpd(s, workers)
	if err != nil {
		return err
	}
	defer w.close()
	steps := lighttpdSteps(s, w)
	steps = append(steps, step{"garbage", func() error { return garbage(w.address) }})
	more := append(w.crowds(lighttpdPaths()...), step{"logs", func() error { return s.send(syscall.SIGHUP) }})
	reload := func() error { return nil }
	if workers == "0" { // with workers only their parent reads the configuration anew
		reload = func() error {
			w.close()
			return s.signal(syscall.SIGUSR1, "server started")
		}
	}
	return first(
		func() error { return s.rounds(steps, more) },
		func() error { return s.send(syscall.SIGHUP) },
		reload,
		func() error { return s.rounds(steps, more) },
		func() error { w.close(); return nil },
		func() error {
			err := s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[s.rand.Intn(2)])
			if err != nil && err.Error() == "exit status 1" {
				return nil // what a request that failed makes it
			}
			return err
		},
	)
}

func lighttpdSteps(s *session, w *web) []step {
	return []step{
		w.want(200, "hello", "GET", "/", ""),
		w.want(200, "", "HEAD", "/index.html", ""),
		w.want(200, "hello", "POST", "/index.html", s.text(10, 40000)),
		w.want(200, "", "GET", "/large", ""),
		w.want(206, "", "GET", "/large", "", fmt.Sprint("Range: bytes=", s.rand.Intn(1000), "-", 1000+s.rand.Intn(1000))),
		w.want(404, "", "GET", "/missing", ""),
		w.want(200, "sub", "GET", "/list/", ""),
		w.want(301, "", "GET", "/old/x", ""),
		w.want(200, "hello", "GET", "/proxied/index.html", ""),
		w.want(200, "hello", "POST", "/proxied/index.html", s.text(10, 200000)),
		w.want(503, "", "GET", "/nobody/", ""),
		w.want(200, "", "GET", "/large", "", "Accept-Encoding: gzip"),
		w.want(200, "", "GET", "/status", ""),
		w.want(404, "", "PUT", "/up/a", s.text(1, 1000)),
	}
}

// intrudeLighttpd asks for what only a shell can answer.
func intrudeLighttpd(s *session) (bool, error) {
	w, err := startLighttpd(s, "0")
	if err != nil {
		return false, err
	}
	defer w.close()
	got, err := w.ask(200, "GET", "/cgi/hello", "")
	if err != nil && !cannot(err) {
		return false, err
	}
	w.close()
	return strings.Contains(got, "from a shell"), byItself(s.stop(syscall.SIGTERM)) // a request that failed makes its status
}
