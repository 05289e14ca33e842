// Program h3-peer is one end of HTTP/3. It serves with -listen, or sends the requests that its
// arguments name with -connect, and tells what happens as lines of JSON:
//
//	get:REQUESTS:BYTES    bodies of so many bytes, all at once over one connection
//	post:REQUESTS:BYTES   the same the other way
//
// Unlike the other programs it uses the socket as quic-go likes it: with ECN, offloads, and path
// MTU discovery.
package main

import (
	"flag"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"sansbox/tests/peers/tunnel"
)

func main() {
	listen := flag.String("listen", "", "serve at this address")
	connect := flag.String("connect", "", "send requests to this address")
	size := flag.Uint("size", 0, "octets of the first datagrams; 0 for what quic-go takes")
	flag.Parse()
	settings := &quic.Config{InitialPacketSize: uint16(min(*size, math.MaxUint16))}

	if *listen != "" {
		tunnel.Fail("serve", serve(*listen, settings))
	}
	transport := &http3.RoundTripper{
		TLSClientConfig: tunnel.Settings{ALPN: http3.NextProtoH3}.ClientTLS(),
		QUICConfig:      settings,
		// The bytes that are asked for, and no others.
		DisableCompression: true,
	}
	client := &http.Client{Transport: transport}
	for _, step := range flag.Args() {
		fields, err := do(client, *connect, step)
		if err != nil {
			tunnel.Fail(step, err)
		}
		fields["step"] = step
		tunnel.Tell("done", fields)
	}
	if err := transport.Close(); err != nil {
		tunnel.Fail("close", err)
	}
}

func serve(address string, settings *quic.Config) error {
	tls, err := tunnel.Settings{ALPN: http3.NextProtoH3}.ServerTLS()
	if err != nil {
		return err
	}
	at, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", at)
	if err != nil {
		return err
	}
	tunnel.Tell("listening", tunnel.Fields{"address": socket.LocalAddr().String()})
	server := &http3.Server{TLSConfig: tls, QUICConfig: settings, Handler: handler()}
	return server.Serve(socket)
}

// do sends the requests of a step at once.
func do(client *http.Client, address, step string) (tunnel.Fields, error) {
	words := strings.Split(step, ":")
	request, known := map[string]request{"get": get, "post": post}[words[0]]
	if !known || len(words) != 3 {
		return nil, fmt.Errorf("no such step")
	}
	requests, err := strconv.Atoi(words[1])
	if err != nil {
		return nil, err
	}
	length, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	results := make(chan error, requests)
	for n := 0; n < requests; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			// Bodies of other bytes and lengths, so that none can be taken for another.
			results <- request(client, "https://"+address, n, length+int64(n))
		}(n)
	}
	group.Wait()
	close(results)
	for err := range results {
		if err != nil {
			return nil, err
		}
	}
	return tunnel.Fields{"requests": requests, "bytes": length}, nil
}
