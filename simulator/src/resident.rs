//! Hosts as the world holds them: running, standing still, or dead.
use crate::host::{Host, HostInput};
use sansbox_core::Instant;
use std::collections::VecDeque;

/// What a host's program is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// It stands still; what happens to it waits.
    Still,
    Dead,
}

pub(crate) struct Resident {
    pub(crate) host: Box<dyn Host>,
    pub(crate) state: State,
    /// What happened while it stood still.
    pub(crate) held: VecDeque<HostInput>,
    /// Its deadline, by its own clock.
    pub(crate) wanted: Option<Instant>,
    /// It is a peer of the machines, and not done.
    pub(crate) is_busy_peer: bool,
}

impl Resident {
    pub(crate) fn new(host: Box<dyn Host>) -> Self {
        Self {
            is_busy_peer: !host.serves(),
            host,
            state: State::Running,
            held: VecDeque::new(),
            wanted: None,
        }
    }

    /// What it waits for, if it is alive.
    pub(crate) fn waiting(&self) -> Option<String> {
        if self.state == State::Dead {
            return None;
        }
        self.host.waiting()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Dead || self.host.is_done()
    }
}
