//! The client's side of an association: a socket, or a carrier's stream of records.
use super::{
    Framing, UdpRelay, framing,
    leg::{Leg, Socket},
    records,
};
use crate::{
    connect::PIPE_LIMIT,
    effects::{Cx, Effects},
    ids::Slot,
    machine::{Action, Cause, Undelivered},
    record::Drop,
};
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{Pipe, Progress, Target};
use sansbox_protocols::paniq::proxy::record::{Malformed, Record};

const _: () = assert!(Record::LEN_MAX <= PIPE_LIMIT);

/// Where the client is.
#[derive(Debug)]
pub(crate) enum Front {
    /// Behind a socket.
    Socket(Socket),
    /// At the other end of the session's stream: these records are for it.
    Stream(Pipe),
}

impl Front {
    /// Is this the client's socket?
    pub(super) fn is(&self, slot: Slot) -> bool {
        matches!(self, Self::Socket(Socket::Bound(client)) if *client == slot)
    }
}

impl UdpRelay {
    /// A relay for a client behind a carrier's stream, that may be told of datagrams that did not
    /// arrive. Nothing is asked for.
    pub(crate) fn on_stream(source: SocketAddr, tells_errors: bool) -> Self {
        let front = Front::Stream(Pipe::new(PIPE_LIMIT));
        let relay = Self::new(Framing::Records, source, front);
        Self {
            tells_errors,
            ..relay
        }
    }

    /// Whether the client is behind a stream.
    pub(crate) const fn is_on_stream(&self) -> bool {
        matches!(self.client, Front::Stream(_))
    }

    /// Takes the client's records from `up`, and puts those for it in `down`. On an error the
    /// stream says nothing that is understood any more.
    pub(crate) fn exchange(
        &mut self,
        cx: &mut Cx<'_>,
        up: &mut Pipe,
        down: &mut Pipe,
    ) -> Result<Progress, Malformed> {
        let mut progress = Progress::NONE;
        if !self.is_on_stream() {
            return Ok(progress);
        }
        while let Some(datagram) = records::take(up)? {
            self.client_sent(cx, self.source, datagram);
            progress = Progress::MADE;
        }
        if let Front::Stream(pipe) = &mut self.client {
            progress |= pipe.transfer(down);
        }
        Ok(progress)
    }

    pub(super) fn upstream_sent(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
        from: SocketAddr,
        data: BytesMut,
    ) {
        let Some(leg) = self.legs.values().find(|leg| leg.receives(slot, from)) else {
            return cx.record.drop_datagram(Drop::Stranger);
        };
        if leg.is_proxy() {
            return self.proxy_sent(cx, data);
        }
        if !self.flows.admits(&self.framing, from) {
            return cx.record.drop_datagram(Drop::Stranger);
        }
        let len = data.len();
        let wrapped = self.framing.seal(from, data, &mut self.scratch);
        self.tell(cx, wrapped, len);
    }

    /// Takes a datagram with a header from another proxy or a stream of records.
    pub(super) fn proxy_sent(&mut self, cx: &mut Cx<'_>, mut data: BytesMut) {
        let Some(header) = framing::header_len(&data) else {
            return cx.record.drop_datagram(Drop::Malformed);
        };
        let len = data.len() - header;
        // The proxy's header is what a SOCKS client wants to see, too.
        if matches!(self.framing, Framing::Fixed { .. }) {
            let _ = data.split_to(header);
        }
        self.tell(cx, data, len);
    }

    /// Sends the client a datagram, of which `len` octets are payload.
    fn tell(&mut self, cx: &mut Cx<'_>, data: BytesMut, len: usize) {
        match &mut self.client {
            Front::Socket(Socket::Bound(slot)) if let Some(to) = self.framing.client() => {
                let slot = *slot;
                cx.fx.push(Action::Send { slot, to, data });
            }
            Front::Socket(_) => return cx.record.drop_datagram(Drop::Unreachable),
            Front::Stream(pipe) => {
                if let Err(why) = records::put(pipe, &data, &mut self.scratch) {
                    return cx.record.drop_datagram(why);
                }
            }
        }
        cx.record.bytes_down += len as u64;
    }

    /// Takes what a socket of our own says of a datagram to `to`. The client is told if it has sent
    /// any there, from that socket; what is said of a way to another proxy is no word about a target.
    pub(crate) fn undelivered(
        &self,
        cx: &mut Cx<'_>,
        slot: Slot,
        to: SocketAddr,
        error: Undelivered,
    ) {
        let outbound = self.flows.direct_to(to);
        let leg = outbound.and_then(|outbound| self.legs.get(&outbound));
        if self.tells_errors && leg.is_some_and(|leg| leg.receives(slot, to)) {
            cx.fx.push(Action::DatagramError { to, error });
        }
    }

    /// Tells the client that its datagram to `target` goes nowhere, if there is a way to tell it.
    pub(super) fn tell_undelivered(&self, fx: &mut Effects, target: &Target, cause: Option<Cause>) {
        if let (true, Some(to), Some(cause)) = (self.tells_errors, target.socket_addr(), cause) {
            let reporter = None;
            let error = Undelivered { cause, reporter };
            fx.push(Action::DatagramError { to, error });
        }
    }

    /// Moves control connections and streams on.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>) -> Progress {
        let mut progress = Progress::NONE;
        let (mut over, mut came) = (Vec::new(), Vec::new());
        for (outbound, leg) in &mut self.legs {
            match leg.pump(cx.now, cx.plan, &mut came, cx.fx) {
                Ok(moved) => progress |= moved,
                Err(why) => over.push((*outbound, why)),
            }
        }
        for datagram in came {
            self.proxy_sent(cx, datagram);
        }
        for (outbound, why) in over {
            self.lose(cx, outbound, why);
            progress = Progress::MADE;
        }
        if progress == Progress::MADE {
            self.flush(cx);
        }
        progress
    }
}

impl Leg {
    /// Sends a datagram, or gives it back while the leg is not ready.
    pub(super) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        to: SocketAddr,
        data: BytesMut,
        scratch: &mut BytesMut,
    ) -> Option<BytesMut> {
        if let Self::Records(stream) = self {
            let Some(upstream) = stream.upstream_mut() else {
                return Some(data);
            };
            if let Err(why) = records::put(&mut upstream.tx, &data, scratch) {
                cx.record.drop_datagram(why);
            }
            return None;
        }
        let Some((slot, to)) = self.route(cx.plan, to, cx.fx) else {
            return Some(data);
        };
        cx.fx.push(Action::Send { slot, to, data });
        None
    }
}
