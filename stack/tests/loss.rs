//! What is sent again and when: SACK both ways, timeouts, probes; and what forged segments do.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::manual_let_else,
    reason = "a test that panics has failed"
)]
mod support;

use bytes::Bytes;
use sansbox_stack::{Checksum, Config, Congestion, DropReason, Event, FlowId, ResetReason};
use support::raw::{Bench, Peer, Seen, at};

fn connected(config: Config) -> (Bench, Peer, FlowId) {
    let mut bench = Bench::new(config);
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    (bench, peer, flow)
}

fn send(bench: &mut Bench, flow: FlowId, len: usize) -> Vec<Seen> {
    let chunk = Bytes::from(vec![b'x'; len]);
    bench.stack.write(flow, chunk).unwrap();
    bench.sent()
}

#[test]
fn gaps_are_reported_newest_first_and_filled_without_a_copy_of_what_is_in_order() {
    let (mut bench, peer, flow) = connected(Config::default());
    let part = |n: u32, bytes: &[u8]| peer.segment_at("A", peer.seq + n, peer.ack, bytes);
    let sent = bench.say(&[part(10, b"kl")]);
    assert_eq!(sent[0].sacks, [(peer.seq + 10, peer.seq + 12)]);
    let sent = bench.say(&[part(4, b"ef"), part(20, b"uv")]);
    assert_eq!(sent.len(), 1, "one acknowledgement per batch");
    let ranges: Vec<(u32, u32)> = [(20, 22), (4, 6), (10, 12)]
        .iter()
        .map(|(a, b)| (peer.seq + a, peer.seq + b))
        .collect();
    assert_eq!(sent[0].sacks, ranges);
    // Touching ranges are one.
    let sent = bench.say(&[part(12, b"mnopqrst")]);
    assert_eq!(sent[0].sacks[0], (peer.seq + 10, peer.seq + 22));
    // Overlaps on both sides; then the first gap, at once.
    bench.say(&[part(2, b"cdefghijkl")]);
    let sent = bench.say(&[part(0, b"ab")]);
    assert_eq!(sent[0].ack, peer.seq + 22);
    assert_eq!(sent[0].sacks, []);
    assert_eq!(bench.read(flow), b"abcdefghijklmnopqrstuv");
    let counters = bench.stack.counters();
    assert_eq!(
        (counters.copied_out_of_order, counters.copied_retained),
        (20, 2)
    );
    assert_eq!(counters.drops(DropReason::Duplicate), 1);
}

#[test]
fn the_store_behind_gaps_is_bounded() {
    let (mut bench, peer, flow) = connected(Config::default());
    let packets: Vec<Vec<u8>> = (1..50)
        .map(|n| peer.segment_at("A", peer.seq + 2 * n, peer.ack, b"y"))
        .collect();
    bench.say(&packets);
    let counters = bench.stack.counters();
    assert_eq!(counters.drops(DropReason::OutOfOrderFull), 49 - 32);
    assert_eq!(counters.copied_out_of_order, 32);
    assert_eq!(bench.read(flow), b"");
}

#[test]
fn a_whole_window_behind_one_lost_segment_is_kept() {
    let (mut bench, peer, flow) = connected(Config::default());
    let packets: Vec<Vec<u8>> = (1..65)
        .map(|n| peer.segment_at("A", peer.seq + 1000 * n, peer.ack, &[n as u8; 1000]))
        .collect();
    let sent = bench.say(&packets);
    assert_eq!(sent[0].sacks, [(peer.seq + 1000, peer.seq + 65_000)]);
    let sent = bench.say(&[peer.segment_at("A", peer.seq, peer.ack, &[0; 1000])]);
    assert_eq!(sent[0].ack, peer.seq + 65_000);
    let read = bench.read(flow);
    assert!(
        read.iter()
            .enumerate()
            .all(|(at, byte)| usize::from(*byte) == at / 1000)
    );
    assert_eq!(bench.stack.usage().held, 0);
}

#[test]
fn three_reports_send_the_lost_segment_again_and_only_that() {
    let (mut bench, peer, flow) = connected(Config::default());
    let sent = send(&mut bench, flow, 8000);
    assert_eq!(sent.len(), 8);
    let base = peer.ack;
    // The second and the fourth are lost.
    let acks = [
        peer.sack(base + 1000, &[(base + 2000, base + 3000)]),
        peer.sack(
            base + 1000,
            &[(base + 4000, base + 5000), (base + 2000, base + 3000)],
        ),
    ];
    assert_eq!(bench.say(&acks), []);
    let third = peer.sack(
        base + 1000,
        &[(base + 4000, base + 6000), (base + 2000, base + 3000)],
    );
    let again = bench.say(&[third]);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].seq, again[0].payload.len()), (base + 1000, 1000));
    // More arrives: the other one is lost as well.
    let more = peer.sack(
        base + 1000,
        &[(base + 4000, base + 8000), (base + 2000, base + 3000)],
    );
    let again = bench.say(&[more]);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].seq, again[0].payload.len()), (base + 3000, 1000));
    assert_eq!(bench.say(&[peer.sack(base + 8000, &[])]), []);
    let counters = bench.stack.counters();
    assert_eq!((counters.retransmitted, counters.fast_recoveries), (2, 1));
    assert_eq!(counters.timeouts, 0);
}

