//! What a machine is told of datagrams that do not arrive.
use super::{
    super::{lab::*, scenarios},
    datagrams::ended_within,
    lab::*,
};
use crate::{
    World,
    check::Violation,
    net::{
        boxes::firewall::{Firewall, Refusal, Rules, UdpRule},
        hop::Hop,
        link::Link,
    },
    peers::{PacketHost, ScriptHost},
};
use core::net::{IpAddr, SocketAddr};
use etherparse::PacketBuilder;

/// The machine, whose packets the scenario makes octet by octet.
const SENDERS: [&str; 2] = ["10.11.12.9", "fd11::9"];
/// Where nobody listens.
const CLOSED: [&str; 2] = ["10.0.0.3:9", "[fd00::3]:9"];
const OPEN: [&str; 2] = [ORIGIN, ORIGIN_V6];
/// Port unreachable, by family.
const CLOSED_PORT: [(u8, u8); 2] = [(3, 3), (1, 4)];

fn sender(to: SocketAddr) -> IpAddr {
    let [v4, v6] = SENDERS.map(|ip| ip.parse().expect("addresses of scenarios are constants"));
    if to.is_ipv4() { v4 } else { v6 }
}

/// A datagram of the machine.
fn datagram(from: u16, to: &str, data: &[u8]) -> Vec<u8> {
    let to = addr(to);
    let step = match (sender(to), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => unreachable!("the sender is of the target's family"),
    };
    let mut out = Vec::new();
    let written = step.udp(from, to.port()).write_to_vec(&mut out, data);
    written.expect("a short packet");
    out
}

/// Addresses and ports of a packet, or of one that is quoted.
fn ends(packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (from, to, at): (IpAddr, IpAddr, usize) = if packet.first()? >> 4 == 4 {
        let from: [u8; 4] = *packet.get(12..)?.first_chunk()?;
        let to: [u8; 4] = *packet.get(16..)?.first_chunk()?;
        (from.into(), to.into(), 20)
    } else {
        let from: [u8; 16] = *packet.get(8..)?.first_chunk()?;
        let to: [u8; 16] = *packet.get(24..)?.first_chunk()?;
        (from.into(), to.into(), 40)
    };
    let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let (source, destination) = (port(at)?, port(at + 2)?);
    Some((
        SocketAddr::new(from, source),
        SocketAddr::new(to, destination),
    ))
}

/// Whether a packet tells the machine this of its datagram from that port, as the target says it.
fn is_told(packet: &[u8], kind: (u8, u8), from: u16, to: &str) -> bool {
    let to = addr(to);
    let head = if to.is_ipv4() { 20 } else { 40 };
    let about = packet.get(head + 8..).and_then(ends);
    let said = packet.get(head).copied().zip(packet.get(head + 1).copied());
    let reporter = ends(packet).map(|(from, _)| from.ip());
    said == Some(kind)
        && reporter == Some(to.ip())
        && about == Some((SocketAddr::new(sender(to), from), to))
}

/// Whether a packet is a datagram for that port of the machine, from there.
fn is_answer(packet: &[u8], from: &str, to: u16, data: &[u8]) -> bool {
    let from = addr(from);
    let expected = (from, SocketAddr::new(sender(from), to));
    let is_udp = packet.get(if from.is_ipv4() { 9 } else { 6 }) == Some(&17);
    is_udp && ends(packet) == Some(expected) && packet.ends_with(data)
}

/// A machine that sends packets, a daemon with its device, and an echo server in each family.
fn world_of(world: &mut World, setting: &Setting, host: PacketHost) -> Result<(), Violation> {
    let tun = setting.build(world)?;
    let origin = OPEN
        .into_iter()
        .fold(ScriptHost::new(), |host, at| host.echo_datagrams(addr(at)));
    world.host("origin", &ips(&["10.0.0.3", "fd00::3"]), origin);
    world.host_in(tun.site, "machine", &ips(&SENDERS), host.strict());
    Ok(())
}

/// A firewall that lets no datagrams to the closed ports.
fn firewall() -> Vec<Box<dyn Hop>> {
    let rules = Rules {
        udp: UdpRule::AllBut([9].into()),
        udp_refusal: Refusal::Prohibited,
        ..Rules::default()
    };
    vec![Box::new(Firewall::new(rules))]
}

/// A way of MTU 1300.
fn narrow() -> Vec<Box<dyn Hop>> {
    let link: Link = "1ms, mtu 1300"
        .parse()
        .expect("links of scenarios are constants");
    vec![Box::new(link)]
}

