//! Named streams of random numbers, and the log of what was drawn.
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::Seed;
use std::collections::BTreeMap;

/// One consumer's stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u32);

/// What kind of choice a draw was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// Neither way is worse; smaller is simpler.
    Value,
    /// 1: something bad happens; 0: it does not.
    Hazard,
}

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who drew.
    pub stream: StreamId,
    /// Which draw of its stream, from 0.
    pub nth: u32,
    /// What kind of choice.
    pub kind: Choice,
    /// What came, below `of`.
    pub choice: u64,
    /// How many choices there were; of a hazard, a million.
    pub of: u64,
}

/// Choices that are made in a stream's place: by the stream's name and which draw it is. What a
/// stream draws otherwise stays the same.
pub type Overrides = BTreeMap<(Box<str>, u32), u64>;

struct Stream {
    name: Box<str>,
    rng: ChaCha8Rng,
    drawn: u32,
    overrides: BTreeMap<u32, u64>,
}

/// Of so many, a hazard happens as often as is said.
const HAZARD_OF: u64 = 1_000_000;

/// All random streams of a world. Each is keyed by the world's seed and its own name
/// (`"host/purpose"`), so a new host or stream shifts nobody else's numbers.
pub struct Streams {
    root: Seed,
    ids: BTreeMap<Box<str>, StreamId>,
    streams: Vec<Stream>,
    log: Vec<Decision>,
    overrides: Overrides,
}

impl Streams {
    /// Streams under `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_overrides(seed, Overrides::new())
    }

    /// Streams under `seed`, with some choices made already.
    #[must_use]
    pub fn with_overrides(seed: u64, overrides: Overrides) -> Self {
        Self {
            overrides,
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
        let from: (Box<str>, u32) = (name.into(), 0);
        let of_stream = self.overrides.range(from..);
        let of_stream = of_stream.take_while(|((of, _), _)| &**of == name);
        self.streams.push(Stream {
            name: name.into(),
            rng: ChaCha8Rng::from_seed(self.root.derive(name).bytes()),
            drawn: 0,
            overrides: of_stream
                .map(|((_, nth), choice)| (*nth, *choice))
                .collect(),
        });
        self.ids.insert(name.into(), id);
        id
    }

    /// A number below `n`; 0 counts as 1.
    pub fn below(&mut self, stream: StreamId, n: u64) -> u64 {
        let n = n.max(1);
        self.draw(stream, Choice::Value, n, |drawn| drawn)
    }

    /// Does something bad happen, which does `per_million` times in a million?
    pub fn hazard(&mut self, stream: StreamId, per_million: u32) -> bool {
        let limit = u64::from(per_million);
        let choose = |drawn| u64::from(drawn < limit);
        self.draw(stream, Choice::Hazard, HAZARD_OF, choose) > 0
    }

    fn draw(
        &mut self,
        stream: StreamId,
        kind: Choice,
        of: u64,
        choose: impl FnOnce(u64) -> u64,
    ) -> u64 {
        let Some(state) = self.streams.get_mut(stream.0 as usize) else {
            return 0;
        };
        let nth = state.drawn;
        state.drawn += 1;
        // Drawn in any case: what follows in the stream stays the same.
        let drawn = ((u128::from(state.rng.next_u64()) * u128::from(of)) >> 64) as u64;
        let choice = match state.overrides.get(&nth) {
            Some(choice) => (*choice).min(of - 1),
            None => choose(drawn),
        };
        self.log.push(Decision {
            stream,
            nth,
            kind,
            choice,
            of,
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
    fn an_override_changes_one_choice_and_no_other() {
        let mut streams = Streams::new(5);
        let free = draw(&mut streams, "x");
        let overrides = Overrides::from([(("x".into(), 3), 0), (("y".into(), 0), 1)]);
        let mut streams = Streams::with_overrides(5, overrides);
        let bound = draw(&mut streams, "x");
        for (nth, (free, bound)) in free.iter().zip(&bound).enumerate() {
            assert_eq!(*bound, if nth == 3 { 0 } else { *free }, "{nth}");
        }
        let hazards = streams.open("y");
        assert!(streams.hazard(hazards, 0), "made to happen");
        assert!(!streams.hazard(hazards, 0) && streams.hazard(hazards, 1_000_000));
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
