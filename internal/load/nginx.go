package load

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"portcullis/internal/kit"
)

func nginx() Program {
	return Program{Name: "nginx", Command: "nginx", Package: "nginx-light", play: playNginx, intrude: intrudeNginx}
}

// nginxConf is a configuration of two workers, a cache, and TLS. What is served by one
// server is asked of by another.
const nginxConf = `USER MAIN daemon off; worker_processes WORKERS; pid DIR/pid; error_log stderr notice;
events { worker_connections 64; ACCEPT }
http {
  HTTP
  log_format brief '$request_method $uri $status'; access_log DIR/access.log briefBUFFERED;
  client_body_temp_path DIR/tmp-body; proxy_temp_path DIR/tmp-proxy; fastcgi_temp_path DIR/tmp-fastcgi;
  uwsgi_temp_path DIR/tmp-uwsgi; scgi_temp_path DIR/tmp-scgi;
  proxy_cache_path DIR/cache keys_zone=pages:1mCACHE; client_body_buffer_size 8k;
  sendfile SENDFILE; if_modified_since before; gzip on; gzip_min_length 100; gzip_types text/plain; default_type text/plain; types { }
  server { listen unix:DIR/inner.sock; root DIR/www; }
  server {
    listen 127.0.0.1:PORTLISTEN; listen 127.0.0.1:SECURE ssl http2; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem;
    root DIR/www; autoindex on;
    SERVER
    location = /which { return 200 WHICH; }
    location = /echo { proxy_pass http://unix:DIR/inner.sock:/index.html; proxy_method GET; }
    location /up/ { dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on; AIO }
    location /proxied/ { proxy_pass http://unix:DIR/inner.sock:/; proxy_cache pages; proxy_cache_valid 1m; PROXY }
    location /nobody/ { proxy_pass http://127.0.0.1:CLOSED/; }
  }
}
`

// startNginx starts a server with a website; configure gives it another configuration.
func startNginx(s *session) (ports []string, configure func(which string) error, err error) {
	if ports, err = freePorts(3); err != nil {
		return nil, nil, err
	}
	conf := strings.NewReplacer(
		"DIR", s.dir, "PORT", ports[0], "SECURE", ports[1], "CLOSED", ports[2], "SENDFILE", s.either("on", "off"),
		"ACCEPT", s.either("", "multi_accept on;", "accept_mutex on;"),
		"AIO", s.either("", "aio threads;"), "USER", ifRoot("user www-data;"), "WORKERS", s.drawn("2", "1", "4"),
		"BUFFERED", s.drawn("", " buffer=4k flush=1s"), "CACHE", s.drawn("", " levels=1:2 use_temp_path=off max_size=100k inactive=1s"),
		"LISTEN", s.drawn("", " deferred backlog=64 so_keepalive=on", " fastopen=16 sndbuf=64k"),
		"MAIN", s.extra("timer_resolution 100ms;", "worker_rlimit_nofile 512;", "worker_cpu_affinity auto;", ifRoot("worker_priority 1;"),
			"worker_rlimit_core 1m;", "worker_shutdown_timeout 1s;", "thread_pool default threads=4;"),
		"HTTP", s.extra("open_file_cache max=100 inactive=1s;", "open_file_cache_errors on;", "tcp_nopush on;", "reset_timedout_connection on;",
			"sendfile_max_chunk 64k;", "output_buffers 2 8k;", "ssl_session_cache shared:s:1m;", "ssl_buffer_size 4k;", "ssl_stapling off;",
			"keepalive_requests 3;", "lingering_close always;", "limit_rate 50m;", "open_log_file_cache max=10;"),
		"SERVER", s.extra("directio 512k;", "aio threads;", "error_page 404 /index.html;", "client_body_in_file_only clean;", "etag off;",
			"gzip_static on;", "location /bound/ { proxy_bind 127.0.0.1; proxy_pass http://127.0.0.1:PORT/; }", "gunzip on;", "disable_symlinks on;", "sub_filter hello hello;", "location = /stub { stub_status; }",
			"location /by/ { resolver 127.0.0.1:CLOSED; resolver_timeout 1s; set $u nowhere; proxy_pass http://$u/; }",
			"access_log syslog:server=127.0.0.1:CLOSED brief;", "location /mirrored/ { mirror /which; proxy_pass http://unix:DIR/inner.sock:/; }",
			"location /stored/ { proxy_store on; alias DIR/www/up/; error_page 404 = /proxied/index.html; }"),
		"PROXY", s.extra("proxy_buffering off;", "proxy_buffers 4 4k;", "proxy_cache_lock on;", "proxy_http_version 1.1;",
			"proxy_cache_use_stale updating;", "proxy_cache_background_update on;"))
	configure = func(which string) error {
		return s.write("nginx.conf", strings.ReplaceAll(conf.Replace(conf.Replace(nginxConf)), "WHICH", which))
	}
	return ports, configure, first(
		s.website, s.certificate,
		func() error { return configure("one") },
		func() error { return s.run("-e", "stderr", "-p", s.dir, "-c", s.file("nginx.conf")) },
		func() error { return s.await("start worker process ") },
	)
}

