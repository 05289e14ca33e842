//! The other end of a TUN device that a socket stands in for: packets by hand, and a TCP client.
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};
use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium},
    socket::tcp,
    time::Instant,
    wire::{
        HardwareAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr, IpProtocol, Ipv4Packet,
        Ipv4Repr, UdpPacket, UdpRepr,
    },
};
use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    thread,
    time::Duration,
};

pub(crate) const MTU: u16 = 1400;
/// `virtio_net_hdr`.
const HEADER_LEN: usize = 10;
/// Address of the device, which the programs behind it send from.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 19, 0, 1);
const TCP: u8 = 6;
const SYN_ACK: u8 = 0x12;
const PATIENCE: Duration = Duration::from_secs(20);

/// The clients' end.
#[derive(Debug)]
pub(crate) struct Wire {
    file: OwnedFd,
    has_header: bool,
    /// SYNs that were answered with SYN and ACK.
    answered: Cell<usize>,
}

impl Wire {
    /// A device and its other end. Each read and each write is a packet.
    pub(crate) fn new(has_header: bool) -> (OwnedFd, Self) {
        let flags = SocketFlags::CLOEXEC;
        let kind = SocketType::SEQPACKET;
        let (device, file) = socketpair(AddressFamily::UNIX, kind, flags, None).expect("a pair");
        let answered = Cell::new(0);
        (
            device,
            Self {
                file,
                has_header,
                answered,
            },
        )
    }

    /// A packet, if there is one. `None` as well when the other end is closed.
    fn take(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 65_546];
        match recv(&self.file, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::AGAIN | Errno::CONNRESET) => None,
            Ok((n, _)) => {
                bytes.truncate(n);
                let header = if self.has_header { HEADER_LEN } else { 0 };
                let packet = bytes.split_off(header);
                if packet[9] == TCP && packet[33] & SYN_ACK == SYN_ACK {
                    self.answered.set(self.answered.get() + 1);
                }
                Some(packet)
            }
            Err(e) => panic!("receiving: {e}"),
        }
    }

    /// How many SYNs were answered with SYN and ACK.
    pub(crate) const fn answered(&self) -> usize {
        self.answered.get()
    }

    fn put(&self, packet: &[u8]) {
        let header: &[u8] = if self.has_header {
            &[0; HEADER_LEN]
        } else {
            &[]
        };
        // What finds no room is lost, as packets are.
        let frame = [header, packet].concat();
        let _ = send(
            &self.file,
            &frame,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
    }

    /// The next packet of a protocol, with what the IP header says.
    pub(crate) fn next(&self, protocol: IpProtocol) -> Option<(Ipv4Repr, Vec<u8>)> {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let Some(packet) = self.take() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let parsed = Ipv4Packet::new_checked(&packet[..]).expect("IPv4");
            let header = Ipv4Repr::parse(&parsed, &ChecksumCapabilities::default());
            let header = header.expect("a good checksum");
            if header.next_header == protocol {
                return Some((header, parsed.payload().to_vec()));
            }
        }
        None
    }

    fn send(&self, to: Ipv4Addr, next_header: IpProtocol, len: usize, fill: impl Fn(&mut [u8])) {
        let header = Ipv4Repr {
            src_addr: CLIENT,
            dst_addr: to,
            next_header,
            payload_len: len,
            hop_limit: 64,
        };
        let mut packet = vec![0; header.buffer_len() + len];
        let mut emitted = Ipv4Packet::new_unchecked(&mut packet[..]);
        header.emit(&mut emitted, &ChecksumCapabilities::default());
        fill(emitted.payload_mut());
        self.put(&packet);
    }

    /// Sends an echo request; the reply's data, who sent it and its number. `None`: there is none.
    pub(crate) fn ping(&self, to: Ipv4Addr, seq_no: u16) -> Option<(Ipv4Addr, u16, Vec<u8>)> {
        let data = b"are you there";
        let request = Icmpv4Repr::EchoRequest {
            ident: 7,
            seq_no,
            data,
        };
        self.send(to, IpProtocol::Icmp, request.buffer_len(), |payload| {
            let mut packet = Icmpv4Packet::new_unchecked(payload);
            request.emit(&mut packet, &ChecksumCapabilities::default());
        });
        let (header, payload) = self.next(IpProtocol::Icmp)?;
        let packet = Icmpv4Packet::new_checked(&payload[..]).expect("ICMP");
        let parsed = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default());
        let Icmpv4Repr::EchoReply {
            ident: 7,
            seq_no,
            data,
        } = parsed.expect("a message")
        else {
            return None;
        };
        Some((header.src_addr, seq_no, data.to_vec()))
    }

    /// Sends a datagram.
    pub(crate) fn send_datagram(&self, from: u16, to: SocketAddrV4, data: &[u8]) {
        let udp = UdpRepr {
            src_port: from,
            dst_port: to.port(),
        };
        let len = udp.header_len() + data.len();
        self.send(*to.ip(), IpProtocol::Udp, len, |payload| {
            udp.emit(
                &mut UdpPacket::new_unchecked(payload),
                &IpAddress::Ipv4(CLIENT),
                &IpAddress::Ipv4(*to.ip()),
                data.len(),
                |into| into.copy_from_slice(data),
                &ChecksumCapabilities::default(),
            );
        });
    }

    /// The next datagram: who sent it, to which port, its payload.
    pub(crate) fn next_datagram(&self) -> Option<(SocketAddrV4, u16, Vec<u8>)> {
        let (header, payload) = self.next(IpProtocol::Udp)?;
        let packet = UdpPacket::new_checked(&payload[..]).expect("UDP");
        let (from, to) = (header.src_addr, header.dst_addr);
        let checked = ChecksumCapabilities::default();
        let udp = UdpRepr::parse(&packet, &from.into(), &to.into(), &checked).expect("a datagram");
        let from = SocketAddrV4::new(from, udp.src_port);
        Some((from, udp.dst_port, packet.payload().to_vec()))
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        Some((Received(self.take()?), Sent(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(MTU);
        if self.has_header {
            // The stack leaves sums to the device, and there is none.
            capabilities.checksum.tcp = phy::Checksum::Tx;
        }
        capabilities
    }
}

#[derive(Debug)]
pub(crate) struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, with: F) -> R {
        with(&self.0)
    }
}

