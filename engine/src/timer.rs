//! A timer queue that every driver can use: deadlines with exact removal, no clock of its own.
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// A place in a [`TimerQueue`], to move or remove its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey {
    at: Instant,
    number: u64,
}

impl TimerKey {
    /// When it fires.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }
}

/// Deadlines in order, each with what to wake. Equal deadlines fire in the order they were armed.
#[derive(Debug)]
pub struct TimerQueue<T> {
    entries: BTreeMap<(Instant, u64), T>,
    next_number: u64,
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            next_number: 0,
        }
    }
}

impl<T> TimerQueue<T> {
    /// Arms a deadline.
    pub fn arm(&mut self, at: Instant, what: T) -> TimerKey {
        let number = self.next_number;
        self.next_number += 1;
        self.entries.insert((at, number), what);
        TimerKey { at, number }
    }

    /// Removes a deadline; `None` when it has fired.
    pub fn disarm(&mut self, key: TimerKey) -> Option<T> {
        self.entries.remove(&(key.at, key.number))
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest entry if its deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Deadlines armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No deadline is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_and_forgets_the_disarmed() {
        let mut queue = TimerQueue::default();
        let at = Instant::from_nanos;
        let late = queue.arm(at(9), 'c');
        queue.arm(at(3), 'a');
        queue.arm(at(3), 'b');
        assert_eq!(queue.next(), Some(at(3)));
        assert_eq!(queue.pop_due(at(2)), None);
        assert_eq!(queue.pop_due(at(9)), Some('a'));
        assert_eq!(queue.disarm(late), Some('c'));
        assert_eq!(queue.disarm(late), None);
        assert_eq!(queue.pop_due(at(9)), Some('b'));
        assert!(queue.is_empty());
    }
}
