//! Ideal TCP over packets: what [`super::ideal`] is between hosts without hops. Bytes are cut at
//! random, lost segments are sent again, out of order ones are sorted, duplicates dropped. The
//! rules of retransmission are those of RFC 6298, without the arithmetic of congestion control
//! beyond a count of packets.
mod conn;
mod recv;
mod send;
mod timers;

use super::stack::{ConnId, Stack, StackCx, StackEvent};
use crate::{
    host::{Read, WasReset},
    net::packet::{Body, Flags, Icmp, IcmpKind, Packet},
};
use conn::{Conn, Owner, Phase};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

/// How long an end that is done is remembered, to answer what comes late (Linux,
/// `TCP_TIMEWAIT_LEN`).
const LINGER: Duration = Duration::from_secs(60);

type Pair = (SocketAddr, SocketAddr);

/// Ideal TCP of one host.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    conns: BTreeMap<ConnId, Conn>,
    /// By own and other address.
    pairs: BTreeMap<Pair, ConnId>,
    /// How often an address was dialled, or a listener served.
    counts: BTreeMap<SocketAddr, u64>,
}

impl Routed {
    fn count(&mut self, addr: SocketAddr) -> u64 {
        let count = self.counts.entry(addr).or_default();
        *count += 1;
        *count - 1
    }

    fn remove(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            self.pairs.remove(&(conn.local, conn.remote));
        }
    }

    /// Does something with a connection, and forgets it when that was the end of it.
    fn with<R>(&mut self, id: ConnId, act: impl FnOnce(&mut Conn) -> R) -> Option<R> {
        let conn = self.conns.get_mut(&id)?;
        let result = act(conn);
        if conn.is_gone() {
            self.remove(id);
        }
        Some(result)
    }

    /// A request for a connection.
    fn accept(&mut self, cx: &mut StackCx<'_>, packet: &Packet) {
        let (local, remote) = (packet.destination, packet.source);
        let nth = self.count(local);
        let stream = cx.stream(&format!("<-{local}#{nth}"));
        let id = cx.new_conn();
        let mut conn = Conn::new(cx, id, (local, remote), stream, Phase::SynReceived);
        conn.send_syn(cx);
        self.conns.insert(id, conn);
        self.pairs.insert((local, remote), id);
    }

    fn segment(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool) {
        let pair = (packet.destination, packet.source);
        if let Some(id) = self.pairs.get(&pair).copied() {
            let is_forgotten = |conn: &Conn| conn.forget_at.is_some_and(|at| at <= cx.now());
            if self.conns.get(&id).is_some_and(is_forgotten) {
                self.remove(id);
            }
        }
        let Body::Tcp(segment) = &packet.body else {
            return;
        };
        let is_request = segment.flags == Flags::SYN;
        match self.pairs.get(&pair).copied() {
            Some(id) => {
                let Body::Tcp(segment) = packet.body else {
                    return;
                };
                self.with(id, |conn| conn.handle_segment(cx, segment));
            }
            None if is_request && listens => self.accept(cx, &packet),
            None => {
                if let Some(reset) = segment.reset() {
                    cx.send(cx.now(), pair.0, pair.1, reset);
                }
            }
        }
    }

    fn icmp(&mut self, cx: &mut StackCx<'_>, icmp: Icmp) {
        let pair = (icmp.about_source, icmp.about_destination);
        let Some(id) = self.pairs.get(&pair).copied() else {
            return;
        };
        match icmp.kind {
            IcmpKind::PacketTooBig { mtu } => {
                self.with(id, |conn| conn.shrink(cx, mtu));
            }
            IcmpKind::Unreachable => {
                // Of an open connection it is a passing trouble (RFC 1122 section 4.2.3.9).
                let is_dial = |conn: &Conn| conn.phase == Phase::SynSent;
                if self.conns.get(&id).is_some_and(is_dial) {
                    self.remove(id);
                    let event = StackEvent::Failed(id, Refusal::HostUnreachable);
                    cx.tell(cx.now(), event);
                }
            }
        }
    }
}

impl Stack for Routed {
    fn dial(&mut self, cx: &mut StackCx<'_>, from: SocketAddr, to: SocketAddr) -> ConnId {
        let nth = self.count(to);
        let stream = cx.stream(&format!("->{to}#{nth}"));
        let id = cx.new_conn();
        let mut conn = Conn::new(cx, id, (from, to), stream, Phase::SynSent);
        conn.send_syn(cx);
        self.conns.insert(id, conn);
        if let Some(old) = self.pairs.insert((from, to), id) {
            self.conns.remove(&old);
        }
        id
    }

    fn read(&mut self, cx: &mut StackCx<'_>, id: ConnId, max: usize) -> Read {
        let read = self.with(id, |conn| conn.read(cx, max));
        read.unwrap_or(Read::Reset)
    }

    fn write(&mut self, cx: &mut StackCx<'_>, id: ConnId, bytes: &[u8]) -> Result<usize, WasReset> {
        let taken = self.with(id, |conn| conn.write(cx, bytes));
        taken.unwrap_or(Err(WasReset))
    }

    fn shutdown(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(id, |conn| conn.shutdown(cx));
    }

    fn close(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(id, |conn| {
            if conn.has_unread() && conn.phase == Phase::Open {
                conn.abort(cx);
            } else {
                conn.owner = Owner::Closed;
                conn.shutdown(cx);
                conn.settle(cx);
            }
        });
    }

    fn abort(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.with(id, |conn| conn.abort(cx));
    }

    fn vanish(&mut self, _cx: &mut StackCx<'_>, id: ConnId) {
        self.with(id, |conn| conn.owner = Owner::Vanished);
    }

    fn handle_packet(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool) {
        match packet.body {
            Body::Tcp(_) => self.segment(cx, packet, listens),
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
            self.with(id, |conn| conn.handle_timeout(cx));
        }
    }
}
