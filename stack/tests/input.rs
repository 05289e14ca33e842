//! Packets of all kinds in: what is taken, what is left to others, and why the rest is dropped.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::manual_let_else,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_core::Seed;
use sansbox_stack::{
    Config, DropReason, Event, Other, RxPacket, Stack, TxBatch, Verified, ip::Header,
};
use support::raw::{Bench, Peer, at, trusted};

fn reason(packet: &[u8]) -> Option<&'static str> {
    let mut stack = Stack::new(Config::default(), Seed::from_u64(1));
    stack.recv_batch(at(1), &[RxPacket::new(packet)]);
    let counters = stack.counters();
    let tcp = DropReason::ALL
        .iter()
        .map(|reason| (reason.name(), counters.drops(*reason)));
    let ip = counters.ip_drops().iter();
    let all = tcp.chain(ip.map(|(reason, count)| (reason.name(), count)));
    let mut found = all.filter(|(_, count)| *count > 0).map(|(name, _)| name);
    let first = found.next();
    assert_eq!(found.next(), None, "one reason for one packet");
    first
}

#[test]
fn every_malformed_packet_has_its_reason() {
    let syn = Peer::v4().syn();
    let changed = |at: usize, to: u8| {
        let mut packet = syn.clone();
        packet[at] = to;
        packet
    };
    assert_eq!(reason(&syn), None);
    assert_eq!(reason(&[]), Some("truncated"));
    assert_eq!(reason(&[0x45; 10]), Some("truncated"));
    assert_eq!(reason(&[0x70; 40]), Some("bad_version"));
    assert_eq!(reason(&syn[..30]), Some("truncated"));
    assert_eq!(reason(&changed(0, 0x44)), Some("bad_header_len"));
    assert_eq!(reason(&changed(8, 1)), Some("bad_header_checksum"));
    assert_eq!(reason(&changed(38, 1)), Some("tcp_checksum"));
    // A device that vouches for the sums is believed; the header's fields are read all the same.
    let mut stack = Stack::new(Config::default(), Seed::from_u64(1));
    let packet = changed(36, 0xff);
    stack.recv_batch(at(1), &[trusted(&packet)]);
    assert_eq!(stack.half_open_flows(), 1);
    let short_header = changed(32, 0x10);
    stack.recv_batch(at(1), &[trusted(&short_header)]);
    assert_eq!(stack.counters().drops(DropReason::TcpHeader), 1);
    let long_header = changed(32, 0xf0);
    stack.recv_batch(at(1), &[trusted(&long_header)]);
    assert_eq!(stack.counters().drops(DropReason::TcpHeader), 2);
    let no_port = changed(22, 0);
    let mut no_port = no_port;
    no_port[23] = 0;
    stack.recv_batch(at(1), &[trusted(&no_port)]);
    assert_eq!(stack.counters().drops(DropReason::TcpHeader), 3);
    // SYN and FIN and RST exclude each other, and something must be there.
    for flags in [0x03, 0x06, 0x05, 0x00, 0x01, 0x08] {
        let packet = changed(33, flags);
        let before = stack.counters().drops(DropReason::TcpFlags);
        stack.recv_batch(at(1), &[trusted(&packet)]);
        assert_eq!(stack.counters().drops(DropReason::TcpFlags), before + 1);
    }
    // An option that is longer than its place.
    let packet = changed(41, 200);
    stack.recv_batch(at(1), &[trusted(&packet)]);
    assert_eq!(stack.counters().drops(DropReason::TcpHeader), 4);
}

#[test]
fn addresses_that_no_connection_has_are_martians() {
    for (from, to) in [
        ("0.0.0.0:1", "192.0.2.9:80"),
        ("10.0.0.2:1", "0.0.0.0:80"),
        ("224.0.0.1:1", "192.0.2.9:80"),
        ("10.0.0.2:1", "239.1.1.1:80"),
        ("10.0.0.2:1", "255.255.255.255:80"),
        ("10.0.0.2:80", "10.0.0.2:80"),
        ("[::]:1", "[2001:db8::9]:80"),
        ("[fd00::2]:1", "[ff02::1]:80"),
        ("[::ffff:10.0.0.2]:1", "[2001:db8::9]:80"),
        ("[fd00::2]:1", "[::ffff:192.0.2.9]:80"),
    ] {
        assert_eq!(
            reason(&Peer::new(from, to).syn()),
            Some("martian"),
            "{from} {to}"
        );
    }
}

