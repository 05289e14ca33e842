//! What a censor tells a prober.
use crate::net::packet::Transport;
use core::{cell::RefCell, net::SocketAddr};
use sansbox_core::Instant;
use std::{collections::VecDeque, rc::Rc};

/// Most sightings that wait for a prober; later ones are not kept.
const SIGHTINGS_MAX: usize = 4_096;

/// A first flight that a censor saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When the censor told it.
    pub at: Instant,
    /// TCP or UDP.
    pub transport: Transport,
    /// Whom the client spoke to.
    pub server: SocketAddr,
    /// All that the client said before the server said anything; of UDP the first datagram.
    pub first_flight: Vec<u8>,
}

/// The letter box between censors, which put sightings in, and a prober, which takes them out.
/// A clone is the same box.
#[derive(Clone, Debug, Default)]
pub struct Sightings(Rc<RefCell<VecDeque<Sighting>>>);

impl Sightings {
    /// An empty box.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(in crate::net::boxes) fn put(&self, sighting: Sighting) {
        let mut all = self.0.borrow_mut();
        if all.len() < SIGHTINGS_MAX {
            all.push_back(sighting);
        }
    }

    /// The oldest sighting.
    #[must_use]
    pub fn take(&self) -> Option<Sighting> {
        self.0.borrow_mut().pop_front()
    }

    /// Sightings that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
