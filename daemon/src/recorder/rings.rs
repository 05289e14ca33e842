//! One ring for each worker, and one for each queue of a TUN device: packets are so many that they
//! would push everything else out.
//!
//! Only its worker writes to a ring, so its lock is free unless a recording is being made, and
//! that holds it no longer than it takes to copy one chunk.
use sansbox_core::Instant;
use sansbox_flight::{Mode, Ring, Snapshot, Tape, ring::Limits, wire::Entry};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError},
    thread::{self, ThreadId},
    time::Duration,
};

/// How long a recording waits for one ring. It is only ever held for longer by a thread that
/// panics while it writes there.
const PATIENCE: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(1);

/// A worker's way to its ring.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Mutex<Ring>>);

/// The rings of all workers and devices, made as they come.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) mode: Mode,
    limits: Limits,
    /// Those of devices belong to no thread.
    rings: Mutex<Vec<(Option<ThreadId>, Handle)>>,
    /// When the clock of the machines began.
    epoch: OnceLock<std::time::Instant>,
}

impl Handle {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the ring holds; `None` when its thread does not let go of it.
    fn snapshot(&self, now: Instant) -> Option<Snapshot> {
        let mut waited = Duration::ZERO;
        loop {
            match self.0.try_lock() {
                Ok(ring) => return Some(ring.snapshot(now)),
                Err(TryLockError::Poisoned(ring)) => return Some(ring.into_inner().snapshot(now)),
                Err(TryLockError::WouldBlock) if waited >= PATIENCE => return None,
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(STEP);
                    waited += STEP;
                }
            }
        }
    }
}

impl Tape for Handle {
    fn next_number(&self) -> u64 {
        self.lock().next_number()
    }

    fn write(&self, at: Instant, number: u64, entry: &Entry<'_>) {
        self.lock().write(at, number, entry);
    }
}

impl Rings {
    pub(crate) fn new(mode: Mode, limits: Limits) -> Self {
        Self {
            mode,
            limits,
            rings: Mutex::default(),
            epoch: OnceLock::new(),
        }
    }

    /// The ring of the calling worker, whose machines' clock shows `now`.
    pub(crate) fn of_this_thread(&self, now: Instant) -> Handle {
        let id = thread::current().id();
        let mut rings = self.lock(now);
        if let Some((_, ring)) = rings.iter().find(|(owner, _)| *owner == Some(id)) {
            return ring.clone();
        }
        self.add(&mut rings, Some(id))
    }

    /// A ring for a queue of a device, in a worker whose machines' clock shows `now`.
    pub(crate) fn of_device(&self, now: Instant) -> Handle {
        let mut rings = self.lock(now);
        self.add(&mut rings, None)
    }

    fn lock(&self, now: Instant) -> MutexGuard<'_, Vec<(Option<ThreadId>, Handle)>> {
        self.epoch.get_or_init(|| {
            let here = std::time::Instant::now();
            let since = now.saturating_duration_since(Instant::ZERO);
            here.checked_sub(since).unwrap_or(here)
        });
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, rings: &mut Vec<(Option<ThreadId>, Handle)>, owner: Option<ThreadId>) -> Handle {
        let worker = u16::try_from(rings.len()).unwrap_or(u16::MAX);
        let ring = Handle(Arc::new(Mutex::new(Ring::new(worker, self.limits))));
        rings.push((owner, ring.clone()));
        ring
    }

    /// The clock of the machines.
    pub(crate) fn now(&self) -> Instant {
        let epoch = self.epoch.get();
        Instant::ZERO + epoch.map_or(Duration::ZERO, std::time::Instant::elapsed)
    }

    /// What all rings hold.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let now = self.now();
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let rings: Vec<Handle> = rings.iter().map(|(_, ring)| ring.clone()).collect();
        rings.iter().filter_map(|ring| ring.snapshot(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_one_ring_and_numbers_of_its_own() {
        let rings = Rings::new(Mode::Shape, Limits::default());
        let now = Instant::from_nanos(5_000_000_000);
        let write = || {
            for _ in 0..3 {
                let ring = rings.of_this_thread(now);
                let number = ring.next_number();
                ring.write(now, number, &Entry::Tick);
            }
        };
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(write);
            }
        });
        assert!(rings.now() >= now);
        let snapshots = rings.snapshots();
        let workers: Vec<_> = snapshots.iter().map(|snapshot| snapshot.worker).collect();
        assert_eq!(workers, [0, 1]);
        for snapshot in snapshots {
            let records: u64 = snapshot.chunks.iter().map(|chunk| chunk.span.records).sum();
            assert_eq!(records, 3);
        }
    }

    #[test]
    fn a_device_has_a_ring_of_its_own() {
        let rings = Rings::new(Mode::Shape, Limits::default());
        for _ in 0..2 {
            let of_worker = rings.of_this_thread(Instant::ZERO);
            of_worker.write(Instant::ZERO, of_worker.next_number(), &Entry::Tick);
        }
        for _ in 0..2 {
            let of_device = rings.of_device(Instant::ZERO);
            assert_eq!(of_device.next_number(), 0);
            of_device.write(Instant::ZERO, 0, &Entry::Tick);
        }
        let snapshots = rings.snapshots();
        let numbers: Vec<_> = snapshots.iter().map(|snapshot| snapshot.worker).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn a_ring_that_is_held_does_not_hold_up_a_recording() {
        let rings = Rings::new(Mode::Shape, Limits::default());
        let held = rings.of_this_thread(Instant::ZERO);
        let _guard = held.lock();
        assert!(rings.snapshots().is_empty());
    }
}
