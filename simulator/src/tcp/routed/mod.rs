//! Ideal TCP over packets: what [`super::ideal`] is between hosts without hops. Bytes are cut at
//! random, lost segments are sent again, out of order ones are sorted, duplicates dropped. The
//! rules of retransmission are those of RFC 6298, without the arithmetic of congestion control
//! beyond a count of packets.
mod conn;
mod recv;
mod send;
mod timers;

use super::{
    stack::{ConnId, Stack, StackCx},
    table::{Owner, Table},
};
use crate::{
    host::{Read, WasReset},
    net::packet::{Body, Flags, Packet},
};
use conn::{Conn, Phase};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};

/// How long an end that is done is remembered, to answer what comes late (Linux,
/// `TCP_TIMEWAIT_LEN`).
const LINGER: Duration = Duration::from_secs(60);

/// Ideal TCP of one host.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    conns: Table<Conn>,
}

impl Routed {
    /// A request for a connection.
    fn accept(&mut self, cx: &mut StackCx<'_>, packet: &Packet) {
        let (local, remote) = (packet.destination, packet.source);
        let (id, stream) = self.conns.name(cx, "<-", local);
        let mut conn = Conn::new(cx, id, (local, remote), stream, Phase::SynReceived);
        conn.send_syn(cx);
        self.conns.insert(id, conn);
    }

    fn segment(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool) {
        let pair = (packet.destination, packet.source);
        if let Some((id, conn)) = self.conns.find(pair)
            && conn.forget_at.is_some_and(|at| at <= cx.now())
        {
            self.conns.remove(id);
        }
        let Body::Tcp(segment) = &packet.body else {
            return;
        };
        let is_request = segment.flags == Flags::SYN;
        match self.conns.find(pair).map(|(id, _)| id) {
            Some(id) => {
                let Body::Tcp(segment) = packet.body else {
                    return;
                };
                self.conns
                    .with(cx.now(), id, |conn| conn.handle_segment(cx, segment));
            }
            None if is_request && listens => self.accept(cx, &packet),
            None => {
                if let Some(reset) = segment.reset() {
                    cx.send(cx.now(), pair.0, pair.1, reset);
                }
            }
        }
    }
}

impl Stack for Routed {
    fn dial(
        &mut self,
        cx: &mut StackCx<'_>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<ConnId, Refusal> {
        let (id, stream) = self.conns.name(cx, "->", to);
        let mut conn = Conn::new(cx, id, (from, to), stream, Phase::SynSent);
        conn.send_syn(cx);
        self.conns.replace(id, conn);
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
        self.conns.with(cx.now(), id, |conn| {
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
        self.conns.with(cx.now(), id, |conn| conn.abort(cx));
    }

    fn vanish(&mut self, cx: &mut StackCx<'_>, id: ConnId) {
        self.conns
            .with(cx.now(), id, |conn| conn.owner = Owner::Vanished);
    }

    fn handle_packet(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool) {
        match packet.body {
            Body::Tcp(_) => self.segment(cx, packet, listens),
            Body::Icmp(icmp) => self.conns.handle_icmp(cx, &icmp),
            Body::Udp(_) | Body::Raw(_) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.conns.poll_timeout()
    }

    fn handle_timeout(&mut self, cx: &mut StackCx<'_>) {
        for id in self.conns.due(cx.now()) {
            self.conns
                .with(cx.now(), id, |conn| conn.handle_timeout(cx));
        }
    }
}
