//! Deadlines of streams, in order. Most are set behind all others and met by the first, so a queue
//! is cheaper than a tree.
use super::Stream;
use sansbox_core::Instant;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Deadlines(VecDeque<(Instant, Stream)>);

impl Deadlines {
    pub(super) fn insert(&mut self, at: Instant, stream: Stream) {
        let new = (at, stream);
        if self.0.back().is_none_or(|last| *last < new) {
            self.0.push_back(new);
        } else if let Err(place) = self.0.binary_search(&new) {
            self.0.insert(place, new);
        }
    }

    pub(super) fn remove(&mut self, at: Instant, stream: Stream) {
        if let Ok(place) = self.0.binary_search(&(at, stream)) {
            self.0.remove(place);
        }
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at)
    }

    /// Takes out a stream whose deadline is at or before `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Stream> {
        let due = self.first().is_some_and(|at| at <= now);
        if !due {
            return None;
        }
        self.0.pop_front().map(|(_, stream)| stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn they_come_out_in_order_and_not_before_their_time() {
        let mut deadlines = Deadlines::default();
        for (secs, stream) in [(5, 1), (9, 2), (5, 3), (2, 4), (5, 0), (5, 1)] {
            deadlines.insert(at(secs), Stream(stream));
        }
        deadlines.remove(at(5), Stream(3));
        deadlines.remove(at(6), Stream(2));
        assert_eq!(deadlines.first(), Some(at(2)));
        assert_eq!(deadlines.pop_due(at(1)), None);
        let due: Vec<u64> = std::iter::from_fn(|| deadlines.pop_due(at(5)))
            .map(|stream| stream.0)
            .collect();
        assert_eq!(due, [4, 0, 1]);
        assert_eq!(deadlines.first(), Some(at(9)));
    }
}
