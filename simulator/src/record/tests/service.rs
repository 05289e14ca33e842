//! A plan whose machines are recorded where a test wants that.
use super::{Maybe, expect, tape, tape_of, tape_of_device};
use crate::drive::Newcomer;
use core::time::Duration;
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Association, Peer, Plan, Session,
    carrier::{Carrier, Whose, tun},
    config::model::{Dial, Tun},
    drive::{InboundSockets, Recorded, Service},
    ids::{InboundId, OutboundId},
    machine::Wanted,
    record::Record,
};
use sansbox_flight::{Origin, wire::MachineKind};
use std::sync::Arc;

/// Serves a plan.
pub(crate) struct Taped(Arc<Plan>);

/// Serves a plan, with every machine recorded where a test wants that.
pub(crate) fn taped(plan: &Arc<Plan>) -> Arc<Taped> {
    expect(plan);
    Arc::new(Taped(Arc::clone(plan)))
}

impl<M: Recorded> Recorded for Maybe<M> {
    fn record(&self) -> &Record {
        match self {
            Self::Bare(machine) => machine.record(),
            Self::Taped(taped) => taped.machine().record(),
        }
    }
}

const fn newcomer(peer: Peer, seed: Seed, now: Instant) -> Newcomer {
    Newcomer {
        remote: peer.remote,
        local: peer.local,
        seed,
        now,
    }
}

impl Service for Taped {
    type Session = Maybe<Session>;
    type Association = Maybe<Association>;

    fn inbounds(&self) -> Vec<InboundSockets> {
        Service::inbounds(&*self.0)
    }

    fn dial(&self, outbound: OutboundId) -> Option<&Dial> {
        self.0.dial(outbound)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Session {
        let machine = self.0.session(inbound, peer, seed, now);
        let new = newcomer(peer, seed, now);
        tape(machine, &self.0, MachineKind::Session, inbound, new)
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Self::Association {
        let machine = self.0.association(inbound, peer, seed, now);
        let new = newcomer(peer, seed, now);
        tape(machine, &self.0, MachineKind::Association, inbound, new)
    }

    fn carrier(
        self: &Arc<Self>,
        whose: Whose,
        seed: Seed,
        now: Instant,
        since_1970: Duration,
    ) -> Option<Box<dyn Carrier>> {
        self.0.carrier(whose, seed, now, since_1970)
    }

    fn devices(&self) -> Vec<(InboundId, Arc<Tun>)> {
        self.0.devices()
    }

    fn device(
        self: &Arc<Self>,
        inbound: InboundId,
        device: tun::Device,
        seed: Seed,
        now: Instant,
    ) -> Option<Box<dyn Carrier>> {
        let machine = self.0.device(inbound, device, seed, now)?;
        let origin = Origin::of_device(inbound, device, seed, now);
        Some(tape_of_device(machine, &self.0, origin))
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
        let machine = self.0.carried(inbound, peer, wanted, seed, now)?;
        let origin = Origin {
            kind,
            inbound,
            peer,
            seed,
            target,
            now,
        };
        Some(tape_of(machine, &self.0, origin))
    }
}
