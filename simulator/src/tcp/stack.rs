//! What a TCP implementation must do to carry the connections of a host over packets.
use super::Path;
use crate::{
    host::{Read, WasReset},
    net::packet::{Body, Ecn, Packet, PacketId, Segment},
    rng::{StreamId, Streams},
};
use core::{fmt, net::SocketAddr};
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

/// One end of a connection, unique in its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u32);

/// What a stack tells its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEvent {
    /// Somebody's connection is complete.
    Accepted {
        /// This end.
        conn: ConnId,
        /// Where they dialled.
        local: SocketAddr,
        /// Who.
        remote: SocketAddr,
    },
    /// A dial is complete.
    Connected(ConnId),
    /// A dial has failed; its end is gone.
    Failed(ConnId, Refusal),
    /// Bytes, a FIN or a reset can be read.
    Readable(ConnId),
    /// There is room again after a short write, or the connection is dead.
    Writable(ConnId),
}

/// The ways of connections, by the address that is dialled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    pub(crate) by_address: BTreeMap<SocketAddr, Path>,
    pub(crate) default: Path,
}

impl Paths {
    /// The way of connections between two addresses, one of which was dialled.
    pub(crate) fn between(&self, a: SocketAddr, b: SocketAddr) -> Path {
        let of = |addr| self.by_address.get(addr);
        *of(&a).or_else(|| of(&b)).unwrap_or(&self.default)
    }
}

/// A stack's way to the world.
pub struct StackCx<'a> {
    pub(crate) now: Instant,
    /// The host's name.
    pub(crate) host: &'a str,
    pub(crate) streams: &'a mut Streams,
    pub(crate) paths: &'a Paths,
    pub(crate) next_packet: &'a mut u64,
    pub(crate) next_conn: &'a mut u32,
    pub(crate) packets: &'a mut Vec<(Instant, Packet)>,
    pub(crate) events: &'a mut Vec<(Instant, StackEvent)>,
}

impl fmt::Debug for StackCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackCx")
            .field("now", &self.now)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl StackCx<'_> {
    /// The current virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The random stream called `name` of this host.
    pub fn stream(&mut self, name: &str) -> StreamId {
        self.streams.open(&format!("tcp/{}{name}", self.host))
    }

    /// The random streams of the world, to draw from.
    pub const fn streams(&mut self) -> &mut Streams {
        self.streams
    }

    /// A name for a new end.
    pub const fn new_conn(&mut self) -> ConnId {
        let id = ConnId(*self.next_conn);
        *self.next_conn += 1;
        id
    }

    /// The way of connections between two addresses.
    #[must_use]
    pub fn path(&self, a: SocketAddr, b: SocketAddr) -> Path {
        self.paths.between(a, b)
    }

    /// Sends a segment at a time.
    pub fn send(&mut self, at: Instant, from: SocketAddr, to: SocketAddr, segment: Segment) {
        let id = PacketId(*self.next_packet);
        *self.next_packet += 1;
        let packet = Packet {
            id,
            source: from,
            destination: to,
            ecn: Ecn::NotEct,
            may_fragment: false,
            body: Body::Tcp(segment),
        };
        self.packets.push((at, packet));
    }

    /// Tells the host something at a time.
    pub fn tell(&mut self, at: Instant, event: StackEvent) {
        self.events.push((at, event));
    }
}

/// TCP of one host. A host owns an end from its [`StackEvent`] on until it closes, aborts or
/// vanishes; what a kernel does for it afterwards is the stack's own business.
pub trait Stack {
    /// Begins a connection; ends in [`StackEvent::Connected`] or [`StackEvent::Failed`].
    ///
    /// # Errors
    /// When nothing can be sent to such an address.
    fn dial(
        &mut self,
        cx: &mut StackCx<'_>,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<ConnId, Refusal>;

    /// Reads up to `max` bytes.
    fn read(&mut self, cx: &mut StackCx<'_>, conn: ConnId, max: usize) -> Read;

    /// Writes; returns how many bytes were taken.
    ///
    /// # Errors
    /// When the connection is dead.
    fn write(
        &mut self,
        cx: &mut StackCx<'_>,
        conn: ConnId,
        bytes: &[u8],
    ) -> Result<usize, WasReset>;

    /// Ends this direction behind what was written.
    fn shutdown(&mut self, cx: &mut StackCx<'_>, conn: ConnId);

    /// The host gives the end up: what was written still goes out, then FIN; unread bytes turn
    /// it into a reset.
    fn close(&mut self, cx: &mut StackCx<'_>, conn: ConnId);

    /// Resets the connection; ends a dial as well.
    fn abort(&mut self, cx: &mut StackCx<'_>, conn: ConnId);

    /// Never answers on the connection again.
    fn vanish(&mut self, cx: &mut StackCx<'_>, conn: ConnId);

    /// A TCP segment, or an ICMP message about one, arrives; `listens`: a program of the host
    /// accepts connections to the packet's destination.
    fn handle_packet(&mut self, cx: &mut StackCx<'_>, packet: Packet, listens: bool);

    /// When [`Self::handle_timeout`] is wanted next. Pure.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The deadline has come.
    fn handle_timeout(&mut self, cx: &mut StackCx<'_>);
}
