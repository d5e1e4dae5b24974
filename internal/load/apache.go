package load

import (
	"fmt"
	"strings"
	"syscall"
)

func apache() Program {
	return Program{Name: "apache2", Command: "apache2", Package: "apache2", play: playApache, intrude: intrudeApache}
}

const apacheConf = `ServerName server
ServerRoot DIR
DefaultRuntimeDir DIR
PidFile DIR/pid
Mutex file:DIR
ErrorLog /dev/stderr
LogLevel notice
MODULES
Listen 127.0.0.1:PORT
Listen 127.0.0.1:SECURE
StartServers 2
MinSpareThreads 4
MaxSpareThreads 50
ThreadsPerChild 4
MaxRequestWorkers 16
GracefulShutdownTimeout 5
EnableSendfile SENDFILE
EnableMMAP MAPPED
LogFormat "%m %U %>s" brief
CustomLog DIR/access.log brief
DocumentRoot DIR/www
DirectoryIndex index.html
TypesConfig /dev/null
AddOutputFilterByType DEFLATE text/plain
ForceType text/plain
SSLSessionCache shmcb:DIR/sessions(64000)
USER
<Directory DIR/www>
  Options +Indexes
  Require all granted
</Directory>
<Directory DIR/www/private>
  Require all denied
</Directory>
ProxyPass /proxied/ http://127.0.0.1:PORT/
ProxyPass /nobody/ http://127.0.0.1:CLOSED/
Redirect /old/ /list/
RewriteEngine on
RewriteRule ^/rewritten$ /index.html
<Location /status>
  SetHandler server-status
</Location>
<VirtualHost 127.0.0.1:SECURE>
  SSLEngine on
  RewriteEngine on
  RewriteOptions Inherit
  SSLCertificateFile DIR/cert.pem
  SSLCertificateKeyFile DIR/key.pem
</VirtualHost>
<IfModule cgid_module>
  ScriptSock DIR/cgid.sock
  ScriptAlias /cgi/ DIR/www/cgi/
</IfModule>
`

// apacheModules are those of the configuration.
const apacheModules = "mpm_event authz_core alias dir mime autoindex filter deflate proxy proxy_http rewrite status ssl socache_shmcb"

// startApache starts a server with a website and further modules.
func startApache(s *session, more string) (plain, secure *web, err error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, nil, err
	}
	var modules string
	for _, m := range strings.Fields(apacheModules + " " + more) {
		modules += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", m, m)
	}
	conf := strings.NewReplacer("DIR", s.dir, "PORT", ports[0], "SECURE", ports[1], "CLOSED", ports[2], "MODULES", modules,
		"SENDFILE", s.either("On", "Off"), "MAPPED", s.either("On", "Off"), "USER", ifRoot("User www-data\nGroup www-data"))
	err = first(
		s.website, s.certificate,
		func() error { return s.write("www/private/x", "x") },
		func() error { return s.write("www/cgi/hello", "#!/bin/sh\necho; echo from a shell\n") },
		func() error { return s.executable("www/cgi/hello") },
		func() error { return s.write("apache2.conf", conf.Replace(apacheConf)) },
		func() error { return s.run("-f", s.file("apache2.conf"), "-DFOREGROUND") },
		func() error { return s.await("resuming normal operations") },
	)
	return newWeb(s, "http", "127.0.0.1:"+ports[0]), newWeb(s, "https", "127.0.0.1:"+ports[1]), err
}

func playApache(s *session) error {
	plain, secure, err := startApache(s, "")
	if err != nil {
		return err
	}
	closed := func() error { plain.close(); secure.close(); return nil }
	defer func() { _ = closed() }()
	steps := append(apacheSteps(s, plain), apacheSteps(s, secure)...)
	steps = append(steps, step{"garbage", func() error { return garbage(plain.address) }},
		step{"garbage to TLS", func() error { return garbage(secure.address) }})
	return first(
		func() error { return s.some(steps...) },
		closed,
		func() error {
			return s.signal([]syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP}[s.rand.Intn(2)], "resuming normal operations")
		},
		func() error { return s.some(steps...) },
		closed,
		func() error { return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGWINCH}[s.rand.Intn(2)]) },
	)
}

func apacheSteps(s *session, w *web) []step {
	return []step{
		w.want(200, "hello", "GET", "/", ""),
		w.want(200, "", "HEAD", "/index.html", ""),
		w.want(200, "hello", "POST", "/index.html", s.text(10, 40000)),
		w.want(200, "hello", "POST", "/proxied/index.html", s.text(10, 200000)),
		w.want(200, "", "GET", "/large", ""),
		w.want(206, "", "GET", "/large", "", fmt.Sprint("Range: bytes=", s.rand.Intn(1000), "-", 1000+s.rand.Intn(1000))),
		w.want(200, "", "GET", "/large", "", "Accept-Encoding: gzip"),
		w.want(404, "", "GET", "/missing", ""),
		w.want(403, "", "GET", "/private/x", ""),
		w.want(200, "sub", "GET", "/list/", ""),
		w.want(302, "", "GET", "/old/x", ""),
		w.want(200, "hello", "GET", "/rewritten", ""),
		w.want(200, "hello", "GET", "/proxied/index.html", ""),
		w.want(503, "", "GET", "/nobody/", ""),
		w.want(200, "Server uptime", "GET", "/status", ""),
		w.want(405, "", "PUT", "/up/a", s.text(1, 1000)),
		w.want(304, "", "GET", "/index.html", "", "If-None-Match: *"),
	}
}

// intrudeApache asks for what only a shell can answer.
func intrudeApache(s *session) (bool, error) {
	plain, _, err := startApache(s, "cgid")
	if err != nil {
		return false, err
	}
	defer plain.close()
	got, _ := plain.ask(200, "GET", "/cgi/hello", "")
	plain.close()
	return strings.Contains(got, "from a shell"), s.stop(syscall.SIGTERM)
}
