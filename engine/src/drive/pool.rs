//! What the drives of one thread share.
use super::{Timers, buffers::Buffers, run::Run, tally::Tally};
use core::cell::{Cell, RefCell};
use std::sync::Arc;

/// What the drives of one thread share: buffers that are leased only while bytes move, deadlines,
/// counters, and whether everything is to stop.
#[derive(Debug, Default)]
pub struct Pool {
    /// The machines' deadlines.
    pub timers: Timers,
    /// What is counted.
    pub tally: Arc<Tally>,
    pub(super) buffers: Buffers,
    pub(super) run: RefCell<Run>,
    is_stopping: Cell<bool>,
}

impl Pool {
    /// Counts in `tally`, which another thread may read.
    #[must_use]
    pub fn new(tally: Arc<Tally>) -> Self {
        Self {
            tally,
            ..Self::default()
        }
    }

    /// Every drive tells its machine to stop at its next turn.
    pub fn stop(&self) {
        self.is_stopping.set(true);
    }

    /// Whether [`Self::stop`] was called.
    #[must_use]
    pub const fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }
}
