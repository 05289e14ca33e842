package envelope

import (
	"crypto/ecdh"
	"errors"
	"net"
	"sync"
	"time"
)

var (
	errSequence = errors.New("not what was due")
	errTime     = errors.New("no time, or one too far away")
)

// peer is what is known of a source.
type peer struct {
	junk      int
	signature int
	time      *uint32
	lastSeen  time.Time
	tunnel    *counters
}

// Server is a socket that judges preambles in their exact order, as the Go programs do, and carries
// the tunnels of those that pass. It remembers no preamble; that is for tests alone.
type Server struct {
	net.PacketConn
	codec   codec
	chains  []chain
	private *ecdh.PrivateKey
	report  Report
	scratch []byte
	mutex   sync.Mutex
	peers   map[string]*peer
}

// Listen makes a server of a socket.
func Listen(p *Profile, socket net.PacketConn, report Report) (*Server, error) {
	framer, err := newFramer(p)
	if err != nil {
		return nil, err
	}
	chains, err := newChains(p)
	if err != nil {
		return nil, err
	}
	server := &Server{
		PacketConn: socket,
		codec:      codec{framer, p},
		chains:     chains,
		report:     report,
		scratch:    make([]byte, bufferLen),
		peers:      make(map[string]*peer),
	}
	if key := p.Obfuscation.ServerPrivateKey; len(key) != 0 {
		server.private, err = ecdh.X25519().NewPrivateKey(key)
	}
	return server, err
}

// ReadFrom gives the next QUIC datagram of any tunnel.
func (s *Server) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(s.scratch)
		if err != nil {
			return 0, nil, err
		}
		inner, err := s.judge(from, s.scratch[:n])
		if err != nil {
			s.report("dropped", map[string]any{"why": err.Error(), "octets": n})
			continue
		}
		if inner != nil {
			return copy(b, inner), from, nil
		}
	}
}

// judge gives a QUIC datagram, or nil for what belongs to a preamble.
func (s *Server) judge(from net.Addr, datagram []byte) ([]byte, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := time.Now()
	p := s.peers[from.String()]
	patience := time.Duration(s.codec.profile.HandshakeTimeout)
	if p == nil || p.tunnel == nil && now.Sub(p.lastSeen) > patience {
		p = &peer{}
		s.peers[from.String()] = p
	}
	p.lastSeen = now
	if p.tunnel != nil {
		found, payload, err := s.codec.framer.decode(datagram)
		if err != nil {
			return nil, err
		}
		if found != transport {
			return nil, errSequence
		}
		return s.codec.open(p.tunnel, payload)
	}
	if err := s.preamble(p, now, from, datagram); err != nil {
		delete(s.peers, from.String())
		return nil, err
	}
	return nil, nil
}

// preamble takes the next datagram of one.
func (s *Server) preamble(p *peer, now time.Time, from net.Addr, datagram []byte) error {
	if p.junk < s.codec.profile.Obfuscation.Jc {
		p.junk++
		return nil
	}
	if p.signature < len(s.chains) {
		fits, seconds := s.chains[p.signature].read(datagram)
		if !fits {
			return errSequence
		}
		if seconds != nil {
			p.time = seconds
		}
		p.signature++
		return nil
	}
	found, payload, err := s.codec.framer.decode(datagram)
	if err != nil {
		return err
	}
	if found != initiation {
		return errSequence
	}
	if err := s.authenticate(p, now, datagram, payload); err != nil {
		return err
	}
	answer := s.codec.framer.encode(response, nil)
	if _, err := s.PacketConn.WriteTo(answer, from); err != nil {
		return err
	}
	p.tunnel = newCounters()
	s.report("ready", map[string]any{"octets": len(datagram), "payload": len(payload)})
	return nil
}

func (s *Server) authenticate(p *peer, now time.Time, datagram, payload []byte) error {
	o := &s.codec.profile.Obfuscation
	isNear := func(seconds int64) bool {
		away := now.Unix() - seconds
		return away <= o.SkewHardSeconds && -away <= o.SkewHardSeconds
	}
	if s.private != nil {
		if len(payload) < macLen || !verifies(s.private.PublicKey().Bytes(), datagram) {
			return errMac
		}
		if s.codec.profile.encryptsTimestamp(true) {
			seconds, err := openTime(s.private, payload[:len(payload)-macLen])
			if err != nil {
				return err
			}
			if seconds != nil {
				if !isNear(*seconds) {
					return errTime
				}
				return nil
			}
		}
	}
	isRequired := o.RequireTimestamp == nil || *o.RequireTimestamp
	switch {
	case o.RequireEncrypted:
		return errTime
	case p.time == nil && isRequired, p.time != nil && !isNear(int64(*p.time)):
		return errTime
	}
	return nil
}

// WriteTo sends a QUIC datagram to a source that has a tunnel.
func (s *Server) WriteTo(b []byte, to net.Addr) (int, error) {
	s.mutex.Lock()
	p := s.peers[to.String()]
	s.mutex.Unlock()
	if p == nil || p.tunnel == nil {
		return len(b), nil
	}
	frame, err := s.codec.seal(p.tunnel, b)
	if err != nil {
		s.report("unsealed", map[string]any{"octets": len(b)})
		return 0, err
	}
	if _, err := s.PacketConn.WriteTo(frame, to); err != nil {
		return 0, err
	}
	return len(b), nil
}
