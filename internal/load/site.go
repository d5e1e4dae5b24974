package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"syscall"
	"time"
)

// website writes the files that servers of HTTP serve, and a directory in which their
// workers may write, whoever they are.
func (s *session) website() error {
	for name, text := range map[string]string{
		"www/index.html": "hello\n", "www/list/sub/file": "x", "www/large": strings.Repeat("0123456789abcdef", 1<<15+s.rand.Intn(1<<15)),
	} {
		if err := s.write(name, text); err != nil {
			return err
		}
	}
	return s.folder("www/up")
}

// folder makes a directory in which everybody may write.
func (s *session) folder(name string) error {
	return first(
		func() error { return os.MkdirAll(s.file(name), 0o777) },
		func() error { return os.Chmod(s.file(name), 0o777) },
	)
}

// certificate writes cert.pem, which nobody has to trust, and key.pem. They alone are not drawn from
// the seed: crypto/ecdsa makes no promise to draw the same key again.
func (s *session) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"server"}}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return first(
		func() error { return s.write("cert.pem", encoded("CERTIFICATE", cert)) },
		func() error { return s.write("key.pem", encoded("PRIVATE KEY", secret)) },
	)
}

func encoded(kind string, data []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

// ifRoot is a text for servers that root starts, "" for others.
func ifRoot(text string) string {
	if os.Getuid() == 0 {
		return text
	}
	return ""
}

// isReset tells whether a server has closed a connection on what it had not read.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// executable has everybody execute a file.
func (s *session) executable(name string) error { return os.Chmod(s.file(name), 0o755) }
