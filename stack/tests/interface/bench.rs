//! An interface, what it said, and packets made and read with smoltcp.
use core::net::{IpAddr, SocketAddr};

use sansbox_core::{Instant, Seed};
use sansbox_stack::{
    Checksum, Interface, InterfaceConfig, InterfaceEvent, RxPacket, TxBatch, TxPacket,
    nat::MappingId,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    TcpPacket, UdpPacket, UdpRepr,
};

pub(crate) const SECOND: u64 = 1000;

pub(crate) fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A datagram that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) mapping: MappingId,
    pub(crate) to: SocketAddr,
    pub(crate) data: Vec<u8>,
}

pub(crate) struct Bench {
    pub(crate) interface: Interface,
    /// In milliseconds.
    pub(crate) now: u64,
    pub(crate) got: Vec<Got>,
    pub(crate) events: Vec<InterfaceEvent>,
}

impl Bench {
    pub(crate) fn new(config: InterfaceConfig) -> Self {
        Self {
            interface: Interface::new(config, &Seed::from_u64(3)).unwrap(),
            now: 1,
            got: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        at(self.now)
    }

    /// One turn, as a driver makes it: the packets that come out, whole.
    pub(crate) fn turn(&mut self, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let packets: Vec<RxPacket<'_>> = packets.iter().map(|data| RxPacket::new(data)).collect();
        let now = self.now();
        let got = &mut self.got;
        self.interface.recv_batch(now, &packets, &mut |received| {
            got.push(Got {
                mapping: received.mapping,
                to: received.destination,
                data: received.data.to_vec(),
            });
        });
        self.poll();
        self.interface.retain(&packets);
        self.sent()
    }

    pub(crate) fn poll(&mut self) {
        while let Some(event) = self.interface.poll_event() {
            self.events.push(event);
        }
    }

    /// What waits for the device, every checksum checked.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut batch = TxBatch::new(7);
        let mut all = Vec::new();
        while self.interface.poll_transmit(self.now(), &mut batch) {
            all.extend(batch.packets().iter().map(whole));
            batch.clear();
        }
        all
    }

    /// A datagram of a client, and its mapping.
    pub(crate) fn say(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8]) -> MappingId {
        let count = self.got.len();
        let sent = self.turn(&[udp(from, to, data)]);
        assert_eq!((sent.len(), self.got.len()), (0, count + 1));
        let got = self.got.last().unwrap();
        assert_eq!((got.to, &got.data[..]), (to, data));
        got.mapping
    }

    /// Time passes until `ms`, in the steps that the interface asks for.
    pub(crate) fn wait_until(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(due) = self.interface.poll_timeout() {
            let due = due.as_nanos().div_ceil(1_000_000);
            if due > ms {
                break;
            }
            self.now = self.now.max(due);
            self.interface.handle_timeout(self.now());
            self.poll();
            all.extend(self.sent());
        }
        self.now = ms;
        all
    }

    pub(crate) fn dropped(&self, module: &str, reason: &str) -> u64 {
        let mut found = self
            .interface
            .drops()
            .filter(|dropped| (dropped.module, dropped.reason) == (module, reason));
        found.next().expect("a reason").count
    }

    /// Everything that was dropped.
    pub(crate) fn dropped_in_all(&self) -> u64 {
        self.interface.drops().map(|dropped| dropped.count).sum()
    }
}

/// The packet in one piece. What the device would complete is completed, and then all must sum up.
fn whole(packet: &TxPacket) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.copy_to(&mut bytes);
    if let Checksum::Partial { start, offset } = packet.checksum() {
        let (start, at) = (usize::from(start), usize::from(start + offset));
        let sum = !sansbox_stack::ip::sum(&bytes[start..]);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    assert!(!packet.header().is_empty());
    assert_sums(&bytes);
    bytes
}

pub(crate) fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let next_header = IpProtocol::from(protocol);
    match (from.into(), to.into()) {
        (IpAddress::Ipv4(src_addr), IpAddress::Ipv4(dst_addr)) => {
            let mut bytes = vec![0; 20];
            bytes.extend_from_slice(payload);
            let repr = Ipv4Repr {
                src_addr,
                dst_addr,
                next_header,
                payload_len: payload.len(),
                hop_limit: 64,
            };
            let mut ip = Ipv4Packet::new_unchecked(&mut bytes);
            repr.emit(&mut ip, &ChecksumCapabilities::default());
            ip.set_dont_frag(false);
            ip.fill_checksum();
            bytes
        }
        (IpAddress::Ipv6(src_addr), IpAddress::Ipv6(dst_addr)) => {
            let mut bytes = vec![0; 40];
            bytes.extend_from_slice(payload);
            let repr = Ipv6Repr {
                src_addr,
                dst_addr,
                next_header,
                payload_len: payload.len(),
                hop_limit: 64,
            };
            repr.emit(&mut Ipv6Packet::new_unchecked(&mut bytes));
            bytes
        }
        _ => panic!("two families"),
    }
}

