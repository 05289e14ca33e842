//! Receive windows: tuned to what the caller consumes, within one budget, and never a loss.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::manual_let_else,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_stack::{Config, DropReason, Event, FlowId};
use support::raw::{Bench, Peer, at};

/// A client that fills its window as fast as it is told to.
struct Upload {
    peer: Peer,
    flow: FlowId,
    first: u32,
    sent: u64,
    edge: u64,
    read: u64,
}

impl Upload {
    fn new(bench: &mut Bench, port: u16) -> Self {
        let mut peer = Peer::new(&format!("10.0.0.2:{port}"), "192.0.2.9:80");
        let edge = u64::from(peer.begin(bench).window);
        let events = bench.give(&[peer.segment("A", &[])]);
        bench.sent();
        let [Event::Open { flow, .. }] = events[..] else {
            panic!("{events:?}");
        };
        let first = peer.seq;
        Self {
            peer,
            flow,
            first,
            sent: 0,
            edge,
            read: 0,
        }
    }

    /// Sends up to the window's edge, in segments of at most `size` bytes.
    fn fill(&mut self, bench: &mut Bench, size: u64) {
        while self.sent < self.edge {
            let mut packets = Vec::new();
            while self.sent < self.edge && packets.len() < 64 {
                let len = (self.edge - self.sent).min(size);
                packets.push(self.peer.segment("A", &vec![0; len as usize]));
                self.sent += len;
                self.peer.seq = self.first.wrapping_add(self.sent as u32);
            }
            bench.give(&packets);
            self.listen(bench);
        }
    }

    fn listen(&mut self, bench: &mut Bench) {
        for seen in bench
            .sent()
            .iter()
            .filter(|seen| seen.to == self.peer.source)
        {
            let acked = u64::from(seen.ack.wrapping_sub(self.first));
            self.edge = self.edge.max(acked + (u64::from(seen.window) << 7));
        }
    }

    fn read(&mut self, bench: &mut Bench) {
        self.read += bench.read(self.flow).len() as u64;
        self.listen(bench);
    }

    fn window(&self) -> u64 {
        self.edge - self.read
    }
}

#[test]
fn a_window_that_is_drained_fast_doubles_up_to_the_maximum() {
    let mut bench = Bench::new(Config::default());
    let mut upload = Upload::new(&mut bench, 4000);
    let mut windows = vec![upload.window()];
    for _ in 0..12 {
        upload.fill(&mut bench, 20_000);
        upload.read(&mut bench);
        bench.now += 1;
        windows.push(upload.window());
    }
    assert!(windows.is_sorted(), "{windows:?}");
    assert!((60_000..=65_535).contains(&windows[0]));
    let last = *windows.last().unwrap();
    assert!((1_000_000..=1 << 20).contains(&last), "{windows:?}");
}

#[test]
fn a_slow_reader_keeps_its_small_window() {
    let mut bench = Bench::new(Config::default());
    let mut upload = Upload::new(&mut bench, 4000);
    for _ in 0..20 {
        upload.fill(&mut bench, 20_000);
        bench.wait_until(bench.now + 500);
        upload.read(&mut bench);
    }
    assert!(upload.window() <= 65_535, "{}", upload.window());
}

#[test]
fn a_reader_that_stops_stops_the_client_and_keeps_every_byte() {
    let mut bench = Bench::new(Config::default());
    let mut upload = Upload::new(&mut bench, 4000);
    upload.fill(&mut bench, 1);
    assert!(upload.edge <= 65_535 && upload.sent == upload.edge);
    // The client insists with what the window does not allow.
    let more = upload.peer.segment("A", b"beyond");
    let sent = bench.say(&[more]);
    assert_eq!((sent.len(), sent[0].ack), (1, upload.peer.seq));
    assert_eq!(bench.stack.counters().drops(DropReason::OutsideWindow), 1);
    // Many small pieces are joined.
    let pieces = bench.stack.pieces(upload.flow).count();
    assert!(pieces < 10, "{pieces}");
    upload.read(&mut bench);
    assert_eq!(upload.read, upload.sent);
    assert!(upload.edge > upload.sent, "the window opens again at once");
}

