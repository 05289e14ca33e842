//! What a driver serves.
use crate::{
    Peer,
    carrier::{Carrier, Whose, tun},
    config::model::{Dial, Listen, Tun},
    ids::{InboundId, OutboundId},
    machine::{Machine, Wanted},
    record::Record,
};
use core::time::Duration;
use sansbox_core::{Instant, Seed};
use std::sync::Arc;

/// A machine that keeps a record of itself.
pub trait Recorded: Machine {
    /// What is known of it.
    fn record(&self) -> &Record;
}

/// The sockets of one inbound.
#[derive(Clone, Debug)]
pub struct InboundSockets {
    /// Whose.
    pub inbound: InboundId,
    /// Where and how.
    pub listen: Listen,
    /// Accept connections.
    pub tcp: bool,
    /// Receive datagrams.
    pub udp: bool,
    /// One carrier receives all datagrams, on one thread; otherwise each client has a machine.
    pub carrier: bool,
}

/// What is served: says what to bind and how to dial, and makes a machine for each client.
/// Immutable; all threads share it.
pub trait Service: Send + Sync + 'static {
    /// Serves one accepted connection.
    type Session: Recorded + 'static;
    /// Serves one client address of a UDP listener.
    type Association: Recorded + 'static;

    /// What to bind.
    fn inbounds(&self) -> Vec<InboundSockets>;

    /// Dial options of an outbound; `None` when it has no sockets.
    fn dial(&self, outbound: OutboundId) -> Option<&Dial>;

    /// The machine for an accepted connection.
    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Session;

    /// The machine for a new client of a UDP listener.
    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Association;

    /// The carrier of an inbound or outbound that has one; `None` refuses whatever needs it.
    /// `since_1970` is what the wall clock says at `now`; the seed is uniformly random.
    fn carrier(
        self: &Arc<Self>,
        _whose: Whose,
        _seed: Seed,
        _now: Instant,
        _since_1970: Duration,
    ) -> Option<Box<dyn Carrier>> {
        None
    }

    /// TUN devices to open, each for an inbound.
    fn devices(&self) -> Vec<(InboundId, Arc<Tun>)> {
        Vec::new()
    }

    /// The carrier for the device of an inbound, or for one of its queues; `None` when it cannot
    /// serve what the device can do.
    fn device(
        self: &Arc<Self>,
        _inbound: InboundId,
        _device: tun::Device,
        _seed: Seed,
        _now: Instant,
    ) -> Option<Box<dyn Carrier>> {
        None
    }

    /// The machine for a stream that the carrier of an inbound offers, and what is wanted of it; `None` refuses
    /// it.
    fn carried(
        self: &Arc<Self>,
        _inbound: InboundId,
        _peer: Peer,
        _wanted: Wanted,
        _seed: Seed,
        _now: Instant,
    ) -> Option<Self::Session> {
        None
    }
}
