//! UDP associations: one per client mapping, endpoint-independent, each target routed by itself.
//!
//! `UdpRelay` is the relay itself, part of a session (SOCKS5 UDP ASSOCIATE, which ends with its
//! control connection and only then) or of an [`Association`] (a `direct` inbound, which ends
//! when nothing moves for `udp_timeout`).
mod association;
mod flow;
mod framing;
mod front;
mod leg;
mod records;

use crate::{
    carrier::CarrierPlan,
    config::model::{Network, RejectMethod},
    connect::{Connect, RESOLVE_TIMEOUT, families, order},
    effects::{Cx, Effects},
    ids::{ActionId, OutboundId, Slot},
    machine::{Action, Cause, Outcome, SlotPipes, Stage},
    plan::{Path, Plan, ProxyProtocol, Reach},
    record::Drop,
    router::Decision,
};
pub use association::Association;
pub(crate) use association::idle_timeout;
use bytes::BytesMut;
use core::net::SocketAddr;
use flow::{Flow, Flows, Way};
pub(crate) use framing::Framing;
use framing::{FromClient, header_target, with_header};
use front::Front;
use leg::{Control, Leg, Queue, Socket};
use sansbox_core::{End, Host, Instant, Pipe, Refusal, Target};
use sansbox_protocols::socks::Command;
use std::collections::BTreeMap;

/// Datagrams of one association that may wait for a name, a socket or a proxy.
pub const QUEUE_MAX: usize = 32;
/// Targets of one association remembered at once; the least recently used is forgotten.
pub const FLOWS_MAX: usize = 1024;

/// The relay of an association.
#[derive(Debug)]
pub(crate) struct UdpRelay {
    framing: Framing,
    /// The client whom rules see.
    source: SocketAddr,
    client: Front,
    /// The client can be told of datagrams that did not arrive.
    tells_errors: bool,
    flows: Flows,
    legs: BTreeMap<OutboundId, Leg>,
    /// Datagrams whose leg is not ready.
    waiting: BTreeMap<OutboundId, Queue>,
    scratch: BytesMut,
}

impl UdpRelay {
    /// A relay with a client-facing socket of its own, at the address of `local`.
    pub(crate) fn bind(
        framing: Framing,
        source: SocketAddr,
        mut local: SocketAddr,
        fx: &mut Effects,
    ) -> Self {
        let (id, slot) = (fx.action_id(), fx.slot());
        local.set_port(0);
        fx.push(Action::Bind {
            id,
            slot,
            local,
            outbound: None,
        });
        Self::new(framing, source, Front::Socket(Socket::Binding { id, slot }))
    }

    /// A relay behind a listening socket.
    pub(crate) fn on_listener(framing: Framing, source: SocketAddr) -> Self {
        Self::new(framing, source, Front::Socket(Socket::Bound(Slot::CLIENT)))
    }

    fn new(framing: Framing, source: SocketAddr, client: Front) -> Self {
        Self {
            framing,
            source,
            client,
            tells_errors: false,
            flows: Flows::default(),
            legs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            scratch: BytesMut::new(),
        }
    }

    /// Takes a datagram from either side.
    pub(crate) fn datagram(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
        from: SocketAddr,
        data: BytesMut,
    ) {
        if self.client.is(slot) {
            self.client_sent(cx, from, data);
        } else {
            self.upstream_sent(cx, slot, from, data);
        }
    }

    fn client_sent(&mut self, cx: &mut Cx<'_>, from: SocketAddr, mut data: BytesMut) {
        let target = match self.framing.open(from, &mut data) {
            FromClient::Payload(target) => target,
            FromClient::Stranger => return cx.record.drop_datagram(Drop::Stranger),
            FromClient::Fragment => return cx.record.drop_datagram(Drop::Fragment),
            FromClient::Malformed => return cx.record.drop_datagram(Drop::Malformed),
        };
        match self.flows.is_resolving(&target) {
            None => self.open_flow(cx, &target),
            Some(true) if self.queue_is_full() => return cx.record.drop_datagram(Drop::Overflow),
            Some(_) => {}
        }
        let Some(flow) = self.flows.use_flow(&target) else {
            return cx.record.drop_datagram(Drop::Overflow);
        };
        let len = data.len() as u64;
        match &mut flow.way {
            Way::Rejected(cause) => {
                let cause = *cause;
                cx.record.drop_datagram(Drop::Policy);
                return self.tell_undelivered(cx.fx, &target, cause);
            }
            Way::Resolving { waiting, .. } => waiting.push(data),
            Way::Direct { outbound, to } => {
                let (outbound, to) = (*outbound, *to);
                self.send(cx, outbound, to, data);
            }
            Way::Proxy { outbound } => {
                let outbound = *outbound;
                let wrapped = with_header(&target, &data, &mut self.scratch);
                self.send(cx, outbound, self.source, wrapped);
            }
        }
        cx.record.bytes_up += len;
    }

