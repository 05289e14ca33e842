//! The eight defects of the stack that this one replaces, each as what must not happen again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::manual_let_else,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_stack::{CancelReason, Config, Event, FlowId, Handshake, Reject};
use support::pattern;
use support::raw::{Bench, Peer, at};

fn opened(events: &[Event]) -> Vec<FlowId> {
    let mut flows = Vec::new();
    for event in events {
        if let Event::Open { flow, .. } = event {
            flows.push(*flow);
        }
    }
    flows
}

fn bench(handshake: Handshake) -> Bench {
    Bench::new(Config {
        handshake,
        ..Config::default()
    })
}

#[test]
fn t1_any_destination_is_answered() {
    let mut bench = bench(Handshake::Fast);
    let destinations = [
        "10.11.12.1:80",
        "1.2.3.4:80",
        "10.11.12.77:80",
        "203.0.113.200:65535",
    ];
    for (n, to) in destinations.iter().enumerate() {
        let mut peer = Peer::new(&format!("10.0.0.2:{}", 4000 + n), to);
        let answer = peer.begin(&mut bench);
        assert_eq!(answer.from, peer.destination);
        assert_eq!(answer.to, peer.source);
    }
    let mut peer = Peer::new("[fd00::2]:4000", "[2001:db8::9]:443");
    assert_eq!(peer.begin(&mut bench).from, peer.destination);
}

#[test]
fn t2_two_clients_of_one_destination_are_two_flows() {
    let mut bench = bench(Handshake::Consistent);
    let a = Peer::new("10.0.0.2:4000", "192.0.2.9:80");
    let b = Peer::new("10.0.0.3:4000", "192.0.2.9:80");
    let c = Peer::new("10.0.0.2:4001", "192.0.2.9:80");
    let flows = opened(&bench.give(&[a.syn(), b.syn(), c.syn()]));
    assert_eq!(flows.len(), 3);
    for flow in &flows {
        bench.stack.accept(at(1), *flow);
    }
    let answered: Vec<_> = bench.sent().iter().map(|seen| seen.to).collect();
    assert_eq!(answered, [a.source, b.source, c.source]);
}

#[test]
fn t3_a_failed_dial_is_said() {
    let mut bench = bench(Handshake::Consistent);
    let peer = Peer::v4();
    let flows = opened(&bench.give(&[peer.syn()]));
    assert_eq!(bench.sent(), [], "the SYN-ACK waits for the dial");
    bench.stack.reject(flows[0], Reject::Refused);
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].flags.as_str(), sent[0].seq), ("RA", 0));
    assert_eq!(sent[0].ack, peer.seq);
}

#[test]
fn t4_an_upload_to_a_slow_reader_loses_nothing() {
    let mut bench = bench(Handshake::Fast);
    let mut peer = Peer::v4();
    peer.shift = Some(7);
    let flow = peer.connect(&mut bench);
    let total = 3_000_000;
    let (mut sent, mut acked, mut edge) = (0_usize, 0_usize, 65_535_usize);
    let first = peer.seq;
    let mut read = Vec::new();
    let mut rounds = 0;
    while read.len() < total {
        rounds += 1;
        assert!(
            rounds < 100_000,
            "no progress at {sent} sent, {} read",
            read.len()
        );
        let mut packets = Vec::new();
        while sent < total && sent + 1000 <= edge && packets.len() < 64 {
            let len = 1000.min(total - sent);
            let bytes: Vec<u8> = (sent..sent + len).map(|at| pattern(4, at)).collect();
            packets.push(peer.segment("A", &bytes));
            peer.seq = peer.seq.wrapping_add(1000);
            sent += len;
        }
        bench.now += 5;
        bench.give(&packets);
        bench.stack.handle_timeout(bench.now());
        // The reader takes a little, and only every third time.
        if rounds % 3 == 0 {
            let mut taken = 0;
            for piece in bench.stack.pieces(flow) {
                let bytes = piece.bytes(&[]);
                read.extend_from_slice(bytes);
                taken += bytes.len();
                if taken > 20_000 {
                    break;
                }
            }
            bench.stack.consumed(at(bench.now), flow, taken);
        }
        for seen in bench.sent() {
            acked = acked.max(seen.ack.wrapping_sub(first) as usize);
            edge = edge.max(acked + (usize::from(seen.window) << 7));
        }
        assert!(acked <= sent);
    }
    assert!(
        read.iter()
            .enumerate()
            .all(|(at, byte)| *byte == pattern(4, at))
    );
    assert_eq!(bench.stack.counters().bytes_in, 3_000_000);
}

