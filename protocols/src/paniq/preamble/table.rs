//! A bounded table that forgets who was not seen for longest.
use sansbox_core::Instant;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// At most `max` entries. Ordered maps, so that neither a peer's choice of addresses nor a random
/// seed decides how fast or in which order things happen.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    max: usize,
    /// How much later than before an entry must be touched to count as seen again: where it may be
    /// long, the order need not change with each datagram.
    grain: Duration,
    entries: BTreeMap<K, (Instant, V)>,
    order: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy, V> Table<K, V> {
    pub(super) const fn new(max: usize, grain: Duration) -> Self {
        Self {
            max,
            grain,
            entries: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: impl Into<K>) -> Option<&V> {
        self.entries.get(&key.into()).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: impl Into<K>) -> Option<&mut V> {
        self.entries.get_mut(&key.into()).map(|(_, value)| value)
    }

    /// The entry, which counts as seen.
    pub(super) fn touch(&mut self, now: Instant, key: impl Into<K>) -> Option<&mut V> {
        let key = key.into();
        let (seen, value) = self.entries.get_mut(&key)?;
        if now >= *seen + self.grain {
            self.order.remove(&(*seen, key));
            self.order.insert((now, key));
            *seen = now;
        }
        Some(value)
    }

    /// Makes or replaces the entry; what was not seen for longest makes room.
    pub(super) fn insert(&mut self, now: Instant, key: impl Into<K>, value: V) {
        let key = key.into();
        self.remove(key);
        while self.entries.len() >= self.max.max(1) {
            self.remove_oldest();
        }
        self.order.insert((now, key));
        self.entries.insert(key, (now, value));
    }

    pub(super) fn remove(&mut self, key: impl Into<K>) -> Option<V> {
        let key = key.into();
        let (seen, value) = self.entries.remove(&key)?;
        self.order.remove(&(seen, key));
        Some(value)
    }

    fn remove_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.entries.remove(&key);
        }
    }

    /// When the entry that was not seen for longest has not been for `idle`.
    pub(super) fn expiry(&self, idle: Duration) -> Option<Instant> {
        self.order.first().map(|(seen, _)| *seen + idle)
    }

    /// Forgets who has not been seen for `idle`.
    pub(super) fn expire(&mut self, now: Instant, idle: Duration) {
        while self.expiry(idle).is_some_and(|at| at <= now) {
            self.remove_oldest();
        }
    }
}
