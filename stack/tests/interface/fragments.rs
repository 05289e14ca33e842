//! Fragments both ways.
use bytes::BytesMut;
use sansbox_core::Instant;
use sansbox_stack::{
    Config, Event, InterfaceConfig, InterfaceEvent,
    fragment::{Limits, Reassembler, fragment},
    ip::Header,
    mtu::Carrier,
};

use crate::bench::{Bench, SECOND, address, changed, read, read_icmp, read_udp, udp};
use crate::tcp;

/// The packet in pieces of at most `mtu` bytes.
pub(crate) fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let header = Header::parse(packet).unwrap();
    let mut parts = fragment(packet, &header, mtu, 99).unwrap();
    let mut part = BytesMut::new();
    let mut all = Vec::new();
    while parts.next_into(&mut part).is_some() {
        all.push(part.to_vec());
        part.clear();
    }
    assert!(all.len() > 1);
    all
}

/// The packet that was cut.
pub(crate) fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = BytesMut::new();
    let mut fragments = Reassembler::new(Limits::default());
    for part in parts {
        let header = Header::parse(part).unwrap();
        fragments
            .handle_fragment(Instant::ZERO, part, &header, &mut whole)
            .unwrap();
    }
    assert!(fragments.is_empty());
    whole.to_vec()
}

fn ends(is_v6: bool) -> (core::net::SocketAddr, core::net::SocketAddr) {
    if is_v6 {
        (address("[fd00::2]:4000"), address("[2001:db8::9]:9000"))
    } else {
        (address("10.0.0.2:4000"), address("192.0.2.9:9000"))
    }
}

#[test]
fn datagrams_in_fragments_are_put_together_in_any_order() {
    for is_v6 in [false, true] {
        let (client, remote) = ends(is_v6);
        let mut bench = Bench::new(InterfaceConfig::default());
        let data: Vec<u8> = (0..9000_u32).map(|n| (n % 251) as u8).collect();
        let mut parts = cut(&udp(client, remote, &data), 1500);
        parts.rotate_left(2);
        let last = parts.pop().unwrap();
        assert!(bench.turn(&parts).is_empty() && bench.got.is_empty());
        bench.turn(&[last]);
        assert_eq!((bench.got.len(), &bench.got[0].data), (1, &data));
        assert_eq!(bench.dropped_in_all(), 0);
    }
}

#[test]
fn a_sender_that_is_told_of_the_mtu_and_cuts_is_carried() {
    let (client, remote) = ends(true);
    let mut bench = Bench::new(InterfaceConfig {
        carrier: Carrier::Packets,
        ..InterfaceConfig::default()
    });
    let packet = udp(client, remote, &[7; 1400]);
    let told = bench.turn(core::slice::from_ref(&packet));
    let (_, _, kind, _) = read_icmp(&told[0]);
    assert_eq!((kind, bench.got.len()), ((2, 0), 0));
    assert!(bench.turn(&cut(&packet, 1280)).is_empty());
    assert_eq!((bench.got.len(), bench.got[0].data.len()), (1, 1400));
}

#[test]
fn an_answer_longer_than_the_mtu_is_cut() {
    for is_v6 in [false, true] {
        let (client, remote) = ends(is_v6);
        let mut bench = Bench::new(InterfaceConfig {
            stack: Config {
                tun_mtu: 1500,
                checksum_offload: true,
                ..Config::default()
            },
            ..InterfaceConfig::default()
        });
        let mapping = bench.say(client, remote, b"question");
        let fits = 1500 - if is_v6 { 48 } else { 28 };
        for len in [fits, fits + 1, 9000, 65_507] {
            let data: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
            let now = bench.now();
            assert!(bench.interface.send_datagram(now, mapping, remote, &data));
            let sent = bench.sent();
            assert_eq!(sent.len() == 1, len == fits);
            assert!(sent.iter().all(|packet| packet.len() <= 1500));
            let whole = if sent.len() == 1 {
                sent[0].clone()
            } else {
                join(&sent)
            };
            assert_eq!(read_udp(&whole), (remote, client, &data[..]));
        }
        assert_eq!(bench.dropped_in_all(), 0);
    }
}

