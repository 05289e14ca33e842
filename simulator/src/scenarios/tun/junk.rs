//! Packets that nobody should send, beside conversations that must not notice.
use super::{
    super::{lab::*, scenarios},
    lab::*,
};
use crate::{
    World,
    host::Cx,
    peers::{PacketHost, ScriptHost},
    scenario::Verdict,
};
use core::time::Duration;
use etherparse::PacketBuilder;
use sansbox_engine::record::CloseReason::Completed;

/// Addresses of the one who sends junk.
const SENDER: ([u8; 4], [u8; 16]) = (
    [10, 11, 12, 9],
    [0xfd, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
);
/// Where it sends it.
const TARGET: ([u8; 4], [u8; 16]) = (
    [10, 0, 0, 3],
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
);

/// A number below `n`, as the seed says.
fn draw(cx: &mut Cx<'_>, n: u64) -> u64 {
    let stream = cx.stream("junk");
    cx.streams().below(stream, n)
}

/// A packet that is nearly right.
fn packet(cx: &mut Cx<'_>) -> Vec<u8> {
    let (ports, kind) = ((draw(cx, 4) as u16, draw(cx, 4) as u16), draw(cx, 8));
    let (from, to) = (5_000 + ports.0, 79 + ports.1);
    let payload = vec![0x5a; draw(cx, 600) as usize];
    let (seq, window) = (draw(cx, 1 << 32) as u32, draw(cx, 1 << 16) as u16);
    let mut out = Vec::new();
    let ip = match draw(cx, 3) {
        0 => PacketBuilder::ipv6(SENDER.1, TARGET.1, 64),
        _ => PacketBuilder::ipv4(SENDER.0, TARGET.0, 64),
    };
    let written = match kind {
        0 => ip.udp(0, to).write_to_vec(&mut out, &payload),
        1 => ip.icmpv4_echo_reply(seq as u16, window).write_to_vec(&mut out, &payload),
        2 => ip.icmpv6_echo_reply(seq as u16, window).write_to_vec(&mut out, &payload),
        3..=5 => ip.tcp(from, to, seq, window).syn().write_to_vec(&mut out, &[]),
        6 => ip.tcp(from, to, seq, window).ack(window.into()).write_to_vec(&mut out, &payload),
        _ => {
            let odd = ip.tcp(from, to, seq, window).syn().fin().rst().psh().urg(7).ns();
            odd.write_to_vec(&mut out, &payload)
        }
    };
    written.map(|()| out).unwrap_or_default()
}

/// What is done to it.
fn damage(cx: &mut Cx<'_>, mut packet: Vec<u8>) -> Vec<u8> {
    match draw(cx, 5) {
        0 => {}
        1 => packet.truncate(draw(cx, packet.len() as u64 + 1) as usize),
        2 => {
            for _ in 0..=draw(cx, 8) {
                let bit = draw(cx, packet.len() as u64 * 8 + 1) as usize;
                if let Some(octet) = packet.get_mut(bit / 8) {
                    *octet ^= 1 << (bit % 8);
                }
            }
        }
        3 => {
            // Headers alone, where lengths and kinds stand.
            let at = draw(cx, 60) as usize;
            let value = draw(cx, 256) as u8;
            if let Some(octet) = packet.get_mut(at) {
                *octet = value;
            }
        }
        _ => {
            let octets = (0..draw(cx, 120)).map(|_| draw(cx, 256) as u8);
            packet = octets.collect();
        }
    }
    packet
}

/// `count` packets of junk, one each half millisecond.
fn junk(count: u64) -> PacketHost {
    let every = |n: u64| Duration::from_micros(n * 500);
    let one = |cx: &mut Cx<'_>| {
        let packet = packet(cx);
        damage(cx, packet)
    };
    (0..count).fold(PacketHost::new(), |host, n| host.make(every(n), one))
}

/// Conversations beside junk: all are whole.
fn beside(world: &mut World, setting: &Setting) -> Verdict {
    let tun = setting.build(world)?;
    world.host_in(tun.site, "vandal", &ips(&["10.11.12.9", "fd11::9"]), junk(2_000));
    let dial = |host: ScriptHost, n: u64| {
        let at = Duration::from_millis(n * 200);
        host.dial_at(at, target(n), talk_of(n, 40_000))
    };
    tun.machine(world, (0..4).fold(ScriptHost::new(), dial));
    let serve = |host: ScriptHost, n| host.serve(target(n), move |_| answer_of(n, 40_000));
    world.host("origin", &ips(&["10.0.0.3", "fd00::3"]), (0..4).fold(ScriptHost::new(), serve));
    world.run(LIMIT)?;
    let completed = world.closed().iter().filter(|c| c.reason == Some(Completed)).count();
    world.expect(completed == 4, format!("{completed} conversations, not 4"))?;
    has_mark(world, "dropped tcp/tcp_checksum")?;
    has_mark(world, "dropped ip/truncated")
}

scenarios! {
    /// Bad packets of every kind disturb no conversation.
    #[sometimes("dropped ip/bad_header_checksum", "dropped tcp/tcp_header", "dropped tcp/no_flow", "dropped ip/bad_version")]
    fn tun_junk(world) {
        beside(world, &Setting::default())
    }

    /// The same without offload, where every checksum is looked at, and in the consistent mode.
    #[sometimes("dropped tcp/tcp_flags", "dropped ip/bad_udp_checksum", "dropped icmp/bad_checksum")]
    fn tun_junk_plain(world) {
        let tun = plain_device();
        beside(world, &Setting { tun, handshake: "consistent", ..Setting::default() })
    }
}
