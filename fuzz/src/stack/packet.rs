//! Packets from a TUN.
use bytes::BytesMut;
use core::net::SocketAddr;
use core::time::Duration;
use sansbox_core::Instant;
use sansbox_stack::{
    fragment::{Limits, Reassembler},
    icmp::{self, EchoMode, Handled, Icmp, Kind},
    ip::{Checksum, Datagram, Field, Header, protocol},
    mtu::{Budget, Carrier, Verdict, clamp_mss},
    nat::{Class, Config, Table},
    vnet::{self, Coalescer, Gso, split},
};

/// Frames with a `virtio_net_hdr`, one after the other: each has its length in two octets (little
/// endian) and the seconds that pass before it in one. Judged by a sum of its own over every
/// packet that comes out, by lengths, and by the bounds of every table.
pub fn stack_packet(data: &[u8]) {
    let mut stack = Stack::new();
    let mut rest = data;
    while let Some(([low, high, wait], more)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (frame, next) = more.split_at(len);
        rest = next;
        stack.now += Duration::from_secs(u64::from(*wait));
        stack.frame(frame);
        stack.bounds();
    }
}

const LIMITS: Limits = Limits {
    contexts: 8,
    memory: 200_000,
    timeout: Duration::from_secs(30),
};
const SESSIONS_MAX: usize = 8;
const SESSIONS_PER_CLIENT_MAX: usize = 4;
const MSS: u16 = 1220;

struct Stack {
    now: Instant,
    fragments: Reassembler,
    icmp: Icmp,
    table: Table,
    coalescer: Coalescer,
    budget: Budget,
}

impl Stack {
    fn new() -> Self {
        Self {
            now: Instant::ZERO,
            fragments: Reassembler::new(LIMITS),
            icmp: Icmp::new(EchoMode::Reply, [10, 11, 12, 1].into(), None),
            table: Table::new(Config {
                sessions_max: SESSIONS_MAX,
                sessions_per_client_max: SESSIONS_PER_CLIENT_MAX,
                ..Config::default()
            }),
            coalescer: Coalescer::new(4, true),
            budget: Budget::new(65_535, 1280, 0).expect("possible"),
        }
    }

    fn frame(&mut self, frame: &[u8]) {
        let Ok((vnet, packet)) = vnet::Header::parse(frame) else {
            return;
        };
        let Ok(ip) = Header::parse(packet) else {
            return;
        };
        assert!(ip.payload_at <= ip.total_len && ip.total_len <= packet.len());
        let Ok(mut parts) = split(packet, &ip, &vnet) else {
            return;
        };
        let mut part = BytesMut::new();
        let mut payload = 0;
        while parts.next_into(&mut part).is_some() {
            let whole = Header::parse(&part).expect("what is cut can be read");
            assert_eq!(whole.total_len, part.len());
            if vnet.gso != Gso::None {
                assert!(sums_up(&part, &whole), "a segment with a wrong checksum");
                payload += part.len();
            }
            self.join(&part);
            self.packet(&part, &whole);
            part.clear();
        }
        let heads = packet.len() * parts.count();
        assert!(payload <= packet.len() + heads);
    }

    /// Joined packets cut again are packets whose sums are right.
    fn join(&mut self, packet: &[u8]) {
        if self.coalescer.push(packet, Checksum::Verify).is_ok() {
            return;
        }
        let mut out = BytesMut::new();
        for (vnet, joined) in self.coalescer.packets() {
            if vnet.gso == Gso::None {
                continue;
            }
            let ip = Header::parse(joined).expect("a packet");
            let mut parts = split(joined, &ip, &vnet).expect("what was joined can be cut");
            assert!(parts.count() > 1);
            while parts.next_into(&mut out).is_some() {
                let ip = Header::parse(&out).expect("a packet");
                assert!(sums_up(&out, &ip), "a wrong checksum after joining");
                out.clear();
            }
        }
        self.coalescer.clear();
        self.coalescer
            .push(packet, Checksum::Verify)
            .expect("an empty batch");
    }

    fn packet(&mut self, packet: &[u8], ip: &Header) {
        if ip.fragment.is_none() {
            return self.whole(packet, ip);
        }
        let mut whole = BytesMut::new();
        let made = self
            .fragments
            .handle_fragment(self.now, packet, ip, &mut whole);
        match made {
            Ok(Some(len)) => {
                assert_eq!(len, whole.len());
                if let Ok(ip) = Header::parse(&whole) {
                    assert!(ip.fragment.is_none() && ip.total_len == len);
                    self.whole(&whole, &ip);
                }
            }
            Ok(None) | Err(_) => assert!(whole.is_empty()),
        }
    }

    fn whole(&mut self, packet: &[u8], ip: &Header) {
        match ip.protocol {
            protocol::UDP => self.udp(packet, ip),
            protocol::TCP => tcp(packet, ip),
            protocol::ICMP | protocol::ICMPV6 => self.echo(packet, ip),
            _ => self.error(Kind::ProtocolUnreachable, packet, ip),
        }
    }

