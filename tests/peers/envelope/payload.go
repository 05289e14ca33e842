package envelope

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
)

const (
	counterLen  = 8
	innerLenLen = 2
	// How far behind the greatest counter one may be.
	windowLen = 8128
	// No counter from here on.
	counterEnd = math.MaxUint64 - 1<<13
)

var (
	errPayload = errors.New("no QUIC datagram inside")
	errCounter = errors.New("counter out of the window or seen before")
)

// counters of a tunnel: what was sent, and what was seen.
type counters struct {
	mutex sync.Mutex
	next  uint64
	last  uint64
	seen  map[uint64]struct{}
}

func newCounters() *counters {
	return &counters{seen: make(map[uint64]struct{})}
}

func (c *counters) take() uint64 {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	number := c.next
	c.next++
	return number
}

func (c *counters) accept(number uint64) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if number >= counterEnd || c.last > number && c.last-number > windowLen {
		return false
	}
	if _, known := c.seen[number]; known {
		return false
	}
	c.seen[number] = struct{}{}
	c.last = max(c.last, number)
	if len(c.seen) > 2*windowLen {
		for old := range c.seen {
			if c.last-old > windowLen {
				delete(c.seen, old)
			}
		}
	}
	return true
}

// codec of Transport frames.
type codec struct {
	framer  framer
	profile *Profile
}

func (c *codec) seal(tunnel *counters, inner []byte) ([]byte, error) {
	var payload []byte
	if c.profile.Obfuscation.TransportReplay {
		payload = binary.BigEndian.AppendUint64(payload, tunnel.take())
	}
	payload = binary.BigEndian.AppendUint16(payload, uint16(len(inner)))
	payload = append(payload, inner...)
	room := c.profile.Quic.MaxPacketSize - c.profile.Obfuscation.S4 - headerLen - len(payload)
	if len(inner) == 0 || room < 0 {
		return nil, errPayload
	}
	payload = append(payload, random(min(c.padding(), room))...)
	return c.framer.encode(transport, payload), nil
}

// padding is how many octets are to follow a QUIC datagram.
func (c *codec) padding() int {
	least, most, burstLeast, burstMost, chance := 0, 64, 128, 256, 0.02
	if p := c.profile.TransportPadding; p != nil {
		least, most = p.Min, p.Max
		burstLeast, burstMost, chance = p.BurstMin, p.BurstMax, p.BurstProb
	}
	if most == 0 && chance == 0 {
		return 0
	}
	if float64(below(1<<32))/(1<<32) < chance {
		return between(burstLeast, burstMost)
	}
	return between(least, most)
}

// open gives the QUIC datagram in the payload of a Transport frame.
func (c *codec) open(tunnel *counters, payload []byte) ([]byte, error) {
	at := c.profile.innerAt()
	if len(payload) < at {
		return nil, errPayload
	}
	length := int(binary.BigEndian.Uint16(payload[at-innerLenLen:]))
	inner := payload[at:]
	if length == 0 || length > len(inner) || length > quicMax {
		return nil, errPayload
	}
	if at > innerLenLen && !tunnel.accept(binary.BigEndian.Uint64(payload)) {
		return nil, errCounter
	}
	return inner[:length], nil
}
