//! All packets of one TUN device, or of one of its queues: TCP is terminated, UDP and echo
//! requests are mapped to associations, the rest is answered or counted.
mod config;

pub use config::InterfaceConfig;

use core::net::SocketAddr;

use sansbox_core::{Instant, Seed};

use crate::batch::{RxPacket, TxBatch};
use crate::event::Event;
use crate::mtu::BadMtu;
use crate::nat::{Closed, MappingId};
use crate::stack::Stack;

/// What happened on an [`Interface`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// News of a TCP connection; [`Interface::stack_mut`] takes the answers.
    Tcp(Event),
    /// A client's socket has a mapping: its datagrams, of which the first was handed over with the
    /// batch, are to go through an association of their own.
    Mapped(MappingId, SocketAddr),
    /// A mapping ended.
    Unmapped(Closed),
}

/// A datagram of a client.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its mapping.
    pub mapping: MappingId,
    /// Where it is to go.
    pub destination: SocketAddr,
    /// The payload.
    pub data: &'a [u8],
}

/// The machine for all packets of one device or queue.
pub struct Interface {
    stack: Stack,
}

impl Interface {
    /// An interface that knows no client. `seed` must be uniformly random.
    ///
    /// # Errors
    /// [`BadMtu`].
    pub fn new(config: InterfaceConfig, seed: &Seed) -> Result<Self, BadMtu> {
        let stack = Stack::new(config.stack, seed.derive("stack/tcp"));
        Ok(Self { stack })
    }

    /// The terminator of TCP.
    #[must_use]
    pub const fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The terminator of TCP, for all that concerns a connection.
    pub const fn stack_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// Handles packets. Datagrams of clients are handed to `datagram` at once. What TCP brought is
    /// in [`Stack::pieces`] until [`Self::retain`], which must be called with the same batch before
    /// the next one.
    pub fn recv_batch(
        &mut self,
        now: Instant,
        packets: &[RxPacket<'_>],
        _datagram: &mut dyn FnMut(Received<'_>),
    ) {
        self.stack.recv_batch(now, packets);
    }

    /// Copies what TCP brought and the caller did not take; see [`Stack::retain`].
    pub fn retain(&mut self, packets: &[RxPacket<'_>]) {
        self.stack.retain(packets);
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<InterfaceEvent> {
        self.stack.poll_event().map(InterfaceEvent::Tcp)
    }

    /// Sends a client a datagram that came from `from`. False: it was dropped, and is counted.
    pub fn send_datagram(
        &mut self,
        _now: Instant,
        _mapping: MappingId,
        _from: SocketAddr,
        _data: &[u8],
    ) -> bool {
        false
    }

    /// Gives up a mapping whose association ended; no event follows.
    pub fn unmap(&mut self, _mapping: MappingId) {}

    /// Fills `batch` with packets to send, and says whether it has added any.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut TxBatch) -> bool {
        self.stack.poll_transmit(now, batch)
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.stack.poll_timeout()
    }

    /// Acts on all deadlines until `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stack.handle_timeout(now);
    }
}