pub(crate) fn udp(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Vec<u8> {
    let repr = UdpRepr {
        src_port: from.port(),
        dst_port: to.port(),
    };
    let mut bytes = vec![0; 8 + data.len()];
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut bytes),
        &from.ip().into(),
        &to.ip().into(),
        data.len(),
        |buffer| buffer.copy_from_slice(data),
        &ChecksumCapabilities::default(),
    );
    ip(from.ip(), to.ip(), 17, &bytes)
}

/// Changes an IPv4 header, and sums it up again.
pub(crate) fn changed(mut packet: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut packet);
    if packet[0] >> 4 == 4 {
        Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
    }
    packet
}

/// An echo message: `kind` 8 and 0, or 128 and 129.
pub(crate) fn echo(from: &str, to: &str, kind: u8, id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(data);
    icmp(from, to, bytes)
}

/// An ICMP message with its checksum set.
pub(crate) fn icmp(from: &str, to: &str, mut bytes: Vec<u8>) -> Vec<u8> {
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    match (from, to) {
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            Icmpv6Packet::new_unchecked(&mut bytes).fill_checksum(&a, &b);
            ip(from, to, 58, &bytes)
        }
        _ => {
            Icmpv4Packet::new_unchecked(&mut bytes).fill_checksum();
            ip(from, to, 1, &bytes)
        }
    }
}

/// Source, destination, protocol and payload of a packet without options that is no fragment.
pub(crate) fn read(packet: &[u8]) -> (IpAddr, IpAddr, u8, &[u8]) {
    if packet[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(packet).unwrap();
        assert_eq!(usize::from(ip.total_len()), packet.len());
        let (a, b) = (ip.src_addr().into(), ip.dst_addr().into());
        (a, b, ip.next_header().into(), &packet[20..])
    } else {
        let ip = Ipv6Packet::new_checked(packet).unwrap();
        assert_eq!(ip.total_len(), packet.len());
        let (a, b) = (ip.src_addr().into(), ip.dst_addr().into());
        (a, b, ip.next_header().into(), &packet[40..])
    }
}

/// Source, destination and payload of a UDP packet.
pub(crate) fn read_udp(packet: &[u8]) -> (SocketAddr, SocketAddr, &[u8]) {
    let (from, to, protocol, payload) = read(packet);
    assert_eq!(protocol, 17);
    let udp = UdpPacket::new_checked(payload).unwrap();
    let (a, b) = (udp.src_port(), udp.dst_port());
    (
        SocketAddr::new(from, a),
        SocketAddr::new(to, b),
        &payload[8..],
    )
}

/// Source, destination, type and code of an ICMP packet, and what follows its checksum.
pub(crate) fn read_icmp(packet: &[u8]) -> (IpAddr, IpAddr, (u8, u8), &[u8]) {
    let (from, to, protocol, payload) = read(packet);
    assert!(matches!(protocol, 1 | 58));
    (from, to, (payload[0], payload[1]), &payload[4..])
}

fn is_fragment(packet: &[u8]) -> bool {
    if packet[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_unchecked(packet);
        ip.more_frags() || ip.frag_offset() != 0
    } else {
        packet[6] == 44
    }
}

/// Fails unless smoltcp finds every checksum of the packet right.
fn assert_sums(packet: &[u8]) {
    if packet[0] >> 4 == 4 {
        assert!(Ipv4Packet::new_checked(packet).unwrap().verify_checksum());
    }
    if is_fragment(packet) {
        return;
    }
    let (from, to, protocol, payload) = read(packet);
    let (a, b): (IpAddress, IpAddress) = (from.into(), to.into());
    let holds = match (protocol, from, to) {
        (6, ..) => TcpPacket::new_checked(payload)
            .unwrap()
            .verify_checksum(&a, &b),
        (17, ..) => UdpPacket::new_checked(payload)
            .unwrap()
            .verify_checksum(&a, &b),
        (1, ..) => Icmpv4Packet::new_checked(payload)
            .unwrap()
            .verify_checksum(),
        (58, IpAddr::V6(a), IpAddr::V6(b)) => Icmpv6Packet::new_checked(payload)
            .unwrap()
            .verify_checksum(&a, &b),
        other => panic!("{other:?}"),
    };
    assert!(holds, "a wrong checksum in {packet:?}");
}
