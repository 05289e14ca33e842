package tunnel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"

	"github.com/quic-go/quic-go"
)

// resetCode is told when a target of the server resets.
const resetCode = 7

// Serve takes connections from a socket until it is closed.
func Serve(socket net.PacketConn, settings Settings) error {
	tls, err := settings.ServerTLS()
	if err != nil {
		return err
	}
	listener, err := quic.Listen(socket, tls, settings.quic())
	if err != nil {
		return err
	}
	Tell("listening", Fields{"address": socket.LocalAddr().String()})
	for {
		connection, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		Tell("up", nil)
		go serveConnection(connection)
	}
}

func serveConnection(connection quic.Connection) {
	for {
		stream, err := connection.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			port, err := readRequest(stream)
			if err == nil {
				err = play(stream, port)
			}
			tellStream(port, err)
		}()
	}
}

// play is the target with this port.
func play(stream quic.Stream, port uint16) error {
	if port == Refuses {
		if err := writeReply(stream, notReached); err != nil {
			return err
		}
		return stream.Close()
	}
	if err := writeReply(stream, succeeded); err != nil {
		return err
	}
	switch port {
	case Resets:
		if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
			return err
		}
		stream.CancelWrite(resetCode)
		stream.CancelRead(resetCode)
		return nil
	case AtEnd:
		all, err := io.ReadAll(stream)
		if err != nil {
			return err
		}
		if _, err := stream.Write(all); err != nil {
			return err
		}
		return stream.Close()
	case Listens:
		if err := stream.Close(); err != nil {
			return err
		}
		hash := sha256.New()
		length, err := io.Copy(hash, stream)
		if err != nil {
			return err
		}
		Tell("listened", Fields{"bytes": length, "sha256": hex.EncodeToString(hash.Sum(nil))})
		return nil
	default:
		if _, err := io.Copy(stream, stream); err != nil {
			return err
		}
		return stream.Close()
	}
}

func tellStream(port uint16, err error) {
	fields := Fields{"port": port}
	var reset *quic.StreamError
	switch {
	case err == nil:
	case errors.As(err, &reset):
		fields["reset"] = uint64(reset.ErrorCode)
		fields["by_peer"] = reset.Remote
	default:
		fields["why"] = err.Error()
	}
	Tell("stream", fields)
}
