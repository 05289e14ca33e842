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

pub(crate) use wire::Numbers;

use super::{
    stack::{ConnId, Stack, StackCx},
    table::{Owner, Pair, Table},
};
use crate::{
    host::{Read, WasReset},
    net::packet::{Body, Flags, Packet, Segment},
};
use conn::{Conn, Phase};
use core::net::SocketAddr;
use sansbox_core::{Instant, Refusal};

/// TCP of one host, on smoltcp.
#[derive(Default)]
pub(crate) struct PacketTcp {
    conns: Table<Conn>,
}

impl PacketTcp {
    fn accept(&mut self, cx: &mut StackCx<'_>, pair: Pair, request: Segment) {
        let (id, stream) = self.conns.name(cx, "<-", pair.0);
        let conn = Conn::new(cx, id, pair, stream, Phase::Granting);
        self.conns.insert(id, conn);
        self.conns
            .with(cx.now(), id, |conn| conn.grant(cx, request));
    }

    fn segment(&mut self, cx: &mut StackCx<'_>, pair: Pair, segment: Segment, listens: bool) {
        let now = cx.now();
        let known = self.conns.find(pair);
        if known.is_some_and(|(_, conn)| conn.owner == Owner::Vanished) {
            return;
        }
        let alive = known.filter(|(_, conn)| conn.phase != Phase::Dead);
        if let Some(id) = alive.map(|(id, _)| id) {
            self.conns
                .with(now, id, |conn| conn.poll(cx, Some(segment)));
        } else if segment.flags == Flags::SYN && listens {
            self.accept(cx, pair, segment);
        } else if let Some(reset) = segment.reset() {
            cx.send(now, pair.0, pair.1, reset);
        }
    }
}

impl Stack for PacketTcp {
    fn dial(
        &mut self,
        cx: &mut StackCx<'_>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<ConnId, Refusal> {
        let (id, stream) = self.conns.name(cx, "->", to);
        let conn = Conn::new(cx, id, (from, to), stream, Phase::Asking);
        self.conns.replace(id, conn);
        if self.conns.with(cx.now(), id, |conn| conn.dial(cx)) == Some(false) {
            self.conns.remove(id);
            return Err(Refusal::HostUnreachable);
        }
        Ok(id)
    }

    fn read(&mut self, cx: &mut StackCx<'_>, id: ConnId, max: usize) -> Read {
        let read = self.conns.with(cx.now(), id, |conn| conn.read(cx, max));
        read.unwrap_or(Read::Reset)
    }

    fn write(&mut self, cx: &mut StackCx<'_>, id: ConnId, bytes: &[u8]) -> Result<usize, WasReset> {
        let taken = self.conns.with(cx.now(), id, |conn| conn.write(cx, bytes));
        taken.unwrap_or(Err(WasReset))
    }

    fn shutdown(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.conns.with(cx.now(), id, |conn| conn.shutdown(cx));
    }

    fn close(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.conns.with(cx.now(), id, |conn| conn.close(cx));
    }

    fn abort(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.conns.with(cx.now(), id, |conn| conn.abort(cx));
    }

    fn vanish(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.conns
            .with(cx.now(), id, |conn| conn.owner = Owner::Vanished);
    }

    fn handle_packet(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool) {
        let pair = (packet.destination, packet.source);
        match packet.body {
            Body::Tcp(segment) => self.segment(cx, pair, segment, listens),
            Body::Icmp(icmp) => self.conns.handle_icmp(cx, &icmp),
            Body::Udp(_) | Body::Raw(_) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.conns.poll_timeout()
    }

    fn handle_timeout(&mut self, cx: &mut StackCx<'_>) {
        let now = cx.now();
        for id in self.conns.due(now) {
            self.conns.with(now, id, |conn| conn.poll(cx, None));
        }
    }
}