#[test]
fn without_sack_three_duplicates_do() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.sack = false;
    let flow = peer.connect(&mut bench);
    send(&mut bench, flow, 8000);
    let base = peer.ack;
    bench.say(&[peer.segment_at("A", peer.seq, base + 1000, &[])]);
    let duplicate = peer.segment_at("A", peer.seq, base + 1000, &[]);
    assert_eq!(bench.say(&[duplicate.clone(), duplicate.clone()]), []);
    let again = bench.say(&[duplicate]);
    assert_eq!((again.len(), again[0].seq), (1, base + 1000));
    // A partial acknowledgement: the next one is lost, too (RFC 6582).
    let again = bench.say(&[peer.segment_at("A", peer.seq, base + 3000, &[])]);
    assert_eq!((again[0].seq, again[0].payload.len()), (base + 3000, 1000));
}

#[test]
fn silence_is_met_with_a_tail_probe_and_then_with_timeouts_that_back_off() {
    let (mut bench, peer, flow) = connected(Config::default());
    send(&mut bench, flow, 3000);
    let start = bench.now;
    let seen = bench.wait_until(start + 100_000);
    let base = peer.ack;
    // The end of the flight first, after two round trips.
    let (probe_at, probe) = &seen[0];
    assert!((10..=12).contains(&(probe_at - start)), "{probe_at}");
    assert_eq!((probe.seq, probe.payload.len()), (base + 2000, 1000));
    // Then from the beginning, one segment at a time, at least 200 ms later each time.
    let mut last = *probe_at;
    let mut wait = 200;
    for (when, again) in &seen[1..8] {
        assert_eq!((again.seq, again.payload.len()), (base, 1000));
        let waited = when - last;
        assert!((wait..=wait + 2).contains(&waited), "{waited} for {wait}");
        wait = (wait * 2).min(60_000);
        last = *when;
    }
    assert_eq!(bench.stack.counters().tail_probes, 1);
    // Then the peer is given up, and told so.
    let seen = bench.wait_until(start + 300_000);
    assert_eq!(seen.last().unwrap().1.flags, "RA");
    assert_eq!(
        bench.events.last(),
        Some(&Event::Reset(flow, ResetReason::Timeout))
    );
    assert_eq!(bench.stack.open_flows(), 0);
}

#[test]
fn a_tail_probe_finds_a_lost_tail_without_a_timeout() {
    let (mut bench, peer, flow) = connected(Config::default());
    send(&mut bench, flow, 3000);
    let base = peer.ack;
    bench.say(&[peer.sack(base + 1000, &[])]);
    // The second and third are lost; the probe is the third again.
    let seen = bench.wait_until(bench.now + 30);
    assert_eq!((seen.len(), seen[0].1.seq), (1, base + 2000));
    let again = bench.say(&[peer.sack(base + 1000, &[(base + 2000, base + 3000)])]);
    assert_eq!((again[0].seq, again[0].payload.len()), (base + 1000, 1000));
    assert_eq!(bench.stack.counters().timeouts, 0);
}

#[test]
fn after_a_timeout_what_arrived_is_skipped() {
    let (mut bench, peer, flow) = connected(Config::default());
    send(&mut bench, flow, 5000);
    let base = peer.ack;
    let seen = bench.wait_until(bench.now + 260);
    assert_eq!(seen.last().unwrap().1.seq, base);
    // All but the second had arrived.
    let again = bench.say(&[peer.sack(base + 1000, &[(base + 2000, base + 5000)])]);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].seq, again[0].payload.len()), (base + 1000, 1000));
    assert_eq!(bench.say(&[peer.sack(base + 5000, &[])]), []);
    assert!(bench.wait_until(bench.now + 10_000).is_empty());
}

