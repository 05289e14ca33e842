//! What the runtime tells the daemon. Called rarely, from the workers' threads.
use crate::tun::{EchoForbiddenError, ReentryError};
use core::net::SocketAddr;
use sansbox_core::Instant;
use sansbox_engine::{
    carrier::{Note, Whose},
    drive::Network,
    ids::InboundId,
    machine::Stage,
    record::Record,
};
use std::{io, time::Duration};

/// Receives what is worth a line in the log.
pub trait Observer: Send + Sync + 'static {
    /// A session or association reached a stage. `now` is on the clock of
    /// [`Running::now`](crate::Running::now).
    fn session(&self, record: &Record, stage: Stage, now: Instant);

    /// Something happened to a carrier.
    fn carrier(&self, _whose: Whose, _note: &Note, _now: Instant) {}

    /// Something happened to the runtime itself.
    fn runtime(&self, event: &RuntimeEvent<'_>);
}

/// What happened to the runtime itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum RuntimeEvent<'a> {
    /// A listener is bound, on all workers.
    Bound {
        /// Whose.
        inbound: InboundId,
        /// TCP or UDP.
        network: Network,
        /// Where, with the port that the system chose.
        address: SocketAddr,
    },
    /// A TUN device is open, on all workers.
    Opened {
        /// Whose.
        inbound: InboundId,
        /// Its name.
        name: &'a str,
    },
    /// A socket of this process would send into a TUN device of its own: what it was for is
    /// refused. Told once for each address.
    Reentry(ReentryError),
    /// A TUN device's clients asked for echo requests to be carried, which the system does not let
    /// this process do. Told once.
    EchoForbidden(EchoForbiddenError),
    /// Accepting failed for want of files or memory and pauses; running sessions go on. Told once
    /// for each pause.
    AcceptPaused {
        /// Whose.
        inbound: InboundId,
        /// What accept said.
        error: &'a io::Error,
        /// How long.
        pause: Duration,
    },
    /// The connection limit is reached; accepting goes on when a connection ends.
    ConnectionLimit {
        /// Whose listener met it.
        inbound: InboundId,
        /// The limit.
        limit: usize,
    },
    /// A UDP listener has as many clients as it may have; a datagram of another was dropped. Told
    /// once until there is room again.
    AssociationLimit {
        /// Whose.
        inbound: InboundId,
        /// The limit.
        limit: usize,
    },
}