    fn udp(&mut self, packet: &[u8], ip: &Header) {
        let Ok(datagram) = Datagram::parse(packet, ip, Checksum::Verify) else {
            return;
        };
        let payload = packet.get(datagram.payload).expect("inside the packet");
        let verdict = self.budget.datagram(Carrier::Datagrams, ip, payload.len());
        if let Verdict::TooBig { mtu, .. } = verdict {
            return self.error(Kind::TooBig { mtu }, packet, ip);
        }
        assert!(payload.len() <= self.budget.udp_payload_max(ip.is_v6()));
        let client = SocketAddr::new(ip.source, datagram.source_port);
        let remote = SocketAddr::new(ip.destination, datagram.destination_port);
        let class = Class::of_port(remote.port());
        let out = self
            .table
            .outbound(self.now, client, remote, class)
            .expect("room");
        let back = self
            .table
            .inbound(self.now, out.id, remote)
            .expect("an answer");
        assert_eq!(back.client, client);
        assert_eq!(self.table.find(client), Some(out.id));
    }

    fn echo(&mut self, packet: &[u8], ip: &Header) {
        let mut out = BytesMut::new();
        match self.icmp.handle(self.now, packet, ip, &mut out) {
            Ok(Handled::Answered(len)) => answered(&out, len, ip),
            Ok(Handled::Report(_)) => {
                let client = SocketAddr::new(ip.destination, 7);
                if icmp::translate(packet, ip, client, &mut out).is_ok() {
                    let translated = Header::parse(&out).expect("a packet");
                    assert!(sums_up(&out, &translated));
                    assert_eq!(translated.destination, client.ip());
                }
            }
            Ok(Handled::Echo(_)) => panic!("nothing is relayed in this mode"),
            Err(_) => assert!(out.is_empty()),
        }
    }

    fn error(&mut self, kind: Kind, packet: &[u8], ip: &Header) {
        let mut out = BytesMut::new();
        match self.icmp.error(self.now, kind, packet, ip, &mut out) {
            Ok(len) => {
                answered(&out, len, ip);
                assert!(len <= if ip.is_v6() { 1280 } else { 576 });
            }
            Err(_) => assert!(out.is_empty()),
        }
    }

    fn bounds(&mut self) {
        let mut first = BytesMut::new();
        while self.fragments.expire(self.now, &mut first).is_some() {}
        while self.table.expire(self.now).is_some() {}
        assert!(self.fragments.len() <= LIMITS.contexts);
        assert!(self.fragments.memory() <= LIMITS.memory);
        assert!(self.table.len() <= SESSIONS_MAX);
        for due in [self.fragments.poll_timeout(), self.table.poll_timeout()] {
            assert!(
                due.is_none_or(|due| due > self.now),
                "a timer that fired stays armed"
            );
        }
    }
}

/// An answer goes to who asked, and is whole.
fn answered(out: &[u8], len: usize, asked: &Header) {
    assert_eq!(len, out.len());
    let answer = Header::parse(out).expect("a packet");
    assert_eq!((answer.destination, answer.total_len), (asked.source, len));
    assert!(sums_up(out, &answer));
}

/// A SYN stays a packet whose sum is as right as it was.
fn tcp(packet: &[u8], ip: &Header) {
    let mut changed = BytesMut::from(packet);
    let was_right = sums_up(packet, ip);
    if clamp_mss(&mut changed, ip, MSS, Field::Complete).is_err() {
        assert_eq!(changed, packet);
        return;
    }
    let ip = Header::parse(&changed).expect("still a packet");
    assert_eq!(ip.total_len, changed.len());
    assert_eq!(sums_up(&changed, &ip), was_right);
}

/// The sum over the pseudo header and the payload, one word after the other.
fn sums_up(packet: &[u8], ip: &Header) -> bool {
    let upper = ip.payload(packet);
    let is_udp = ip.protocol == protocol::UDP;
    if is_udp && !ip.is_v6() && upper.get(6..8) == Some(&[0, 0]) {
        return true;
    }
    let mut bytes = Vec::new();
    if ip.protocol != protocol::ICMP {
        let addresses = if ip.is_v6() {
            packet.get(8..40)
        } else {
            packet.get(12..20)
        };
        bytes.extend_from_slice(addresses.expect("a header"));
        let len = u32::try_from(upper.len()).expect("short");
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, ip.protocol]);
    }
    bytes.extend_from_slice(upper);
    let word = |pair: &[u8]| {
        let high = u64::from(*pair.first().unwrap_or(&0));
        high * 256 + u64::from(*pair.get(1).unwrap_or(&0))
    };
    let sum: u64 = bytes.chunks(2).map(word).sum();
    sum.is_multiple_of(0xffff)
}