#[test]
fn congestion_halves_and_collapses() {
    let (mut bench, peer, flow) = connected(Config {
        congestion: Congestion::Reno,
        ..Config::default()
    });
    // Ten segments (RFC 6928), and with each acknowledgement twice as many.
    assert_eq!(send(&mut bench, flow, 60_000).len(), 10);
    let base = peer.ack;
    assert_eq!(bench.say(&[peer.sack(base + 10_000, &[])]).len(), 20);
    // Half of what is on its way after a loss: 20 were, 3 more left, and one goes again.
    let lost = peer.sack(base + 10_000, &[(base + 11_000, base + 14_000)]);
    assert_eq!(bench.say(&[lost]).len(), 1);
    let lost = peer.sack(base + 10_000, &[(base + 11_000, base + 24_000)]);
    assert_eq!(bench.say(&[lost]).len(), 3);
}

#[test]
fn a_closed_window_is_probed_for_ever_while_it_answers_and_nothing_is_lost() {
    let (mut bench, mut peer, flow) = connected(Config::default());
    peer.window = 0;
    bench.say(&[peer.segment("A", &[])]);
    assert_eq!(send(&mut bench, flow, 3000), []);
    let mut probes = 0;
    for _ in 0..40 {
        let seen = bench.wait_until(bench.now + 61_000);
        for (_, probe) in seen {
            assert_eq!((probe.seq, probe.payload.len()), (peer.ack - 1, 0));
            probes += 1;
        }
        assert_eq!(bench.say(&[peer.segment("A", &[])]), []);
    }
    assert!(probes >= 40);
    peer.window = 1500;
    let sent = bench.say(&[peer.segment("A", &[])]);
    assert_eq!(sent[0].payload.len(), 1000);
    // The rest of the window is silly while something is on its way (RFC 9293 3.8.6.2.1)
    // unless it is half of what there ever was.
    assert_eq!(sent.len(), 1);
    // Without an answer it ends.
    peer.window = 0;
    peer.ack += 1000;
    bench.say(&[peer.segment("A", &[])]);
    bench.wait_until(bench.now + 400_000);
    assert_eq!(
        bench.events.last(),
        Some(&Event::Reset(flow, ResetReason::Timeout))
    );
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let (mut bench, peer, flow) = connected(Config::default());
    let minutes = 60_000;
    assert!(bench.wait_until(14 * minutes).is_empty());
    let seen = bench.wait_until(16 * minutes + 20_000);
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[0].1.seq, seen[0].1.flags.as_str()),
        (peer.ack - 1, "A")
    );
    // An answer is enough for another quarter of an hour.
    bench.say(&[peer.segment("A", &[])]);
    assert!(bench.wait_until(30 * minutes).is_empty());
    bench.wait_until(60 * minutes);
    assert_eq!(
        bench.events.last(),
        Some(&Event::Reset(flow, ResetReason::Silent))
    );
}

#[test]
fn keep_alive_can_be_off() {
    let (mut bench, _, _) = connected(Config {
        keepalive: None,
        ..Config::default()
    });
    assert!(bench.wait_until(1_000_000_000).is_empty());
    assert_eq!(
        bench.stack.poll_timeout(),
        None,
        "an idle flow has no timer"
    );
    assert_eq!(bench.stack.open_flows(), 1);
}

#[test]
fn large_packets_begin_small_and_are_cut_by_the_device() {
    let (mut bench, peer, flow) = connected(Config {
        segmentation_max: 65_535,
        checksum_offload: true,
        ..Config::default()
    });
    bench.stack.write(flow, vec![1; 200_000].into()).unwrap();
    let base = peer.ack;
    let sent = bench.sent();
    let sizes: Vec<usize> = sent.iter().map(|seen| seen.payload.len()).collect();
    assert_eq!(sizes, [16_000, 16_000, 16_000, 16_000, 1535]);
    assert_eq!((sent[0].segment_size, sent[4].segment_size), (1000, 1000));
    let sent = bench.say(&[peer.sack(base + 65_535, &[])]);
    let largest = sent.iter().map(|seen| seen.payload.len()).max();
    assert_eq!(largest, Some(65_000));
    bench.say(&[peer.sack(base + 65_535 + 65_535, &[])]);
    let packets = bench.packets();
    assert!(
        packets
            .iter()
            .all(|packet| matches!(packet.checksum(), Checksum::Partial { .. }))
    );
}

#[test]
fn a_jumbo_mss_is_not_used_at_once() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.mss = Some(65_495);
    let flow = peer.connect(&mut bench);
    let sent = send(&mut bench, flow, 120_000);
    assert!(sent.iter().all(|seen| seen.payload.len() <= 16 << 10));
    let first: usize = sent.iter().map(|seen| seen.payload.len()).sum();
    assert_eq!(first, 3 * 16_384);
    let sent = bench.say(&[peer.sack(peer.ack + 3 * 16_384, &[])]);
    assert_eq!(sent[0].payload.len(), 65_495);
}