#[derive(Debug)]
pub(crate) struct Sent<'w>(&'w Wire);

impl phy::TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, with: F) -> R {
        let mut packet = vec![0; len];
        let result = with(&mut packet);
        self.0.put(&packet);
        result
    }
}

/// A TCP client behind a device.
pub(crate) struct Client {
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Client {
    /// Begins to connect.
    pub(crate) fn connect(mut wire: Wire, port: u16, to: SocketAddrV4) -> Self {
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut wire, Instant::now());
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(CLIENT.into(), 30);
            addresses.push(own).expect("room for one");
        });
        let gateway = Ipv4Addr::new(172, 19, 0, 2);
        let routes = interface.routes_mut();
        routes.add_default_ipv4_route(gateway).expect("room");
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 * 1024]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let local = (CLIENT, port);
        let to = (*to.ip(), to.port());
        socket
            .connect(interface.context(), to, local)
            .expect("begun");
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(socket);
        Self {
            wire,
            interface,
            sockets,
            socket,
        }
    }

    /// Goes on until `done`, at most 20 seconds.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&mut tcp::Socket<'_>) -> bool) {
        let begun = std::time::Instant::now();
        while !done(self.sockets.get_mut(self.socket)) {
            assert!(begun.elapsed() < PATIENCE, "waited too long: {what}");
            let (interface, sockets) = (&mut self.interface, &mut self.sockets);
            if interface.poll(Instant::now(), &mut self.wire, sockets)
                == smoltcp::iface::PollResult::None
            {
                thread::sleep(Duration::from_micros(200));
            }
        }
    }

    /// Sends all of `bytes` and reads as many.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut got) = (0, Vec::new());
        self.until("bytes to come back", |socket| {
            if sent < bytes.len() && socket.can_send() {
                sent += socket.send_slice(&bytes[sent..]).expect("open");
            }
            while socket.can_recv() {
                let read = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
                got.extend(read.expect("open"));
            }
            got.len() >= bytes.len()
        });
        got
    }

    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }
}
