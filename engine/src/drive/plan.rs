//! A plan is a [`Service`].
use super::{InboundSockets, Recorded, Service};
use crate::{
    Association, Peer, Plan, Session,
    carrier::{Carrier, Whose, tun},
    config::model::{Dial, Tun},
    ids::{InboundId, OutboundId},
    machine::Wanted,
    record::Record,
};
use core::time::Duration;
use sansbox_core::{Instant, Seed};
use std::sync::Arc;

impl Recorded for Session {
    fn record(&self) -> &Record {
        self.record()
    }
}

impl Recorded for Association {
    fn record(&self) -> &Record {
        self.record()
    }
}

impl Service for Plan {
    type Session = Session;
    type Association = Association;

    fn inbounds(&self) -> Vec<InboundSockets> {
        let inbounds = (0..).map(InboundId).zip(self.inbounds());
        inbounds
            .map(|(inbound, plan)| {
                let networks = plan.listeners();
                InboundSockets {
                    inbound,
                    listen: plan.listen.clone(),
                    tcp: networks.tcp,
                    udp: networks.udp,
                    carrier: plan.carrier.is_some(),
                }
            })
            .collect()
    }

    fn dial(&self, outbound: OutboundId) -> Option<&Dial> {
        let outbound = self.outbounds().get(usize::from(outbound.0));
        outbound.map(|outbound| &outbound.dial)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Session {
        Session::new(Arc::clone(self), inbound, peer, seed, now)
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        seed: Seed,
        now: Instant,
    ) -> Association {
        Association::new(Arc::clone(self), inbound, peer, seed, now)
    }

    fn carrier(
        self: &Arc<Self>,
        whose: Whose,
        seed: Seed,
        now: Instant,
        since_1970: Duration,
    ) -> Option<Box<dyn Carrier>> {
        let plan = match whose {
            Whose::Inbound(inbound) => self
                .inbounds()
                .get(usize::from(inbound.0))?
                .carrier
                .as_ref(),
            Whose::Outbound(outbound) => {
                let outbound = self.outbounds().get(usize::from(outbound.0))?;
                outbound.carrier.as_ref()
            }
        };
        plan?.make(now, since_1970, seed)
    }

    fn devices(&self) -> Vec<(InboundId, Arc<Tun>)> {
        let inbounds = (0..).map(InboundId).zip(self.inbounds());
        inbounds
            .filter_map(|(inbound, plan)| Some((inbound, Arc::clone(plan.tun()?))))
            .collect()
    }

    fn device(
        self: &Arc<Self>,
        inbound: InboundId,
        device: tun::Device,
        seed: Seed,
        _: Instant,
    ) -> Option<Box<dyn Carrier>> {
        let plan = self.inbounds().get(usize::from(inbound.0))?;
        let plan = Arc::clone(plan.tun()?);
        let machine = tun::Client::new(Arc::clone(self), inbound, &plan, device, &seed);
        Some(Box::new(machine.ok()?))
    }

    fn carried(
        self: &Arc<Self>,
        inbound: InboundId,
        peer: Peer,
        wanted: Wanted,
        seed: Seed,
        now: Instant,
    ) -> Option<Session> {
        let plan = Arc::clone(self);
        Some(Session::carried(plan, inbound, peer, wanted, seed, now))
    }
}