#[test]
fn only_an_exact_rst_resets_and_challenges_are_rare() {
    let (mut bench, peer, _) = connected(Config::default());
    let inside = peer.segment_at("R", peer.seq + 10, 0, &[]);
    let sent = bench.say(&[inside.clone(), inside.clone()]);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].flags.as_str(), sent[0].ack), ("A", peer.seq));
    assert_eq!(
        bench.say(std::slice::from_ref(&inside)),
        [],
        "not twice in half a second"
    );
    bench.wait_until(bench.now + 600);
    assert_eq!(bench.say(&[inside]).len(), 1);
    // Outside the window: nothing.
    assert_eq!(
        bench.say(&[peer.segment_at("R", peer.seq + 100_000, 0, &[])]),
        []
    );
    assert_eq!(bench.say(&[peer.segment_at("R", peer.seq - 1, 0, &[])]), []);
    let counters = bench.stack.counters();
    assert_eq!(counters.drops(DropReason::Challenged), 4);
    assert_eq!(counters.drops(DropReason::ResetOutside), 2);
    assert_eq!(bench.stack.open_flows(), 1);
    bench.give(&[peer.segment_at("R", peer.seq, 0, &[])]);
    assert_eq!(bench.stack.open_flows(), 0);
}

#[test]
fn a_syn_in_a_connection_is_challenged() {
    let (mut bench, peer, _) = connected(Config::default());
    let mut again = peer.clone();
    again.seq = 999_999;
    let sent = bench.say(&[again.syn()]);
    assert_eq!((sent[0].flags.as_str(), sent[0].ack), ("A", peer.seq));
    assert_eq!(bench.stack.open_flows(), 1);
    // A client that has restarted answers that with RST, and its next SYN is welcome.
    bench.give(&[peer.segment_at("R", peer.seq, 0, &[])]);
    again.begin(&mut bench);
}

#[test]
fn acknowledgements_of_what_was_never_sent_change_nothing() {
    let (mut bench, peer, flow) = connected(Config::default());
    send(&mut bench, flow, 1000);
    let sent = bench.say(&[peer.segment_at("A", peer.seq, peer.ack + 1001, b"blind")]);
    assert_eq!(sent.len(), 1);
    let sent = bench.say(&[peer.segment_at("A", peer.seq, peer.ack - 200_000, b"blind")]);
    assert_eq!(sent, [], "the second one within half a second");
    let counters = bench.stack.counters();
    assert_eq!(counters.drops(DropReason::AckUnsent), 1);
    assert_eq!(counters.drops(DropReason::AckAncient), 1);
    assert_eq!(bench.read(flow), b"");
    // Ranges of what was never sent are ignored.
    let base = peer.ack;
    bench.say(&[peer.sack(base, &[(base + 500, base + 5000), (base - 100, base + 50)])]);
    assert_eq!(bench.say(&[peer.sack(base + 1000, &[])]), []);
}

#[test]
fn an_old_acknowledgement_does_not_cost_its_payload() {
    let (mut bench, peer, flow) = connected(Config::default());
    send(&mut bench, flow, 1000);
    bench.say(&[peer.segment_at("A", peer.seq, peer.ack + 1000, b"a")]);
    bench.say(&[peer.segment_at("A", peer.seq + 1, peer.ack, b"b")]);
    assert_eq!(bench.read(flow), b"ab");
}

#[test]
fn acknowledgements_wait_for_company_but_not_long() {
    let (mut bench, peer, _) = connected(Config::default());
    assert_eq!(bench.say(&[peer.segment("PA", b"one")]), []);
    let seen = bench.wait_until(bench.now + 50);
    assert_eq!(seen.len(), 1);
    assert!((10..=12).contains(&(seen[0].0 - 1)), "{}", seen[0].0);
    // Many in a batch: one acknowledgement.
    let packets: Vec<Vec<u8>> = (0..64_u32)
        .map(|n| peer.segment_at("A", peer.seq + 3 + n * 100, peer.ack, &[b'z'; 100]))
        .collect();
    let sent = bench.say(&packets);
    assert_eq!((sent.len(), sent[0].ack), (1, peer.seq + 3 + 6400));
    // And payload of ours carries it.
    let (mut bench, peer, flow) = connected(Config::default());
    bench.give(&[peer.segment("PA", b"one")]);
    let sent = send(&mut bench, flow, 5);
    assert_eq!((sent.len(), sent[0].ack), (1, peer.seq + 3));
    assert!(bench.wait_until(at(30).as_nanos() / 1_000_000).is_empty());
}
