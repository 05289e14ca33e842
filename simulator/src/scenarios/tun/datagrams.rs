//! Datagrams and echo requests of a machine.
use super::{
    super::{lab::*, scenarios},
    lab::*,
};
use crate::{
    World,
    peers::{PacketHost, Script, ScriptHost, Step},
    scenario::Verdict,
};
use core::{net::IpAddr, time::Duration};
use etherparse::PacketBuilder;
use sansbox_engine::record::CloseReason;

/// A second echo server.
const OTHER: &str = "10.0.0.6:7000";
const RESOLVER: &str = "10.0.0.3:53";

/// There and back.
fn there_and_back(to: &str, data: &[u8]) -> Script {
    let send = Step::ToAddr(addr(to), data.to_vec());
    Script::of([send, Step::ExpectDatagram(data.to_vec())])
}

/// A machine with scripts of datagrams, and servers that send them back.
fn exchange(
    world: &mut World,
    setting: &Setting,
    scripts: impl IntoIterator<Item = Script>,
) -> Result<Tun, crate::check::Violation> {
    let tun = setting.build(world)?;
    let program = |host: ScriptHost, script: Script| {
        host.offline(Duration::ZERO, Script::of([Step::Bind]).and(script))
    };
    tun.machine(world, scripts.into_iter().fold(ScriptHost::new(), program));
    let origins = ScriptHost::new()
        .echo_datagrams(addr(ORIGIN))
        .echo_datagrams(addr(RESOLVER));
    let origins = origins.echo_datagrams(addr(ORIGIN_V6));
    world.host("origin", &ips(&["10.0.0.3", "fd00::3"]), origins);
    let other = ScriptHost::new().echo_datagrams(addr(OTHER));
    world.host("other", &ips(&["10.0.0.6"]), other);
    Ok(tun)
}

/// All associations ended by then, and not before.
pub(super) fn ended_within(
    world: &mut World,
    count: usize,
    within: core::ops::RangeInclusive<u64>,
) -> Verdict {
    world.run(LIMIT)?;
    let closed: Vec<(CloseReason, u64)> = world
        .closed()
        .iter()
        .filter_map(|c| Some((c.reason?, c.at.as_nanos() / 1_000_000_000)))
        .collect();
    let is_right = closed.len() == count && closed.iter().all(|(_, at)| within.contains(at));
    let what = format!("{closed:?}: not {count} within {within:?} seconds");
    world.expect(is_right, what)
}

/// A packet with an echo request.
fn ping(to: &str, sequence: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let data = b"a ping of forty octets, or nearly so many";
    let written = match to.parse().expect("addresses of scenarios are constants") {
        IpAddr::V4(to) => PacketBuilder::ipv4([10, 11, 12, 9], to.octets(), 64)
            .icmpv4_echo_request(7, sequence)
            .write_to_vec(&mut out, data),
        IpAddr::V6(to) => PacketBuilder::ipv6(SENDER_V6, to.octets(), 64)
            .icmpv6_echo_request(7, sequence)
            .write_to_vec(&mut out, data),
    };
    written.expect("a short packet");
    out
}

