package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

const headerLen = 4

// kind of a frame; never on the wire itself.
type kind int

const (
	initiation kind = iota
	response
	cookieReply
	transport
)

// form of the frames of a kind: random octets, and a header from a range.
type form struct {
	prefix     int
	from, upTo uint32
}

var (
	errNoFrame = errors.New("no frame")
	// Random octets look like the header of another kind now and then; such a frame is lost.
	errTwoFrames = errors.New("two frames at once")
)

type framer [4]form

func newFramer(p *Profile) (framer, error) {
	o := &p.Obfuscation
	var f framer
	prefixes := []int{o.S1, o.S2, o.S3, o.S4}
	for n, text := range []string{o.H1, o.H2, o.H3, o.H4} {
		if text == "" {
			text = strconv.Itoa(n + 1)
		}
		first, last, found := strings.Cut(text, "-")
		if !found {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 32)
		if err != nil {
			return f, err
		}
		upTo, err := strconv.ParseUint(last, 10, 32)
		if err != nil {
			return f, err
		}
		if upTo < from || prefixes[n] < 0 {
			return f, fmt.Errorf("form %d", n+1)
		}
		f[n] = form{prefixes[n], uint32(from), uint32(upTo)}
	}
	for n, one := range f {
		for _, other := range f[n+1:] {
			if one.from <= other.upTo && other.from <= one.upTo {
				return f, errors.New("headers overlap")
			}
		}
	}
	return f, nil
}

// encode frames a payload. Random octets that look like a frame of another kind are drawn again; a
// payload that does is nobody's fault.
func (f framer) encode(k kind, payload []byte) []byte {
	const attempts = 8
	var frame []byte
	for n := 0; n < attempts; n++ {
		form := f[k]
		frame = random(form.prefix)
		header := form.from + uint32(below(uint64(form.upTo-form.from)+1))
		frame = binary.LittleEndian.AppendUint32(frame, header)
		frame = append(frame, payload...)
		if _, _, err := f.decode(frame); err == nil {
			break
		}
	}
	return frame
}

// decode gives the kind and the payload of a datagram that is a frame of exactly one kind.
func (f framer) decode(datagram []byte) (kind, []byte, error) {
	found, payload := kind(-1), []byte(nil)
	for n, form := range f {
		if len(datagram) < form.prefix+headerLen {
			continue
		}
		header := binary.LittleEndian.Uint32(datagram[form.prefix:])
		if header < form.from || header > form.upTo {
			continue
		}
		if found >= 0 {
			return -1, nil, errTwoFrames
		}
		found, payload = kind(n), datagram[form.prefix+headerLen:]
	}
	if found < 0 {
		return -1, nil, errNoFrame
	}
	return found, payload, nil
}

func random(length int) []byte {
	octets := make([]byte, length)
	if _, err := rand.Read(octets); err != nil {
		panic(err)
	}
	return octets
}

// below is a random number less than n, which is not 0.
func below(n uint64) uint64 {
	number, err := rand.Int(rand.Reader, new(big.Int).SetUint64(n))
	if err != nil {
		panic(err)
	}
	return number.Uint64()
}

// between is a random number, both ends possible.
func between(from, upTo int) int {
	return from + int(below(uint64(upTo-from)+1))
}
