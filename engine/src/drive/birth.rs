//! Drives that other drives ask for.
use super::{
    Pool,
    joint::{Desk, Joint, Shared},
};
use crate::{
    Peer,
    ids::{InboundId, OutboundId},
    machine::Wanted,
};
use std::rc::Rc;

/// A drive that is to be made. Dropping it refuses whatever waits for it.
#[derive(Debug)]
pub enum Birth {
    /// The carrier of an outbound: [`CarrierDrive::client`](super::CarrierDrive::client).
    Carrier(CarrierBirth),
    /// The session of a stream: [`Drive::carried`](super::Drive::carried).
    Session(SessionBirth),
}

/// The carrier of an outbound is to be made.
#[derive(Debug)]
pub struct CarrierBirth {
    outbound: OutboundId,
    desk: Option<Rc<Desk>>,
}

impl CarrierBirth {
    /// Whose carrier.
    #[must_use]
    pub const fn outbound(&self) -> OutboundId {
        self.outbound
    }

    pub(super) fn into_desk(mut self, pool: &Pool) -> Rc<Desk> {
        let desk = self.desk.take();
        desk.unwrap_or_else(|| Desk::new(Rc::clone(&pool.wakes)))
    }
}

impl Drop for CarrierBirth {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            desk.close();
        }
    }
}

/// The session of a stream is to be made.
#[derive(Debug)]
pub struct SessionBirth {
    pub(super) joint: Joint,
    /// The inbound whose carrier offers the stream.
    pub inbound: InboundId,
    /// The client, and where it came in.
    pub peer: Peer,
    /// What it wants.
    pub wanted: Wanted,
}

impl SessionBirth {
    pub(super) const fn new(
        shared: Rc<Shared>,
        inbound: InboundId,
        peer: Peer,
        wanted: Wanted,
    ) -> Self {
        Self {
            joint: Joint::of(shared),
            inbound,
            peer,
            wanted,
        }
    }
}

impl Pool {
    /// The next drive that is to be made. To be asked after every turn.
    pub fn pop_birth(&self) -> Option<Birth> {
        self.births.borrow_mut().pop_front()
    }

    /// The number of a drive that another one has something for: it wants a turn. To be asked
    /// after every turn.
    pub fn pop_woken(&self) -> Option<usize> {
        self.wakes.pop()
    }

    pub(super) fn bear(&self, birth: Birth) {
        self.births.borrow_mut().push_back(birth);
    }

    /// Asks the carrier of an outbound for a stream; it is made if there is none.
    pub(super) fn open_stream(
        &self,
        outbound: OutboundId,
        wanted: Wanted,
        session: usize,
    ) -> Joint {
        let mut desks = self.desks.borrow_mut();
        // Where a carrier could not be made, it is tried again.
        desks.retain(|_, desk| !desk.is_closed());
        let desk = desks.entry(outbound).or_insert_with(|| {
            let desk = Desk::new(Rc::clone(&self.wakes));
            self.bear(Birth::Carrier(CarrierBirth {
                outbound,
                desk: Some(Rc::clone(&desk)),
            }));
            desk
        });
        Joint::open(desk, wanted, session)
    }

    /// The carrier of an outbound is gone; the next stream makes another one.
    pub(super) fn forget_desk(&self, outbound: OutboundId) {
        self.desks.borrow_mut().remove(&outbound);
    }
}
