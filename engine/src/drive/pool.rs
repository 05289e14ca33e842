//! What the drives of one thread share.
use super::{Birth, Timers, buffers::Buffers, joint::Desk, run::Run, tally::Tally, wakes::Wakes};
use crate::ids::OutboundId;
use bytes::BytesMut;
use core::cell::{Cell, RefCell};
use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

/// What the drives of one thread share: buffers that are leased only while bytes move, deadlines,
/// counters, who is to have a turn or to be made, and whether everything is to stop.
#[derive(Debug, Default)]
pub struct Pool {
    /// The machines' deadlines.
    pub timers: Timers,
    /// What is counted.
    pub tally: Arc<Tally>,
    pub(super) buffers: Buffers,
    pub(super) run: RefCell<Run>,
    /// What a carrier sends.
    pub(super) transmit: RefCell<BytesMut>,
    pub(super) wakes: Rc<Wakes>,
    pub(super) births: RefCell<VecDeque<Birth>>,
    /// Where the carriers of outbounds are asked.
    pub(super) desks: RefCell<BTreeMap<OutboundId, Rc<Desk>>>,
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

    /// Buffers that drives hold now. None when all were released: a driver that sees another number
    /// lost some.
    #[must_use]
    pub const fn leased(&self) -> usize {
        self.buffers.leased()
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