#[test]
fn bytes_behind_the_packet_are_padding() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    let mut packet = peer.segment("A", b"data");
    packet.extend_from_slice(&[0xee; 20]);
    bench.give(&[packet]);
    assert_eq!(bench.read(flow), b"data");
}

/// Puts extension headers between IPv6 and TCP.
fn extended(packet: &[u8], first: u8, headers: &[u8]) -> Vec<u8> {
    let mut out = packet[..40].to_vec();
    out.extend_from_slice(headers);
    out.extend_from_slice(&packet[40..]);
    let len = u16::try_from(out.len() - 40).unwrap().to_be_bytes();
    (out[4], out[5], out[6]) = (len[0], len[1], first);
    out
}

#[test]
fn extension_headers_are_passed_over() {
    let peer = Peer::new("[fd00::2]:4000", "[2001:db8::9]:443");
    let syn = peer.syn();
    let options = |next: u8| [next, 0, 1, 4, 0, 0, 0, 0];
    let atomic = [6, 0, 0, 0, 1, 2, 3, 4];
    // Hop-by-hop, destination options of 16 bytes, a fragment header of a whole packet, TCP.
    let mut chain = options(60).to_vec();
    chain.extend_from_slice(&[44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend_from_slice(&atomic);
    let mut bench = Bench::new(Config::default());
    let sent = bench.say(&[extended(&syn, 0, &chain)]);
    assert_eq!((sent.len(), sent[0].flags.as_str()), (1, "SA"));
    // A routing header that is done is passed, one that is not is refused.
    assert_eq!(reason(&extended(&syn, 43, &[6, 0, 4, 0, 0, 0, 0, 0])), None);
    let onwards = extended(&syn, 43, &[6, 0, 4, 1, 0, 0, 0, 0]);
    assert_eq!(reason(&onwards), Some("source_route"));
    // Too many, too long, cut off.
    let many: Vec<u8> = (0..9)
        .flat_map(|n| options(if n == 8 { 6 } else { 60 }))
        .collect();
    assert_eq!(
        reason(&extended(&syn, 60, &many)),
        Some("too_many_extensions")
    );
    let eight: Vec<u8> = (0..8)
        .flat_map(|n| options(if n == 7 { 6 } else { 60 }))
        .collect();
    assert_eq!(reason(&extended(&syn, 60, &eight)), None);
    let long = extended(&syn, 0, &[6, 200, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reason(&long), Some("truncated"));
}

#[test]
fn fragments_and_other_protocols_are_left_to_others() {
    let peer = Peer::new("[fd00::2]:4000", "[2001:db8::9]:443");
    let syn6 = peer.syn();
    let fragment6 = extended(&syn6, 44, &[6, 0, 0, 1, 1, 2, 3, 4]);
    let later6 = extended(&syn6, 44, &[17, 0, 0, 8, 1, 2, 3, 4]);
    let mut udp = Peer::v4().syn();
    udp[9] = 17;
    let mut fragment = Peer::v4().syn();
    fragment[6] = 0x20;
    let packets = [udp, fragment, fragment6, later6].map(|mut packet| {
        // Only the header of IPv4 is summed anew.
        if packet[0] >> 4 == 4 {
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
        }
        packet
    });
    let batch: Vec<RxPacket<'_>> = packets.iter().map(|data| RxPacket::new(data)).collect();
    let mut stack = Stack::new(Config::default(), Seed::from_u64(1));
    stack.recv_batch(at(1), &batch);
    let expected: Vec<Other> = (0_u32..)
        .zip(&packets)
        .map(|(packet, data)| Other {
            packet,
            header: Header::parse(data).unwrap(),
        })
        .collect();
    assert_eq!(stack.others(), expected);
    let fragments: Vec<bool> = expected
        .iter()
        .map(|other| other.header.fragment.is_some())
        .collect();
    assert_eq!(fragments, [false, true, true, true]);
    assert_eq!(stack.counters().others, 4);
    stack.recv_batch(at(1), &[]);
    assert_eq!(stack.others(), []);
}

#[test]
fn a_joined_packet_is_taken_whole_and_acknowledged_at_once() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    let packet = peer.segment("A", &[7; 60_000]);
    let joined = RxPacket {
        data: &packet,
        verified: Verified::Trusted,
        segment_size: 1460,
    };
    bench.stack.recv_batch(at(2), &[joined]);
    let sent = bench.sent();
    assert_eq!((sent.len(), sent[0].ack), (1, peer.seq + 60_000));
    let len: usize = bench
        .stack
        .pieces(flow)
        .map(|piece| piece.bytes(&[joined]).len())
        .sum();
    assert_eq!(len, 60_000);
    bench.stack.consumed(at(2), flow, len);
    bench.stack.retain(&[joined]);
    assert_eq!(bench.stack.counters().copied_retained, 0);
}

#[test]
fn reasons_have_names_of_their_own_and_are_the_table_in_the_documentation() {
    let readme = include_str!("../README.md");
    let is_row = |line: &&str| line.starts_with("| `") && line.matches(" | ").count() == 2;
    let table = readme.split("## Why a packet was dropped").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().filter(is_row).collect();
    let mut names = std::collections::BTreeSet::new();
    let mut expected = Vec::new();
    for reason in sansbox_stack::drops::reasons() {
        assert!(names.insert((reason.module, reason.name)));
        let (module, name, meaning) = (reason.module, reason.name, reason.meaning);
        expected.push(format!("| `{module}` | `{name}` | {meaning} |"));
    }
    assert_eq!(
        rows,
        expected,
        "the table must read:\n{}",
        expected.join("\n")
    );
}

/// Bytes, or a packet of a connection with some of its bytes changed.
fn hostile(rng: &mut support::Rng, peer: &Peer) -> Vec<u8> {
    let flags = rng.pick(&["A", "FA", "RA", "R", "PA", "SA", "S"]);
    let near = |rng: &mut support::Rng, of: u32| {
        of.wrapping_add(rng.pick(&[0, 1, 100, 65_535, u32::MAX, 1 << 31, 70_000]))
    };
    let (seq, ack) = (near(rng, peer.seq), near(rng, peer.ack));
    let payload = vec![1; rng.pick(&[0, 1, 500, 1000])];
    let mut packet = if rng.chance(200) {
        peer.syn()
    } else {
        peer.segment_at(flags, seq, ack, &payload)
    };
    for _ in 0..rng.below(4) {
        let at = rng.below(packet.len().min(64) as u64) as usize;
        packet[at] = rng.next() as u8;
    }
    if rng.chance(100) {
        packet.truncate(rng.below(packet.len() as u64) as usize);
    }
    packet
}

#[test]
fn no_packets_make_it_panic_or_grow() {
    for seed in 0..300 {
        let mut rng = support::Rng(seed);
        let mut bench = Bench::new(Config::default());
        let mut peer = if seed % 2 == 0 {
            Peer::v4()
        } else {
            Peer::new("[fd00::2]:4000", "[2001:db8::9]:443")
        };
        let mut flow = peer.connect(&mut bench);
        let mut batch = TxBatch::new(8);
        for _ in 0..60 {
            bench.now += rng.below(300);
            let packets: Vec<Vec<u8>> = (0..rng.below(6))
                .map(|_| hostile(&mut rng, &peer))
                .collect();
            let received: Vec<RxPacket<'_>> = packets.iter().map(|data| trusted(data)).collect();
            bench.stack.recv_batch(bench.now(), &received);
            while let Some(event) = bench.stack.poll_event() {
                if let Event::Open { flow: new, .. } = event {
                    flow = new;
                }
            }
            if rng.chance(300) {
                let n = rng.below(2000) as usize;
                bench.stack.consumed(at(bench.now), flow, n);
            }
            bench.stack.retain(&received);
            match rng.below(10) {
                0..=4 => drop(bench.stack.write(flow, vec![0; 700].into())),
                5 => bench.stack.shutdown(at(bench.now), flow),
                _ => {}
            }
            bench.stack.handle_timeout(bench.now());
            while bench.stack.poll_transmit(bench.now(), &mut batch) {
                batch.clear();
            }
        }
        let most = 65_536 * u64::from(bench.stack.open_flows() + 1) * 16;
        assert!(bench.stack.usage().windows <= most, "seed {seed}");
        // And everything ends by itself when the client is silent.
        bench.wait_until(bench.now + 4_000_000);
        assert_eq!(bench.stack.half_open_flows(), 0);
    }
}