#[test]
fn the_sum_of_windows_stays_within_the_budget_and_a_floor_for_each() {
    let budget = 1 << 20;
    let mut bench = Bench::new(Config {
        window_budget: budget,
        ..Config::default()
    });
    let mut uploads: Vec<Upload> = (0..100)
        .map(|n| Upload::new(&mut bench, 4000 + n))
        .collect();
    for _ in 0..5 {
        for upload in &mut uploads {
            upload.fill(&mut bench, 20_000);
        }
        let promised: u64 = uploads.iter().map(Upload::window).sum();
        assert!(promised <= bench.stack.usage().windows);
        assert!(bench.stack.usage().windows <= budget + 100 * 4096);
        for upload in &mut uploads {
            upload.read(&mut bench);
            assert!(upload.window() >= 1024, "nobody is shut out");
        }
        bench.now += 1;
    }
    for upload in &uploads {
        bench.stack.abort(upload.flow);
    }
    assert_eq!(bench.stack.usage().windows, 0);
}

#[test]
fn what_is_queued_for_sending_has_one_budget_as_well() {
    let mut bench = Bench::new(Config {
        send_budget: 100_000,
        ..Config::default()
    });
    let mut total = 0;
    for n in 0..50 {
        let flow = Peer::new(&format!("10.0.0.2:{}", 4000 + n), "192.0.2.9:80").connect(&mut bench);
        while bench.write(flow, &[0; 8192]) {
            total += 8192;
        }
        bench.sent();
    }
    // The first takes what it wants, each further one its floor.
    assert!(
        (100_000..=140_000 + 50 * (16 << 10)).contains(&total),
        "{total}"
    );
}

#[test]
fn chunks_have_a_limit_whatever_their_size() {
    let mut bench = Bench::new(Config::default());
    let flow = Peer::v4().connect(&mut bench);
    let mut written = 0;
    while bench.write(flow, b"x") {
        written += 1;
    }
    assert_eq!(written, 1024);
    // A packet takes few pieces, so small chunks make small packets, but all go out.
    let sent = bench.sent();
    assert_eq!(
        sent.iter().map(|seen| seen.payload.len()).sum::<usize>(),
        1024
    );
}

#[test]
fn a_partly_consumed_batch_is_copied_once_and_read_on() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    let packets = [peer.segment("A", b"abcdef"), {
        peer.seq += 6;
        peer.segment("A", b"ghijkl")
    }];
    let refs: Vec<_> = packets
        .iter()
        .map(|data| sansbox_stack::RxPacket::new(data))
        .collect();
    bench.stack.recv_batch(at(2), &refs);
    let read: Vec<u8> = bench
        .stack
        .pieces(flow)
        .flat_map(|piece| piece.bytes(&refs).to_vec())
        .collect();
    assert_eq!(read, b"abcdefghijkl");
    bench.stack.consumed(at(2), flow, 8);
    bench.stack.retain(&refs);
    drop(packets);
    assert_eq!(bench.stack.counters().copied_retained, 4);
    assert_eq!(bench.read(flow), b"ijkl");
    // More than there is does no harm.
    bench.stack.consumed(at(2), flow, 100);
    assert_eq!(bench.stack.pieces(flow).count(), 0);
}

#[test]
#[should_panic(expected = "retain() must come between two batches")]
fn a_batch_that_was_not_retained_is_not_forgotten() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.connect(&mut bench);
    let packet = peer.segment("A", b"abcdef");
    let batch = [sansbox_stack::RxPacket::new(&packet)];
    bench.stack.recv_batch(at(2), &batch);
    bench.stack.recv_batch(at(2), &[]);
}

#[test]
fn bytes_that_were_taken_hold_the_window_until_they_are_consumed() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    let first = peer.segment("A", &[7; 16_000]);
    peer.seq += 16_000;
    let last = peer.segment("FA", &[]);
    bench.give(&[first, last]);
    assert!(
        !bench.events.contains(&Event::Fin(flow)),
        "bytes come first"
    );
    let held = bench.stack.usage().windows;
    bench.stack.take(flow, 16_000);
    assert_eq!(bench.stack.pieces(flow).count(), 0, "they are elsewhere");
    assert_eq!(bench.stack.poll_event(), Some(Event::Fin(flow)));
    assert_eq!(bench.stack.usage().windows, held, "and still count");
    bench.stack.consumed(at(3), flow, 16_000);
    let freed = held - bench.stack.usage().windows;
    assert!(
        (16_000..=16_001).contains(&freed),
        "{freed}, maybe with the FIN"
    );
    // More than there is does no harm.
    bench.stack.take(flow, 1);
    bench.stack.consumed(at(3), flow, 1);
    assert_eq!(held - bench.stack.usage().windows, freed);
}
