//! What is served, with every machine recorded.
use super::rings::{Handle, Rings};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer,
    config::model::Dial,
    drive::{InboundSockets, Recorded, Service},
    ids::{InboundId, OutboundId, Slot},
    machine::{Action, Input, Machine, SlotPipes},
    record::Record,
};
use sansbox_flight::{Origin, Tapped, wire::MachineKind};

use std::sync::Arc;

/// A service whose machines write to the ring of their worker.
pub(crate) struct Recording<S> {
    pub(crate) service: Arc<S>,
    pub(crate) rings: Arc<Rings>,
}

/// A recorded machine.
pub(crate) struct Taped<M: Machine>(Tapped<M, Handle>);

impl<S: Service> Recording<S> {
    fn tape<M: Recorded>(&self, machine: M, origin: Origin) -> Taped<M> {
        let ring = self.rings.of_this_thread(origin.now);
        let mode = self.rings.mode;
        Taped(Tapped::new(machine, M::record, ring, mode, origin))
    }
}

impl<S: Service> Service for Recording<S> {
    type Session = Taped<S::Session>;
    type Association = Taped<S::Association>;

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

impl<M: Recorded> Recorded for Taped<M> {
    fn record(&self) -> &Record {
        self.0.machine().record()
    }
}

impl<M: Machine> Machine for Taped<M> {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        self.0.apply(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.poll_action()
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        self.0.pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
