//! Records of names in lines of the processor's cache.
//!
//! Every record has two lines that it may lie in, picked by its hash, and lies in one of them with
//! all its bytes. One byte of the hash of each record, its tag, lies in a table beside the lines
//! that is 16 times smaller. A probe reads the tags of both lines, at once; one that finds nothing
//! nearly always ends there, and one that finds something reads one line, and knows where in it. So
//! what most probes touch fits a near cache long after the lines do not, and what a look-up waits
//! for is one line.
//!
//! Records are packed once: each goes where there is more room, the longest first, and one that
//! finds none pushes another one to its other line. A record that has no place after some of that,
//! or is too long, goes to a sorted list, and the tags of its first line say so.
use super::domain::{Atom, TooLarge};

/// The name itself matches.
pub(super) const ITSELF: u8 = 1;
/// Names below it match.
pub(super) const BELOW: u8 = 2;
/// Largest atom that a record can hold.
pub(super) const ATOM_MAX: Atom = (1 << (ATOM_BITS + 8 * EXTRA_LEN_MAX)) - 1;

/// Bits of an atom beside the kind.
const ATOM_BITS: usize = 6;
const EXTRA_LEN_MAX: usize = 3;
/// Length and kind, before the rest of the atom and the name.
const HEADER_LEN: usize = 2;
const LINE_LEN: usize = 64;
/// Records of a line.
const PLACES: usize = 4;
/// How much of the lines is filled, in per cent of their bytes and of their places. Fuller ones
/// leave more records without a place.
const FILL_PERCENT: usize = 80;
/// Records that are pushed to their other line so that one more has a place.
const PUSHES_MAX: u32 = 64;

/// The tag of a place without a record.
const EMPTY: u8 = 0;
/// Stands in the last place of a line when records have it as their first line and have no place.
const MORE: u8 = u8::MAX;
const LAST_PLACE: u32 = 8 * (PLACES as u32 - 1);
/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

/// One rule's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) hash: u64,
    pub(super) atom: Atom,
    pub(super) kind: u8,
    pub(super) key: &'a str,
}

impl Record<'_> {
    const fn len(&self, extra_len: usize) -> usize {
        HEADER_LEN + extra_len + self.key.len()
    }

    /// Length, kind and low bits of the atom, the rest of the atom, the key.
    fn emit(&self, extra_len: usize, out: &mut Vec<u8>) {
        let [low, rest @ ..] = (self.atom << 2).to_le_bytes();
        out.push(u8::try_from(self.key.len()).unwrap_or(u8::MAX));
        out.push(low | self.kind);
        out.extend(rest.iter().take(extra_len));
        out.extend_from_slice(self.key.as_bytes());
    }
}

/// What a hash says about where its records are.
#[derive(Clone, Copy, Debug)]
struct Spot {
    lines: [usize; 2],
    tag: u8,
}

impl Spot {
    /// Multiplying instead of dividing allows any count of lines. Both may be the same.
    fn of(hash: u64, lines: usize) -> Self {
        let scaled = |bits: u64, end: usize| ((bits * end as u64) >> 32) as usize;
        let first = scaled(hash >> 32, lines);
        let second = scaled(hash & u64::from(u32::MAX), lines);
        Self {
            lines: [first, second],
            // The low bits of a half do not pick a line.
            tag: (hash >> 32) as u8,
        }
    }
}

/// A line, where the processor has one.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Line([u8; LINE_LEN]);

/// A record without a place.
#[derive(Clone, Copy, Debug)]
struct Other {
    hash: u64,
    /// Where it starts in the arena.
    start: u32,
}

/// Records, packed.
#[derive(Debug)]
pub(super) struct Lines {
    extra_len: usize,
    tags: Box<[[u8; PLACES]]>,
    lines: Box<[Line]>,
    /// By hash.
    others: Box<[Other]>,
    arena: Box<[u8]>,
}

impl Lines {
    /// `records` are sorted by hash.
    pub(super) fn pack(records: &[Record<'_>]) -> Result<Self, TooLarge> {
        let atom_max = records.iter().map(|r| r.atom).max().unwrap_or(0);
        let extra_len = (0..=EXTRA_LEN_MAX)
            .find(|extra| atom_max >> (ATOM_BITS + 8 * extra) == 0)
            .ok_or(TooLarge)?;
        let mut packing = Packing::new(records, extra_len)?;
        packing.place_all();
        packing.finish()
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.tags)
            + size_of_val(&*self.lines)
            + size_of_val(&*self.others)
            + size_of_val(&*self.arena)
    }

