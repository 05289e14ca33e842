//! What is served, with every machine recorded.
use super::rings::{Handle, Rings};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer,
    carrier::{Carrier, Whose, tun},
    config::model::{Dial, Tun},
    drive::{InboundSockets, Recorded, Service},
    ids::{InboundId, OutboundId},
    machine::Wanted,
};
use sansbox_flight::{Origin, Tapped, TappedDevice, wire::MachineKind};
use std::{sync::Arc, time::Duration};

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
            target: None,
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
            target: None,
            now,
        };
        self.tape(machine, origin)
    }

    fn carrier(
        self: &Arc<Self>,
        whose: Whose,
        seed: Seed,
        now: Instant,
        since_1970: Duration,
    ) -> Option<Box<dyn Carrier>> {
        self.service.carrier(whose, seed, now, since_1970)
    }

    fn devices(&self) -> Vec<(InboundId, Arc<Tun>)> {
        self.service.devices()
    }

    fn device(
        self: &Arc<Self>,
        inbound: InboundId,
        device: tun::Device,
        seed: Seed,
        now: Instant,
    ) -> Option<Box<dyn Carrier>> {
        let machine = self.service.device(inbound, device, seed, now)?;
        let origin = Origin::of_device(inbound, device, seed, now);
        let ring = self.rings.of_device(now);
        let mode = self.rings.mode;
        Some(Box::new(TappedDevice::new(machine, ring, mode, origin)))
    }

    fn carried(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        wanted: Wanted,
        seed: Seed,
        now: Instant,
    ) -> Option<Self::Session> {
        let (kind, target) = MachineKind::carried(&wanted);
        let machine = self.service.carried(inbound, peer, wanted, seed, now)?;
        let origin = Origin {
            kind,
            inbound,
            peer,
            seed,
            target,
            now,
        };
        Some(self.tape(machine, origin))
    }
}
