//! Domain names and suffixes of all rules in one table.
//!
//! Every rule that lists names owns an [`Atom`]; one pass over a name finds the atoms of all rules
//! that list the name or a suffix of it, so a thousand rules with one suffix each cost the same as
//! one rule with a thousand.
//!
//! Records lie in one byte arena in the order of their hash bucket. A directory holds where each
//! bucket starts and a small filter over the bucket's hashes: a probe that finds nothing nearly
//! always ends there, and one that finds something reads the arena once. A record
//! costs its name, two bytes and its share of the directory. The hash runs over the name backwards,
//! so that each label boundary costs one more probe and no more hashing. Its seed is fixed: what is
//! in the table comes from the configuration, and a peer that picks names decides only which bucket
//! is looked at.
use super::name::{Name, NameHash};

/// A rule's set of names: an index in the order in which rules were compiled.
pub(super) type Atom = u32;

/// How many atoms one pass collects; further ones take another pass.
pub(super) const HITS_MAX: usize = 32;
/// Largest atom that a record can hold.
pub(super) const ATOM_MAX: Atom = (1 << (TAG_ATOM_BITS + 8 * EXTRA_LEN_MAX)) - 1;

/// The name itself matches.
const ITSELF: u8 = 1;
/// Names below it match.
const BELOW: u8 = 2;
const TAG_ATOM_BITS: usize = 6;
const EXTRA_LEN_MAX: usize = 3;
/// Average records per bucket.
const BUCKET_LOAD: usize = 2;

/// The table has more bytes than a 32-bit offset reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Collects the names of all rules.
#[derive(Default)]
pub(super) struct Builder<'a> {
    records: Vec<Record<'a>>,
    depths: Depths,
}

/// Which numbers of dots the keys have: a probe at another depth finds nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Depths(u128);

impl Depths {
    fn insert(&mut self, dots: u32) {
        self.0 |= 1_u128.checked_shl(dots).unwrap_or_default();
    }

    fn contains(self, dots: u32) -> bool {
        self.0.checked_shr(dots).unwrap_or_default() & 1 != 0
    }

    fn is_behind(self, dots: u32) -> bool {
        self.0.checked_shr(dots).unwrap_or_default() == 0
    }
}

struct Record<'a> {
    hash: u32,
    atom: Atom,
    kind: u8,
    key: &'a str,
}

impl<'a> Builder<'a> {
    /// `domain`: the name itself.
    pub(super) fn insert_domain(&mut self, atom: Atom, name: &'a str) {
        self.insert(atom, ITSELF, name);
    }

    /// `domain_suffix`: `a.b` is itself and every name below it, `.a.b` only those below.
    pub(super) fn insert_suffix(&mut self, atom: Atom, suffix: &'a str) {
        match suffix.strip_prefix('.') {
            Some(key) => self.insert(atom, BELOW, key),
            None => self.insert(atom, ITSELF | BELOW, suffix),
        }
    }

    fn insert(&mut self, atom: Atom, kind: u8, key: &'a str) {
        // Looked-up names are lower-case ASCII and bounded, so such a key could never be found.
        let is_findable = key.is_ascii()
            && !key.bytes().any(|b| b.is_ascii_uppercase())
            && key.len() <= Name::LEN_MAX;
        if is_findable {
            let dots = key.bytes().filter(|&b| b == b'.').count();
            self.depths.insert(u32::try_from(dots).unwrap_or(u32::MAX));
            let hash = NameHash::of(key.as_bytes()).finish();
            self.records.push(Record {
                hash,
                atom,
                kind,
                key,
            });
        }
    }