    /// Whether there may be a record of this hash. Reads tags only.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        let (equal, has_more) = self.matches(&self.spot(hash));
        equal != 0 || has_more
    }

    /// Every record of `key` that has one of the kinds of `kind`.
    pub(super) fn search(&self, hash: u64, key: &[u8], kind: u8, found: &mut impl FnMut(Atom)) {
        let spot = self.spot(hash);
        let (mut equal, has_more) = self.matches(&spot);
        while equal != 0 {
            let place = equal.trailing_zeros() as usize / 8;
            equal &= equal - 1;
            let [first, second] = spot.lines;
            if place >= PLACES && first == second {
                break;
            }
            let line = if place < PLACES { first } else { second };
            if let Some(Line(line)) = self.lines.get(line) {
                self.compare(line, place % PLACES, key, kind, found);
            }
        }
        if has_more {
            let from = self.others.partition_point(|other| other.hash < hash);
            let others = self.others.iter().skip(from);
            for other in others.take_while(|other| other.hash == hash) {
                let records = self.arena.get(other.start as usize..).unwrap_or_default();
                self.compare(records, 0, key, kind, found);
            }
        }
    }

    fn spot(&self, hash: u64) -> Spot {
        Spot::of(hash, self.tags.len())
    }

    /// The high bit of each byte whose place may hold a record of the spot, the first line's before
    /// the second one's; and whether there may be others.
    fn matches(&self, spot: &Spot) -> (u64, bool) {
        let [first, second] = spot.lines.map(|line| {
            let tags = self.tags.get(line).copied().unwrap_or_default();
            u32::from_le_bytes(tags)
        });
        let tags = u64::from(first) | u64::from(second) << 32;
        let differing = tags ^ (u64::from(spot.tag) * ONES);
        // Finds every byte that is zero, and seldom one more above it, which is no harm.
        let equal = differing.wrapping_sub(ONES) & !differing & (ONES << 7);
        (equal, first >> LAST_PLACE == u32::from(MORE))
    }

    /// Looks at one of several records. Where it lies depends on what was read before, but what is
    /// done next hardly: it is `key`'s, as a rule, and the processor goes on before it has it.
    fn compare(
        &self,
        mut records: &[u8],
        number: usize,
        key: &[u8],
        kind: u8,
        found: &mut impl FnMut(Atom),
    ) {
        let header_len = HEADER_LEN + self.extra_len;
        for _ in 0..number {
            let len = records.first().map_or(0, |&len| usize::from(len));
            records = records.get(header_len + len..).unwrap_or_default();
        }
        let Some((header, rest)) = records.split_at_checked(header_len) else {
            return;
        };
        let ([len, low, extra @ ..], Some(stored)) = (header, rest.get(..key.len())) else {
            return;
        };
        if usize::from(*len) == key.len() && stored == key && low & kind != 0 {
            let high = extra.iter().rev();
            let high = high.fold(0, |high, &byte| high << 8 | Atom::from(byte));
            found(high << ATOM_BITS | Atom::from(low >> 2));
        }
    }
}

/// No record.
const NONE: u32 = u32::MAX;

/// Which record lies where, while that is being found.
struct Packing<'r> {
    records: &'r [Record<'r>],
    extra_len: usize,
    lines: Vec<[u32; PLACES]>,
    others: Vec<u32>,
}

