//! The packet tier: TCP as smoltcp does it, over the packets of the world. SYN, MSS, windows and
//! their scaling, RTO, fast retransmit, delayed acknowledgements, keep-alive and zero windows are
//! real.
//!
//! What it does in another way than the kernel of a common system, or not at all:
//! - ICMP: smoltcp has none for TCP. Here an unreachable host fails a dial, and nothing else
//!   (RFC 1122 section 4.2.3.9); a packet too big makes the packets of its connection shorter, and
//!   what was lost comes again when the retransmission timer fires, not at once.
//! - There is no search for the MTU of a black hole (RFC 4821): big segments are lost until the
//!   connection is given up.
//! - Selective acknowledgements are sent, but nothing is made of those that come: behind a timeout
//!   all of the window is sent again.
//! - Congestion holds nobody back: smoltcp 0.13 keeps CUBIC's window, but does not count what is on
//!   the way against it. The receiver's window and the send buffer are the limits.
//! - No timestamps, no ECN, no urgent data; PSH is not carried. Nagle's algorithm is off.
//! - A connection on which nothing is heard is given up after the path's keep-alive time, whether
//!   bytes wait for an acknowledgement or not; one that is heard but takes no bytes, and has room
//!   for them, after the time of fifteen retransmissions.
//! - A listener's queue has no limit: each request has a socket of its own.
mod acks;
mod conn;
mod device;
#[cfg(test)]
mod tests;
mod wire;

use super::stack::{ConnId, Stack, StackCx, StackEvent};
use crate::{
    host::{Read, WasReset},
    net::packet::{Body, Flags, Icmp, IcmpKind, Packet, Segment},
};
use conn::{Conn, Owner, Phase};
use core::net::SocketAddr;
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

type Pair = (SocketAddr, SocketAddr);

/// TCP of one host, on smoltcp.
#[derive(Default)]
pub(crate) struct PacketTcp {
    conns: BTreeMap<ConnId, Conn>,
    /// By own and other address.
    pairs: BTreeMap<Pair, ConnId>,
    /// How often an address was dialled, or a listener served.
    counts: BTreeMap<SocketAddr, u64>,
}

impl PacketTcp {
    fn count(&mut self, addr: SocketAddr) -> u64 {
        let count = self.counts.entry(addr).or_default();
        *count += 1;
        *count - 1
    }

    fn remove(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            let pair = (conn.local, conn.remote);
            if self.pairs.get(&pair) == Some(&id) {
                self.pairs.remove(&pair);
            }
        }
    }

    /// Does something with a connection, and forgets it when that was the end of it.
    fn with<R>(&mut self, now: Instant, id: ConnId, act: impl FnOnce(&mut Conn) -> R) -> Option<R> {
        let conn = self.conns.get_mut(&id)?;
        let result = act(conn);
        if conn.is_gone(now) {
            self.remove(id);
        }
        Some(result)
    }

    fn accept(&mut self, cx: &mut StackCx<'_>, pair: Pair, request: Segment) {
        let (local, _) = pair;
        let nth = self.count(local);
        let stream = cx.stream(&format!("<-{local}#{nth}"));
        let id = cx.new_conn();
        let conn = Conn::new(cx, id, pair, stream, Phase::Granting);
        self.conns.insert(id, conn);
        self.pairs.insert(pair, id);
        self.with(cx.now(), id, |conn| conn.grant(cx, request));
    }

    fn segment(&mut self, cx: &mut StackCx<'_>, pair: Pair, segment: Segment, listens: bool) {
        let now = cx.now();
        let known = self.pairs.get(&pair).copied();
        let conn = known.and_then(|id| self.conns.get(&id));
        let is_silent = conn.is_some_and(|conn| conn.owner == Owner::Vanished);
        let is_alive = conn.is_some_and(|conn| conn.phase != Phase::Dead);
        if is_silent {
            return;
        }
        if let Some(id) = known.filter(|_| is_alive) {
            self.with(now, id, |conn| conn.poll(cx, Some(segment)));
        } else if segment.flags == Flags::SYN && listens {
            self.accept(cx, pair, segment);
        } else if let Some(reset) = segment.reset() {
            cx.send(now, pair.0, pair.1, reset);
        }
    }

    fn icmp(&mut self, cx: &mut StackCx<'_>, icmp: Icmp) {
        let pair = (icmp.about_source, icmp.about_destination);
        let Some(id) = self.pairs.get(&pair).copied() else {
            return;
        };
        match icmp.kind {
            IcmpKind::PacketTooBig { mtu } => {
                self.with(cx.now(), id, |conn| conn.shrink(cx, mtu));
            }
            IcmpKind::Unreachable => {
                let is_dial = |conn: &Conn| conn.phase == Phase::Asking;
                if self.conns.get(&id).is_some_and(is_dial) {
                    self.remove(id);
                    let event = StackEvent::Failed(id, Refusal::HostUnreachable);
                    cx.tell(cx.now(), event);
                }
            }
        }
    }
}

impl Stack for PacketTcp {
    fn dial(&mut self, cx: &mut StackCx<'_>, from: SocketAddr, to: SocketAddr) -> ConnId {
        let nth = self.count(to);
        let stream = cx.stream(&format!("->{to}#{nth}"));
        let id = cx.new_conn();
        let conn = Conn::new(cx, id, (from, to), stream, Phase::Asking);
        self.conns.insert(id, conn);
        if let Some(old) = self.pairs.insert((from, to), id) {
            self.conns.remove(&old);
        }
        let now = cx.now();
        if self.with(now, id, |conn| conn.dial(cx)) == Some(false) {
            self.remove(id);
            cx.tell(now, StackEvent::Failed(id, Refusal::HostUnreachable));
        }
        id
    }

    fn read(&mut self, cx: &mut StackCx<'_>, id: ConnId, max: usize) -> Read {
        let read = self.with(cx.now(), id, |conn| conn.read(cx, max));
        read.unwrap_or(Read::Reset)
    }

    fn write(&mut self, cx: &mut StackCx<'_>, id: ConnId, bytes: &[u8]) -> Result<usize, WasReset> {
        let taken = self.with(cx.now(), id, |conn| conn.write(cx, bytes));
        taken.unwrap_or(Err(WasReset))
    }

    fn shutdown(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(cx.now(), id, |conn| conn.shutdown(cx));
    }

    fn close(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(cx.now(), id, |conn| conn.close(cx));
    }

    fn abort(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(cx.now(), id, |conn| conn.abort(cx));
    }

    fn vanish(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(cx.now(), id, |conn| conn.owner = Owner::Vanished);
    }

    fn handle_packet(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool) {
        let pair = (packet.destination, packet.source);
        match packet.body {
            Body::Tcp(segment) => self.segment(cx, pair, segment, listens),
            Body::Icmp(icmp) => self.icmp(cx, icmp),
            Body::Udp(_) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.conns.values().filter_map(Conn::poll_timeout).min()
    }

    fn handle_timeout(&mut self, cx: &mut StackCx<'_>) {
        let now = cx.now();
        let is_due = |conn: &Conn| conn.poll_timeout().is_some_and(|at| at <= now);
        let conns = self.conns.iter();
        let due: Vec<ConnId> = conns
            .filter(|(_, conn)| is_due(conn))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.with(now, id, |conn| conn.poll(cx, None));
        }
    }
}
