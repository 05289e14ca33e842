//! One worker's deadlines, and the future that wakes whoever is due.
use crate::worker::Clock;
use sansbox_core::Instant;
use sansbox_engine::timer::{TimerKey, TimerQueue};
use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::time::Sleep;

/// One worker's deadlines, each with the session's number in the worker.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: RefCell<TimerQueue<usize>>,
    driver: RefCell<Option<Waker>>,
}

impl Timers {
    /// Moves `armed` so that it fires at `want` or earlier. A deadline that moved later keeps its
    /// old place and is moved when that fires: most deadlines move with every byte.
    pub(crate) fn rearm(&self, armed: &mut Option<TimerKey>, want: Option<Instant>, who: usize) {
        let Some(want) = want.filter(|at| *at < Instant::FAR) else {
            return;
        };
        match *armed {
            Some(key) if key.at() <= want => return,
            Some(key) => drop(self.queue.borrow_mut().disarm(key)),
            None => {}
        }
        let mut queue = self.queue.borrow_mut();
        let is_next = queue.next().is_none_or(|next| want < next);
        *armed = Some(queue.arm(want, who));
        if is_next && let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Forgets a deadline.
    pub(crate) fn disarm(&self, armed: &mut Option<TimerKey>) {
        if let Some(key) = armed.take() {
            self.queue.borrow_mut().disarm(key);
        }
    }

    /// Calls `wake` for everything that is due and arranges to be polled at the next deadline.
    /// Never done.
    pub(crate) fn poll(
        &self,
        cx: &mut Context<'_>,
        mut sleep: Pin<&mut Sleep>,
        clock: Clock,
        mut wake: impl FnMut(usize),
    ) -> Poll<()> {
        *self.driver.borrow_mut() = Some(cx.waker().clone());
        loop {
            let now = clock.now();
            loop {
                let due = self.queue.borrow_mut().pop_due(now);
                match due {
                    Some(who) => wake(who),
                    None => break,
                }
            }
            let Some(next) = self.queue.borrow().next() else {
                return Poll::Pending;
            };
            sleep.as_mut().reset(clock.at(next));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
