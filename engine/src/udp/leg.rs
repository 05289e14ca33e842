//! The upstream side of an association: sockets of our own, another proxy's association, or a
//! carrier's stream.
use super::records;
use crate::{
    connect::{Connect, Upstream},
    effects::Effects,
    ids::{ActionId, OutboundId, Slot},
    machine::{Action, Outcome},
    plan::Plan,
};
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{End, Host, Instant, Pipe, Progress, Refusal, Target};

/// One way out of an association: one for each outbound that a flow uses.
#[derive(Debug)]
pub(crate) enum Leg {
    /// Our own sockets, one per family and the same for all targets (endpoint-independent
    /// mapping, RFC 4787 4.1).
    Direct {
        dial: OutboundId,
        v4: Socket,
        v6: Socket,
    },
    /// An association of another proxy.
    Proxy {
        dial: OutboundId,
        control: Control,
        socket: Socket,
    },
    /// A stream of records through a carrier.
    Records(records::Stream),
}

/// The control connection of another proxy's association.
#[derive(Debug)]
pub(crate) enum Control {
    Connecting(Box<Connect>),
    Open {
        upstream: Box<Upstream>,
        relay: SocketAddr,
    },
}

/// A UDP socket on its way.
#[derive(Debug, Default)]
pub(crate) enum Socket {
    #[default]
    Unbound,
    Binding {
        id: ActionId,
        slot: Slot,
    },
    Bound(Slot),
}

/// Datagrams that wait for a socket or a control connection.
pub(crate) type Queue = Vec<(SocketAddr, BytesMut)>;

impl Socket {
    /// The slot to send from; asks for a socket when there is none yet.
    pub(crate) fn slot(
        &mut self,
        plan: &Plan,
        dial: OutboundId,
        v6: bool,
        fx: &mut Effects,
    ) -> Option<Slot> {
        match self {
            Self::Bound(slot) => Some(*slot),
            Self::Binding { .. } => None,
            Self::Unbound => {
                let ip = plan.outbound(dial).dial.bind_address(v6);
                let (id, slot) = (fx.action_id(), fx.slot());
                let local = SocketAddr::new(ip, 0);
                fx.push(Action::Bind {
                    id,
                    slot,
                    local,
                    outbound: Some(dial),
                });
                *self = Self::Binding { id, slot };
                None
            }
        }
    }

    fn owns(&self, wanted: ActionId) -> bool {
        matches!(self, Self::Binding { id, .. } if *id == wanted)
    }

    fn done(&mut self, outcome: Outcome<'_>) -> Result<(), Refusal> {
        let Self::Binding { slot, .. } = self else {
            return Ok(());
        };
        match outcome {
            Outcome::Bound(_) => {
                *self = Self::Bound(*slot);
                Ok(())
            }
            Outcome::Failed(why) => {
                *self = Self::Unbound;
                Err(why)
            }
            Outcome::Resolved(_) | Outcome::Connected(_) => Err(Refusal::General),
        }
    }

    fn is(&self, wanted: Slot) -> bool {
        matches!(self, Self::Bound(slot) if *slot == wanted)
    }

    fn close(self, fx: &mut Effects) {
        match self {
            Self::Unbound => {}
            Self::Binding { id, .. } => fx.push(Action::Cancel(id)),
            Self::Bound(slot) => fx.push(Action::Close(slot, End::Fin)),
        }
    }
}

impl Leg {
    /// The socket and destination for a datagram, once both are there.
    pub(crate) fn route(
        &mut self,
        plan: &Plan,
        to: SocketAddr,
        fx: &mut Effects,
    ) -> Option<(Slot, SocketAddr)> {
        match self {
            Self::Direct { dial, v4, v6 } => {
                let socket = if to.is_ipv6() { v6 } else { v4 };
                socket
                    .slot(plan, *dial, to.is_ipv6(), fx)
                    .map(|slot| (slot, to))
            }
            Self::Proxy {
                dial,
                control: Control::Open { relay, .. },
                socket,
            } => {
                let relay = *relay;
                socket
                    .slot(plan, *dial, relay.is_ipv6(), fx)
                    .map(|slot| (slot, relay))
            }
            Self::Proxy {
                control: Control::Connecting(_),
                ..
            }
            | Self::Records(_) => None,
        }
    }

    /// Whether datagrams to several targets share one upstream address.
    pub(crate) const fn is_proxy(&self) -> bool {
        matches!(self, Self::Proxy { .. } | Self::Records(_))
    }

    /// Whether there is neither a socket for datagrams to `to` nor one on its way.
    pub(crate) const fn lacks(&self, to: SocketAddr) -> bool {
        let socket = match self {
            Self::Direct { v4, .. } if to.is_ipv4() => v4,
            Self::Direct { v6, .. } => v6,
            Self::Proxy { socket, .. } => socket,
            Self::Records(_) => return false,
        };
        matches!(socket, Socket::Unbound)
    }

    /// Whether a datagram on `slot` from `from` belongs to this leg.
    pub(crate) fn receives(&self, slot: Slot, from: SocketAddr) -> bool {
        match self {
            Self::Direct { v4, v6, .. } => v4.is(slot) || v6.is(slot),
            Self::Proxy {
                control: Control::Open { relay, .. },
                socket,
                ..
            } => socket.is(slot) && *relay == from,
            Self::Proxy { .. } | Self::Records(_) => false,
        }
    }

