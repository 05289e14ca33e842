package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Targets, told apart by their ports. Nothing is dialled: the server plays them.
const (
	// Echo sends back what comes.
	Echo = 7
	// Refuses cannot be reached.
	Refuses = 9
	// Resets both directions when something comes.
	Resets = 66
	// AtEnd sends back all that came, once its end came.
	AtEnd = 80
	// Listens says that it will say nothing, and reads on.
	Listens = 99
)

const (
	version    = 1
	ipv4       = 1
	domain     = 3
	ipv6       = 4
	succeeded  = 0
	notReached = 1
)

var errFailed = errors.New("the server says that the target cannot be reached")

// writeRequest asks for a target on loopback.
func writeRequest(to io.Writer, port uint16) error {
	request := []byte{version, ipv4, 127, 0, 0, 1}
	_, err := to.Write(binary.BigEndian.AppendUint16(request, port))
	return err
}

// readRequest reads what a client asks for, and nothing behind it; the port is all that is used.
func readRequest(from io.Reader) (uint16, error) {
	if err := readVersion(from); err != nil {
		return 0, err
	}
	return readAddress(from)
}

func writeReply(to io.Writer, status byte) error {
	reply := []byte{version, status, ipv4, 0, 0, 0, 0, 0, 0}
	if status == succeeded {
		reply = []byte{version, status, ipv4, 127, 0, 0, 1, 0x13, 0x88}
	}
	_, err := to.Write(reply)
	return err
}

// readReply reads a server's answer, and nothing behind it.
func readReply(from io.Reader) error {
	if err := readVersion(from); err != nil {
		return err
	}
	var status [1]byte
	if _, err := io.ReadFull(from, status[:]); err != nil {
		return err
	}
	if _, err := readAddress(from); err != nil {
		return err
	}
	if status[0] != succeeded {
		return errFailed
	}
	return nil
}

func readVersion(from io.Reader) error {
	var first [1]byte
	if _, err := io.ReadFull(from, first[:]); err != nil {
		return err
	}
	if first[0] != version {
		return fmt.Errorf("version %d", first[0])
	}
	return nil
}

func readAddress(from io.Reader) (uint16, error) {
	var octet [1]byte
	if _, err := io.ReadFull(from, octet[:]); err != nil {
		return 0, err
	}
	length := 0
	switch octet[0] {
	case ipv4:
		length = 4
	case ipv6:
		length = 16
	case domain:
		if _, err := io.ReadFull(from, octet[:]); err != nil {
			return 0, err
		}
		length = int(octet[0])
	default:
		return 0, fmt.Errorf("address type %d", octet[0])
	}
	address := make([]byte, length+2)
	if _, err := io.ReadFull(from, address); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(address[length:]), nil
}
