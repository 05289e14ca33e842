package envelope

import (
	"errors"
	"net"
	"time"
)

// Report is told what happens.
type Report func(event string, fields map[string]any)

var errNoAnswer = errors.New("no attempt was answered")

// bufferLen is more than any datagram of a tunnel.
const bufferLen = 1 << 16

// Client is a socket whose preamble was answered. QUIC reads from it and writes to it.
type Client struct {
	net.PacketConn
	server  net.Addr
	codec   codec
	tunnel  *counters
	report  Report
	scratch []byte
}

// Connect sends a preamble from the socket until the server answers.
func Connect(p *Profile, socket net.PacketConn, server net.Addr, report Report) (*Client, error) {
	framer, err := newFramer(p)
	if err != nil {
		return nil, err
	}
	chains, err := newChains(p)
	if err != nil {
		return nil, err
	}
	first, err := makeInitiation(p, framer)
	if err != nil {
		return nil, err
	}
	client := &Client{
		PacketConn: socket,
		server:     server,
		codec:      codec{framer, p},
		tunnel:     newCounters(),
		report:     report,
		scratch:    make([]byte, bufferLen),
	}
	for attempt := 1; attempt <= p.HandshakeAttempts; attempt++ {
		deadline := time.Now().Add(time.Duration(p.HandshakeTimeout))
		if err := client.say(chains, first); err != nil {
			return nil, err
		}
		if client.isAnswered(deadline) {
			report("ready", map[string]any{"attempt": attempt, "initiation": len(first)})
			return client, socket.SetReadDeadline(time.Time{})
		}
	}
	return nil, errNoAnswer
}

// makeInitiation is the same octets in each attempt.
func makeInitiation(p *Profile, framer framer) ([]byte, error) {
	key := p.Obfuscation.ServerPublicKey
	var payload []byte
	if p.encryptsTimestamp(len(key) != 0) {
		var err error
		if payload, err = sealTime(key, time.Now()); err != nil {
			return nil, err
		}
	}
	if len(key) == 0 {
		return framer.encode(initiation, payload), nil
	}
	frame := framer.encode(initiation, append(payload, make([]byte, macLen)...))
	copy(frame[len(frame)-macLen:], mac(key, frame))
	return frame, nil
}

// say sends junk, signatures and the Initiation, with pauses.
func (c *Client) say(chains []chain, first []byte) error {
	p := c.codec.profile
	var before [][]byte
	for n := 0; n < p.Obfuscation.Jc; n++ {
		before = append(before, random(between(p.Obfuscation.Jmin, p.Obfuscation.Jmax)))
	}
	for _, chain := range chains {
		before = append(before, chain.encode())
	}
	for _, datagram := range before {
		if _, err := c.PacketConn.WriteTo(datagram, c.server); err != nil {
			return err
		}
		pause := time.Duration(p.PreambleDelayMs) * time.Millisecond
		if jitter := time.Duration(p.PreambleJitterMs) * time.Millisecond; jitter > 0 {
			pause += time.Duration(below(uint64(jitter)))
		}
		time.Sleep(pause)
	}
	_, err := c.PacketConn.WriteTo(first, c.server)
	return err
}

func (c *Client) isAnswered(deadline time.Time) bool {
	if err := c.PacketConn.SetReadDeadline(deadline); err != nil {
		return false
	}
	for {
		n, from, err := c.PacketConn.ReadFrom(c.scratch)
		if err != nil {
			return false
		}
		found, payload, err := c.codec.framer.decode(c.scratch[:n])
		if from.String() == c.server.String() && err == nil && found == response {
			c.report("response", map[string]any{"octets": n, "payload": len(payload)})
			return true
		}
	}
}

// ReadFrom gives the next QUIC datagram; nothing else ends it than the socket.
func (c *Client) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(c.scratch)
		if err != nil {
			return 0, nil, err
		}
		if from.String() != c.server.String() {
			continue
		}
		found, payload, err := c.codec.framer.decode(c.scratch[:n])
		if err == nil && found != transport {
			err = errSequence
		}
		if err == nil {
			if payload, err = c.codec.open(c.tunnel, payload); err == nil {
				return copy(b, payload), from, nil
			}
		}
		c.report("dropped", map[string]any{"why": err.Error(), "octets": n})
	}
}

// WriteTo sends a QUIC datagram.
func (c *Client) WriteTo(b []byte, to net.Addr) (int, error) {
	frame, err := c.codec.seal(c.tunnel, b)
	if err != nil {
		c.report("unsealed", map[string]any{"octets": len(b)})
		return 0, err
	}
	if _, err := c.PacketConn.WriteTo(frame, to); err != nil {
		return 0, err
	}
	return len(b), nil
}
