// Program quic-peer is one end of a tunnel's QUIC over plain UDP, without an envelope. It serves
// with -listen, or does the steps that its arguments name with -connect; see tunnel.Dial.
package main

import (
	"flag"
	"math"
	"net"
	"time"

	"sansbox/tests/peers/tunnel"
)

func main() {
	listen := flag.String("listen", "", "serve at this address")
	connect := flag.String("connect", "", "connect to this address")
	from := flag.String("from", "127.0.0.1:0", "connect from this address")
	var settings tunnel.Settings
	flag.StringVar(&settings.ALPN, "alpn", tunnel.ALPN, "application protocol")
	flag.DurationVar(&settings.Keepalive, "keepalive", 20*time.Second, "0 for none")
	flag.DurationVar(&settings.Idle, "idle", 2*time.Minute, "idle timeout")
	flag.Int64Var(&settings.StreamsMax, "streams", 256, "streams that the peer may open")
	size := flag.Uint("size", 1307, "octets of the longest datagram")
	flag.Parse()
	settings.Size = uint16(min(*size, math.MaxUint16))

	if *listen != "" {
		socket, err := net.ListenPacket("udp", *listen)
		if err == nil {
			err = tunnel.Serve(tunnel.Plain{Socket: socket}, settings)
		}
		tunnel.Fail("serve", err)
	}
	server, err := net.ResolveUDPAddr("udp", *connect)
	if err != nil {
		tunnel.Fail("resolve", err)
	}
	socket, err := net.ListenPacket("udp", *from)
	if err != nil {
		tunnel.Fail("bind", err)
	}
	err = tunnel.Dial(tunnel.Plain{Socket: socket}, server, settings, flag.Args())
	if err != nil {
		tunnel.Fail("dial", err)
	}
}
