//! Preambles that were accepted, for as long as they could be accepted again.
use sansbox_core::Instant;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What the Go server remembers of a preamble without an encrypted timestamp: SHA-256 of the
/// seconds of its `<t>`, the hash of the Initiation's payload, and the first 16 octets of that
/// payload where there is a MAC.
#[must_use]
pub fn legacy_key(unix_seconds: u32, payload: &[u8], mac: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(unix_seconds.to_be_bytes())
        .chain_update(Sha256::digest(payload))
        .chain_update(mac)
        .finalize()
        .into()
}

/// What tells a preamble from others of its second: the first half of its key. Nobody finds another
/// with the same half, and who did would be refused, not let in.
type Short = [u8; 16];

fn short(key: &[u8; 32]) -> Short {
    key.first_chunk().copied().unwrap_or_default()
}

/// A bounded set of preambles by their own time. One that makes no room for itself pushes out the
/// oldest, and from then on nothing as old is taken: a full memory costs slow clocks, never safety.
#[derive(Debug)]
pub(super) struct Replays {
    max: usize,
    /// The Unix seconds that each was made at before it.
    seen: BTreeSet<(u64, Short)>,
    /// Preambles of this second and before are refused.
    floor: Option<u64>,
}

impl Replays {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            seen: BTreeSet::new(),
            floor: None,
        }
    }

    /// Whatever was accepted before `unix_seconds` is not known here: nothing as old is taken.
    pub(super) fn begin(&mut self, unix_seconds: u64) {
        self.floor = self.floor.max(unix_seconds.checked_sub(1));
    }

    /// Could this preamble have been accepted before?
    pub(super) fn knows(&self, made_at: u64, key: &[u8; 32]) -> bool {
        self.floor.is_some_and(|floor| made_at <= floor)
            || self.seen.contains(&(made_at, short(key)))
    }

    /// Remembers a preamble; `oldest` is the oldest second that could still be accepted.
    pub(super) fn insert(&mut self, made_at: u64, key: &[u8; 32], oldest: u64) {
        self.forget(oldest);
        if self.seen.len() >= self.max.max(1)
            && let Some((pushed_out, _)) = self.seen.pop_first()
        {
            self.floor = self.floor.max(Some(pushed_out));
        }
        self.seen.insert((made_at, short(key)));
    }

    /// Forgets what is too old to be accepted again anyway.
    fn forget(&mut self, oldest: u64) {
        while self.seen.first().is_some_and(|(at, _)| *at < oldest) {
            self.seen.pop_first();
        }
        self.floor = self.floor.filter(|floor| *floor >= oldest);
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }
}

/// The preambles that came last: [`super::Memory::Recent`].
#[derive(Debug)]
pub(super) struct Recent {
    max: usize,
    forgets_after: Duration,
    asked_at: Option<Instant>,
    /// When each was seen last, as a number that grows.
    seen: BTreeMap<[u8; 32], u64>,
    order: BTreeMap<u64, [u8; 32]>,
    next: u64,
}

impl Recent {
    pub(super) const fn new(max: usize, forgets_after: Duration) -> Self {
        Self {
            max,
            forgets_after,
            asked_at: None,
            seen: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// Was this preamble seen? From now on it was.
    pub(super) fn sees_again(&mut self, now: Instant, key: [u8; 32]) -> bool {
        let asked_at = self.asked_at.replace(now);
        if asked_at.is_some_and(|at| now > at + self.forgets_after) {
            self.seen.clear();
            self.order.clear();
        }
        let before = self.seen.insert(key, self.next);
        if let Some(before) = before {
            self.order.remove(&before);
        }
        self.order.insert(self.next, key);
        self.next += 1;
        while self.order.len() > self.max.max(1)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.seen.remove(&oldest);
        }
        before.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }
}
