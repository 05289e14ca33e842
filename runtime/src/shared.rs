//! What all workers share: the service, the clock, the connection limit, the end.
use crate::{
    devices::Uplink, observer::Observer, options::Options, sockets::CheapController, tuning::Tuning,
};
use core::task::{Poll, Waker};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    counters::Counters as Served,
    drive::{Counters, Places, Tally},
    machine::Stage,
    record::Record,
};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

/// What all workers share.
pub(crate) struct Shared<S> {
    pub(crate) service: Arc<S>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) cheap_controller: Option<CheapController>,
    pub(crate) seed: Seed,
    pub(crate) admission: Admission,
    pub(crate) control: Arc<Control>,
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) tuning: Arc<Tuning>,
}

/// The clock of all machines: nanoseconds since the runtime started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// The same moment as the system counts it; far in the future rather than out of range.
    pub(crate) fn at(self, at: Instant) -> std::time::Instant {
        const FAR: Duration = Duration::from_hours(24 * 365);
        let since = at.saturating_duration_since(Instant::ZERO);
        let at = self.epoch.checked_add(since);
        at.unwrap_or_else(|| self.epoch + self.epoch.elapsed() + FAR)
    }
}

/// Time since 1970-01-01 as the system's clock says; a clock before that says zero.
pub(crate) fn wall_clock() -> Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// The connection limit, and the listeners that wait for a place.
pub(crate) struct Admission {
    pub(crate) places: Places,
    waiting: Mutex<Vec<Waker>>,
}

impl Admission {
    pub(crate) const fn new(limit: Option<usize>) -> Self {
        Self {
            places: Places::new(limit),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Takes a place, or waits for one.
    pub(crate) fn poll_admit(&self, waker: &Waker) -> Poll<()> {
        let mut waiting = lock(&self.waiting);
        // Under the lock: a place that is given back from here on wakes this one.
        if self.places.try_take() {
            return Poll::Ready(());
        }
        waiting.push(waker.clone());
        Poll::Pending
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        if self.places.give_back() {
            let waiting = core::mem::take(&mut *lock(&self.waiting));
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// When to tell sessions to stop and when to cut them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopAt {
    pub(crate) stop: std::time::Instant,
    pub(crate) cut: std::time::Instant,
}

/// The end of all workers.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop_at: OnceLock<StopAt>,
    state: Mutex<Ending>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct Ending {
    wakers: Vec<Waker>,
    /// Workers that are not over.
    left: usize,
    /// Sessions that were cut.
    cut: usize,
}

impl Control {
    /// When to stop, once that is known; wakes `waker` then.
    pub(crate) fn poll_stop(&self, waker: &Waker, known: &mut Option<Waker>) -> Option<StopAt> {
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            let mut state = lock(&self.state);
            if let Some(known) = known {
                state.wakers.retain(|waker| !waker.will_wake(known));
            }
            state.wakers.push(waker.clone());
            *known = Some(waker.clone());
        }
        self.stop_at.get().copied()
    }

    /// Tells all workers to stop. Only the first call counts.
    pub(crate) fn stop(&self, stop_at: StopAt) {
        if self.stop_at.set(stop_at).is_ok() {
            let wakers = core::mem::take(&mut lock(&self.state).wakers);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Has all workers look whether something has changed.
    pub(crate) fn wake(&self) {
        lock(&self.state).wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// A worker is made; it says when it is over.
    pub(crate) fn enter(&self) {
        lock(&self.state).left += 1;
    }

    /// A worker is over and cut so many sessions.
    pub(crate) fn leave(&self, cut: usize) {
        let mut state = lock(&self.state);
        state.left = state.left.saturating_sub(1);
        state.cut += cut;
        drop(state);
        self.over.notify_all();
    }

    /// Waits until all workers are over; returns how many sessions were cut.
    pub(crate) fn wait(&self) -> usize {
        let state = lock(&self.state);
        let state = self.over.wait_while(state, |state| state.left > 0);
        state.unwrap_or_else(PoisonError::into_inner).cut
    }
}

/// What one worker counts, for others to read.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) tally: Arc<Tally>,
    /// Only its worker writes, so the lock is free unless somebody looks.
    served: Mutex<Served>,
}

impl Totals {
    /// Counts what a machine reports.
    pub(crate) fn count(&self, record: &Record, stage: Stage) {
        if matches!(stage, Stage::Refused(_) | Stage::Closed) {
            lock(&self.served).count(record, stage);
        }
    }

    pub(crate) fn add_to(&self, sum: &mut Counters) {
        self.tally.add_to(sum);
    }

    pub(crate) fn add_served_to(&self, sum: &mut Served) {
        sum.merge(&lock(&self.served));
    }
}

/// Nothing that is locked here can be left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::Wake,
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn counted() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), count.into())
    }

    #[test]
    fn a_place_that_is_given_back_wakes_who_waits() {
        let (count, waker) = counted();
        let admission = Admission::new(Some(1));
        assert!(admission.poll_admit(&waker).is_ready());
        assert!(admission.poll_admit(&waker).is_pending());
        admission.leave();
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(admission.poll_admit(&waker).is_ready());
        admission.leave();
        assert_eq!(count.0.load(Relaxed), 1, "nobody waits any more");
    }

    #[test]
    fn the_end_wakes_each_worker_once_and_waits_for_all() {
        let (count, waker) = counted();
        let control = Control::default();
        control.enter();
        let mut known = None;
        assert!(control.poll_stop(&waker, &mut known).is_none());
        assert!(control.poll_stop(&waker, &mut known).is_none());
        let now = std::time::Instant::now();
        let later = now + Duration::from_secs(1);
        for stop in [now, later] {
            control.stop(StopAt { stop, cut: stop });
        }
        assert_eq!(count.0.load(Relaxed), 1);
        let stop_at = control.poll_stop(&waker, &mut known).expect("known");
        assert_eq!(stop_at.stop, now, "only the first call counts");
        control.leave(3);
        assert_eq!(control.wait(), 3);
    }

    #[test]
    fn a_deadline_far_away_is_still_a_time() {
        let clock = Clock::start();
        assert!(clock.at(Instant::from_nanos(5)) < clock.at(Instant::from_nanos(6)));
        assert!(clock.at(Instant::FAR) > std::time::Instant::now());
    }
}