scenarios! {
    /// A closed port is told to the socket that wrote there, which goes on.
    fn tun_udp_closed_port(world) {
        let mut host = PacketHost::new();
        for ((closed, kind), open) in CLOSED.into_iter().zip(CLOSED_PORT).zip(OPEN) {
            let after = millis(1);
            host = host
                .send(after, datagram(5000, closed, b"is anybody there?"))
                .expect("a message", 1, move |packet| is_told(packet, kind, 5000, closed))
                .send(after + millis(100), datagram(5000, open, b"and there?"))
                .expect("an answer", 1, move |packet| is_answer(packet, open, 5000, b"and there?"));
        }
        world_of(world, &Setting::default(), host)?;
        ended_within(world, 2, 290..=330)
    }

    /// What is said of one target is no concern of the other targets of the same socket, nor of
    /// another socket.
    fn tun_udp_error_of_one_target(world) {
        let ([closed, _], [open, _], [kind, _]) = (CLOSED, OPEN, CLOSED_PORT);
        let mut host = PacketHost::new();
        for n in 0..10 {
            let at = millis(n * 5);
            host = host
                .send(at, datagram(5000, closed, b"no"))
                .send(at, datagram(5000, open, b"yes"))
                .send(at, datagram(5001, open, b"another"))
                .send(at, datagram(5000, open, b"yes"));
        }
        host = host
            .expect("messages", 10, move |packet| is_told(packet, kind, 5000, closed))
            .expect("answers", 20, |packet| is_answer(packet, open, 5000, b"yes"))
            .expect("others", 10, |packet| is_answer(packet, open, 5001, b"another"));
        world_of(world, &Setting::default(), host)?;
        ended_within(world, 2, 290..=330)
    }

    /// A flood of errors is told in part, and harms no other conversation.
    #[sometimes("dropped icmp/rate_limited")]
    fn tun_udp_error_flood(world) {
        let ([closed, _], [open, _], [kind, _]) = (CLOSED, OPEN, CLOSED_PORT);
        let mut host = PacketHost::new();
        for n in 0..300 {
            let at = core::time::Duration::from_micros(n * 20);
            host = host.send(at, datagram(5000, closed, b"no"));
        }
        let told = move |packet: &[u8]| is_told(packet, kind, 5000, closed);
        // 50 at once, and one more each millisecond.
        host = host
            .send(millis(3), datagram(5001, open, b"yes"))
            .expect("messages", 50, told)
            .allow("more messages", 20, told)
            .expect("an answer", 1, |packet| is_answer(packet, open, 5001, b"yes"));
        world_of(world, &Setting::default(), host)?;
        ended_within(world, 2, 290..=330)?;
        has_mark(world, "dropped icmp/rate_limited")
    }

    /// What a firewall says on the way is told as what it is.
    fn tun_udp_prohibited(world) {
        let setting = Setting { outside: firewall, ..Setting::default() };
        let mut host = PacketHost::new();
        for ((closed, kind), open) in CLOSED.into_iter().zip([(3, 13), (1, 1)]).zip(OPEN) {
            host = host
                .send(millis(1), datagram(5000, closed, b"may I?"))
                .expect("a message", 1, move |packet| is_told(packet, kind, 5000, closed))
                .send(millis(100), datagram(5000, open, b"and there?"))
                .expect("an answer", 1, move |packet| is_answer(packet, open, 5000, b"and there?"));
        }
        world_of(world, &setting, host)?;
        ended_within(world, 2, 290..=330)
    }

    /// A router that takes only shorter packets says how long, and shorter ones get through.
    fn tun_udp_narrow_way(world) {
        let extras = r#", "egress_mtu": 1500"#;
        let setting = Setting { extras, outside: narrow, ..Setting::default() };
        let mut host = PacketHost::new();
        for (open, kind) in OPEN.into_iter().zip([(3, 4), (2, 0)]) {
            let is_told = move |packet: &[u8]| {
                let at = if kind.0 == 3 { 20 } else { 40 };
                let mtu = packet.get(at + 4..at + 8);
                is_told(packet, kind, 5000, open) && mtu == Some(&[0, 0, 0x05, 0x14][..])
            };
            host = host
                .send(millis(1), datagram(5000, open, &[7; 1400]))
                .expect("a message", 1, is_told)
                .send(millis(100), datagram(5000, open, &[8; 1252]))
                .expect("an answer", 1, move |packet| is_answer(packet, open, 5000, &[8; 1252]));
        }
        world_of(world, &setting, host)?;
        ended_within(world, 2, 290..=330)
    }

    /// What a rule rejects, and what an outbound does not take, looks like a closed port; what is
    /// to be dropped is.
    fn tun_udp_refused(world) {
        let rules = r#"{"rules": [
            {"port": 9, "action": "reject"},
            {"port": 10, "action": "reject", "method": "drop"},
            {"port": 11, "outbound": "no"},
            {"port": 12, "outbound": "web"}
        ]}"#;
        let outbounds = r#"[{"type": "direct", "tag": "direct"}, {"type": "block", "tag": "no"},
            {"type": "http", "tag": "web", "server": "10.0.0.4", "server_port": 8080}]"#;
        let setting = Setting { outbounds: outbounds.into(), route: rules, ..Setting::default() };
        let mut host = PacketHost::new();
        for ((at, kind), open) in ["10.0.0.3", "[fd00::3]"].into_iter().zip(CLOSED_PORT).zip(OPEN) {
            let to = |port: u16| format!("{at}:{port}");
            let (refused, dropped) = ([9, 11, 12].map(to), to(10));
            for n in 0..3 {
                for to in &refused {
                    host = host.send(millis(n * 10), datagram(5000, to, b"no"));
                }
                host = host.send(millis(n * 10), datagram(5000, &dropped, b"no"));
            }
            for to in refused {
                host = host.expect("messages", 3, move |packet| is_told(packet, kind, 5000, &to));
            }
            host = host
                .send(millis(100), datagram(5000, open, b"yes"))
                .expect("an answer", 1, move |packet| is_answer(packet, open, 5000, b"yes"));
        }
        world_of(world, &setting, host)?;
        ended_within(world, 2, 290..=330)
    }
}
