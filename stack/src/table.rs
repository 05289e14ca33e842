//! All connections: a slab of entries, a hashed index by addresses and ports, and the order in
//! which the oldest make room.
use hashbrown::HashTable;
use hashbrown::hash_table;
use sansbox_core::{Instant, Seed};

use crate::key::{FlowId, FlowKey, Secrets};
use crate::list::NIL;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::time_wait::TimeWait;

/// What a place of the slab holds.
#[derive(Debug)]
pub(crate) enum Entry {
    Vacant,
    HalfOpen(HalfOpen),
    /// A connection; its state is in the slab of flows, at this index.
    Open(FlowKey, u32),
    TimeWait(TimeWait),
}

impl Entry {
    fn key(&self) -> Option<&FlowKey> {
        match self {
            Self::Vacant => None,
            Self::HalfOpen(half) => Some(&half.key),
            Self::Open(key, _) => Some(key),
            Self::TimeWait(wait) => Some(&wait.key),
        }
    }
}

/// As long as a cache line.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) entry: Entry,
    generation: u32,
    /// It waits in the queue of those that have something to send.
    pub(crate) dirty: bool,
    /// It waits in the queue of events.
    pub(crate) told: bool,
}

const _: () = assert!(size_of::<Place>() == 64);

impl Place {
    /// The handle of the entry here, at `index`.
    pub(crate) const fn id(&self, index: u32) -> FlowId {
        FlowId {
            index,
            generation: self.generation,
        }
    }
}

pub(crate) struct Table {
    places: Vec<Place>,
    free: Vec<u32>,
    index: HashTable<u32>,
    secrets: Secrets,
}

impl Table {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            secrets: Secrets::new(seed),
        }
    }

    /// The entry that packets of `key` belong to.
    pub(crate) fn find(&self, key: &FlowKey, hash: u64) -> Option<u32> {
        self.index.find(hash, |at| self.holds(*at, key)).copied()
    }

    /// Where [`Table::find`] looks for `key`.
    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        self.secrets.hash(key)
    }

    /// What [`crate::sources::Sources`] counts the client of `key` by.
    pub(crate) fn hash_source(&self, key: &FlowKey) -> u64 {
        self.secrets.hash_source(key)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Place> {
        self.places.get(index as usize)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Place> {
        self.places.get_mut(index as usize)
    }

    /// The index of a handle that is not void.
    pub(crate) fn resolve(&self, flow: FlowId) -> Option<u32> {
        let place = self.places.get(flow.index as usize)?;
        let live = place.generation == flow.generation && !matches!(place.entry, Entry::Vacant);
        live.then_some(flow.index)
    }

    pub(crate) fn id(&self, index: u32) -> FlowId {
        self.get(index).map_or(
            FlowId {
                index,
                generation: 0,
            },
            |place| place.id(index),
        )
    }

    /// Adds an entry under its own key, for which there must be none.
    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        let index = self.place(entry);
        let Self {
            places,
            index: table,
            secrets,
            ..
        } = self;
        let hash = |at: &u32| {
            let place = places.get(*at as usize);
            let key = place.and_then(|place| place.entry.key());
            key.map_or(0, |key| secrets.hash(key))
        };
        table.insert_unique(hash(&index), index, hash);
        index
    }

    fn place(&mut self, entry: Entry) -> u32 {
        if let Some(index) = self.free.pop() {
            if let Some(place) = self.places.get_mut(index as usize) {
                place.entry = entry;
            }
            return index;
        }
        self.places.push(Place {
            entry,
            generation: 0,
            dirty: false,
            told: false,
        });
        u32::try_from(self.places.len() - 1).expect("bounded by the limits of connections")
    }

    /// Packets find the entry no more; its handle stays valid.
    pub(crate) fn unlink(&mut self, index: u32) {
        let Some(key) = self.get(index).and_then(|place| place.entry.key()) else {
            return;
        };
        let hash = self.secrets.hash(key);
        if let Ok(found) = self.index.find_entry(hash, |at| *at == index) {
            hash_table::OccupiedEntry::remove(found);
        }
    }

    /// Removes the entry; its handle is void from now on.
    pub(crate) fn remove(&mut self, index: u32) -> Entry {
        self.unlink(index);
        let Some(place) = self.places.get_mut(index as usize) else {
            return Entry::Vacant;
        };
        let entry = std::mem::replace(&mut place.entry, Entry::Vacant);
        place.generation = place.generation.wrapping_add(1);
        place.dirty = false;
        place.told = false;
        self.free.push(index);
        entry
    }

    pub(crate) fn isn(&self, key: &FlowKey, now: Instant) -> u32 {
        self.secrets.isn(key, now)
    }

    fn holds(&self, index: u32, key: &FlowKey) -> bool {
        self.get(index).and_then(|place| place.entry.key()) == Some(key)
    }
}

#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    younger: u32,
}

const LOOSE: Link = Link {
    older: NIL,
    younger: NIL,
};

/// Entries by age.
#[derive(Debug)]
pub(crate) struct Ages {
    links: Vec<Link>,
    oldest: u32,
    youngest: u32,
    len: u32,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            oldest: NIL,
            youngest: NIL,
            len: 0,
        }
    }
}

impl Ages {
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NIL).then_some(self.oldest)
    }

    /// Adds `index` as the youngest.
    pub(crate) fn push(&mut self, index: u32) {
        self.remove(index);
        if self.links.len() <= index as usize {
            self.links.resize(index as usize + 1, LOOSE);
        }
        if let Some(link) = self.links.get_mut(index as usize) {
            *link = Link {
                older: self.youngest,
                younger: NIL,
            };
        }
        match self.links.get_mut(self.youngest as usize) {
            Some(before) => before.younger = index,
            None => self.oldest = index,
        }
        self.youngest = index;
        self.len += 1;
    }

    /// Removes `index` if it is within.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(index as usize) else {
            return;
        };
        let Link { older, younger } = std::mem::replace(link, LOOSE);
        if older == NIL && self.oldest != index {
            return;
        }
        match self.links.get_mut(older as usize) {
            Some(older) => older.younger = younger,
            None => self.oldest = younger,
        }
        match self.links.get_mut(younger as usize) {
            Some(younger) => younger.older = older,
            None => self.youngest = older,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn ages_keep_their_order_when_entries_leave_from_anywhere() {
        let mut ages = Ages::default();
        let mut model = VecDeque::new();
        for step in 0..1000_u32 {
            let index = step * 7 % 23;
            if step % 3 == 0 {
                ages.remove(index);
                model.retain(|at| *at != index);
            } else {
                ages.push(index);
                model.retain(|at| *at != index);
                model.push_back(index);
            }
            assert_eq!(ages.oldest(), model.front().copied());
            assert_eq!(ages.len() as usize, model.len());
        }
    }
}
