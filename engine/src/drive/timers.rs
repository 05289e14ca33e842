//! The deadlines of one thread's machines.
use crate::timer::{TimerKey, TimerQueue};
use sansbox_core::Instant;
use std::cell::RefCell;

/// The deadlines of one thread's machines, each with the machine's number.
#[derive(Debug, Default)]
pub struct Timers {
    queue: RefCell<TimerQueue<usize>>,
}

impl Timers {
    /// The earliest deadline: when to call [`Self::pop_due`] next.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.queue.borrow().next()
    }

    /// The number of a machine whose deadline has come: it wants a turn.
    pub fn pop_due(&self, now: Instant) -> Option<usize> {
        self.queue.borrow_mut().pop_due(now)
    }

    /// Moves `armed` so that it fires at `want` or earlier. A deadline that moved later keeps its
    /// old place and is moved when that fires: most deadlines move with every byte.
    pub(crate) fn rearm(&self, armed: &mut Option<TimerKey>, want: Option<Instant>, who: usize) {
        let Some(want) = want.filter(|at| *at < Instant::FAR) else {
            return;
        };
        if armed.is_some_and(|key| key.at() <= want) {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        if let Some(key) = *armed {
            queue.disarm(key);
        }
        *armed = Some(queue.arm(want, who));
    }

    /// Forgets a deadline.
    pub(crate) fn disarm(&self, armed: &mut Option<TimerKey>) {
        if let Some(key) = armed.take() {
            self.queue.borrow_mut().disarm(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moves_later_keeps_its_place_until_it_fires() {
        let (timers, at) = (Timers::default(), Instant::from_nanos);
        let mut armed = None;
        timers.rearm(&mut armed, Some(at(5)), 1);
        timers.rearm(&mut armed, Some(at(9)), 1);
        assert_eq!(timers.next(), Some(at(5)));
        timers.rearm(&mut armed, Some(at(3)), 1);
        assert_eq!(timers.next(), Some(at(3)));
        timers.rearm(&mut armed, None, 1);
        timers.rearm(&mut armed, Some(Instant::FAR), 1);
        assert_eq!(timers.pop_due(at(2)), None);
        assert_eq!(timers.pop_due(at(3)), Some(1));
        timers.disarm(&mut armed);
        assert_eq!((timers.next(), armed), (None, None));
    }
}