#[test]
fn t5_a_download_larger_than_any_buffer_is_pushed_back_not_dropped() {
    let mut bench = bench(Handshake::Fast);
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    let total = 8 << 20;
    let (mut written, mut refused) = (0, 0);
    let mut got: Vec<u8> = Vec::new();
    let mut may_write = true;
    while got.len() < total {
        // After a chunk was handed back the caller waits until it hears of room.
        while may_write && written < total {
            let chunk: Vec<u8> = (written..written + 65_536)
                .map(|at| pattern(5, at))
                .collect();
            if !bench.write(flow, &chunk) {
                refused += 1;
                may_write = false;
                break;
            }
            written += 65_536;
        }
        bench.now += 1;
        for seen in bench.sent() {
            assert_eq!(seen.seq, peer.ack, "in order");
            assert!(seen.payload.len() <= 1000, "not above the client's MSS");
            peer.ack = peer.ack.wrapping_add(seen.payload.len() as u32);
            got.extend_from_slice(&seen.payload);
        }
        let events = bench.give(&[peer.segment("A", &[])]);
        may_write |= events.contains(&Event::Writable(flow));
    }
    assert!(refused > 10, "it must have been pushed back");
    assert!(
        got.iter()
            .enumerate()
            .all(|(at, byte)| *byte == pattern(5, at))
    );
}

#[test]
fn t6_a_tunnel_that_ends_is_heard_of() {
    // In order: FIN. Broken: RST.
    let mut bench = bench(Handshake::Fast);
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    bench.stack.shutdown(at(1), flow);
    assert_eq!(bench.sent()[0].flags, "FA");
    let mut other = Peer::new("10.0.0.2:4001", "192.0.2.9:80");
    let flow = other.connect(&mut bench);
    bench.stack.abort(flow);
    let sent = bench.sent();
    assert_eq!((sent[0].flags.as_str(), sent[0].seq), ("RA", other.ack));
}

#[test]
fn t7_a_syn_again_is_no_new_flow() {
    let mut fast = bench(Handshake::Fast);
    let peer = Peer::v4();
    let answers = fast.say(&[peer.syn(), peer.syn(), peer.syn()]);
    assert_eq!(answers.len(), 1, "one answer per batch");
    assert_eq!(fast.say(&[peer.syn()]), answers, "and the same again");
    assert_eq!(fast.stack.half_open_flows(), 1);
    assert_eq!(fast.events, []);

    let mut consistent = bench(Handshake::Consistent);
    let events = consistent.give(&[peer.syn(), peer.syn()]);
    assert_eq!(events.len(), 1);
    assert_eq!(consistent.give(&[peer.syn()]), []);
    assert_eq!(consistent.stack.counters().syn_repeated, 2);
    // With another number it is another connection, and the first dial is called off.
    let mut anew = peer;
    anew.seq = 77_000;
    let flow = opened(&events)[0];
    let events = consistent.give(&[anew.syn()]);
    assert_eq!(events[0], Event::Cancelled(flow, CancelReason::Restarted));
    assert_eq!(opened(&events).len(), 1);
    assert_ne!(opened(&events)[0], flow);
    assert_eq!(consistent.stack.half_open_flows(), 1);
}

#[test]
fn t8_half_close_reaches_the_tunnel_and_the_reply_still_comes() {
    let mut bench = bench(Handshake::Fast);
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    let events = bench.give(&[peer.segment("FA", b"request")]);
    assert_eq!(
        events,
        [Event::Data(flow)],
        "the end comes behind the bytes"
    );
    assert_eq!(bench.read(flow), b"request");
    assert_eq!(bench.events.last(), Some(&Event::Fin(flow)));
    peer.seq = peer.seq.wrapping_add(8);
    assert!(bench.write(flow, b"a late reply"));
    let sent = bench.sent();
    assert_eq!(sent[0].payload, b"a late reply");
    bench.stack.shutdown(at(1), flow);
    let fin = bench.sent();
    assert_eq!(fin[0].flags, "FA");
    peer.ack = fin[0].seq.wrapping_add(1);
    assert_eq!(bench.give(&[peer.segment("A", &[])]), [Event::Closed(flow)]);
}
