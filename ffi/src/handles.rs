//! Handles: numbers that stand for objects, so that one that was freed, made up or mixed up is
//! found out.
//!
//! A pointer cannot be asked whether it is still good; a number can be looked up. The table is
//! therefore one for the process, and it is the only thing that callers share. It holds no
//! configuration and decides nothing. Its parts have locks of their own, held only to look up.
use crate::status::Status;
use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Parts of the table, so that threads seldom meet.
const SHARDS: usize = 16;
/// Objects of one shard.
const SHARD_LEN_MAX: usize = 1 << 16;

/// Objects by handle. `T` is cheap to clone: a lookup hands out a clone, which lives on when the
/// handle is freed in the middle of a call.
///
/// A handle is `generation << 32 | place << 4 | shard`. Each reuse of a place has the next
/// generation; a place whose generations are used up is not used again.
#[derive(Debug)]
pub(crate) struct Table<T> {
    shards: [RwLock<Shard<T>>; SHARDS],
    next: AtomicUsize,
}

#[derive(Debug)]
struct Shard<T> {
    places: Vec<Place<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Place<T> {
    /// Never 0, so no handle is 0.
    generation: u32,
    object: Option<T>,
}

/// Shard, place and generation of a handle.
fn split(handle: u64) -> (usize, usize, u32) {
    let low = (handle & 0xFFFF_FFFF) as usize;
    (low % SHARDS, low / SHARDS, (handle >> 32) as u32)
}

impl<T: Clone> Table<T> {
    pub(crate) const fn new() -> Self {
        Self {
            shards: [const {
                RwLock::new(Shard {
                    places: Vec::new(),
                    free: Vec::new(),
                })
            }; SHARDS],
            next: AtomicUsize::new(0),
        }
    }

    fn shard(&self, index: usize) -> Option<&RwLock<Shard<T>>> {
        self.shards.get(index)
    }

    /// Takes an object in.
    pub(crate) fn insert(&self, object: T) -> Result<u64, Status> {
        let first = self.next.fetch_add(1, Relaxed);
        for turn in 0..SHARDS {
            let index = first.wrapping_add(turn) % SHARDS;
            let shard = self.shard(index).ok_or(Status::Limit)?;
            // Nothing panics while it is held, and a table is in order between its statements.
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            if let Some((place, generation)) = shard.insert(&object) {
                let low = (place * SHARDS + index) as u64;
                return Ok(u64::from(generation) << 32 | low);
            }
        }
        Err(Status::Limit)
    }

    /// The object of a handle.
    pub(crate) fn get(&self, handle: u64) -> Result<T, Status> {
        let (index, place, generation) = split(handle);
        let shard = self.shard(index).ok_or(Status::BadHandle)?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let place = shard.places.get(place).ok_or(Status::BadHandle)?;
        let object = place.object.clone().ok_or(Status::BadHandle)?;
        (place.generation == generation)
            .then_some(object)
            .ok_or(Status::BadHandle)
    }

    /// How many handles are in use.
    pub(crate) fn len(&self) -> usize {
        let shards = self.shards.iter();
        let lens = shards.map(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let used = |place: &&Place<T>| place.object.is_some();
            shard.places.iter().filter(used).count()
        });
        lens.sum()
    }

    /// Frees a handle if `is_wanted` says so of its object.
    pub(crate) fn remove(&self, handle: u64, is_wanted: impl Fn(&T) -> bool) -> Result<T, Status> {
        let (index, at, generation) = split(handle);
        let shard = self.shard(index).ok_or(Status::BadHandle)?;
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let place = shard.places.get_mut(at).ok_or(Status::BadHandle)?;
        if place.generation != generation {
            return Err(Status::BadHandle);
        }
        let object = place.object.take_if(|object| is_wanted(object));
        let object = object.ok_or(Status::BadHandle)?;
        if let Some(next) = generation.checked_add(1) {
            place.generation = next;
            shard.free.push(at);
        }
        Ok(object)
    }
}

impl<T: Clone> Shard<T> {
    /// Place and generation; `None` when the shard is full.
    fn insert(&mut self, object: &T) -> Option<(usize, u32)> {
        let object = Some(object.clone());
        if let Some(at) = self.free.pop() {
            let place = self.places.get_mut(at)?;
            place.object = object;
            return Some((at, place.generation));
        }
        if self.places.len() >= SHARD_LEN_MAX {
            return None;
        }
        let generation = 1;
        self.places.push(Place { generation, object });
        Some((self.places.len() - 1, generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_handle_stays_bad_when_its_place_is_used_again() {
        let table = Table::new();
        let mut seen = Vec::new();
        for n in 0..1000 {
            let handle = table.insert(n).unwrap();
            assert_eq!((table.get(handle), table.len()), (Ok(n), 1));
            assert_eq!(table.remove(handle, |_| true), Ok(n));
            assert_eq!(table.len(), 0);
            seen.push(handle);
        }
        for handle in &seen {
            assert_eq!(table.get(*handle), Err(Status::BadHandle));
            assert_eq!(table.remove(*handle, |_| true), Err(Status::BadHandle));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1000, "no handle is given out twice");
    }

    #[test]
    fn made_up_handles_are_bad() {
        let table = Table::new();
        let handle = table.insert(1).unwrap();
        for wrong in [0, 1, u64::MAX, handle ^ 1, handle ^ (1 << 32), handle + 16] {
            assert_eq!(table.get(wrong), Err(Status::BadHandle), "{wrong:x}");
        }
        assert_eq!(table.remove(handle, |_| false), Err(Status::BadHandle));
        assert_eq!(table.get(handle), Ok(1));
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_not_used_again() {
        let table = Table::new();
        let handle = table.insert(1).unwrap();
        let (index, place, _) = split(handle);
        table.shards[index].write().unwrap().places[place].generation = u32::MAX;
        let last = handle | 0xFFFF_FFFF << 32;
        assert_eq!(table.remove(last, |_| true), Ok(1));
        assert!(table.shards[index].read().unwrap().free.is_empty());
        assert_eq!(table.get(last), Err(Status::BadHandle));
    }

    #[test]
    fn the_table_has_an_end() {
        let table = Table::new();
        for _ in 0..SHARDS * SHARD_LEN_MAX {
            table.insert(()).unwrap();
        }
        assert_eq!(table.insert(()), Err(Status::Limit));
    }
}
