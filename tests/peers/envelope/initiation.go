package envelope

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	keyLen       = 32
	macLen       = 16
	timeLen      = 12
	timestampLen = 1 + keyLen + chacha20poly1305.NonceSizeX + timeLen + chacha20poly1305.Overhead

	timestampVersion = 1
	macLabel         = "mac1----"
	timestampLabel   = "ts-encrypt"
	// The TAI64 label of the first second of 1970.
	tai64Epoch = uint64(0x400000000000000a)
	// What is kept of the nanoseconds.
	nanosMask = ^uint32(0x00ffffff)
)

var (
	errMac       = errors.New("MAC1 invalid")
	errTimestamp = errors.New("encrypted timestamp not authentic")
)

// mac of a datagram whose last octets are its place.
func mac(serverPublic, datagram []byte) []byte {
	key := blake2s.Sum256(append([]byte(macLabel), serverPublic...))
	hash, err := blake2s.New128(key[:])
	if err != nil {
		panic(err)
	}
	hash.Write(datagram[:len(datagram)-macLen])
	hash.Write(make([]byte, macLen))
	return hash.Sum(nil)
}

func verifies(serverPublic, datagram []byte) bool {
	theirs := datagram[len(datagram)-macLen:]
	return subtle.ConstantTimeCompare(mac(serverPublic, datagram), theirs) == 1
}

// sealTime encrypts the time for the server.
func sealTime(serverPublic []byte, now time.Time) ([]byte, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(serverPublic)
	if err != nil {
		return nil, err
	}
	key, err := timeKey(private, public)
	if err != nil {
		return nil, err
	}
	plain := binary.BigEndian.AppendUint64(nil, tai64Epoch+uint64(now.Unix()))
	plain = binary.BigEndian.AppendUint32(plain, uint32(now.Nanosecond())&nanosMask)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	nonce := random(chacha20poly1305.NonceSizeX)
	sealed := append([]byte{timestampVersion}, private.PublicKey().Bytes()...)
	sealed = append(sealed, nonce...)
	return aead.Seal(sealed, nonce, plain, nil), nil
}

// openTime gives the seconds since 1970 of an encrypted timestamp; nil where there is none.
func openTime(private *ecdh.PrivateKey, payload []byte) (*int64, error) {
	if len(payload) < timestampLen || payload[0] != timestampVersion {
		return nil, nil
	}
	public, err := ecdh.X25519().NewPublicKey(payload[1 : 1+keyLen])
	if err != nil {
		return nil, err
	}
	key, err := timeKey(private, public)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	rest := payload[1+keyLen:]
	nonce, sealed := rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:]
	plain, err := aead.Open(nil, nonce, sealed, nil)
	if err != nil || len(plain) != timeLen {
		return nil, errTimestamp
	}
	seconds := int64(binary.BigEndian.Uint64(plain) - tai64Epoch)
	return &seconds, nil
}

func timeKey(private *ecdh.PrivateKey, public *ecdh.PublicKey) ([]byte, error) {
	shared, err := private.ECDH(public)
	if err != nil {
		return nil, err
	}
	key := blake2s.Sum256(append([]byte(timestampLabel), shared...))
	return key[:], nil
}
