// Program impair-peer is a poor wire: it carries Ethernet frames between two interfaces, and
// loses, doubles and holds back some of them, as a seed draws. Linux, as root.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"net"
	"os"
	"syscall"
	"time"
)

// Octets of the longest frame: the interfaces must not segment.
const frameMax = 65536

// Octets that may wait while the other end is served.
const queued = 16 << 20

type wire struct {
	loss, duplicate, reorder float64
	late                     time.Duration
}

func main() {
	left := flag.String("left", "", "interface")
	right := flag.String("right", "", "interface")
	seed := flag.Int64("seed", 1, "of all that is drawn")
	var poor wire
	flag.Float64Var(&poor.loss, "loss", 0, "percent of frames lost")
	flag.Float64Var(&poor.duplicate, "duplicate", 0, "percent of frames that come twice")
	flag.Float64Var(&poor.reorder, "reorder", 0, "percent of frames that come late")
	flag.DurationVar(&poor.late, "late", 2*time.Millisecond, "how late")
	flag.Parse()

	a, b := open(*left), open(*right)
	go poor.carry(b, a, rand.New(rand.NewSource(*seed)))
	fmt.Println("carrying")
	poor.carry(a, b, rand.New(rand.NewSource(*seed+1)))
}

// open gives a socket that sees and sends whole frames of an interface.
func open(name string) int {
	device, err := net.InterfaceByName(name)
	check(err)
	all := uint16(syscall.ETH_P_ALL<<8 | syscall.ETH_P_ALL>>8)
	socket, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(all))
	check(err)
	check(syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, queued))
	check(syscall.Bind(socket, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: device.Index}))
	return socket
}

func (poor wire) carry(from, to int, random *rand.Rand) {
	buffer := make([]byte, frameMax)
	for {
		n, sender, err := syscall.Recvfrom(from, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		check(err)
		link, ok := sender.(*syscall.SockaddrLinklayer)
		if !ok || link.Pkttype == syscall.PACKET_OUTGOING {
			continue
		}
		// Each frame draws as often, whatever became of those before.
		lost := random.Float64()*100 < poor.loss
		late := random.Float64()*100 < poor.reorder
		twice := random.Float64()*100 < poor.duplicate
		if lost {
			continue
		}
		if late {
			frame := append([]byte(nil), buffer[:n]...)
			time.AfterFunc(poor.late, func() { send(to, frame) })
		} else {
			send(to, buffer[:n])
		}
		if twice {
			send(to, buffer[:n])
		}
	}
}

// send may fail when a queue is full: then the wire has lost one more.
func send(to int, frame []byte) {
	_, _ = syscall.Write(to, frame)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
