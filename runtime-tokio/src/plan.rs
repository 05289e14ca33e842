//! A plan of the engine as something to serve.
use crate::service::{InboundSockets, Recorded, Service};
use core::net::SocketAddr;
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Association, Peer, Plan, Session,
    config::model::Dial,
    ids::{InboundId, OutboundId},
    record::Record,
};
use std::sync::Arc;

impl Recorded for Session {
    fn record(&self) -> &Record {
        Self::record(self)
    }
}

impl Recorded for Association {
    fn record(&self) -> &Record {
        Self::record(self)
    }
}

impl Service for Plan {
    type Session = Session;
    type Association = Association;

    fn inbounds(&self) -> Vec<InboundSockets> {
        let numbered = (0..=u16::MAX).map(InboundId).zip(Self::inbounds(self));
        let sockets = numbered.map(|(inbound, plan)| InboundSockets {
            inbound,
            listen: plan.listen.clone(),
            tcp: plan.listeners().tcp,
            udp: plan.listeners().udp,
        });
        sockets.collect()
    }

    fn dial(&self, outbound: OutboundId) -> Option<&Dial> {
        Some(&self.outbound(outbound).dial)
    }

    fn session(
        self: &Arc<Self>,
        inbound: InboundId,
        remote: SocketAddr,
        local: SocketAddr,
        seed: Seed,
        now: Instant,
    ) -> Session {
        Session::new(Arc::clone(self), inbound, Peer { remote, local }, seed, now)
    }

    fn association(
        self: &Arc<Self>,
        inbound: InboundId,
        remote: SocketAddr,
        local: SocketAddr,
        seed: Seed,
        now: Instant,
    ) -> Association {
        Association::new(Arc::clone(self), inbound, Peer { remote, local }, seed, now)
    }
}
