//! What the peer has beyond a gap (RFC 2018), and what that says about losses (RFC 6675).
use super::seq::{after, before, distance, earlier, later};
use crate::config::SACK_RANGES_MAX;

/// Segments above a gap that make it a loss.
const DUPLICATE_THRESHOLD: u32 = 3;

/// What the sender does about losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing yet: some segments are known to have arrived out of order.
    Watching,
    /// Fast recovery (RFC 6675 section 5).
    Fast,
    /// After a timeout everything is sent again from the first gap.
    Timeout,
}

/// Selectively acknowledged ranges above `SND.UNA`, and how far recovery is.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    /// Sorted, disjoint and not touching: the first `len` count.
    ranges: [(u32, u32); SACK_RANGES_MAX],
    len: usize,
    pub(crate) phase: Phase,
    /// Recovery ends when this is acknowledged.
    pub(crate) recover: u32,
    /// Gaps below this were sent again.
    pub(crate) resent: u32,
    /// Gaps below this are losses.
    pub(crate) lost: u32,
}

impl Scoreboard {
    pub(crate) fn new(una: u32) -> Self {
        Self {
            ranges: [(0, 0); SACK_RANGES_MAX],
            len: 0,
            phase: Phase::Watching,
            recover: una,
            resent: una,
            lost: una,
        }
    }

    pub(crate) fn ranges(&self) -> &[(u32, u32)] {
        self.ranges.get(..self.len).unwrap_or_default()
    }

    /// Everything is unknown again: a peer may forget what it acknowledged selectively.
    pub(crate) const fn forget(&mut self) {
        self.len = 0;
    }

    /// Adds a range that lies between `una` and `max`; others are ignored. Was it news?
    pub(crate) fn add(&mut self, range: (u32, u32), una: u32, max: u32) -> bool {
        let (mut start, mut end) = range;
        if before(start, una) || !before(start, end) || after(end, max) {
            return false;
        }
        let touches = |of: &(u32, u32)| !after(of.0, end) && !before(of.1, start);
        if self
            .ranges()
            .iter()
            .any(|of| !after(of.0, start) && !before(of.1, end))
        {
            return false;
        }
        let at = self
            .ranges()
            .iter()
            .position(|of| !before(of.1, start))
            .unwrap_or(self.len);
        let joined = self
            .ranges()
            .iter()
            .skip(at)
            .take_while(|of| touches(of))
            .count();
        if joined == 0 && self.len == SACK_RANGES_MAX {
            return false;
        }
        for of in self.ranges().iter().skip(at).take(joined) {
            start = earlier(start, of.0);
            end = later(end, of.1);
        }
        if joined == 0 {
            self.ranges.copy_within(at..self.len, at + 1);
            self.len += 1;
        } else {
            self.ranges.copy_within(at + joined..self.len, at + 1);
            self.len -= joined - 1;
        }
        if let Some(place) = self.ranges.get_mut(at) {
            *place = (start, end);
        }
        true
    }

    /// All before `una` arrived in order.
    pub(crate) fn advance(&mut self, una: u32) {
        let gone = self
            .ranges()
            .iter()
            .take_while(|range| !after(range.1, una))
            .count();
        self.ranges.copy_within(gone..self.len, 0);
        self.len -= gone;
        if let Some(first) = self.ranges.first_mut().filter(|_| self.len > 0) {
            first.0 = later(first.0, una);
        }
        self.resent = later(self.resent, una);
        self.lost = later(self.lost, una);
    }

    /// Marks gaps as lost that enough lies above of (`IsLost` of RFC 6675 section 4).
    pub(crate) fn mark_lost(&mut self, mss: u16) {
        let enough = (DUPLICATE_THRESHOLD - 1) * u32::from(mss);
        let (mut above, mut count) = (0_u32, 0);
        let mut lost = self.lost;
        for (start, end) in self.ranges().iter().rev() {
            above = above.saturating_add(distance(*start, *end));
            count += 1;
            if above > enough || count >= DUPLICATE_THRESHOLD {
                lost = later(lost, *start);
                break;
            }
        }
        self.lost = lost;
    }

    /// Bytes between `from` and `to` that did not arrive.
    fn missing(&self, from: u32, to: u32) -> u32 {
        let arrived: u32 = self
            .ranges()
            .iter()
            .map(|range| distance(later(range.0, from), earlier(range.1, to)))
            .sum();
        distance(from, to).saturating_sub(arrived)
    }

