//! Named streams of random numbers, and the log of what was drawn.
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::Seed;
use std::{collections::BTreeMap, sync::Arc};

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

/// One draw, under the name of its stream: what a run can be told to do again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The stream's name.
    pub stream: Box<str>,
    /// Which draw of its stream, from 0.
    pub nth: u32,
    /// What came.
    pub choice: u64,
}

/// Choices that are made in a stream's place: by the stream's name and which draw it is. What a
/// stream draws otherwise stays the same.
pub type Overrides = BTreeMap<(Box<str>, u32), u64>;

/// Where choices come from, besides the seed.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Choices that are made already.
    pub overrides: Overrides,
    /// A hazard happens only where an override says so.
    pub is_calm: bool,
    /// Choices are read from these bytes, in the order of drawing, as long as they last;
    /// afterwards the world is calm. Overrides go first.
    pub bytes: Option<Arc<[u8]>>,
}

struct Stream {
    name: Box<str>,
    rng: ChaCha8Rng,
    drawn: u32,
    overrides: BTreeMap<u32, u64>,
}

/// Of so many, a hazard happens as often as is said.
const HAZARD_OF: u64 = 1_000_000;
/// Of the 256 values of a byte that decides a hazard, so many let it happen where it can.
const HAZARD_BYTES: u8 = 16;

/// All random streams of a world. Each is keyed by the world's seed and its own name
/// (`"host/purpose"`), so a new host or stream shifts nobody else's numbers.
pub struct Streams {
    root: Seed,
    ids: BTreeMap<Box<str>, StreamId>,
    streams: Vec<Stream>,
    log: Vec<Decision>,
    source: Source,
    /// How much of the source's bytes is read.
    bytes_read: usize,
    /// Draws up to the last one that they decided.
    decided: usize,
    /// No hazard happens any more.
    is_healed: bool,
}

