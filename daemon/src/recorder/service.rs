//! What is served, with every machine recorded.
use super::rings::{Handle, Rings};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer,
    config::model::Dial,
    drive::{InboundSockets, Recorded, Service},
    ids::{InboundId, OutboundId},
};
use sansbox_flight::{Origin, Tapped, wire::MachineKind};

use std::sync::Arc;

/// A service whose machines write to the ring of their worker.
pub(crate) struct Recording<S> {
    pub(crate) service: Arc<S>,
    pub(crate) rings: Arc<Rings>,
}

impl<S: Service> Recording<S> {
    fn tape<M: Recorded>(&self, machine: M, origin: Origin) -> Tapped<M, Handle> {
        let ring = self.rings.of_this_thread(origin.now);
        let mode = self.rings.mode;
        Tapped::new(machine, M::record, ring, mode, origin)
    }
}

impl<S: Service> Service for Recording<S> {
    type Session = Tapped<S::Session, Handle>;
    type Association = Tapped<S::Association, Handle>;

    fn inbounds(&self) -> Vec<InboundSockets> {
        self.service.inbounds()
    }

    fn dial(&self, outbound: OutboundId) -> Option<&Dial> {
        self.service.dial(outbound)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Session {
        let machine = self.service.session(inbound, peer, seed, now);
        let origin = Origin {
            kind: MachineKind::Session,
            inbound,
            peer,
            seed,
            now,
        };
        self.tape(machine, origin)
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Association {
        let machine = self.service.association(inbound, peer, seed, now);
        let origin = Origin {
            kind: MachineKind::Association,
            inbound,
            peer,
            seed,
            now,
        };
        self.tape(machine, origin)
    }
}