impl<'r> Packing<'r> {
    fn new(records: &'r [Record<'r>], extra_len: usize) -> Result<Self, TooLarge> {
        let lens = records.iter().map(|r| r.len(extra_len));
        let len: usize = lens.filter(|&len| len <= LINE_LEN).sum();
        let by_len = (len * 100).div_ceil(LINE_LEN * FILL_PERCENT);
        let by_places = (records.len() * 100).div_ceil(PLACES * FILL_PERCENT);
        let lines = by_len.max(by_places) + 1;
        // So that numbers of records and of lines have 32 bits.
        u32::try_from(records.len()).map_err(|_| TooLarge)?;
        u32::try_from(lines).map_err(|_| TooLarge)?;
        Ok(Self {
            records,
            extra_len,
            lines: vec![[NONE; PLACES]; lines],
            others: Vec::new(),
        })
    }

    fn record(&self, number: u32) -> Option<&'r Record<'r>> {
        self.records.get(number as usize)
    }

    fn len(&self, number: u32) -> usize {
        self.record(number).map_or(0, |r| r.len(self.extra_len))
    }

    fn spot(&self, number: u32) -> Spot {
        let hash = self.record(number).map_or(0, |r| r.hash);
        Spot::of(hash, self.lines.len())
    }

    /// Bytes of a line that are left; none when its places are taken.
    fn room(&self, line: usize) -> usize {
        let places = self.lines.get(line).copied().unwrap_or_default();
        let lens = places.iter().map(|&number| self.len(number));
        match places.contains(&NONE) {
            true => LINE_LEN.saturating_sub(lens.sum()),
            false => 0,
        }
    }

    fn place_all(&mut self) {
        let mut numbers: Vec<_> = (0..).take(self.records.len()).collect();
        numbers.sort_by_key(|&number| core::cmp::Reverse(self.len(number)));
        for number in numbers {
            if self.len(number) > LINE_LEN {
                self.others.push(number);
            } else {
                self.place(number);
            }
        }
    }

    fn place(&mut self, mut number: u32) {
        let mut left = None;
        for push in 0..PUSHES_MAX {
            let [first, second] = self.spot(number).lines;
            let roomier = match self.room(second) > self.room(first) {
                true => second,
                false => first,
            };
            if self.room(roomier) >= self.len(number) {
                self.put(roomier, NONE, number);
                return;
            }
            // Not where it was pushed from, and in time from every place.
            let line = if left == Some(first) { second } else { first };
            let Some(pushed) = self.pushed_by(number, line, push) else {
                break;
            };
            self.put(line, pushed, number);
            (number, left) = (pushed, Some(line));
        }
        self.others.push(number);
    }

    fn put(&mut self, line: usize, from: u32, to: u32) {
        let mut places = self.lines.get_mut(line).into_iter().flatten();
        if let Some(place) = places.find(|place| **place == from) {
            *place = to;
        }
    }

    /// Who could leave a line so that `number` has room there: of those the `turn`th.
    fn pushed_by(&self, number: u32, line: usize, turn: u32) -> Option<u32> {
        let places = *self.lines.get(line)?;
        let used: usize = places.iter().map(|&number| self.len(number)).sum();
        let wanted = (used + self.len(number)).saturating_sub(LINE_LEN);
        let able = |&p: &u32| p != NONE && self.len(p) >= wanted;
        let count = places.into_iter().filter(able).count();
        let turn = (turn as usize).checked_rem(count)?;
        places.into_iter().filter(able).nth(turn)
    }

    /// Says in the first line of every record without a place that there are more, which takes the
    /// last place of a full line.
    fn mark_others(&mut self, tags: &mut [[u8; PLACES]]) {
        let mut at = 0;
        while let Some(&number) = self.others.get(at) {
            at += 1;
            let [first, _] = self.spot(number).lines;
            let last = self
                .lines
                .get_mut(first)
                .and_then(|places| places.last_mut());
            let left = last.map_or(NONE, |place| core::mem::replace(place, NONE));
            if left != NONE {
                self.others.push(left);
            }
            if let Some([.., tag]) = tags.get_mut(first) {
                *tag = MORE;
            }
        }
        // Records are numbered by hash.
        self.others.sort_unstable();
    }

    fn finish(mut self) -> Result<Lines, TooLarge> {
        let mut tags = vec![[EMPTY; PLACES]; self.lines.len()];
        self.mark_others(&mut tags);
        let mut lines = vec![Line([0; LINE_LEN]); self.lines.len()];
        let mut bytes = Vec::with_capacity(LINE_LEN);
        for ((places, tags), line) in self.lines.iter().zip(&mut tags).zip(&mut lines) {
            bytes.clear();
            for (&number, tag) in places
                .iter()
                .zip(tags)
                .filter(|(number, _)| **number != NONE)
            {
                *tag = self.spot(number).tag;
                if let Some(record) = self.record(number) {
                    record.emit(self.extra_len, &mut bytes);
                }
            }
            for (to, from) in line.0.iter_mut().zip(&bytes) {
                *to = *from;
            }
        }
        let (others, arena) = self.list_others()?;
        Ok(Lines {
            extra_len: self.extra_len,
            tags: tags.into(),
            lines: lines.into(),
            others: others.into(),
            arena: arena.into(),
        })
    }

    fn list_others(&self) -> Result<(Vec<Other>, Vec<u8>), TooLarge> {
        let len = self.others.iter().map(|&number| self.len(number)).sum();
        let mut others = Vec::with_capacity(self.others.len());
        let mut arena = Vec::with_capacity(len);
        for record in self.others.iter().filter_map(|&number| self.record(number)) {
            let start = u32::try_from(arena.len()).map_err(|_| TooLarge)?;
            others.push(Other {
                hash: record.hash,
                start,
            });
            record.emit(self.extra_len, &mut arena);
        }
        Ok((others, arena))
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
