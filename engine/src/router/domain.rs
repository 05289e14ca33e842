//! Domain names and suffixes of all rules in one table.
//!
//! Every rule that lists names owns an [`Atom`]; one pass over a name finds the atoms of all rules
//! that list the name or a suffix of it, so a thousand rules with one suffix each cost the same as
//! one rule with a thousand.
//!
//! Records lie packed in [`Lines`], found by their hash. The hash runs over the name backwards,
//! so that each label boundary costs one more probe and no more hashing. Its seed is fixed: what is
//! in the table comes from the configuration, and a peer that picks names decides only which
//! lines are looked at.
use super::{
    lines::{BELOW, ITSELF, Lines, Record},
    name::{Name, NameHash},
};

/// A rule's set of names: an index in the order in which rules were compiled.
pub(super) type Atom = u32;

/// How many atoms one pass collects; further ones take another pass.
pub(super) const HITS_MAX: usize = 32;

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
            .sort_unstable_by_key(|r| (r.hash, r.key, r.atom));
        self.records.dedup_by(|from, to| {
            let is_same = from.key == to.key && from.atom == to.atom;
            if is_same {
                to.kind |= from.kind;
            }
            is_same
        });
        Ok(DomainTable {
            records: self.records.len(),
            depths: self.depths,
            lines: Lines::pack(&self.records)?,
        })
    }
}

/// The compiled names of all rules.
#[derive(Debug)]
pub(super) struct DomainTable {
    records: usize,
    depths: Depths,
    lines: Lines,
}

impl DomainTable {
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many distinct pairs of rule and name it holds.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    /// Heap bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.lines.memory_bytes()
    }

    /// Adds to `hits` who lists `name` or a suffix of it.
    pub(super) fn look_up(&self, name: Name<'_>, hits: &mut Hits) {
        self.scan(name, |atom| hits.insert(atom));
    }

    /// Whether `atom` lists `name` or a suffix of it.
    pub(super) fn contains(&self, name: Name<'_>, atom: Atom) -> bool {
        let mut found = false;
        self.scan(name, |a| found |= a == atom);
        found
    }

    fn scan(&self, name: Name<'_>, mut found: impl FnMut(Atom)) {
        let name = name.as_bytes();
        let mut hash = NameHash::EMPTY;
        let mut dots = 0;
        let mut probes = Probes::default();
        for (at, &byte) in name.iter().enumerate().rev() {
            if byte == b'.' {
                if self.depths.contains(dots) {
                    self.probe(name, hash, at + 1, &mut probes, &mut found);
                }
                dots += 1;
                if self.depths.is_behind(dots) {
                    return self.search(name, &mut probes, &mut found);
                }
            }
            hash = hash.push(byte);
        }
        if self.depths.contains(dots) {
            self.probe(name, hash, 0, &mut probes, &mut found);
        }
        self.search(name, &mut probes, &mut found);
    }

    /// Looks whether the suffix at `at` may be listed, and does not wait for the answer: a large
    /// table lies outside the nearest cache, and reads that do not wait for each other overlap.
    fn probe(
        &self,
        name: &[u8],
        hash: NameHash,
        at: usize,
        probes: &mut Probes,
        found: &mut impl FnMut(Atom),
    ) {
        let hash = hash.finish();
        if probes.push(Probe { hash, at }, self.lines.may_have(hash)) {
            self.search(name, probes, found);
        }
    }

    /// Reads the records of what may be listed.
    fn search(&self, name: &[u8], probes: &mut Probes, found: &mut impl FnMut(Atom)) {
        for &Probe { hash, at } in probes.passed() {
            let key = name.get(at..).unwrap_or_default();
            let kind = if at == 0 { ITSELF } else { BELOW };
            self.lines.search(hash, key, kind, found);
        }
        probes.len = 0;
    }
}

/// A suffix of the name to look for.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    hash: u64,
    /// Where the suffix starts.
    at: usize,
}

/// Probes that may find something: seldom more than one.
#[derive(Debug, Default)]
struct Probes {
    probes: [Probe; 4],
    len: usize,
}

impl Probes {
    /// Adds a probe if it passes, which is no branch: that would be predicted badly. True when
    /// there is no room for another one.
    fn push(&mut self, probe: Probe, passes: bool) -> bool {
        if let Some(place) = self.probes.get_mut(self.len) {
            *place = probe;
        }
        self.len += usize::from(passes);
        self.len == self.probes.len()
    }

    fn passed(&self) -> &[Probe] {
        self.probes.get(..self.len).unwrap_or_default()
    }
}

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
        let end = self.len.saturating_sub(1);
        if place < end {
            self.atoms.copy_within(place..end, place + 1);
        }
        if place <= end
            && let Some(slot) = self.atoms.get_mut(place)
        {
            *slot = atom;
        }
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
