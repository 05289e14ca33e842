//! A wire that delays, loses, doubles and reorders.
use std::collections::BTreeMap;

use super::Rng;

#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Of 1000 packets.
    pub lost: u64,
    pub doubled: u64,
    pub reordered: u64,
    /// Of the wire, in microseconds.
    pub delay: u64,
    /// After this time nothing goes wrong any more, in microseconds.
    pub until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    Stack,
    Client,
}

pub struct Link {
    pub faults: Faults,
    rng: Rng,
    queue: BTreeMap<(u64, u64), (To, Vec<u8>)>,
    sent: u64,
}

impl Link {
    pub fn new(faults: Faults, rng: Rng) -> Self {
        Self {
            faults,
            rng,
            queue: BTreeMap::new(),
            sent: 0,
        }
    }

    pub fn send(&mut self, now: u64, to: To, packet: Vec<u8>) {
        let faults = self.faults;
        let calm = now >= faults.until;
        if !calm && self.rng.chance(faults.lost) {
            return;
        }
        if !calm && self.rng.chance(faults.doubled) {
            self.put(now + faults.delay * 3 / 2, to, packet.clone());
        }
        let extra = if !calm && self.rng.chance(faults.reordered) {
            self.rng.below(faults.delay * 4 + 50)
        } else {
            0
        };
        self.put(now + faults.delay + extra, to, packet);
    }

    fn put(&mut self, at: u64, to: To, packet: Vec<u8>) {
        self.sent += 1;
        self.queue.insert((at, self.sent), (to, packet));
    }

    pub fn next(&self) -> Option<u64> {
        self.queue.keys().next().map(|key| key.0)
    }

    /// All packets that arrived until `now`, for both ends.
    pub fn arrived(&mut self, now: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut stack, mut client) = (Vec::new(), Vec::new());
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                (To::Stack, packet) => stack.push(packet),
                (To::Client, packet) => client.push(packet),
            }
        }
        (stack, client)
    }
}
