//! Named streams of random numbers, and the log of what was drawn.
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::Seed;
use std::collections::BTreeMap;

/// One consumer's stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u32);

/// One draw: the `n`-th choice of a stream follows from its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who drew.
    pub stream: StreamId,
    /// What came, below `of`.
    pub choice: u64,
    /// How many choices there were.
    pub of: u64,
}

struct Stream {
    name: Box<str>,
    rng: ChaCha8Rng,
}

/// All random streams of a world. Each is keyed by the world's seed and its own name
/// (`"host/purpose"`), so a new host or stream shifts nobody else's numbers.
pub struct Streams {
    root: Seed,
    ids: BTreeMap<Box<str>, StreamId>,
    streams: Vec<Stream>,
    log: Vec<Decision>,
}

impl Streams {
    /// Streams under `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            root: Seed::from_u64(seed),
            ids: BTreeMap::new(),
            streams: Vec::new(),
            log: Vec::new(),
        }
    }

    /// The stream called `name`, made at the first call.
    pub fn open(&mut self, name: &str) -> StreamId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = StreamId(u32::try_from(self.streams.len()).expect("fewer than 2^32 streams"));
        self.streams.push(Stream {
            name: name.into(),
            rng: ChaCha8Rng::from_seed(self.root.derive(name).bytes()),
        });
        self.ids.insert(name.into(), id);
        id
    }

    /// A number below `n`; 0 counts as 1.
    pub fn below(&mut self, stream: StreamId, n: u64) -> u64 {
        let n = n.max(1);
        let drawn = self
            .streams
            .get_mut(stream.0 as usize)
            .map_or(0, |s| s.rng.next_u64());
        let choice = ((u128::from(drawn) * u128::from(n)) >> 64) as u64;
        self.log.push(Decision {
            stream,
            choice,
            of: n,
        });
        choice
    }

    /// A length from 1 to `max`, or 0 when `max` is 0.
    pub fn len_up_to(&mut self, stream: StreamId, max: usize) -> usize {
        match max {
            0 | 1 => max,
            _ => 1 + self.below(stream, max as u64) as usize,
        }
    }

    /// True once in `n` draws on average.
    pub fn one_in(&mut self, stream: StreamId, n: u64) -> bool {
        self.below(stream, n) == 0
    }

    /// A seed for a machine, independent of all streams.
    #[must_use]
    pub fn seed(&self, name: &str, nth: u64) -> Seed {
        self.root.derive_nth(name, nth)
    }

    /// The name a stream was opened under.
    #[must_use]
    pub fn name(&self, stream: StreamId) -> &str {
        self.streams.get(stream.0 as usize).map_or("", |s| &s.name)
    }

    /// Every draw so far, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(streams: &mut Streams, name: &str) -> Vec<u64> {
        let id = streams.open(name);
        (0..8).map(|_| streams.below(id, 1000)).collect()
    }

    #[test]
    fn a_new_stream_shifts_nobody() {
        let mut alone = Streams::new(7);
        let expected = draw(&mut alone, "a/read");
        let mut crowded = Streams::new(7);
        draw(&mut crowded, "b/read");
        assert_eq!(draw(&mut crowded, "a/read"), expected);
        assert_ne!(draw(&mut Streams::new(8), "a/read"), expected);
    }

    #[test]
    fn every_draw_is_in_the_log() {
        let mut streams = Streams::new(1);
        let drawn = draw(&mut streams, "x");
        let log: Vec<u64> = streams.decisions().iter().map(|d| d.choice).collect();
        assert_eq!(log, drawn);
        assert_eq!(streams.name(streams.decisions()[0].stream), "x");
    }

    #[test]
    fn lengths_reach_both_ends() {
        let mut streams = Streams::new(3);
        let id = streams.open("l");
        let lens: Vec<usize> = (0..200).map(|_| streams.len_up_to(id, 4)).collect();
        assert!(lens.contains(&1) && lens.contains(&4) && !lens.contains(&0));
        assert_eq!(streams.len_up_to(id, 0), 0);
    }
}