#[test]
fn of_an_answer_in_fragments_all_or_none_are_queued() {
    let (client, remote) = ends(false);
    let mut bench = Bench::new(InterfaceConfig {
        stack: Config {
            tun_mtu: 1500,
            ..Config::default()
        },
        queue_max: 10,
        ..InterfaceConfig::default()
    });
    let mapping = bench.say(client, remote, b"question");
    let now = bench.now();
    assert!(
        bench
            .interface
            .send_datagram(now, mapping, remote, &[1; 9000])
    );
    assert!(
        !bench
            .interface
            .send_datagram(now, mapping, remote, &[1; 9000])
    );
    assert_eq!(bench.dropped("interface", "queue_full"), 1);
    join(&bench.sent());
}

#[test]
fn missing_fragments_are_told_and_counted() {
    for is_v6 in [false, true] {
        let (client, remote) = ends(is_v6);
        let mut bench = Bench::new(InterfaceConfig::default());
        let parts = cut(&udp(client, remote, &[1; 3000]), 1500);
        bench.turn(&parts[..1]);
        let sent = bench.wait_until(30 * SECOND + 1);
        let (_, to, kind, _) = read_icmp(&sent[0]);
        assert_eq!(to, client.ip());
        assert_eq!(kind, if is_v6 { (3, 1) } else { (11, 1) });
        assert_eq!(bench.dropped("fragment", "timed_out"), 1);
    }
}

#[test]
fn overlapping_fragments_are_refused() {
    let (client, remote) = ends(false);
    let mut bench = Bench::new(InterfaceConfig::default());
    let packet = udp(client, remote, &[1; 3000]);
    let mut parts = cut(&packet, 1500);
    // The second begins eight bytes too early.
    parts[1] = changed(parts[1].clone(), |part| part[7] -= 1);
    bench.turn(&parts);
    assert!(bench.got.is_empty());
    assert_eq!(bench.dropped("fragment", "overlap"), 1);
}

#[test]
fn segments_in_fragments_reach_the_terminator() {
    for is_v6 in [false, true] {
        let (client, remote) = ends(is_v6);
        let mut bench = Bench::new(InterfaceConfig::default());
        let syn = tcp::segment(client, remote, "S", 100, 0, b"");
        let sent = bench.turn(&[syn]);
        let (_, _, protocol, answer) = read(&sent[0]);
        assert_eq!((protocol, answer[13]), (6, 0x12));
        let next = u32::from_be_bytes(*answer[4..].first_chunk().unwrap()).wrapping_add(1);
        let data: Vec<u8> = (0..4000_u32).map(|n| (n % 249) as u8).collect();
        // Whole segments before and behind, all in one batch.
        let mut batch = vec![tcp::segment(client, remote, "A", 101, next, b"first")];
        batch.extend(cut(
            &tcp::segment(client, remote, "A", 106, next, &data),
            1500,
        ));
        batch.push(tcp::segment(client, remote, "A", 4106, next, b"last"));
        bench.turn(&batch);
        let opened = bench.events.iter().find_map(|event| {
            let InterfaceEvent::Tcp(Event::Open { flow, .. }) = event else {
                return None;
            };
            Some(*flow)
        });
        let stack = bench.interface.stack();
        let got: Vec<u8> = stack
            .pieces(opened.unwrap())
            .flat_map(|piece| piece.bytes(&[]).to_vec())
            .collect();
        assert_eq!(got, [&b"first"[..], &data, b"last"].concat());
        // And the next batch is taken as always.
        let now = bench.now();
        bench
            .interface
            .stack_mut()
            .consumed(now, opened.unwrap(), got.len());
        bench.turn(&[tcp::segment(client, remote, "A", 4110, next, b"more")]);
    }
}