impl Streams {
    /// Streams under `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_source(seed, Source::default())
    }

    /// Streams under `seed`, with some choices made elsewhere.
    #[must_use]
    pub fn from_source(seed: u64, source: Source) -> Self {
        Self {
            source,
            bytes_read: 0,
            decided: 0,
            is_healed: false,
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
        let of_stream = self.source.overrides.range(from..);
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

    /// From here on no hazard happens, whatever its odds.
    pub const fn heal(&mut self) {
        self.is_healed = true;
    }

    /// From here on all streams draw as if the world had begun with another seed, and nothing is
    /// decided beforehand any more.
    pub fn reseed(&mut self, seed: u64) {
        self.root = Seed::from_u64(seed);
        self.source = Source::default();
        for stream in &mut self.streams {
            stream.overrides.clear();
            stream.rng = ChaCha8Rng::from_seed(self.root.derive(&stream.name).bytes());
        }
    }

    /// The next byte that decides, if any is left.
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.source.bytes.as_ref()?.get(self.bytes_read)?;
        self.bytes_read += 1;
        self.decided = self.log.len() + 1;
        Some(byte)
    }

    /// A number below `of` from the bytes that decide.
    fn decided_below(&mut self, of: u64) -> Option<u64> {
        let mut drawn = u64::from(self.byte()?);
        let mut span = 256_u64;
        while span < of && span <= u64::MAX >> 8 {
            drawn = (drawn << 8) | u64::from(self.byte().unwrap_or_default());
            span <<= 8;
        }
        Some(((u128::from(drawn) * u128::from(of)) / u128::from(span)) as u64)
    }

    /// A number below `n`; 0 counts as 1.
    pub fn below(&mut self, stream: StreamId, n: u64) -> u64 {
        let n = n.max(1);
        let (drawn, made) = self.advance(stream, n);
        let choice = match made {
            Some(choice) => choice.min(n - 1),
            None => self.decided_below(n).unwrap_or(drawn),
        };
        self.record(stream, Choice::Value, choice, n)
    }

    /// Does something bad happen, which does `per_million` times in a million?
    pub fn hazard(&mut self, stream: StreamId, per_million: u32) -> bool {
        let (drawn, made) = self.advance(stream, HAZARD_OF);
        let happens = match made {
            Some(choice) => choice > 0,
            None if self.source.is_calm || per_million == 0 => false,
            None if self.source.bytes.is_some() => {
                self.byte().is_some_and(|b| b > u8::MAX - HAZARD_BYTES)
            }
            None => drawn < u64::from(per_million),
        };
        let happens = happens && !self.is_healed;
        self.record(stream, Choice::Hazard, happens.into(), HAZARD_OF) > 0
    }

    /// What is chosen in the place of a stream that never says anything but 0 by itself; `of` is
    /// what a reader of the log should know of the choice.
    pub fn chosen(&mut self, stream: StreamId, of: u64) -> u64 {
        let (_, made) = self.advance(stream, 1);
        self.record(stream, Choice::Value, made.unwrap_or_default(), of)
    }

    /// One step of a stream: what it would say, and what is said in its place. The step is made
    /// in any case, so that what follows in the stream stays the same.
    fn advance(&mut self, stream: StreamId, of: u64) -> (u64, Option<u64>) {
        let Some(state) = self.streams.get_mut(stream.0 as usize) else {
            return (0, None);
        };
        let drawn = (u128::from(state.rng.next_u64()) * u128::from(of)) >> 64;
        let made = state.overrides.get(&state.drawn).copied();
        state.drawn += 1;
        (drawn as u64, made)
    }

    fn record(&mut self, stream: StreamId, kind: Choice, choice: u64, of: u64) -> u64 {
        let drawn = self.streams.get(stream.0 as usize).map_or(0, |s| s.drawn);
        self.log.push(Decision {
            stream,
            nth: drawn.saturating_sub(1),
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

    /// Every draw that bytes decided, under its name.
    #[must_use]
    pub fn decided(&self) -> Vec<Named> {
        let decided = self.log.get(..self.decided).unwrap_or_default();
        let named = |decision: &Decision| Named {
            stream: self.name(decision.stream).into(),
            nth: decision.nth,
            choice: decision.choice,
        };
        decided.iter().map(named).collect()
    }

    /// How often the stream called `name` was drawn from.
    #[must_use]
    pub fn drawn(&self, name: &str) -> u32 {
        let stream = self
            .ids
            .get(name)
            .and_then(|id| self.streams.get(id.0 as usize));
        stream.map_or(0, |stream| stream.drawn)
    }

    /// Is a choice made in the place of a stream whose name begins like this?
    #[must_use]
    pub fn decides(&self, beginning: &str) -> bool {
        let from: (Box<str>, u32) = (beginning.into(), 0);
        let mut behind = self.source.overrides.range(from..);
        behind
            .next()
            .is_some_and(|((name, _), _)| name.starts_with(beginning))
    }

    /// Every draw so far, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.log
    }

    /// The draws that `keep` keeps, in order, under their names.
    #[must_use]
    pub fn named(&self, keep: impl Fn(&str, &Decision) -> bool) -> Vec<Named> {
        let wanted = |d: &&Decision| keep(self.name(d.stream), d);
        let kept = self.log.iter().filter(wanted);
        let named = |decision: &Decision| Named {
            stream: self.name(decision.stream).into(),
            nth: decision.nth,
            choice: decision.choice,
        };
        kept.map(named).collect()
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
        let source = Source {
            overrides: Overrides::from([(("x".into(), 3), 0), (("y".into(), 0), 1)]),
            ..Source::default()
        };
        let mut streams = Streams::from_source(5, source);
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

    #[test]
    fn nothing_bad_happens_where_the_world_is_calm_or_healed() {
        let source = Source {
            overrides: Overrides::from([(("x".into(), 1), 1)]),
            is_calm: true,
            bytes: None,
        };
        let mut streams = Streams::from_source(5, source);
        let id = streams.open("x");
        let bad: Vec<bool> = (0..3).map(|_| streams.hazard(id, 1_000_000)).collect();
        assert_eq!(bad, [false, true, false]);
        let mut streams = Streams::new(5);
        let id = streams.open("x");
        assert!(streams.hazard(id, 1_000_000));
        streams.heal();
        assert!(!streams.hazard(id, 1_000_000));
    }

    #[test]
    fn bytes_decide_while_they_last() {
        let source = Source {
            bytes: Some(Arc::from([255, 0, 128, 1, 255])),
            ..Source::default()
        };
        let mut streams = Streams::from_source(5, source);
        let id = streams.open("x");
        assert_eq!(streams.decided(), []);
        assert!(streams.hazard(id, 1) && !streams.hazard(id, 999_999));
        assert_eq!(streams.below(id, 10), 5);
        assert_eq!(streams.below(id, 65_536), 0x1ff);
        assert!(!streams.hazard(id, 1_000_000), "calm behind the last byte");
        let choices: Vec<u64> = streams.decided().iter().map(|d| d.choice).collect();
        assert_eq!(choices, [1, 0, 5, 0x1ff]);
        let free = streams.below(id, 1000);
        let mut plain = Streams::new(5);
        let id = plain.open("x");
        let last = (0..6).map(|_| plain.below(id, 1000)).last();
        assert_eq!(Some(free), last, "values go on as the seed says");
    }

    #[test]
    fn another_seed_takes_over_in_the_middle() {
        let mut streams = Streams::new(5);
        let first = draw(&mut streams, "x");
        streams.reseed(6);
        let rest = draw(&mut streams, "x");
        assert_eq!(rest, draw(&mut Streams::new(6), "x"));
        assert_ne!(first, rest);
        assert_eq!(streams.decisions()[8].nth, 8);
    }
}
