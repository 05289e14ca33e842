// Program paniq-peer is one end of a whole tunnel: preamble, envelope, QUIC, requests. It serves
// with -listen, or does the steps that its arguments name with -connect; see tunnel.Dial.
package main

import (
	"flag"
	"net"
	"time"

	"sansbox/tests/peers/envelope"
	"sansbox/tests/peers/tunnel"
)

func report(event string, fields map[string]any) {
	tunnel.Tell(event, fields)
}

func main() {
	listen := flag.String("listen", "", "serve at this address")
	connect := flag.String("connect", "", "connect to this address")
	path := flag.String("profile", "", "file of the profile, in JSON")
	flag.Parse()

	profile, err := envelope.Read(*path)
	if err != nil {
		tunnel.Fail("read the profile", err)
	}
	settings := tunnel.Settings{
		ALPN:       tunnel.ALPN,
		Keepalive:  time.Duration(profile.Quic.Keepalive),
		Idle:       time.Duration(profile.Quic.IdleTimeout),
		StreamsMax: profile.Quic.MaxStreams,
		Size:       profile.QuicSize(),
	}
	if *listen != "" {
		socket, err := net.ListenPacket("udp", *listen)
		if err != nil {
			tunnel.Fail("bind", err)
		}
		server, err := envelope.Listen(profile, tunnel.Plain{Socket: socket}, report)
		if err == nil {
			err = tunnel.Serve(server, settings)
		}
		tunnel.Fail("serve", err)
	}
	server, err := net.ResolveUDPAddr("udp", *connect)
	if err != nil {
		tunnel.Fail("resolve", err)
	}
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tunnel.Fail("bind", err)
	}
	client, err := envelope.Connect(profile, tunnel.Plain{Socket: socket}, server, report)
	if err != nil {
		tunnel.Fail("preamble", err)
	}
	if err := tunnel.Dial(client, server, settings, flag.Args()); err != nil {
		tunnel.Fail("dial", err)
	}
}
