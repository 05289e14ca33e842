//! What the stack sends, against a receiver that does all that RFC 2018 and RFC 9293 allow: three
//! ranges in any order, acknowledgements that are lost, doubled and overtaken, windows that stop
//! growing or close, and ranges that it forgets again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_stack::{Config, Congestion, Event, FlowId, Usage};
use support::raw::{Bench, Peer, Seen};
use support::{Rng, pattern};

struct Receiver {
    rng: Rng,
    peer: Peer,
    first: u32,
    stream: u64,
    got: Vec<bool>,
    fin: bool,
    /// All before this arrived.
    next: usize,
    /// The right edge of the window, which never moves back.
    edge: usize,
    mss: usize,
    lost: u64,
    largest: usize,
}

impl Receiver {
    /// Takes a segment, and says what it acknowledges, if it does.
    fn take(&mut self, seen: &Seen) -> Option<Vec<u8>> {
        let from = seen.seq.wrapping_sub(self.first) as usize;
        if seen.payload.is_empty() && !seen.flags.contains('F') {
            // An acknowledgement, or a probe, which asks for one.
            return (from.wrapping_add(1) == self.next).then(|| self.answer());
        }
        let to = from + seen.payload.len();
        let limit = if seen.segment_size > 0 {
            usize::MAX
        } else {
            self.mss
        };
        assert!(seen.payload.len() <= limit, "a segment above the MSS");
        assert!(to <= self.edge, "beyond the window: {to} > {}", self.edge);
        self.largest = self.largest.max(seen.payload.len());
        if self.rng.chance(self.lost) {
            return None;
        }
        for (at, byte) in (from..to).zip(&seen.payload) {
            assert_eq!(*byte, pattern(self.stream, at), "byte {at}");
            self.got[at] = true;
        }
        if seen.flags.contains('F') {
            assert_eq!(to, self.got.len(), "a FIN before the end");
            self.fin = true;
        }
        while self.next < self.got.len() && self.got[self.next] {
            self.next += 1;
        }
        // A receiver may forget what it reported and did not acknowledge.
        if self.rng.chance(5) {
            let next = self.next;
            self.got[next..].fill(false);
            self.fin &= next == self.got.len();
        }
        Some(self.answer())
    }

    fn answer(&mut self) -> Vec<u8> {
        let mut ranges = Vec::new();
        let mut at = self.next;
        while at < self.got.len() {
            if !self.got[at] {
                at += 1;
                continue;
            }
            let start = at;
            while at < self.got.len() && self.got[at] {
                at += 1;
            }
            let place = |at: usize| self.first.wrapping_add(at as u32);
            ranges.push((place(start), place(at)));
        }
        // Any of them, in any order.
        for at in (1..ranges.len()).rev() {
            ranges.swap(at, self.rng.below(at as u64 + 1) as usize);
        }
        ranges.truncate(3);
        let window = self.rng.pick(&[0, 300, 3000, 20_000, 65_535]);
        self.edge = self.edge.max(self.next + window);
        self.peer.window = u16::try_from((self.edge - self.next).min(65_535)).unwrap();
        let all = self.next == self.got.len() && self.fin;
        let ack = self
            .first
            .wrapping_add((self.next + usize::from(all)) as u32);
        if self.peer.sack {
            self.peer.sack(ack, &ranges)
        } else {
            self.peer.sack(ack, &[])
        }
    }

    fn done(&self) -> bool {
        self.next == self.got.len() && self.fin
    }
}

fn world(seed: u64) -> (Bench, Receiver, FlowId) {
    let mut rng = Rng(seed);
    let mut bench = Bench::new(Config {
        congestion: rng.pick(&[Congestion::Local, Congestion::Reno]),
        segmentation_max: rng.pick(&[0, 0, 9000]),
        ..Config::default()
    });
    // Each seed has numbers of its own.
    bench.stack = sansbox_stack::Stack::new(
        bench.stack.config().clone(),
        sansbox_core::Seed::from_u64(seed),
    );
    let mut peer = Peer::v4();
    peer.sack = rng.chance(800);
    let mss = rng.pick(&[100, 536, 1460]);
    peer.mss = Some(mss);
    let flow = peer.connect(&mut bench);
    let len = rng.below(60_000) as usize + 1;
    let receiver = Receiver {
        first: peer.ack,
        peer,
        stream: seed,
        got: vec![false; len],
        fin: false,
        next: 0,
        edge: 65_535,
        mss: usize::from(mss),
        lost: rng.pick(&[0, 20, 100, 300]),
        rng,
        largest: 0,
    };
    (bench, receiver, flow)
}