    /// Bytes that are taken to be on their way (`SetPipe` of RFC 6675 section 4), with all
    /// between `una` and `next` sent.
    pub(crate) fn pipe(&self, una: u32, next: u32) -> u32 {
        match self.phase {
            Phase::Fast => {
                let resent = self.missing(una, earlier(self.resent, self.lost));
                resent + self.missing(later(self.lost, una), next)
            }
            Phase::Watching | Phase::Timeout => self.missing(una, next),
        }
    }

    /// The next lost gap that was not sent again.
    pub(crate) fn next_lost(&self) -> Option<(u32, u32)> {
        let (start, end) = self.gap(self.resent);
        let end = earlier(end.unwrap_or(self.lost), self.lost);
        before(start, end).then_some((start, end))
    }

    /// From `seq` on: where the first missing byte is, and where the gap ends if it does.
    pub(crate) fn gap(&self, seq: u32) -> (u32, Option<u32>) {
        let mut start = seq;
        for range in self.ranges() {
            if before(start, range.0) {
                return (start, Some(range.0));
            }
            start = later(start, range.1);
        }
        (start, None)
    }

    /// Where the range begins that holds the byte at `seq`; `seq` if none does.
    pub(crate) fn range_start(&self, seq: u32) -> u32 {
        self.ranges()
            .iter()
            .find(|range| !before(seq, range.0) && before(seq, range.1))
            .map_or(seq, |range| range.0)
    }

    /// Did the byte at `seq` arrive?
    pub(crate) fn arrived(&self, seq: u32) -> bool {
        self.ranges()
            .iter()
            .any(|range| !before(seq, range.0) && before(seq, range.1))
    }

    /// Nothing is known and nothing is to be done.
    pub(crate) fn is_idle(&self) -> bool {
        self.len == 0 && self.phase == Phase::Watching
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    proptest::proptest! {
        /// Against a set of single bytes, across the wrap.
        #[test]
        fn ranges_are_the_set_of_their_bytes(
            ranges in proptest::collection::vec((0..300_u32, 1..40_u32), 1..24),
            advance in 0..200_u32,
        ) {
            let base = u32::MAX - 100;
            let mut board = Scoreboard::new(base);
            let mut set = BTreeSet::new();
            for (start, len) in ranges {
                let range = (base.wrapping_add(start), base.wrapping_add(start + len));
                board.add(range, base, base.wrapping_add(400));
                set.extend(start..start + len);
            }
            let una = base.wrapping_add(advance);
            board.advance(una);
            let kept: BTreeSet<u32> = set.range(advance..).copied().collect();
            let mut seen = BTreeSet::new();
            let mut last = None;
            for (start, end) in board.ranges() {
                proptest::prop_assert!(before(*start, *end));
                proptest::prop_assert!(last.is_none_or(|last| before(last, *start)));
                last = Some(*end);
                seen.extend(start.wrapping_sub(base)..end.wrapping_sub(base));
            }
            proptest::prop_assert_eq!(&seen, &kept);
            proptest::prop_assert_eq!(
                board.missing(una, base.wrapping_add(400)) as usize,
                (advance..400).filter(|at| !kept.contains(at)).count()
            );
        }
    }

    #[test]
    fn three_segments_or_ranges_above_make_a_gap_a_loss() {
        let mut board = Scoreboard::new(0);
        board.add((100, 200), 0, 1000);
        board.mark_lost(100);
        assert_eq!(board.next_lost(), None);
        board.add((300, 401), 0, 1000);
        board.mark_lost(100);
        assert_eq!(board.lost, 100);
        assert_eq!(board.next_lost(), Some((0, 100)));
        board.add((500, 510), 0, 1000);
        board.mark_lost(1000);
        assert_eq!(board.lost, 100);
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let mut board = Scoreboard::new(0);
        for n in 0..100 {
            board.add((10 * n + 5, 10 * n + 8), 0, 10_000);
        }
        assert_eq!(board.ranges().len(), SACK_RANGES_MAX);
        assert!(board.add((8, 15), 0, 10_000));
        assert_eq!(board.ranges().len(), SACK_RANGES_MAX - 1);
    }
}
