//! An association without a control connection: UDP of a `direct` inbound.
use super::{Framing, UdpRelay};
use crate::{
    effects::{Cx, Effects},
    ids::{InboundId, Slot},
    machine::{Action, Input, Machine, SlotPipes, Stage},
    plan::{InboundPlan, Plan, Service},
    record::{CloseReason, Record},
    session::{Idle, Peer, canonical, fixed_target},
};
use core::time::Duration;
use sansbox_core::{End, Instant, Progress, Refusal, Seed};
use std::sync::Arc;

/// Idle time of an association (sing-box's `udp_timeout` default).
pub(crate) const UDP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// One client of a UDP listener; its [`Slot::CLIENT`] is the listening socket.
#[derive(Debug)]
pub struct Association {
    plan: Arc<Plan>,
    record: Record,
    fx: Effects,
    idle: Idle,
    /// `None`: over.
    relay: Option<Box<UdpRelay>>,
}

impl Association {
    /// An association for the client that `inbound` had a first datagram from.
    #[must_use]
    pub fn new(plan: Arc<Plan>, inbound: InboundId, peer: Peer, seed: Seed, now: Instant) -> Self {
        let record = Record::new(inbound, canonical(peer.remote), seed, now);
        let service = plan.inbound(inbound);
        let timeout = idle_timeout(service);
        let target = match &service.service {
            Service::Direct { host, port, .. } => fixed_target(host.as_ref(), *port, peer.local),
            Service::Socks
            | Service::Http
            | Service::Mixed
            | Service::Carried
            | Service::Tun(_) => peer.local.into(),
        };
        let refusal = if !service.serves(peer.remote.ip()) {
            Some(CloseReason::PublicSource)
        } else if target.socket_addr() == Some(canonical(peer.local)) {
            Some(CloseReason::Refused(Refusal::Loop))
        } else {
            None
        };
        let framing = Framing::Fixed {
            client: peer.remote,
            target,
        };
        let relay = refusal
            .is_none()
            .then(|| Box::new(UdpRelay::on_listener(framing, peer.remote)));
        let mut association = Self {
            plan,
            record,
            fx: Effects::new(),
            idle: Idle::new(now, timeout),
            relay,
        };
        match refusal {
            None => association.fx.push(Action::Log(Stage::Opened)),
            Some(reason) => association.close(reason),
        }
        association
    }

    /// What is known of it so far.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    fn close(&mut self, reason: CloseReason) {
        if let Some(relay) = self.relay.take() {
            relay.close(&mut self.fx);
        }
        self.record.closed = Some(reason);
        self.fx.push(Action::Log(Stage::Closed));
    }
}

/// How long nothing may move in an association without a control connection.
pub(crate) fn idle_timeout(inbound: &InboundPlan) -> Duration {
    inbound.listen.udp_timeout.unwrap_or(UDP_TIMEOUT_DEFAULT)
}

impl Machine for Association {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        let Self {
            plan,
            record,
            fx,
            idle,
            relay,
        } = self;
        let Some(relay) = relay else { return };
        let timeout = idle_timeout(plan.inbound(record.inbound));
        let mut cx = Cx {
            now,
            plan,
            record,
            fx,
        };
        let mut over = None;
        match input {
            Input::Tick if idle.is_over(now, timeout) => over = Some(CloseReason::IdleTimeout),
            Input::Tick => relay.handle_timeout(&mut cx),
            Input::Datagram { slot, from, data } => {
                idle.touch(now);
                relay.datagram(&mut cx, slot, from, data);
            }
            Input::Received(slot, bytes) => {
                if let Some(rx) = relay.stream_rx(slot).filter(|rx| rx.end() == End::Open) {
                    rx.push(bytes);
                }
            }
            Input::Drained(slot, n) => relay.drained(slot, n),
            Input::Ended(slot, end) => {
                if let Some(rx) = relay.stream_rx(slot) {
                    let _ = if end == End::Reset {
                        rx.reset()
                    } else {
                        rx.finish()
                    };
                }
            }
            Input::Done(id, outcome) => {
                // Only the client-facing socket's failure is an error, and that is the listener.
                let _ = relay.done(&mut cx, id, outcome);
            }
            // A client behind a socket cannot be told.
            Input::Relayed(..) | Input::DatagramError { .. } => {}
            Input::Stop => over = Some(CloseReason::Stopped),
        }
        match over {
            Some(reason) => self.close(reason),
            None => while relay.pump(&mut cx) == Progress::MADE {},
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.fx.pop()
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        self.relay.as_ref()?.pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let relay = self.relay.as_ref()?;
        [Some(self.idle.poll_timeout()), relay.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_finished(&self) -> bool {
        self.relay.is_none() && self.fx.is_empty()
    }
}
