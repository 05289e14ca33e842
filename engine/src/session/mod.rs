//! One accepted connection, from its first byte to the one reason it ended for.
//!
//! `authenticate -> route -> resolve -> dial -> handshakes on the way -> reply -> relay`. The
//! session owns its pipes and machines while they are needed. Once both ends are plain it asks
//! for passthrough, drops them all, and is a record of counters and timers.
mod active;
mod inbound;
mod relay;

use crate::{
    effects::{Cx, Effects},
    ids::{InboundId, Slot},
    machine::{Action, Input, Machine, SlotPipes, Stage, Wanted},
    plan::Plan,
    record::{CloseReason, Record},
};
use active::Active;
pub(crate) use inbound::fixed_target;
pub(crate) use relay::Idle;
use relay::Relay;
use sansbox_core::{End, Instant, Seed};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Both addresses of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

impl Peer {
    /// The same with IPv4 addresses that a dual-stack listener wrote as IPv6 put back (RFC 4291
    /// 2.5.5.2), for rules, logs and replies.
    fn canonical(self) -> Self {
        Self {
            remote: canonical(self.remote),
            local: canonical(self.local),
        }
    }
}

/// The address as machines know it: IPv4 never inside IPv6; an IPv6 address keeps its scope, without which a link-local one cannot
/// be reached (RFC 4007 section 11).
#[must_use]
pub const fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// One accepted connection.
#[derive(Debug)]
pub struct Session {
    plan: Arc<Plan>,
    record: Record,
    fx: Effects,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Bytes go through the session's pipes.
    Active(Box<Active>),
    /// Bytes go past the session.
    Passthrough(Relay),
    Finished,
}

/// What became of the session in one call.
enum Next {
    Stay,
    Passthrough(Slot),
    Finish(CloseReason),
}

impl Session {
    /// A session for a connection that `inbound` accepted. `seed` is its own.
    #[must_use]
    pub fn new(plan: Arc<Plan>, inbound: InboundId, peer: Peer, seed: Seed, now: Instant) -> Self {
        let peer = peer.canonical();
        let record = Record::new(inbound, peer.remote, seed, now);
        let mut fx = Effects::new();
        let state = if plan.inbound(inbound).serves(peer.remote.ip()) {
            fx.push(Action::Log(Stage::Opened));
            State::Active(Box::new(Active::new(now, &plan, inbound, peer.local)))
        } else {
            State::Finished
        };
        let mut session = Self {
            plan,
            record,
            fx,
            state,
        };
        if matches!(session.state, State::Finished) {
            session.fx.push(Action::Close(Slot::CLIENT, End::Reset));
            session.close(CloseReason::PublicSource);
        }
        session
    }

    /// A session for a stream that the carrier of `inbound` offers, and what is `wanted` of it. `seed` is its own.
    #[must_use]
    pub fn carried(
        plan: Arc<Plan>,
        inbound: InboundId,
        peer: Peer,
        wanted: Wanted,
        seed: Seed,
        now: Instant,
    ) -> Self {
        let peer = peer.canonical();
        let mut fx = Effects::new();
        fx.push(Action::Log(Stage::Opened));
        Self {
            plan,
            record: Record::new(inbound, peer.remote, seed, now),
            fx,
            state: State::Active(Box::new(Active::carried(now, peer.local, wanted))),
        }
    }

    /// What is known of it so far.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The plan it runs on.
    #[must_use]
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn close(&mut self, reason: CloseReason) {
        self.state = State::Finished;
        self.record.closed = Some(reason);
        self.fx.push(Action::Log(Stage::Closed));
    }
}

impl Machine for Session {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        let Self {
            plan,
            record,
            fx,
            state,
        } = self;
        let next = match state {
            State::Active(active) => active.apply(
                &mut Cx {
                    now,
                    plan,
                    record,
                    fx,
                },
                input,
            ),
            State::Passthrough(relay) => relay.apply(now, record, fx, input),
            State::Finished => Next::Stay,
        };
        match next {
            Next::Stay => {}
            Next::Passthrough(upstream) => {
                self.fx.push(Action::Passthrough(Slot::CLIENT, upstream));
                self.state = State::Passthrough(Relay::new(now, upstream));
            }
            Next::Finish(reason) => self.close(reason),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.fx.pop();
        if action.is_none() && matches!(self.state, State::Passthrough(_)) {
            self.fx.release();
        }
        action
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        match &self.state {
            State::Active(active) => active.pipes(slot),
            State::Passthrough(_) | State::Finished => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Active(active) => active.poll_timeout(),
            State::Passthrough(relay) => Some(relay.poll_timeout()),
            State::Finished => None,
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished) && self.fx.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_in_passthrough_is_a_small_record() {
        assert!(size_of::<Session>() < 200, "{} bytes", size_of::<Session>());
    }
}
