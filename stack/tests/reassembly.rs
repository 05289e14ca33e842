//! Segments that overlap, repeat and come in any order, against the stream they were cut from.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_stack::{Config, Event, Usage};
use support::raw::{Bench, Peer, Seen};
use support::{Rng, pattern};

/// What an acknowledgement may say of a stream of which `sent` tells which bytes were sent.
fn check(seen: &Seen, first: u32, sent: &[bool]) -> usize {
    let acked = seen.ack.wrapping_sub(first) as usize;
    assert!(sent[..acked.min(sent.len())].iter().all(|sent| *sent));
    let mut ranges: Vec<(usize, usize)> = seen
        .sacks
        .iter()
        .map(|(from, to)| {
            let place = |at: &u32| at.wrapping_sub(first) as usize;
            (place(from), place(to))
        })
        .collect();
    for (from, to) in &ranges {
        assert!(acked < *from && from < to, "a range behind a gap");
        assert!(
            sent[*from..*to].iter().all(|sent| *sent),
            "of what was sent"
        );
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|two| two[0].1 < two[1].0), "apart");
    acked
}

#[test]
fn any_cut_of_a_stream_gives_the_stream() {
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let mut bench = Bench::new(Config::default());
        let mut peer = Peer::v4();
        // Half of the streams cross the end of the numbers.
        peer.seq = rng.pick(&[1000, u32::MAX - 700]);
        let flow = peer.connect(&mut bench);
        let (first, len) = (peer.seq, 1 + rng.below(4000) as usize);
        let largest = 1 + rng.below(900) as usize;
        let (mut sent, mut acked, mut read) = (vec![false; len], 0, Vec::new());
        let mut rounds = 0;
        while acked < len + 1 {
            rounds += 1;
            assert!(rounds < 20_000, "seed {seed}: {acked} of {len}");
            let packets: Vec<Vec<u8>> = (0..1 + rng.below(5))
                .map(|_| {
                    // Anywhere, but often where it is needed.
                    let from = if rng.chance(400) {
                        acked.min(len - 1)
                    } else {
                        rng.below(len as u64) as usize
                    };
                    let to = (from + 1 + rng.below(largest as u64) as usize).min(len);
                    sent[from..to].fill(true);
                    let bytes: Vec<u8> = (from..to).map(|at| pattern(seed, at)).collect();
                    let flags = if to == len { "FA" } else { "A" };
                    peer.segment_at(flags, first.wrapping_add(from as u32), peer.ack, &bytes)
                })
                .collect();
            bench.now += 1;
            for seen in bench.say(&packets) {
                // The FIN counts for one.
                let mut told = sent.clone();
                told.push(true);
                acked = acked.max(check(&seen, first, &told));
            }
            for (_, seen) in bench.wait_until(bench.now + 12) {
                acked = acked.max(seen.ack.wrapping_sub(first) as usize);
            }
            if rng.chance(600) {
                read.extend(bench.read(flow));
            }
        }
        read.extend(bench.read(flow));
        assert_eq!(read.len(), len);
        assert!(
            read.iter()
                .enumerate()
                .all(|(at, byte)| *byte == pattern(seed, at))
        );
        assert_eq!(bench.events.last(), Some(&Event::Fin(flow)));
        assert_eq!(bench.stack.counters().bytes_in, len as u64);
        assert_eq!(bench.stack.usage().held, 0);
        bench.stack.abort(flow);
        assert_eq!(bench.stack.usage(), Usage::default());
    }
}