#[test]
fn every_byte_arrives_whatever_the_receiver_reports() {
    let mut recovered = 0;
    for seed in 0..300 {
        let (mut bench, mut receiver, flow) = world(seed);
        let len = receiver.got.len();
        let (mut written, mut shut) = (0, false);
        let mut answers: Vec<Vec<u8>> = Vec::new();
        let mut rounds = 0;
        while !receiver.done() {
            rounds += 1;
            assert!(rounds < 100_000, "seed {seed}: {} of {len}", receiver.next);
            while written < len {
                let part = (1 + receiver.rng.below(5000) as usize).min(len - written);
                let chunk: Vec<u8> = (written..written + part)
                    .map(|at| pattern(seed, at))
                    .collect();
                if !bench.write(flow, &chunk) {
                    break;
                }
                written += part;
            }
            if written == len && !shut {
                bench.stack.shutdown(bench.now(), flow);
                shut = true;
            }
            let mut sent = bench.sent();
            if sent.is_empty() && answers.is_empty() {
                // Time alone moves it on: at most until the next timer.
                let next = bench
                    .stack
                    .poll_timeout()
                    .expect("a timer while bytes are missing");
                let until = next.as_nanos().div_ceil(1_000_000).max(bench.now);
                sent.extend(bench.wait_until(until).into_iter().map(|(_, seen)| seen));
            }
            for seen in &sent {
                if let Some(answer) = receiver.take(seen)
                    && !receiver.rng.chance(receiver.lost)
                {
                    answers.push(answer);
                }
            }
            // Some of the answers arrive, some twice, some later than others.
            let n = receiver.rng.below(answers.len() as u64 + 1) as usize;
            let mut batch: Vec<Vec<u8>> = answers.drain(..n).collect();
            if batch.len() > 1 && receiver.rng.chance(200) {
                let at = receiver.rng.below(batch.len() as u64) as usize;
                answers.push(batch[at].clone());
                batch.swap(0, at);
            }
            bench.now += receiver.rng.below(3);
            bench.give(&batch);
            let reset = bench
                .events
                .iter()
                .find(|event| matches!(event, Event::Reset(..)));
            assert_eq!(reset, None, "seed {seed}");
        }
        recovered += bench.stack.counters().fast_recoveries;
        // The last acknowledgement, and the client's own end.
        let last = receiver.answer();
        let mut events = bench.give(&[last]);
        receiver.peer.ack = receiver.first.wrapping_add(len as u32 + 1);
        events.extend(bench.give(&[receiver.peer.segment("FA", &[])]));
        assert_eq!(events.last(), Some(&Event::Closed(flow)), "seed {seed}");
        bench.sent();
        assert_eq!(bench.stack.usage(), Usage::default());
    }
    assert!(
        recovered > 100,
        "losses were found without a timeout: {recovered}"
    );
}

/// RFC 7323 section 2: by no more than 14, and only when the SYN had the option.
#[test]
fn the_clients_windows_are_scaled_as_its_syn_said() {
    for (shift, window, bytes) in [
        (None, 3000, 3000),
        (Some(0), 3000, 3000),
        (Some(3), 900, 7200),
        (Some(14), 2, 32_768),
        (Some(15), 2, 32_768),
    ] {
        let mut bench = Bench::new(Config::default());
        let mut peer = Peer::v4();
        (peer.shift, peer.window) = (shift, window);
        let flow = peer.connect(&mut bench);
        assert!(bench.write(flow, &[1; 60_000]));
        let sent: usize = bench.sent().iter().map(|seen| seen.payload.len()).sum();
        // What is left of the window at its edge may be too little for a packet.
        assert!((bytes - 1000..=bytes).contains(&sent), "{shift:?}: {sent}");
    }
}

/// A segment with old payload and a new acknowledgement brings a new window, and none is taken for
/// where it was not given.
#[test]
fn a_window_begins_where_its_acknowledgement_does() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.window = 2000;
    let flow = peer.connect(&mut bench);
    assert!(bench.write(flow, &[1; 10_000]));
    let payload = |seen: &[Seen]| -> usize { seen.iter().map(|seen| seen.payload.len()).sum() };
    assert_eq!(payload(&bench.sent()), 2000);
    bench.say(&[peer.segment("A", b"abc")]);
    bench.say(&[peer.segment_at("A", peer.seq + 3, peer.ack, b"def")]);
    peer.window = 1000;
    let sent = bench.say(&[peer.segment_at("A", peer.seq, peer.ack + 2000, b"abcdefghi")]);
    assert_eq!(payload(&sent), 1000);
    assert_eq!(bench.read(flow), b"abcdefghi");
}