const SENDER_V6: [u8; 16] = [0xfd, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

/// Type and code of a message, and what follows its checksum.
fn message(packet: &[u8]) -> Option<((u8, u8), &[u8])> {
    let at = if packet.first()? >> 4 == 4 { 20 } else { 40 };
    let kind = (*packet.get(at)?, *packet.get(at + 1)?);
    Some((kind, packet.get(at + 4..)?))
}

/// Pings to both families; what comes back is as `kinds` say, or nothing.
fn pings(world: &mut World, extras: &'static str, kinds: Option<[(u8, u8); 2]>) -> Verdict {
    let tun = Setting {
        extras,
        ..Setting::default()
    }
    .build(world)?;
    let all: Vec<Vec<u8>> = (0..3)
        .flat_map(|n| [ping("10.0.0.3", n), ping("fd00::3", n)])
        .collect();
    let at = |n: usize| millis(n as u64 * 300);
    let send = |host: PacketHost, (n, packet): (usize, &Vec<u8>)| host.send(at(n), packet.clone());
    let mut host = all
        .iter()
        .enumerate()
        .fold(PacketHost::new(), send)
        .strict();
    for kind in kinds.into_iter().flatten() {
        let requests = all.clone();
        let is_answer = move |packet: &[u8]| {
            let answer = message(packet);
            let mut requests = requests.iter().filter_map(|request| message(request));
            // An answer repeats what follows type, code and checksum; an error quotes it all.
            answer.is_some_and(|(got, rest)| {
                got == kind && requests.any(|(_, sent)| rest == sent || rest.ends_with(sent))
            })
        };
        host = host.expect("answers", 3, is_answer);
    }
    world.host_in(tun.site, "machine", &ips(&["10.11.12.9", "fd11::9"]), host);
    run_to(world, &[])
}

scenarios! {
    /// A datagram there and back; its association ends when nothing moves.
    fn tun_udp_echo(world) {
        let twice = there_and_back(ORIGIN, b"one").sleep(seconds(20)).and(there_and_back(ORIGIN, b"two"));
        exchange(world, &Setting::default(), [twice])?;
        ended_within(world, 1, 300..=330)
    }

    /// The same over plain packets and IPv6, octet by octet.
    fn tun_udp_echo_v6(world) {
        let tun = exchange(world, &Setting { tun: plain_device(), ..Setting::default() }, [])?;
        let mut ask = Vec::new();
        let IpAddr::V6(origin) = addr(ORIGIN_V6).ip() else {
            return world.expect(false, "an IPv6 target");
        };
        PacketBuilder::ipv6(SENDER_V6, origin.octets(), 64)
            .udp(5000, 80)
            .write_to_vec(&mut ask, b"over IPv6")
            .expect("a short packet");
        let is_answer = move |packet: &[u8]| {
            let ports = packet.get(40..44);
            packet.get(8..24) == Some(&origin.octets()[..])
                && ports == Some(&[0, 80, 19, 136][..])
                && packet.ends_with(b"over IPv6")
        };
        let host = PacketHost::new().send(millis(5), ask).expect("the answer", 1, is_answer).strict();
        world.host_in(tun.site, "odd machine", &ips(&["fd11::9"]), host);
        ended_within(world, 1, 290..=330)
    }

    /// One socket talks to two targets: that is one association.
    fn tun_udp_two_targets(world) {
        let script = there_and_back(ORIGIN, b"one").and(there_and_back(OTHER, b"two"));
        let script = script.and(there_and_back(ORIGIN, b"three"));
        exchange(world, &Setting::default(), [script])?;
        ended_within(world, 1, 290..=330)
    }

    /// Two sockets are two associations.
    fn tun_udp_two_sockets(world) {
        let scripts = [there_and_back(ORIGIN, b"one"), there_and_back(ORIGIN, b"two")];
        exchange(world, &Setting::default(), scripts)?;
        ended_within(world, 2, 290..=330)
    }

    /// A query to a resolver is forgotten soon.
    fn tun_dns(world) {
        exchange(world, &Setting::default(), [there_and_back(RESOLVER, b"who is it?")])?;
        ended_within(world, 1, 0..=12)
    }

    /// `udp_timeout` counts for all of them.
    fn tun_udp_timeout(world) {
        let members = r#", "udp_timeout": "40s""#;
        let scripts = [there_and_back(ORIGIN, b"one"), there_and_back(RESOLVER, b"two")];
        exchange(world, &Setting { members, ..Setting::default() }, scripts)?;
        ended_within(world, 2, 38..=60)
    }

    /// Datagrams that are longer than the device carries go in parts, both ways.
    fn tun_udp_long(world) {
        let extras = r#", "egress_mtu": 65535"#;
        let script = there_and_back(ORIGIN, &[7; 4_000]).and(there_and_back(ORIGIN, &[8; 9_001]));
        exchange(world, &Setting { extras, ..Setting::default() }, [script])?;
        ended_within(world, 1, 290..=330)
    }

    /// Datagrams that are lost, late or doubled on the device harm nobody else.
    fn tun_udp_bad_queue(world) {
        let all: Vec<Vec<u8>> = (0..40).map(|n: u8| vec![n; 100]).collect();
        let send = |script: Script, data: &Vec<u8>| {
            script.then(Step::ToAddr(addr(ORIGIN), data.clone())).sleep(millis(10))
        };
        let script = all.iter().fold(Script::new(), send);
        let setting = Setting { link: "2ms ±2ms, loss 10%, dup 10%", ..Setting::default() };
        exchange(world, &setting, [script])?;
        ended_within(world, 1, 290..=330)
    }

    /// Pings are answered for everybody.
    fn tun_ping_reply(world) {
        pings(world, "", Some([(0, 0), (129, 0)]))
    }

    /// Pings are passed over in silence.
    #[sometimes("dropped icmp/echo_off")]
    fn tun_ping_off(world) {
        pings(world, r#", "icmp_echo": "off""#, None)
    }

    /// Pings are refused, as forbidden.
    fn tun_ping_reject(world) {
        pings(world, r#", "icmp_echo": "reject""#, Some([(3, 13), (1, 1)]))
    }
}
