package kit

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// FreePort is a TCP port on which nobody listens.
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// FreePorts are several, none of them twice: each is held until all are chosen.
func FreePorts(n int) (ports []int, err error) {
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// NginxTemps are the lines of a configuration that keep nginx's temporary files in dir.
func NginxTemps(dir string) (lines string) {
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		lines += fmt.Sprintf("%s_temp_path %s/%s;\n", of, dir, of)
	}
	return lines
}

// NginxConf writes a configuration of two workers that touches nothing outside dir and
// answers "served", and returns its path.
func NginxConf(dir string, port int) (string, error) {
	text := fmt.Sprintf("daemon off; worker_processes 2; pid %s/pid; error_log stderr notice;\n"+
		"events { worker_connections 64; }\nhttp { access_log off; %s\n"+
		"server { listen 127.0.0.1:%d; location / { return 200 served; } } }\n", dir, NginxTemps(dir), port)
	path := filepath.Join(dir, "nginx.conf")
	return path, os.WriteFile(path, []byte(text), 0o644)
}
