package load

import (
	"fmt"
	"os"
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
MUTEX
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
SSLSessionCache SESSIONS
USER
EXTRA
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

// apacheMore are further modules of a varied load.
const apacheMore = "headers expires env setenvif authn_core authn_file authz_user authz_host auth_basic include substitute cache cache_disk " +
	"cache_socache reqtimeout unique_id ratelimit info negotiation vhost_alias http2 asis actions log_debug usertrack"

// apacheExtra are further lines of a varied load.
func (s *session) apacheExtra() string {
	return s.extra(
		"KeepAlive Off", "BufferedLogs On", "HostnameLookups On", "UseCanonicalName On", "MaxConnectionsPerChild 20", "ListenBacklog 16",
		"ScoreBoardFile "+s.file("board"), "CoreDumpDirectory "+s.dir, "TraceEnable Off", "FileETag All", "ExtendedStatus Off", "Timeout 20",
		"Header set X-A b", "ExpiresActive On", "Protocols h2 h2c http/1.1", "MaxKeepAliveRequests 3", "ReceiveBufferSize 65536", "SendBufferSize 65536",
		"CacheRoot "+s.file("www/up")+"\nCacheEnable disk /proxied/\nCacheIgnoreNoLastMod On\nCacheQuickHandler off", "CacheEnable socache /list/",
		"<Location /rewritten>\nSetOutputFilter SUBSTITUTE\nSubstitute s/hello/hello/\n</Location>",
		"<Location /large>\nSetOutputFilter RATE_LIMIT\nSetEnv rate-limit 40960\n</Location>", "RequestReadTimeout header=5 body=5",
		"<Location /info>\nSetHandler server-info\n</Location>", "ProxyTimeout 5", "ContentDigest On", "CookieTracking on",
		"LimitRequestLine 4000", "ServerSignature On", "HttpProtocolOptions Unsafe")
}

func apachePaths() []string {
	return []string{"/large", "/", "/list/", "/proxied/index.html", "/proxied/large", "/missing", "/status", "/info", "/rewritten", "/nobody/"}
}

// startApache starts a server with a website and further modules.
func startApache(s *session, more string) (plain, secure *web, err error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, nil, err
	}
	if s.varied {
		more += " " + apacheMore
	}
	var modules string
	for _, m := range strings.Fields(apacheModules + " " + more) {
		modules += fmt.Sprintf("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", m, m)
	}
	conf := strings.NewReplacer("DIR", s.dir, "PORT", ports[0], "SECURE", ports[1], "CLOSED", ports[2], "MODULES", modules,
		"SENDFILE", s.either("On", "Off"), "MAPPED", s.either("On", "Off"), "SESSIONS", s.drawn("shmcb:"+s.file("sessions")+"(64000)", "none"),
		"MUTEX", s.drawn("Mutex file:"+s.dir, "Mutex fcntl:"+s.dir, "Mutex flock:"+s.dir, "Mutex sysvsem", "Mutex posixsem", "Mutex pthread"),
		"EXTRA", s.apacheExtra(), "USER", ifRoot("User www-data\nGroup www-data"))
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
	more := append(plain.crowds(apachePaths()...), s.loss(), s.apacheReload(closed),
		step{"a crowd by TLS", func() error { return secure.crowd(4, 10, apachePaths()) }},
		step{"a crowd by TLS", func() error { return secure.crowd(8, 3, apachePaths()) }})
	return first(
		func() error { return s.rounds(steps, more) },
		closed,
		func() error {
			return s.signal([]syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP}[s.rand.Intn(2)], "resuming normal operations")
		},
		func() error { return s.rounds(steps, more) },
		closed,
		func() error { return s.stop([]syscall.Signal{syscall.SIGTERM, syscall.SIGWINCH}[s.rand.Intn(2)]) },
	)
}

// apacheReload is a step of a reload of either kind.
func (s *session) apacheReload(closed func() error) step {
	sig := []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP}[s.rand.Intn(2)]
	return step{"reload", func() error {
		return first(closed, func() error { return s.signal(sig, "resuming normal operations") })
	}}
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
	plain.client.Timeout = shortPatience // the daemon of scripts tries for ever to accept
	got, err := plain.ask(200, "GET", "/cgi/hello", "")
	if err != nil && !cannot(err) && !os.IsTimeout(err) {
		return false, err
	}
	plain.close()
	return strings.Contains(got, "from a shell"), s.stop(syscall.SIGTERM)
}