    pub(super) fn build(mut self) -> Result<DomainTable, TooLarge> {
        // By hash is by bucket too; a key of several rules then lies in the order of the rules.
        self.records
            .sort_unstable_by(|a, b| (a.hash, a.key, a.atom).cmp(&(b.hash, b.key, b.atom)));
        self.records.dedup_by(|from, to| {
            let is_same = from.key == to.key && from.atom == to.atom;
            if is_same {
                to.kind |= from.kind;
            }
            is_same
        });
        let atom_max = self.records.iter().map(|r| r.atom).max().unwrap_or(0);
        let extra_len = (0..=EXTRA_LEN_MAX)
            .find(|extra| atom_max >> (TAG_ATOM_BITS + 8 * extra) == 0)
            .ok_or(TooLarge)?;
        let buckets = self.records.len().div_ceil(BUCKET_LOAD);
        let arena_len = self
            .records
            .iter()
            .map(|r| 2 + extra_len + r.key.len())
            .sum();
        let mut arena = Vec::with_capacity(arena_len);
        let mut table = vec![Bucket::default(); buckets + 1];
        let mut started = 0;
        for record in &self.records {
            let start = u32::try_from(arena.len()).map_err(|_| TooLarge)?;
            let index = bucket_of(record.hash, buckets);
            // Empty buckets before this one start, and end, where it starts.
            for bucket in table.iter_mut().take(index + 1).skip(started) {
                bucket.start = start;
            }
            started = index + 1;
            if let Some(bucket) = table.get_mut(index) {
                bucket.filter |= filter_of(record.hash);
            }
            record.emit(extra_len, &mut arena);
        }
        let end = u32::try_from(arena.len()).map_err(|_| TooLarge)?;
        for bucket in table.iter_mut().skip(started) {
            bucket.start = end;
        }
        Ok(DomainTable {
            records: self.records.len(),
            depths: self.depths,
            extra_len,
            buckets: table.into(),
            arena: arena.into(),
        })
    }
}

impl Record<'_> {
    /// Length, tag, the rest of the atom, the key.
    fn emit(&self, extra_len: usize, out: &mut Vec<u8>) {
        let [low, rest @ ..] = (self.atom << 2).to_le_bytes();
        out.push(u8::try_from(self.key.len()).unwrap_or(u8::MAX));
        out.push(low | self.kind);
        out.extend(rest.iter().take(extra_len));
        out.extend_from_slice(self.key.as_bytes());
    }
}

fn bucket_of(hash: u32, buckets: usize) -> usize {
    // Multiplying instead of dividing keeps the order of the hashes and allows any count.
    ((u64::from(hash) * buckets as u64) >> 32) as usize
}

/// Two bits of a bucket's filter, from bits of the hash that do not pick the bucket.
fn filter_of(hash: u32) -> u32 {
    1 << (hash & 31) | 1 << (hash >> 5 & 31)
}

/// A bucket's place in the directory: one read for a probe that finds nothing, and no other read
/// between the filter and the arena for one that finds something.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Where its run of records starts in the arena.
    start: u32,
    /// The union of its records' [`filter_of`].
    filter: u32,
}

/// The compiled names of all rules.
#[derive(Debug)]
pub(super) struct DomainTable {
    records: usize,
    depths: Depths,
    extra_len: usize,
    /// One more than there are buckets: the last one says where the one before it ends.
    buckets: Box<[Bucket]>,
    arena: Box<[u8]>,
}

impl DomainTable {
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many distinct pairs of rule and name it holds.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    fn bucket_of(&self, hash: u32) -> usize {
        bucket_of(hash, self.buckets.len().saturating_sub(1))
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets) + size_of_val(&*self.arena)
    }

    /// The lowest atoms from `from` on that list `name` or a suffix of it, in order.
    pub(super) fn lookup(&self, name: &Name, from: Atom) -> Hits {
        let mut hits = Hits::starting_at(from);
        self.scan(name, |atom| hits.insert(atom));
        hits
    }

    /// Whether `atom` lists `name` or a suffix of it.
    pub(super) fn contains(&self, name: &Name, atom: Atom) -> bool {
        let mut found = false;
        self.scan(name, |a| found |= a == atom);
        found
    }

    fn scan(&self, name: &Name, mut found: impl FnMut(Atom)) {
        let name = name.as_bytes();
        let mut hash = NameHash::EMPTY;
        let mut dots = 0;
        let mut probes = Probes::default();
        for (at, &byte) in name.iter().enumerate().rev() {
            if byte == b'.' {
                if self.depths.contains(dots) && !probes.push(hash.finish(), at + 1, BELOW) {
                    self.probe(name, &mut probes, &mut found);
                    probes.push(hash.finish(), at + 1, BELOW);
                }
                dots += 1;
                if self.depths.is_behind(dots) {
                    return self.probe(name, &mut probes, &mut found);
                }
            }
            hash = hash.push(byte);
        }
        if self.depths.contains(dots) && !probes.push(hash.finish(), 0, ITSELF) {
            self.probe(name, &mut probes, &mut found);
            probes.push(hash.finish(), 0, ITSELF);
        }
        self.probe(name, &mut probes, &mut found);
    }

    /// Makes the probes that were gathered. All filters are read before any is acted on: a large
    /// table lies outside the nearest cache, and reads that do not wait for each other overlap.
    fn probe(&self, name: &[u8], probes: &mut Probes, found: &mut impl FnMut(Atom)) {
        let mut passed = 0_u32;
        for (number, probe) in probes.gathered().enumerate() {
            let filter = filter_of(probe.hash);
            let bucket = self.buckets.get(self.bucket_of(probe.hash));
            let passes = bucket.is_some_and(|bucket| bucket.filter & filter == filter);
            passed |= u32::from(passes) << number;
        }
        for (number, probe) in probes.gathered().enumerate() {
            if passed >> number & 1 != 0 {
                let key = name.get(usize::from(probe.at)..).unwrap_or_default();
                self.search(probe.hash, key, probe.kind, found);
            }
        }
        probes.len = 0;
    }

    fn search(&self, hash: u32, key: &[u8], kind: u8, found: &mut impl FnMut(Atom)) {
        let index = self.bucket_of(hash);
        let Some([bucket, next]) = self.buckets.get(index..index + 2) else {
            return;
        };
        let mut rest = self
            .arena
            .get(bucket.start as usize..next.start as usize)
            .unwrap_or_default();
        let mut is_found = false;
        while let [len, tag, tail @ ..] = rest {
            let Some((extra, tail)) = tail.split_at_checked(self.extra_len) else {
                return;
            };
            let Some((stored, next)) = tail.split_at_checked(usize::from(*len)) else {
                return;
            };
            if stored == key {
                if tag & kind != 0 {
                    let high = extra
                        .iter()
                        .rev()
                        .fold(0, |high, b| high << 8 | Atom::from(*b));
                    found(high << TAG_ATOM_BITS | Atom::from(tag >> 2));
                }
                is_found = true;
            } else if is_found {
                // Records of one key lie together.
                return;
            }
            rest = next;
        }
    }
}

