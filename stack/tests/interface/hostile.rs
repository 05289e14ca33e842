//! Packets that nobody should send: no panic, no loss in silence, no growth.
use proptest::prelude::*;
use sansbox_stack::{InterfaceConfig, RxPacket, Verified, icmp::EchoMode, mtu::Carrier};

use crate::bench::{Bench, address, changed, echo, icmp, udp};
use crate::{fragments, tcp};

/// Packets of every kind, from which others are made by changing bytes.
fn kinds() -> Vec<Vec<u8>> {
    let (c4, r4) = (address("10.0.0.2:4000"), address("192.0.2.9:53"));
    let (c6, r6) = (address("[fd00::2]:4000"), address("[2001:db8::9]:443"));
    let mut extended = udp(c6, r6, b"behind options");
    extended.splice(40..40, [17, 0, 5, 2, 0, 0, 1, 0]);
    extended[5] += 8;
    extended[6] = 0;
    let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
    error.extend_from_slice(&udp(r4, c4, b"answer"));
    let mut all = vec![
        udp(c4, r4, b"question"),
        udp(c6, r6, &[3; 1300]),
        extended,
        echo("10.0.0.2", "192.0.2.9", 8, 1, 1, b"ping"),
        echo("fd00::2", "2001:db8::9", 128, 1, 1, b"ping"),
        icmp("10.0.0.2", "192.0.2.9", error),
        tcp::segment(c4, r4, "S", 1, 0, b""),
        tcp::segment(c6, r6, "A", 1, 1, b"stray"),
    ];
    all.extend(fragments::cut(&udp(c4, r4, &[1; 3000]), 1280));
    all.extend(fragments::cut(&udp(c6, r6, &[1; 3000]), 1280));
    all.extend(fragments::cut(
        &tcp::segment(c4, r4, "A", 1, 1, &[1; 3000]),
        1280,
    ));
    all
}

/// Which kind, bytes to change, where it is cut, and whether its header's sum is made right.
type Packet = (usize, Vec<(usize, u8)>, Option<usize>, bool);

fn packet() -> impl Strategy<Value = Packet> {
    let at = prop_oneof![4 => 0_usize..80, 1 => 0_usize..3000];
    (
        0_usize..64,
        proptest::collection::vec((at, any::<u8>()), 0..4),
        proptest::option::weighted(0.1, 0_usize..100),
        any::<bool>(),
    )
}

fn make(kinds: &[Vec<u8>], (kind, changes, cut, sums): &Packet) -> Vec<u8> {
    let mut packet = kinds[kind % kinds.len()].clone();
    for (at, to) in changes {
        let at = at % packet.len();
        packet[at] = *to;
    }
    if let Some(len) = cut {
        packet.truncate(*len);
    }
    let head = packet
        .first()
        .map_or(0, |first| usize::from(first & 15) * 4);
    if *sums && packet.len() >= head.max(20) && packet[0] >> 4 == 4 {
        packet = changed(packet, |_| {});
    }
    packet
}

/// All that a packet can leave behind.
fn traces(bench: &Bench) -> (usize, u64, u64) {
    let stack = bench.interface.stack();
    let counters = stack.counters();
    let tcp = counters.syn_repeated + counters.opened + u64::from(stack.half_open_flows());
    (
        bench.got.len() + bench.events.len(),
        bench.dropped_in_all(),
        tcp,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_packet_leaves_a_trace(
        batches in proptest::collection::vec(proptest::collection::vec(packet(), 1..8), 1..12),
        echo in prop_oneof![
            Just(EchoMode::Off), Just(EchoMode::Reply), Just(EchoMode::Relay),
            Just(EchoMode::Reject),
        ],
        carrier in prop_oneof![Just(Carrier::Stream), Just(Carrier::Datagrams)],
        trusted in any::<bool>(),
        one_by_one in any::<bool>(),
        wait in 0_u64..20_000,
    ) {
        let kinds = kinds();
        let mut bench = Bench::new(InterfaceConfig { echo, carrier, ..InterfaceConfig::default() });
        for batch in &batches {
            let packets: Vec<Vec<u8>> = batch.iter().map(|packet| make(&kinds, packet)).collect();
            if trusted {
                let now = bench.now();
                let packets: Vec<RxPacket<'_>> = packets.iter().map(|data| RxPacket {
                    data,
                    verified: Verified::Trusted,
                    segment_size: 100,
                }).collect();
                bench.interface.recv_batch(now, &packets, &mut |_| {});
                bench.poll();
                bench.interface.retain(&packets);
                bench.sent();
            } else if one_by_one {
                for packet in packets {
                    let before = traces(&bench);
                    let waits = may_wait(&packet);
                    let sent = bench.turn(&[packet]);
                    let left = traces(&bench) != before || !sent.is_empty();
                    // A fragment that waits for others is the only thing to leave none.
                    prop_assert!(left || waits);
                }
            } else {
                bench.turn(&packets);
            }
            bench.now += wait;
            let now = bench.now;
            bench.wait_until(now);
        }
        // And everything ends by itself.
        let end = bench.now + 1_000_000;
        bench.wait_until(end);
        prop_assert_eq!(bench.interface.mappings(), 0);
        prop_assert_eq!(bench.interface.queued(), 0);
        prop_assert_eq!(bench.interface.stack().half_open_flows(), 0);
    }
}

/// Whether the packet says that it is a fragment.
fn may_wait(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.len() >= 8 && (packet[6] & 0x3f, packet[7]) != (0, 0),
        // The fragment header may stand behind others.
        Some(6) => packet.len() >= 48 && matches!(packet[6], 0 | 43 | 44 | 60),
        _ => false,
    }
}

/// The same packets at the same times: the same packets out, the same news, the same counts.
#[test]
fn what_happens_depends_on_nothing_but_the_input() {
    let run = || {
        let mut bench = Bench::new(InterfaceConfig::default());
        let mut all = Vec::new();
        for (n, packet) in (0_u8..).zip(kinds().iter().cycle().take(200)) {
            let spoilt = changed(packet.clone(), |bytes| {
                let at = usize::from(n) % bytes.len();
                bytes[at] ^= n & 3;
            });
            all.extend(bench.turn(&[spoilt, packet.clone()]));
            if let Some(got) = bench.got.last() {
                let (now, mapping, from) = (bench.now(), got.mapping, got.to);
                bench.interface.send_datagram(now, mapping, from, &[n; 300]);
            }
            all.extend(bench.wait_until(bench.now + 500));
        }
        let drops: Vec<_> = bench.interface.drops().collect();
        (all, bench.got, bench.events, drops)
    };
    let first = run();
    assert!(first.0.len() > 100 && first.1.len() > 20);
    assert_eq!(first, run());
}
