//! A tripwire around simulated worlds. Programs that link this crate have `getrandom`,
//! `clock_gettime` and `syscall` of the C library replaced by functions that pass every call on,
//! and remember who called while [`watch`] runs.
//!
//! It works on Linux with glibc; elsewhere [`CAN_WATCH`] is false, and running everything twice
//! has to do.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod interpose;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod interpose {
    pub(crate) const fn arm() {}

    pub(crate) const fn disarm() -> Vec<crate::Trip> {
        Vec::new()
    }
}

use std::{fmt, hash::RandomState, thread};

/// Whether calls can be seen on this system.
pub const CAN_WATCH: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Stack frames that a [`Trip`] shows.
const FRAMES_SHOWN: usize = 16;

/// A call to the operating system for something a world must not have.
#[derive(Debug)]
pub struct Trip {
    /// The function called.
    pub function: &'static str,
    /// The stack of the call, as text.
    pub stack: String,
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} was called from", self.function)?;
        let lines = self.stack.lines();
        // Each frame is a line with a name, and mostly one with its place.
        lines
            .take(2 * FRAMES_SHOWN)
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Runs `world` on a thread of its own, and tells which calls it made.
///
/// The keys of the standard library's hash maps are drawn beforehand. They are the one thing that
/// a world's libraries may take from the system: such maps are looked up and never iterated,
/// which equal digests in two processes show.
///
/// # Panics
/// When `world` does.
pub fn watch<T: Send>(world: impl FnOnce() -> T + Send) -> (T, Vec<Trip>) {
    let _ = sansbox_simulator::quic::deterministic::base();
    let on_its_own = || {
        let _ = RandomState::new();
        interpose::arm();
        let outcome = world();
        let trips = interpose::disarm();
        (outcome, trips)
    };
    thread::scope(|scope| scope.spawn(on_its_own).join()).expect("the world does not panic")
}
