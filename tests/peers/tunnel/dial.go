package tunnel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"
)

// Dial connects, does the steps in order, and closes the connection. A step is a word, and numbers
// behind colons:
//
//	echo:STREAMS:BYTES   that many streams at once, and bytes of them all, out and back
//	at-end:BYTES         the answer comes after the end of the question
//	listens:BYTES        the question goes on after the end of the answer
//	resets               the server resets
//	abandon              this end resets
//	refused              the target cannot be reached
//	wait                 until the connection is over
func Dial(socket net.PacketConn, server net.Addr, settings Settings, steps []string) error {
	connection, err := quic.Dial(context.Background(), socket, server,
		settings.ClientTLS(), settings.quic())
	if err != nil {
		return err
	}
	Tell("up", nil)
	for _, step := range steps {
		fields, err := do(connection, step)
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
		fields["step"] = step
		Tell("done", fields)
	}
	return connection.CloseWithError(0, "")
}

func do(connection quic.Connection, step string) (Fields, error) {
	words := strings.Split(step, ":")
	var numbers []int
	for _, word := range words[1:] {
		number, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	wanted := map[string]int{"echo": 2, "at-end": 1, "listens": 1}[words[0]]
	if len(numbers) != wanted {
		return nil, fmt.Errorf("%d numbers instead of %d", len(numbers), wanted)
	}
	switch words[0] {
	case "echo":
		return echoes(connection, numbers[0], numbers[1])
	case "at-end":
		return outAndBack(connection, AtEnd, 0, numbers[0])
	case "listens":
		return listens(connection, numbers[0])
	case "resets":
		return resets(connection)
	case "abandon":
		return abandon(connection)
	case "refused":
		return refused(connection)
	case "wait":
		<-connection.Context().Done()
		return Fields{}, nil
	default:
		return nil, errors.New("no such step")
	}
}

// open asks for a target.
func open(connection quic.Connection, port uint16) (quic.Stream, error) {
	stream, err := connection.OpenStreamSync(context.Background())
	if err != nil {
		return nil, err
	}
	if err := writeRequest(stream, port); err != nil {
		return nil, err
	}
	return stream, readReply(stream)
}

func echoes(connection quic.Connection, streams, bytes int) (Fields, error) {
	var group sync.WaitGroup
	results := make(chan error, streams)
	for n := 0; n < streams; n++ {
		length := bytes / streams
		if n == 0 {
			length += bytes % streams
		}
		group.Add(1)
		go func(n, length int) {
			defer group.Done()
			_, err := outAndBack(connection, Echo, n, length)
			results <- err
		}(n, length)
	}
	group.Wait()
	close(results)
	for err := range results {
		if err != nil {
			return nil, err
		}
	}
	return Fields{"bytes": bytes, "streams": streams}, nil
}

// outAndBack sends bytes with their end, and checks that they come back, and their end.
func outAndBack(connection quic.Connection, port uint16, seed, length int) (Fields, error) {
	stream, err := open(connection, port)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	ours := sha256.New()
	go func() { sent <- send(stream, seed, length, ours) }()
	theirs := sha256.New()
	returned, err := io.Copy(theirs, stream)
	if err != nil {
		return nil, err
	}
	if err := <-sent; err != nil {
		return nil, err
	}
	if returned != int64(length) || hexOf(ours) != hexOf(theirs) {
		return nil, fmt.Errorf("%d bytes became %d, or others", length, returned)
	}
	return Fields{"bytes": length, "sha256": hexOf(ours)}, nil
}

// send sends bytes that the seed decides, and the end.
func send(stream quic.Stream, seed, length int, sum hash.Hash) error {
	chunk := make([]byte, 10_000)
	for at := 0; at < length; at += len(chunk) {
		part := chunk[:min(len(chunk), length-at)]
		for n := range part {
			part[n] = byte(((at+n)*31 + seed) % 251)
		}
		sum.Write(part)
		if _, err := stream.Write(part); err != nil {
			return err
		}
	}
	return stream.Close()
}

func listens(connection quic.Connection, length int) (Fields, error) {
	stream, err := open(connection, Listens)
	if err != nil {
		return nil, err
	}
	said, err := io.Copy(io.Discard, stream)
	if err != nil || said != 0 {
		return nil, fmt.Errorf("%d bytes before the end, %v", said, err)
	}
	sum := sha256.New()
	if err := send(stream, 3, length, sum); err != nil {
		return nil, err
	}
	return Fields{"bytes": length, "sha256": hexOf(sum)}, nil
}

func resets(connection quic.Connection) (Fields, error) {
	stream, err := open(connection, Resets)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte("x")); err != nil {
		return nil, err
	}
	_, err = io.ReadAll(stream)
	var reset *quic.StreamError
	if !errors.As(err, &reset) || !reset.Remote {
		return nil, fmt.Errorf("no reset: %v", err)
	}
	// Who resets does not read on, either.
	for err = nil; err == nil; {
		_, err = stream.Write(make([]byte, 1000))
	}
	var stopped *quic.StreamError
	if !errors.As(err, &stopped) || !stopped.Remote {
		return nil, fmt.Errorf("not stopped: %v", err)
	}
	return Fields{"reset": uint64(reset.ErrorCode), "stopped": uint64(stopped.ErrorCode)}, nil
}

func abandon(connection quic.Connection) (Fields, error) {
	stream, err := open(connection, Echo)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write([]byte("hello")); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(stream, make([]byte, 5)); err != nil {
		return nil, err
	}
	stream.CancelWrite(resetCode)
	stream.CancelRead(resetCode)
	return Fields{}, nil
}

func refused(connection quic.Connection) (Fields, error) {
	_, err := open(connection, Refuses)
	if !errors.Is(err, errFailed) {
		return nil, fmt.Errorf("not refused: %v", err)
	}
	return Fields{}, nil
}

func hexOf(sum hash.Hash) string { return hex.EncodeToString(sum.Sum(nil)) }
