package envelope

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tag of a signature: some octets of it.
type tag struct {
	key    string
	fixed  []byte
	length int
}

type chain []tag

// newChains reads the signatures of a profile that are not empty.
func newChains(p *Profile) ([]chain, error) {
	o := &p.Obfuscation
	var chains []chain
	for n, text := range []string{o.I1, o.I2, o.I3, o.I4, o.I5} {
		if text == "" {
			continue
		}
		chain, err := newChain(text)
		if err != nil {
			return nil, fmt.Errorf("i%d: %w", n+1, err)
		}
		chains = append(chains, chain)
	}
	return chains, nil
}

func newChain(text string) (chain, error) {
	var c chain
	for {
		_, rest, found := strings.Cut(text, "<")
		if !found {
			break
		}
		inside, after, found := strings.Cut(rest, ">")
		if !found {
			return nil, fmt.Errorf("%q does not end", rest)
		}
		text = after
		words := append(strings.Fields(inside), "", "")
		t := tag{key: words[0]}
		var err error
		switch t.key {
		case "b":
			t.fixed, err = hex.DecodeString(strings.TrimPrefix(words[1], "0x"))
			t.length = len(t.fixed)
		case "t":
			t.length = 4
		case "r", "rc", "rd", "dz":
			t.length, err = strconv.Atoi(words[1])
		default:
			err = fmt.Errorf("tag %q is not known here", inside)
		}
		if err != nil {
			return nil, err
		}
		if t.length < 0 {
			return nil, fmt.Errorf("%d octets", t.length)
		}
		c = append(c, t)
	}
	if c.length() == 0 {
		return nil, fmt.Errorf("no octets")
	}
	return c, nil
}

func (c chain) length() int {
	length := 0
	for _, t := range c {
		length += t.length
	}
	return length
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

func (c chain) encode() []byte {
	var out []byte
	for _, t := range c {
		switch t.key {
		case "b":
			out = append(out, t.fixed...)
		case "t":
			out = binary.BigEndian.AppendUint32(out, uint32(time.Now().Unix()))
		case "rc", "rd":
			alphabet := map[string]string{"rc": letters, "rd": digits}[t.key]
			for n := 0; n < t.length; n++ {
				out = append(out, alphabet[below(uint64(len(alphabet)))])
			}
		case "dz":
			out = append(out, make([]byte, t.length)...)
		default:
			out = append(out, random(t.length)...)
		}
	}
	return out
}

// read tells whether a datagram is such a signature, and the time in it, if any.
func (c chain) read(datagram []byte) (bool, *uint32) {
	if len(datagram) != c.length() {
		return false, nil
	}
	var time *uint32
	for _, t := range c {
		part := datagram[:t.length]
		datagram = datagram[t.length:]
		among := func(alphabet string) bool {
			return bytes.IndexFunc(part, func(r rune) bool {
				return !strings.ContainsRune(alphabet, r)
			}) < 0
		}
		switch {
		case t.key == "b" && !bytes.Equal(part, t.fixed),
			t.key == "rc" && !among(letters),
			t.key == "rd" && !among(digits):
			return false, nil
		case t.key == "t":
			seconds := binary.BigEndian.Uint32(part)
			time = &seconds
		}
	}
	return true, time
}
