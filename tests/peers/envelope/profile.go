// Package envelope carries QUIC datagrams as the tunnels of Bridgefall Paniq do: behind a preamble,
// each in a frame of its own. It was written from the specification of the wire and from nothing
// else, so that two readings of it meet in tests.
package envelope

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// Profile is what both ends know, as it is written in JSON.
type Profile struct {
	HandshakeTimeout  duration `json:"handshake_timeout"`
	HandshakeAttempts int      `json:"handshake_attempts"`
	PreambleDelayMs   int      `json:"preamble_delay_ms"`
	PreambleJitterMs  int      `json:"preamble_jitter_ms"`
	Quic              struct {
		MaxPacketSize int      `json:"max_packet_size"`
		MaxPayload    int      `json:"max_payload"`
		Keepalive     duration `json:"keepalive"`
		IdleTimeout   duration `json:"idle_timeout"`
		MaxStreams    int64    `json:"max_streams"`
	} `json:"quic"`
	Obfuscation struct {
		Jc                 int    `json:"jc"`
		Jmin               int    `json:"jmin"`
		Jmax               int    `json:"jmax"`
		S1                 int    `json:"s1"`
		S2                 int    `json:"s2"`
		S3                 int    `json:"s3"`
		S4                 int    `json:"s4"`
		H1                 string `json:"h1"`
		H2                 string `json:"h2"`
		H3                 string `json:"h3"`
		H4                 string `json:"h4"`
		I1                 string `json:"i1"`
		I2                 string `json:"i2"`
		I3                 string `json:"i3"`
		I4                 string `json:"i4"`
		I5                 string `json:"i5"`
		ServerPrivateKey   []byte `json:"server_private_key"`
		ServerPublicKey    []byte `json:"server_public_key"`
		RequireTimestamp   *bool  `json:"require_timestamp"`
		EncryptedTimestamp *bool  `json:"encrypted_timestamp"`
		RequireEncrypted   bool   `json:"require_encrypted_timestamp"`
		SkewHardSeconds    int64  `json:"skew_hard_seconds"`
		TransportReplay    bool   `json:"transport_replay"`
	} `json:"obfuscation"`
	TransportPadding *struct {
		Min       int     `json:"pad_min"`
		Max       int     `json:"pad_max"`
		BurstMin  int     `json:"pad_burst_min"`
		BurstMax  int     `json:"pad_burst_max"`
		BurstProb float64 `json:"pad_burst_prob"`
	} `json:"transport_padding"`
}

// duration is written as Go writes one.
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var written string
	if err := json.Unmarshal(text, &written); err != nil {
		return err
	}
	if written == "" {
		return nil
	}
	parsed, err := time.ParseDuration(written)
	*d = duration(parsed)
	return err
}

func orElse[T int | int64 | duration](given, otherwise T) T {
	if given <= 0 {
		return otherwise
	}
	return given
}

// Read reads a profile from a file and fills in what it leaves out.
func Read(path string) (*Profile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var p Profile
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, err
	}
	p.HandshakeTimeout = orElse(p.HandshakeTimeout, duration(5*time.Second))
	p.HandshakeAttempts = orElse(p.HandshakeAttempts, 3)
	p.Quic.MaxPacketSize = orElse(p.Quic.MaxPacketSize, 1350)
	p.Quic.Keepalive = orElse(p.Quic.Keepalive, duration(20*time.Second))
	p.Quic.IdleTimeout = orElse(p.Quic.IdleTimeout, duration(2*time.Minute))
	p.Quic.MaxStreams = orElse(p.Quic.MaxStreams, 256)
	p.Obfuscation.SkewHardSeconds = orElse(p.Obfuscation.SkewHardSeconds, 30)
	for _, key := range [][]byte{p.Obfuscation.ServerPrivateKey, p.Obfuscation.ServerPublicKey} {
		if len(key) != 0 && len(key) != keyLen {
			return nil, fmt.Errorf("a key of %d octets", len(key))
		}
	}
	if size := p.QuicSize(); size < quicMin {
		return nil, errors.New("no room for QUIC")
	}
	return &p, nil
}

// Lengths of QUIC datagrams: the least that it needs, and what its receive buffers hold.
const (
	quicMin = 1200
	quicMax = 1452
)

// QuicSize is how long QUIC's datagrams may be.
func (p *Profile) QuicSize() uint16 {
	size := p.Quic.MaxPacketSize - p.Obfuscation.S4 - headerLen - p.innerAt()
	if most := p.Quic.MaxPayload; most > 0 {
		size = min(size, most)
	}
	return uint16(max(0, min(size, quicMax)))
}

// innerAt is where in the payload of a Transport frame the QUIC datagram begins.
func (p *Profile) innerAt() int {
	if p.Obfuscation.TransportReplay {
		return counterLen + innerLenLen
	}
	return innerLenLen
}

func (p *Profile) encryptsTimestamp(hasKey bool) bool {
	if given := p.Obfuscation.EncryptedTimestamp; given != nil {
		return *given && hasKey
	}
	return hasKey
}
