//! Echo requests of clients that are carried upstream (`icmp_echo`: `relay`).
use super::{
    super::{EchoAnswer, EchoRequest, Event, Path},
    Gate,
};
use crate::{
    config::model::{Network, RejectMethod},
    ids::OutboundId,
    router::Decision,
};
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{Instant, Refusal, Target};
use sansbox_stack::{
    Interface,
    icmp::Kind,
    interface::{EchoError, EchoRequest as Asked, QueryId},
};
use std::collections::{BTreeMap, VecDeque};

/// A socket upstream.
#[derive(Debug)]
struct Socket {
    query: QueryId,
    /// Why there is none.
    refused: Option<Refusal>,
}

/// The sockets upstream: one for each client's identifier and each outbound.
#[derive(Debug, Default)]
pub(super) struct Queries {
    paths: BTreeMap<(QueryId, OutboundId), Path>,
    sockets: BTreeMap<Path, Socket>,
    paths_given: u64,
}

impl Queries {
    /// A client asks.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        gate: &Gate,
        interface: &mut Interface,
        asked: Asked,
        events: &mut VecDeque<Event>,
    ) {
        let (query, to) = (asked.query, asked.remote);
        let outbound = match gate.echo(asked.client, to) {
            Ok(outbound) => outbound,
            Err(why) => return refuse(now, interface, query, (to, asked.sequence), why),
        };
        let path = self.path(query, to, outbound, events);
        let request = EchoRequest {
            to,
            sequence: asked.sequence,
            hop_limit: asked.hop_limit,
            data: asked.data,
        };
        events.push_back(Event::Echo(path, request));
    }

    /// The socket that a query leaves by. One that could not be had is asked for again: what was
    /// missing may be there now.
    fn path(
        &mut self,
        query: QueryId,
        to: IpAddr,
        outbound: OutboundId,
        events: &mut VecDeque<Event>,
    ) -> Path {
        let given = &mut self.paths_given;
        let path = *self.paths.entry((query, outbound)).or_insert_with(|| {
            *given += 1;
            Path(*given)
        });
        let (socket, is_new) = match self.sockets.get_mut(&path) {
            Some(socket) => (socket, false),
            None => {
                let refused = None;
                let socket = self.sockets.entry(path);
                (socket.or_insert(Socket { query, refused }), true)
            }
        };
        if socket.refused.take().is_some() || is_new {
            events.push_back(Event::BindEcho(path, to, outbound));
        }
        path
    }

    /// Nobody asks any more with this identifier.
    pub(super) fn end(&mut self, query: QueryId, events: &mut VecDeque<Event>) {
        let all = (query, OutboundId(u16::MIN))..=(query, OutboundId(u16::MAX));
        let outbounds: Vec<_> = self.paths.range(all).map(|(key, _)| *key).collect();
        for key in outbounds {
            if let Some(path) = self.paths.remove(&key) {
                self.sockets.remove(&path);
                events.push_back(Event::Unbind(path));
            }
        }
    }

    /// A socket is there, or it cannot be had.
    pub(super) fn bound(&mut self, path: Path, result: Result<(), Refusal>) {
        if let Some(socket) = self.sockets.get_mut(&path) {
            socket.refused = result.err();
        }
    }

    /// Tells the client what became of its request.
    pub(super) fn answered(
        &self,
        now: Instant,
        interface: &mut Interface,
        path: Path,
        answer: EchoAnswer,
    ) {
        let Some(socket) = self.sockets.get(&path) else {
            return;
        };
        let query = socket.query;
        // What cannot be told is counted by the interface.
        match answer {
            EchoAnswer::Reply {
                from,
                sequence,
                data,
            } => {
                let _ = interface.send_echo_reply(now, query, from, sequence, &data);
            }
            EchoAnswer::Error {
                to,
                sequence,
                reporter,
                kind,
                code,
                mtu,
            } => {
                let Some(kind) = Kind::of_message(to.is_ipv6(), kind, code, mtu) else {
                    return;
                };
                let error = EchoError {
                    remote: to,
                    sequence,
                    kind,
                    reporter,
                };
                let _ = interface.echo_error(now, query, &error);
            }
            EchoAnswer::Refused { to, sequence, why } => {
                let why = socket.refused.unwrap_or(why);
                refuse(now, interface, query, (to, sequence), why);
            }
        }
    }
}

/// A request is not carried.
fn refuse(
    now: Instant,
    interface: &mut Interface,
    query: QueryId,
    (remote, sequence): (IpAddr, u16),
    why: Refusal,
) {
    interface.count_refused_echo();
    // What no event loop of this kind carries is not the destination's doing.
    let kind = if why == Refusal::CommandUnsupported {
        Some(Kind::AdminProhibited)
    } else {
        Kind::of_refusal(why)
    };
    if let Some(kind) = kind {
        let error = EchoError {
            remote,
            sequence,
            kind,
            reporter: None,
        };
        // What the limits of errors forbid is counted.
        let _ = interface.echo_error(now, query, &error);
    }
}

impl Gate {
    /// Whose dial options an echo request gets. Rules see it as UDP to port 0; only what leaves
    /// from this machine itself can carry it.
    fn echo(&self, client: IpAddr, remote: IpAddr) -> Result<OutboundId, Refusal> {
        let target = Target::from(SocketAddr::new(remote, 0));
        let source = SocketAddr::new(client, 0);
        match self.decide(Network::Udp, source, &target) {
            Decision::Route(outbound) => {
                if !self.plan.inbound(self.inbound).reach.admits(remote) {
                    return Err(Refusal::PrivateAddress);
                }
                let path = &self.plan.outbound(outbound).path;
                path.direct().ok_or(Refusal::Policy)
            }
            Decision::Reject { method, .. } => Err(match method {
                RejectMethod::Default => Refusal::Policy,
                RejectMethod::Drop => Refusal::Dropped,
            }),
        }
    }
}