    /// Whether as many datagrams wait as may, whatever for and to however many targets.
    fn queue_is_full(&self) -> bool {
        let for_legs: usize = self.waiting.values().map(Queue::len).sum();
        for_legs + self.flows.waiting() >= QUEUE_MAX
    }

    /// Routes a target that is new to this association. There is no flow afterwards when it had
    /// to wait for a name and nothing more may wait.
    fn open_flow(&mut self, cx: &mut Cx<'_>, target: &Target) {
        let way = match cx.route(Network::Udp, target) {
            Decision::Route(outbound) => self.way(cx, outbound, target),
            Decision::Reject { method, .. } => Err(match method {
                RejectMethod::Default => Refusal::Policy,
                RejectMethod::Drop => Refusal::Dropped,
            }),
        };
        let way = way.unwrap_or_else(|why| {
            cx.fx.push(Action::Log(Stage::Refused(why)));
            Some(Way::Rejected(Cause::of_refusal(why)))
        });
        if let Some(way) = way {
            self.flows.insert(target.clone(), Flow::new(way));
        }
    }

    /// How datagrams for `target` leave through `outbound`; opens the leg when it is new. `None`
    /// when its name would have to be resolved and nothing more may wait.
    fn way(
        &mut self,
        cx: &mut Cx<'_>,
        outbound: OutboundId,
        target: &Target,
    ) -> Result<Option<Way>, Refusal> {
        if let Host::Ip(ip) = target.host
            && !cx.plan.inbound(cx.record.inbound).reach.admits(ip)
        {
            return Err(Refusal::PrivateAddress);
        }
        let (dial, proxies) = match &cx.plan.outbound(outbound).path {
            Path::Blocked => return Err(Refusal::Policy),
            Path::Through { dial, proxies } => (dial, proxies),
            Path::Carried { carrier, proxies } => {
                return self.carry(cx, outbound, *carrier, proxies).map(Some);
            }
        };
        match proxies.as_slice() {
            [] => {
                let leg = Leg::Direct {
                    dial: *dial,
                    v4: Socket::Unbound,
                    v6: Socket::Unbound,
                };
                self.legs.entry(outbound).or_insert(leg);
                Ok(Some(match &target.host {
                    Host::Ip(ip) => Way::Direct {
                        outbound,
                        to: SocketAddr::new(*ip, target.port),
                    },
                    Host::Domain(_) if self.queue_is_full() => return Ok(None),
                    Host::Domain(name) => {
                        let id = cx.fx.action_id();
                        let families = families(cx.plan.outbound(*dial).dial.domain_strategy);
                        cx.fx.push(Action::Resolve {
                            id,
                            name: name.clone(),
                            families,
                        });
                        let deadline = cx.now + RESOLVE_TIMEOUT;
                        Way::Resolving {
                            outbound,
                            id,
                            deadline,
                            waiting: Vec::new(),
                        }
                    }
                }))
            }
            [proxy] if is_socks(cx.plan, *proxy) => {
                if !self.legs.contains_key(&outbound) {
                    self.associate(cx, outbound, *dial)?;
                }
                Ok(Some(Way::Proxy { outbound }))
            }
            // Datagrams cannot follow a control connection through a second proxy.
            _ => Err(Refusal::CommandUnsupported),
        }
    }

    /// Through a carrier's stream of records, where it has such.
    fn carry(
        &mut self,
        cx: &mut Cx<'_>,
        outbound: OutboundId,
        carrier: OutboundId,
        proxies: &[OutboundId],
    ) -> Result<Way, Refusal> {
        let plan = cx.plan.outbound(carrier).carrier.as_ref();
        if !proxies.is_empty() || !plan.is_some_and(CarrierPlan::has_datagrams) {
            return Err(Refusal::CommandUnsupported);
        }
        let leg = self.legs.entry(outbound);
        leg.or_insert_with(|| Leg::Records(records::Stream::open(carrier, cx.fx)));
        Ok(Way::Proxy { outbound })
    }

