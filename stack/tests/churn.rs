//! Thousands of connections that come and go in any order: each event names the right one, a
//! handle that is void does nothing, and nothing is left over.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use sansbox_stack::{Config, Event, FlowId, Usage};
use support::Rng;
use support::raw::{Bench, Peer, Seen};

struct Churn {
    bench: Bench,
    rng: Rng,
    /// Connections that are open, and whether we, and the client, have ended our direction.
    open: BTreeMap<FlowId, (Peer, bool, bool)>,
    void: Vec<FlowId>,
    ever: BTreeSet<FlowId>,
    next: u32,
}

impl Churn {
    fn open(&mut self) {
        // Few ports, so that they come again while the last connection is remembered.
        let source = format!("10.0.{}.2:{}", self.next % 7, 4000 + self.next / 7 % 90);
        let mut peer = Peer::new(&source, "192.0.2.9:80");
        if self
            .open
            .values()
            .any(|(open, ..)| open.source == peer.source)
        {
            self.next += 1;
            return;
        }
        peer.seq = self.next.wrapping_mul(1_000_000);
        self.next += 1;
        let flow = peer.connect(&mut self.bench);
        assert!(self.ever.insert(flow), "a handle used again");
        let key = self.bench.stack.key(flow).unwrap();
        assert_eq!(
            (key.source(), key.destination()),
            (peer.source, peer.destination)
        );
        self.open.insert(flow, (peer, false, false));
    }

    fn act(&mut self) {
        let Some(flow) = self
            .open
            .keys()
            .nth(self.rng.below(self.open.len() as u64) as usize)
        else {
            return;
        };
        let flow = *flow;
        let (peer, shut, fin) = self.open.get_mut(&flow).unwrap();
        let mut events = Vec::new();
        match self.rng.below(6) {
            0 => self.bench.stack.abort(flow),
            1 if !*fin => {
                events = self.bench.give(&[peer.segment("FA", &[])]);
                peer.seq = peer.seq.wrapping_add(1);
                *fin = true;
            }
            2 if !*shut => {
                self.bench.stack.shutdown(self.bench.now(), flow);
                *shut = true;
            }
            3 => events = self.bench.give(&[peer.segment("R", &[])]),
            4 if !*fin => {
                events = self.bench.give(&[peer.segment("A", b"some")]);
                peer.seq = peer.seq.wrapping_add(4);
                assert_eq!(events, [Event::Data(flow)]);
                assert_eq!(self.bench.read(flow), b"some");
            }
            _ => drop(self.bench.write(flow, b"more")),
        }
        for event in events {
            self.heard(event);
        }
        if self.bench.stack.key(flow).is_none() {
            self.open.remove(&flow);
            self.void.push(flow);
        }
        self.answer();
    }

    fn heard(&mut self, event: Event) {
        let (Event::Data(flow) | Event::Fin(flow) | Event::Closed(flow) | Event::Reset(flow, _)) =
            event
        else {
            panic!("{event:?}");
        };
        assert!(self.open.contains_key(&flow), "{event:?}");
        if matches!(event, Event::Closed(_) | Event::Reset(..)) {
            self.open.remove(&flow);
            self.void.push(flow);
        }
    }

    /// Clients acknowledge what they get.
    fn answer(&mut self) {
        loop {
            let sent: Vec<Seen> = self.bench.sent();
            let mut answers = Vec::new();
            for seen in sent {
                let Some((peer, ..)) = self
                    .open
                    .values_mut()
                    .find(|(peer, ..)| peer.source == seen.to)
                else {
                    continue;
                };
                let len = seen.payload.len() as u32 + u32::from(seen.flags.contains('F'));
                if len > 0 && !seen.flags.contains('R') {
                    peer.ack = seen.seq.wrapping_add(len);
                    answers.push(peer.segment("A", &[]));
                }
            }
            if answers.is_empty() {
                return;
            }
            for event in self.bench.give(&answers) {
                if !matches!(event, Event::Writable(_)) {
                    self.heard(event);
                }
            }
        }
    }

    /// Everything that can be done with a handle that is void.
    fn misuse(&mut self) {
        if self.void.is_empty() {
            return;
        }
        let flow = self.void[self.rng.below(self.void.len() as u64) as usize];
        let (now, stack) = (self.bench.now(), &mut self.bench.stack);
        assert_eq!(stack.key(flow), None);
        stack.accept(now, flow);
        assert!(!stack.sniff(now, flow));
        stack.shutdown(now, flow);
        stack.consumed(now, flow, 10);
        assert!(stack.write(flow, "void".into()).is_err());
        assert_eq!(stack.pieces(flow).count(), 0);
        stack.abort(flow);
        assert_eq!(FlowId::from_bits(flow.to_bits()), flow);
    }
}

#[test]
fn connections_come_and_go_in_any_order() {
    for seed in 0..8 {
        let mut churn = Churn {
            bench: Bench::new(Config::default()),
            rng: Rng(seed),
            open: BTreeMap::new(),
            void: Vec::new(),
            ever: BTreeSet::new(),
            next: 0,
        };
        for _ in 0..3000 {
            if churn.open.len() < 200 && churn.rng.chance(600) {
                churn.open();
            } else {
                churn.act();
            }
            churn.misuse();
            churn.bench.now += churn.rng.below(3);
            assert_eq!(churn.bench.stack.open_flows() as usize, churn.open.len());
        }
        assert!(churn.ever.len() > 500, "{}", churn.ever.len());
        let left: Vec<FlowId> = churn.open.keys().copied().collect();
        for flow in left {
            churn.bench.stack.abort(flow);
        }
        churn.bench.sent();
        assert_eq!(churn.bench.stack.usage(), Usage::default());
        churn.bench.wait_until(churn.bench.now + 30_000);
        assert_eq!(churn.bench.stack.poll_timeout(), None, "no timer is left");
    }
}
