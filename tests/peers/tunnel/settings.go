package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

// ALPN of tunnels.
const ALPN = "bridgefall-paniq"

// Settings of QUIC and TLS that the Go programs do not leave to the library.
type Settings struct {
	ALPN       string
	Keepalive  time.Duration
	Idle       time.Duration
	StreamsMax int64
	// Size of the longest QUIC datagram, and of those that begin a connection.
	Size uint16
}

func (s Settings) quic() *quic.Config {
	return &quic.Config{
		MaxIncomingStreams:      s.StreamsMax,
		KeepAlivePeriod:         s.Keepalive,
		MaxIdleTimeout:          s.Idle,
		InitialPacketSize:       s.Size,
		DisablePathMTUDiscovery: true,
		Tracer:                  newTracer,
	}
}

// ClientTLS trusts whatever certificate a server has.
func (s Settings) ClientTLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{s.ALPN},
		InsecureSkipVerify: true,
	}
}

// ServerTLS makes a certificate without any name, good for this run of the program.
func (s Settings) ServerTLS() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: false,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{s.ALPN},
		Certificates: []tls.Certificate{certificate},
	}, nil
}

// Plain hides all of a socket but its datagrams, as an envelope does: no ECN, no offload, no bit
// that forbids fragments.
type Plain struct{ Socket net.PacketConn }

func (p Plain) ReadFrom(b []byte) (int, net.Addr, error)   { return p.Socket.ReadFrom(b) }
func (p Plain) WriteTo(b []byte, to net.Addr) (int, error) { return p.Socket.WriteTo(b, to) }
func (p Plain) Close() error                               { return p.Socket.Close() }
func (p Plain) LocalAddr() net.Addr                        { return p.Socket.LocalAddr() }
func (p Plain) SetDeadline(at time.Time) error             { return p.Socket.SetDeadline(at) }
func (p Plain) SetReadDeadline(at time.Time) error         { return p.Socket.SetReadDeadline(at) }
func (p Plain) SetWriteDeadline(at time.Time) error        { return p.Socket.SetWriteDeadline(at) }