    /// Asks another proxy for an association.
    fn associate(
        &mut self,
        cx: &mut Cx<'_>,
        outbound: OutboundId,
        dial: OutboundId,
    ) -> Result<(), Refusal> {
        let any = Target::from(SocketAddr::from(([0, 0, 0, 0], 0)));
        let path = (&cx.plan.outbound(outbound).path, Reach::All);
        let connect = Connect::new(cx.now, cx.plan, path, Command::UdpAssociate, any, cx.fx)?;
        let control = Control::Connecting(Box::new(connect));
        let leg = Leg::Proxy {
            dial,
            control,
            socket: Socket::Unbound,
        };
        self.legs.insert(outbound, leg);
        Ok(())
    }

    fn send(&mut self, cx: &mut Cx<'_>, outbound: OutboundId, to: SocketAddr, data: BytesMut) {
        let unsent = match self.legs.get_mut(&outbound) {
            Some(leg) => leg.send(cx, to, data, &mut self.scratch),
            None => Some(data),
        };
        match unsent {
            None => {}
            Some(_) if self.queue_is_full() => cx.record.drop_datagram(Drop::Overflow),
            Some(data) => self.waiting.entry(outbound).or_default().push((to, data)),
        }
    }

    /// Takes the answer to an action: the bound address when it was the client-facing socket's.
    pub(crate) fn done(
        &mut self,
        cx: &mut Cx<'_>,
        id: ActionId,
        outcome: Outcome<'_>,
    ) -> Result<Option<SocketAddr>, Refusal> {
        if let Front::Socket(Socket::Binding { id: wanted, slot }) = self.client
            && wanted == id
        {
            return match outcome {
                Outcome::Bound(address) => {
                    self.client = Front::Socket(Socket::Bound(slot));
                    Ok(Some(address))
                }
                Outcome::Failed(why) => {
                    // Nothing is left to cancel.
                    self.client = Front::Socket(Socket::Unbound);
                    Err(why)
                }
                Outcome::Resolved(_) | Outcome::Connected(_) => Err(Refusal::General),
            };
        }
        if let Some((target, outbound, waiting)) = self.flows.resolved(id) {
            self.resolved(cx, (target, outbound), outcome, waiting);
            return Ok(None);
        }
        let mut over = None;
        for (outbound, leg) in &mut self.legs {
            match leg.done(cx.now, cx.plan, id, outcome, cx.fx) {
                Ok(false) => {}
                Ok(true) => break,
                Err(why) => {
                    over = Some((*outbound, why, leg.is_proxy()));
                    break;
                }
            }
        }
        match over {
            Some((outbound, why, true)) => self.lose(cx, outbound, why),
            Some((outbound, why, false)) => self.lack(cx, outbound, why),
            None => {}
        }
        self.flush(cx);
        Ok(None)
    }

    /// A direct leg got no socket of one family. The other family's stays, and with it the
    /// address that peers know the client by; the next datagram asks again.
    fn lack(&mut self, cx: &mut Cx<'_>, outbound: OutboundId, why: Refusal) {
        cx.fx.push(Action::Log(Stage::Refused(why)));
        let (Some(leg), Some(queue)) = (self.legs.get(&outbound), self.waiting.get_mut(&outbound))
        else {
            return;
        };
        let lacking: Vec<_> = queue.extract_if(.., |(to, _)| leg.lacks(*to)).collect();
        for (to, _) in lacking {
            cx.record.drop_datagram(Drop::Unreachable);
            self.tell_undelivered(cx.fx, &to.into(), Cause::of_refusal(why));
        }
    }