    /// Takes the answer to an action; `Ok(false)` when the action is not this leg's. On an error
    /// a proxy's leg is over, a direct one lacks a socket.
    pub(crate) fn done(
        &mut self,
        now: Instant,
        plan: &Plan,
        id: ActionId,
        outcome: Outcome<'_>,
        fx: &mut Effects,
    ) -> Result<bool, Refusal> {
        let sockets = match self {
            Self::Direct { v4, v6, .. } => [Some(v4), Some(v6)],
            Self::Proxy {
                control, socket, ..
            } => {
                if let Control::Connecting(connect) = control
                    && connect.done(now, plan, id, outcome, fx)?
                {
                    return Ok(true);
                }
                [Some(socket), None]
            }
            Self::Records(records::Stream::Opening(connect)) => {
                return connect.done(now, plan, id, outcome, fx);
            }
            Self::Records(records::Stream::Open(_)) => [None, None],
        };
        match sockets.into_iter().flatten().find(|s| s.owns(id)) {
            Some(socket) => socket.done(outcome).map(|()| true),
            None => Ok(false),
        }
    }

    /// Moves the control connection's handshake on; datagrams that a stream brought go to `came`.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        plan: &Plan,
        came: &mut Vec<BytesMut>,
        fx: &mut Effects,
    ) -> Result<Progress, Refusal> {
        let control = match self {
            Self::Direct { .. } => return Ok(Progress::NONE),
            Self::Proxy { control, .. } => control,
            Self::Records(stream) => return stream.pump(came),
        };
        match control {
            Control::Connecting(connect) => {
                let mut none = Pipe::new(0);
                let progress = connect.pump(now, plan, &mut none, fx)?;
                let Some(upstream) = connect.take_ready() else {
                    return Ok(progress);
                };
                let relay = relay_address(&upstream)?;
                *control = Control::Open { upstream, relay };
                Ok(Progress::MADE)
            }
            // The association ends with its control connection.
            Control::Open { upstream, .. } if upstream.rx.end() != End::Open => {
                Err(Refusal::UpstreamProtocol)
            }
            Control::Open { upstream, .. } => {
                let waiting = upstream.rx.len();
                upstream.rx.skip(waiting);
                Ok(Progress::NONE)
            }
        }
    }

    /// The control connection or stream, where there is one.
    pub(crate) fn stream(&self) -> Option<&Upstream> {
        match self {
            Self::Direct { .. } => None,
            Self::Proxy {
                control: Control::Connecting(connect),
                ..
            } => connect.upstream(),
            Self::Proxy {
                control: Control::Open { upstream, .. },
                ..
            } => Some(upstream),
            Self::Records(stream) => stream.upstream(),
        }
    }

    /// The same, to put received bytes in.
    pub(crate) fn stream_mut(&mut self) -> Option<&mut Upstream> {
        match self {
            Self::Direct { .. } => None,
            Self::Proxy {
                control: Control::Connecting(connect),
                ..
            } => connect.upstream_mut(),
            Self::Proxy {
                control: Control::Open { upstream, .. },
                ..
            } => Some(upstream),
            Self::Records(stream) => stream.upstream_mut(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Proxy {
                control: Control::Connecting(connect),
                ..
            } => connect.poll_timeout(),
            Self::Proxy { .. } | Self::Direct { .. } | Self::Records(_) => None,
        }
    }

    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        plan: &Plan,
        fx: &mut Effects,
    ) -> Result<(), Refusal> {
        match self {
            Self::Proxy {
                control: Control::Connecting(connect),
                ..
            } => connect.handle_timeout(now, plan, fx),
            Self::Proxy { .. } | Self::Direct { .. } | Self::Records(_) => Ok(()),
        }
    }

    /// Lets it go; `how` a stream of records ends, which may still hold some.
    pub(crate) fn close(self, how: End, fx: &mut Effects) {
        match self {
            Self::Records(stream) => stream.close(how, fx),
            Self::Direct { v4, v6, .. } => {
                v4.close(fx);
                v6.close(fx);
            }
            Self::Proxy {
                control, socket, ..
            } => {
                socket.close(fx);
                match control {
                    Control::Connecting(connect) => connect.abort(fx),
                    Control::Open { upstream, .. } => {
                        fx.push(Action::Close(upstream.slot, End::Fin));
                    }
                }
            }
        }
    }
}

/// Where a proxy wants its datagrams: the address it told, or its own where it told none that can
/// be used.
fn relay_address(upstream: &Upstream) -> Result<SocketAddr, Refusal> {
    let Target { host, port } = &upstream.bound;
    if *port == 0 {
        return Err(Refusal::UpstreamProtocol);
    }
    match host {
        Host::Ip(ip) if !ip.is_unspecified() => Ok(SocketAddr::new(*ip, *port)),
        Host::Ip(_) | Host::Domain(_) => Ok(SocketAddr::new(upstream.remote.ip(), *port)),
    }
}
