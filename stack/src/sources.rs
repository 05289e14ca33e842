//! How many half-open connections each source has.
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

const COUNT_BITS: u32 = 24;
/// Most that are counted of one source.
pub(crate) const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

/// 40 bits of a source's hash, and how often it was added.
#[derive(Clone, Copy, Debug)]
struct Count(u64);

impl Count {
    const fn of(self) -> u32 {
        self.0 as u32 & COUNT_MAX
    }

    const fn source(self) -> u64 {
        self.0 >> COUNT_BITS
    }
}

/// Counts by a keyed hash of the source, not by its address: 8 bytes each. Two sources in 2^40
/// share a limit, and nobody without the key can tell which.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    counts: HashTable<Count>,
}

impl Sources {
    pub(crate) fn count(&self, hash: u64) -> u32 {
        let source = hash >> COUNT_BITS;
        let found = self.counts.find(spread(source), |at| at.source() == source);
        found.map_or(0, |count| count.of())
    }

    /// One more; the caller keeps it below [`COUNT_MAX`].
    pub(crate) fn add(&mut self, hash: u64) {
        let source = hash >> COUNT_BITS;
        match self.entry(source) {
            Entry::Occupied(mut found) => found.get_mut().0 += 1,
            Entry::Vacant(place) => {
                place.insert(Count(source << COUNT_BITS | 1));
            }
        }
    }

    /// One less of those that were added.
    pub(crate) fn subtract(&mut self, hash: u64) {
        if let Entry::Occupied(mut found) = self.entry(hash >> COUNT_BITS) {
            found.get_mut().0 -= 1;
            if found.get().of() == 0 {
                found.remove();
            }
        }
    }

    fn entry(&mut self, source: u64) -> Entry<'_, Count> {
        let is_it = |at: &Count| at.source() == source;
        let hash = |at: &Count| spread(at.source());
        self.counts.entry(spread(source), is_it, hash)
    }
}

/// A hash of 64 bits: tables take their place from the lowest and a tag from the highest.
const fn spread(source: u64) -> u64 {
    source ^ source << COUNT_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn counts_are_those_of_a_map() {
        let mut sources = Sources::default();
        let mut model: BTreeMap<u64, u32> = BTreeMap::new();
        for step in 0..20_000_u64 {
            let hash = (step * step % 3001).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let count = model.entry(hash).or_default();
            if step % 5 < 3 {
                sources.add(hash);
                *count += 1;
            } else if *count > 0 {
                sources.subtract(hash);
                *count -= 1;
            }
            assert_eq!(sources.count(hash), *count);
        }
        let live = model.values().filter(|count| **count > 0).count();
        assert_eq!(sources.counts.len(), live);
        assert!(live > 100);
    }
}