    fn resolved(
        &mut self,
        cx: &mut Cx<'_>,
        (target, outbound): (Target, OutboundId),
        outcome: Outcome<'_>,
        waiting: Vec<BytesMut>,
    ) {
        let strategy = match &cx.plan.outbound(outbound).path {
            Path::Through { dial, .. } => cx.plan.outbound(*dial).dial.domain_strategy,
            Path::Blocked | Path::Carried { .. } => Default::default(),
        };
        let reach = cx.plan.inbound(cx.record.inbound).reach;
        let ip = match outcome {
            Outcome::Resolved(addresses) => {
                let addresses = order(addresses, strategy);
                let admitted = addresses.iter().find(|ip| reach.admits(**ip));
                admitted.copied().ok_or(match addresses.as_slice() {
                    [] => (Refusal::NameNotFound, Drop::Unreachable),
                    [..] => (Refusal::PrivateAddress, Drop::Policy),
                })
            }
            Outcome::Connected(_) | Outcome::Bound(_) | Outcome::Failed(_) => {
                Err((Refusal::NameNotFound, Drop::Unreachable))
            }
        };
        let ip = match ip {
            Ok(ip) => ip,
            Err((why, drop)) => {
                // Forgotten, so that the next datagram asks again.
                cx.fx.push(Action::Log(Stage::Refused(why)));
                for _ in waiting {
                    cx.record.drop_datagram(drop);
                }
                return;
            }
        };
        let to = SocketAddr::new(ip, target.port);
        self.flows
            .insert(target, Flow::new(Way::Direct { outbound, to }));
        for data in waiting {
            self.send(cx, outbound, to, data);
        }
    }

    /// Sends what waited for legs that are ready now.
    fn flush(&mut self, cx: &mut Cx<'_>) {
        for (outbound, queue) in &mut self.waiting {
            let Some(leg) = self.legs.get_mut(outbound) else {
                continue;
            };
            let mut left = Queue::new();
            for (to, data) in queue.drain(..) {
                let unsent = leg.send(cx, to, data, &mut self.scratch);
                left.extend(unsent.map(|data| (to, data)));
            }
            *queue = left;
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// A leg is over; the next datagram for it opens a new one.
    fn lose(&mut self, cx: &mut Cx<'_>, outbound: OutboundId, why: Refusal) {
        cx.fx.push(Action::Log(Stage::Refused(why)));
        if let Some(leg) = self.legs.remove(&outbound) {
            leg.close(End::Reset, cx.fx);
        }
        for (_, data) in self.waiting.remove(&outbound).into_iter().flatten() {
            cx.record.drop_datagram(Drop::Unreachable);
            if let Some(target) = header_target(&data) {
                self.tell_undelivered(cx.fx, &target, Cause::of_refusal(why));
            }
        }
        self.flows.forget(outbound, cx.fx);
    }

    /// The receive pipe of a control connection or stream.
    pub(crate) fn stream_rx(&mut self, slot: Slot) -> Option<&mut Pipe> {
        let mut streams = self.legs.values_mut().filter_map(Leg::stream_mut);
        streams.find(|u| u.slot == slot).map(|u| &mut u.rx)
    }

    pub(crate) fn drained(&mut self, slot: Slot, n: usize) {
        let mut streams = self.legs.values_mut().filter_map(Leg::stream_mut);
        if let Some(upstream) = streams.find(|u| u.slot == slot) {
            upstream.tx.skip(n);
        }
    }

    pub(crate) fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        let mut streams = self.legs.values().filter_map(Leg::stream);
        let upstream = streams.find(|u| u.slot == slot)?;
        Some(SlotPipes {
            rx: &upstream.rx,
            tx: &upstream.tx,
        })
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let legs = self.legs.values().filter_map(Leg::poll_timeout).min();
        [legs, self.flows.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let mut over = Vec::new();
        for (outbound, leg) in &mut self.legs {
            if let Err(why) = leg.handle_timeout(cx.now, cx.plan, cx.fx) {
                over.push((*outbound, why));
            }
        }
        for (outbound, why) in over {
            self.lose(cx, outbound, why);
        }
        self.flows.expire(cx);
    }

    /// Ends the relay: all sockets are closed and nothing is wanted any more.
    pub(crate) fn close(self, fx: &mut Effects) {
        match self.client {
            Front::Socket(Socket::Binding { id, .. }) => fx.push(Action::Cancel(id)),
            Front::Socket(Socket::Bound(slot)) if slot != Slot::CLIENT => {
                fx.push(Action::Close(slot, End::Fin));
            }
            Front::Socket(Socket::Bound(_) | Socket::Unbound) | Front::Stream(_) => {}
        }
        for leg in self.legs.into_values() {
            leg.close(End::Fin, fx);
        }
        self.flows.cancel(fx);
    }
}

fn is_socks(plan: &Plan, id: OutboundId) -> bool {
    let proxy = plan.outbound(id).proxy.as_ref();
    proxy.is_some_and(|proxy| matches!(proxy.protocol, ProxyProtocol::Socks { .. }))
}