/// A suffix of the name to look for.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    hash: u32,
    /// Where the suffix starts.
    at: u8,
    kind: u8,
}

/// Probes that are made together; names have fewer labels than this, as a rule.
#[derive(Debug, Default)]
struct Probes {
    probes: [Probe; 8],
    len: usize,
}

impl Probes {
    /// Adds a probe; `false` when there is no room.
    fn push(&mut self, hash: u32, at: usize, kind: u8) -> bool {
        let at = u8::try_from(at).unwrap_or(u8::MAX);
        let Some(place) = self.probes.get_mut(self.len) else {
            return false;
        };
        *place = Probe { hash, at, kind };
        self.len += 1;
        true
    }

    fn gathered(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().take(self.len)
    }
}

const _: () = assert!(Name::LEN_MAX <= 1 + u8::MAX as usize);

/// A window on the atoms that match one name: the lowest from a start on, up to [`HITS_MAX`].
#[derive(Debug)]
pub(super) struct Hits {
    from: Atom,
    len: usize,
    atoms: [Atom; HITS_MAX],
    is_truncated: bool,
}

impl Hits {
    pub(super) fn starting_at(from: Atom) -> Self {
        Self {
            from,
            len: 0,
            atoms: [0; HITS_MAX],
            is_truncated: false,
        }
    }

    /// The atoms, ascending.
    pub(super) fn atoms(&self) -> &[Atom] {
        self.atoms.get(..self.len).unwrap_or_default()
    }

    /// Where the next window starts, when there are more atoms than this one holds.
    pub(super) fn next_from(&self) -> Option<Atom> {
        let last = self.atoms().last().filter(|_| self.is_truncated)?;
        last.checked_add(1)
    }

    /// Whether `atom` matched; `None` when it lies outside the window.
    pub(super) fn contains(&self, atom: Atom) -> Option<bool> {
        let is_inside = atom >= self.from && self.next_from().is_none_or(|next| atom < next);
        is_inside.then(|| self.atoms().contains(&atom))
    }

    fn insert(&mut self, atom: Atom) {
        let place = self.atoms().partition_point(|&a| a < atom);
        if atom < self.from || self.atoms().get(place) == Some(&atom) {
            return;
        }
        if self.len == HITS_MAX {
            self.is_truncated = true;
        } else {
            self.len += 1;
        }
        // A full window loses its highest atom, which may be the new one.
        if let Some(tail @ [_, ..]) = self.atoms.get_mut(place..self.len) {
            tail.rotate_right(1);
            if let Some(slot) = tail.first_mut() {
                *slot = atom;
            }
        }
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