func playNginx(s *session) error {
	ports, configure, err := startNginx(s)
	if err != nil {
		return err
	}
	plain, secure := newWeb(s, "http", "127.0.0.1:"+ports[0]), newWeb(s, "https", "127.0.0.1:"+ports[1])
	defer plain.close()
	defer secure.close()
	steps := append(nginxSteps(s, plain), nginxSteps(s, secure)...)
	steps = append(steps, step{"garbage", func() error { return garbage(plain.address) }},
		step{"garbage to TLS", func() error { return garbage(secure.address) }},
		step{"logs", func() error { return s.signal(syscall.SIGUSR1, "reopening logs") }})
	more := append(plain.crowds(nginxPaths()...), s.loss(),
		step{"a crowd by TLS", func() error { return secure.crowd(4, 10, nginxPaths()) }},
		plain.any("GET", "/by/x"), step{"a bad configuration", func() error { return badNginx(s, configure) }},
		step{"reload under load", func() error {
			return s.signalAmid(syscall.SIGHUP, "reconfiguring", func() error { return plain.crowd(4, 20, nginxPaths()) })
		}})
	return first(
		func() error { return s.rounds(steps, more) },
		func() error { return configure("two") },
		func() error { return s.signal(syscall.SIGHUP, "reconfiguring") },
		func() error { return plain.until("/which", "two") },
		func() error { return s.rounds(steps, more) },
		func() error { plain.close(); secure.close(); return nil },
		func() error {
			return s.stop([]syscall.Signal{syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT}[s.rand.Intn(3)])
		},
	)
}

func nginxPaths() []string {
	return []string{"/large", "/", "/list/", "/proxied/large", "/proxied/index.html", "/none", "/stub", "/mirrored/index.html", "/stored/x", "/bound/", "/nobody/"}
}

// badNginx has a server read a configuration that is none; it goes on with what it has.
func badNginx(s *session, configure func(string) error) error {
	return first(
		func() error { return s.write("nginx.conf", "nothing {") },
		func() error { return s.signal(syscall.SIGHUP, "[emerg]") },
		func() error { return configure("one") },
	)
}

// nginxSteps are requests, good and bad ones.
func nginxSteps(s *session, w *web) []step {
	up, again := "/up/"+s.either("a", "b", "c/d")+w.base[:5], 0
	return []step{
		w.want(200, "hello", "GET", "/", ""),
		w.want(200, "", "HEAD", "/index.html", ""),
		w.want(405, "", "POST", "/index.html", s.text(10, 40000)),
		w.want(200, "hello", "POST", "/echo", s.text(10, 200000)),
		w.want(200, "", "GET", "/large", ""),
		w.want(206, "", "GET", "/large", "", fmt.Sprint("Range: bytes=", s.rand.Intn(1000), "-", 1000+s.rand.Intn(1000))),
		w.want(404, "", "GET", "/missing"+s.either("1", "2", "/x"), ""),
		w.want(400, "", "GET", "/%00", ""),
		w.want(200, "sub", "GET", "/list/", ""),
		w.want(301, "", "GET", "/list", ""),
		w.want(200, "hello", "GET", "/proxied/index.html", ""),
		w.want(502, "", "GET", "/nobody/", ""),
		w.want(200, "", "GET", "/large", "", "Accept-Encoding: gzip"),
		w.want(304, "", "GET", "/index.html", "", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
		{"put", func() error {
			again++ // a file that is known may be remembered
			return w.put(fmt.Sprint(up, again), s.text(1, 60000))
		}},
	}
}

// put makes a file, copies and moves it, and deletes it.
func (w *web) put(path, text string) error {
	to := "Destination: " + path + "to"
	return inTurn(
		w.want(201, "", "PUT", path, text),
		w.want(204, "", "COPY", path, "", to),
		w.want(200, text, "GET", path+"to", ""),
		w.want(204, "", "MOVE", path, "", to),
		w.want(204, "", "DELETE", path+"to", ""),
	)
}

// until asks until another server answers, for who was told to reload goes on for a while.
func (w *web) until(path, text string) error {
	for end := time.Now().Add(patience); ; {
		got, err := w.ask(200, "GET", path, "")
		if err != nil || got == text {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("GET %s: expected %q within %v, found %.200q", path, text, patience, got)
		}
	}
}

// intrudeNginx seizes the workers, of which one takes a connection.
func intrudeNginx(s *session) (bool, error) {
	const ended = " exited with code "
	ports, _, err := startNginx(s)
	if err != nil {
		return false, err
	}
	if err := s.await("start worker process "); err != nil { // the other of two
		return false, err
	}
	workers, err := childrenOf(s.process.Pid())
	if err != nil || len(workers) < 2 {
		return false, fmt.Errorf("%d workers (%v): expected two", len(workers), err)
	}
	if err := first(
		func() error { return seize(workers...) },
		func() error { return touch("127.0.0.1:" + ports[0]) },
		func() error { return s.await(ended) },
	); err != nil {
		return false, err
	}
	came := s.output.has("from a shell")
	if !came && !s.output.has(fmt.Sprint(ended, triedStatus)) {
		return false, fmt.Errorf("expected a shell, or a worker that%s%d", ended, triedStatus)
	}
	return came, s.stop(syscall.SIGTERM)
}

// garbage sends what is no request.
func garbage(address string) error {
	_, err := talk("tcp", address, "\x16\x03 \r\n\r\n")
	return err
}

func freePorts(n int) ([]string, error) {
	ports, err := kit.FreePorts(n)
	if err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i, port := range ports {
		names[i] = fmt.Sprint(port)
	}
	return names, nil
}
