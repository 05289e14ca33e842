//! What lives in a world: hosts, what they are told, and what they can do.
use crate::{
    check::{Invariant, Violation},
    net::{
        Net,
        packet::{Body, Ecn, Icmp, Packet},
    },
    rng::StreamId,
    tcp::Side,
    transcript::{Detail, Tag},
};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{Instant, Refusal};
use sansbox_engine::machine::Families;

/// A host of a world, in the order they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

/// One end of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    pub(crate) conn: u32,
    pub(crate) side: Side,
}

impl SocketId {
    /// The number that traces show.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.conn as u64 * 2 + matches!(self.side, Side::Acceptor) as u64
    }
}

/// A UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UdpId(pub(crate) u32);

/// A dial on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub(crate) u32);

/// A name lookup on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(crate) u32);

/// What somebody outside the world tells a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End everything that runs.
    Stop,
}

/// What happened to a host.
#[derive(Debug)]
pub enum HostInput {
    /// The world begins.
    Start,
    /// The host's own deadline has come.
    Timer,
    /// Somebody outside speaks.
    Command(Command),
    /// A connection came in on a listener of this host.
    Accepted {
        /// This end of it.
        socket: SocketId,
        /// Who dialled.
        remote: SocketAddr,
        /// Where they dialled.
        local: SocketAddr,
    },
    /// A dial ended: connected from this address, or failed.
    Dialed(DialId, Result<(SocketId, SocketAddr), Refusal>),
    /// Bytes, a FIN or a reset can be read. Comes once; what is left unread is not told again.
    Readable(SocketId),
    /// There is room again after a short write.
    Writable(SocketId),
    /// A datagram came in.
    Datagram {
        /// The receiving socket.
        socket: UdpId,
        /// Who sent it.
        from: SocketAddr,
        /// Its payload.
        data: BytesMut,
    },
    /// A router or the receiving host says what became of a datagram.
    Icmp {
        /// The socket that sent it.
        socket: UdpId,
        /// Who says it.
        from: IpAddr,
        /// What is said.
        icmp: Icmp,
    },
    /// A packet came to a host that is the way out of a site, or one that no socket is for.
    Packet(Packet),
    /// A name lookup ended.
    Resolved(QueryId, Result<Vec<IpAddr>, Refusal>),
}

/// A program in a world.
pub trait Host {
    /// Handles one thing that happened, and drains everything that follows from it.
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput);

    /// When the host wants [`HostInput::Timer`] next. Pure.
    fn poll_timeout(&self) -> Option<Instant>;

    /// What the host still waits for; `None` when it has nothing left to do.
    fn waiting(&self) -> Option<String>;

    /// Has it nothing left to do, nor planned? (What only reacts is done.)
    fn is_done(&self) -> bool {
        self.waiting().is_none()
    }

    /// The host dies; it may still say which flows nobody will see the end of. Its sockets are
    /// gone already.
    fn crashed(&mut self, _cx: &mut Cx<'_>) {}

    /// What is left in it that was not there at the start, once nothing can happen any more.
    fn residue(&self) -> Option<String> {
        None
    }

    /// Does it hold machines under test, which must end by themselves when their peers are done?
    fn serves(&self) -> bool {
        false
    }
}

/// What reading a socket gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Some bytes, at least one.
    Bytes(BytesMut),
    /// The other side's direction has ended.
    Fin,
    /// The connection is dead.
    Reset,
    /// Nothing yet.
    WouldBlock,
}

/// The socket is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WasReset;

/// A host's way to the world: time, randomness, sockets, names.
pub struct Cx<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) host: HostId,
}

impl Cx<'_> {
    /// What this host's clock shows: the virtual time, unless a fault changed the clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.net.core.host_now(self.host)
    }

    /// This host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.net.core.host_name(self.host)
    }

    /// This host's random stream for `purpose`.
    pub fn stream(&mut self, purpose: &str) -> StreamId {
        let name = format!("{}/{purpose}", self.name());
        self.net.core.streams.open(&name)
    }

    /// The random streams of the world, to draw from.
    pub const fn streams(&mut self) -> &mut crate::rng::Streams {
        &mut self.net.core.streams
    }

    /// Accepts TCP connections to `addr`.
    pub fn listen(&mut self, addr: SocketAddr) {
        self.net.tcp.listen(self.host, addr);
    }

    /// Accepts none any more; what waits to be accepted is reset.
    pub fn unlisten(&mut self, addr: SocketAddr) {
        self.net.tcp.unlisten(self.host, addr);
    }

    /// Begins a connection; ends in [`HostInput::Dialed`].
    pub fn dial(&mut self, to: SocketAddr) -> DialId {
        let dial = self.net.tcp.dial(&mut self.net.core, self.host, to);
        self.net.watch.dials(dial, to);
        dial
    }

    /// Drops a dial; its outcome never comes.
    pub fn cancel_dial(&mut self, dial: DialId) {
        self.net.tcp.cancel_dial(&mut self.net.core, dial);
    }

    /// Reads up to `max` bytes.
    pub fn read(&mut self, socket: SocketId, max: usize) -> Read {
        self.net.tcp.read(&mut self.net.core, socket, max)
    }

    /// Writes; returns how many bytes the kernel took. After fewer than all,
    /// [`HostInput::Writable`] comes.
    ///
    /// # Errors
    /// When the connection is dead.
    pub fn write(&mut self, socket: SocketId, bytes: &[u8]) -> Result<usize, WasReset> {
        let taken = self.net.tcp.write(&mut self.net.core, socket, bytes)?;
        let sent = bytes.get(..taken).unwrap_or_default();
        if let Some(what) = self.net.watch.wrote(socket, sent) {
            self.violate(Invariant::Canary, what);
        }
        Ok(taken)
    }

    /// Ends this direction behind what was written.
    pub fn shutdown(&mut self, socket: SocketId) {
        self.net.tcp.shutdown(&mut self.net.core, socket);
    }

    /// Closes as a kernel does: what was written still goes out, then FIN; but unread bytes turn
    /// the close into a reset.
    pub fn close(&mut self, socket: SocketId) {
        self.net.tcp.close(&mut self.net.core, socket);
    }

    /// Resets the connection.
    pub fn abort(&mut self, socket: SocketId) {
        self.net.tcp.abort(&mut self.net.core, socket);
    }

    /// Stops answering on a connection: what is on the way still arrives, nothing else ever
    /// does, and the other side hears of it from its keep-alive alone.
    pub fn vanish(&mut self, socket: SocketId) {
        self.net.tcp.vanish(&mut self.net.core, socket);
    }

    /// Opens a UDP socket; port 0 lets the system choose. Returns the address as bound.
    ///
    /// # Errors
    /// When the address is not this host's or the port is taken.
    pub fn bind(&mut self, local: SocketAddr) -> Result<(UdpId, SocketAddr), Refusal> {
        if !self.net.core.has_file(self.host, self.open_sockets()) {
            return Err(Refusal::Exhausted);
        }
        self.net.udp.bind(&mut self.net.core, self.host, local)
    }

    /// Sends a datagram.
    pub fn send_to(&mut self, socket: UdpId, to: SocketAddr, data: &[u8]) {
        self.send_marked(socket, to, data, Ecn::NotEct);
    }

    /// Sends a datagram with a congestion mark.
    pub fn send_marked(&mut self, socket: UdpId, to: SocketAddr, data: &[u8], ecn: Ecn) {
        if let Some(what) = self.net.watch.sent(to, data) {
            self.violate(Invariant::Canary, what);
        }
        if let Some(what) = self.net.watch.is_too_long(self.host, to, data.len()) {
            self.violate(Invariant::PathBudget, what);
        }
        self.net
            .udp
            .send(&mut self.net.core, socket, to, (ecn, data));
    }

    /// Sends a packet as its body says: into the site that this host is the way out of, or like any
    /// other packet of the host's.
    pub fn send_packet(&mut self, source: SocketAddr, destination: SocketAddr, body: Body) {
        self.net
            .core
            .send_packet(self.host, (source, destination), body);
    }

    /// The congestion mark of the datagram that is being handled.
    #[must_use]
    pub const fn ecn(&self) -> Ecn {
        self.net.core.ecn
    }

    /// Closes a UDP socket.
    pub fn unbind(&mut self, socket: UdpId) {
        self.net.udp.unbind(socket);
    }

    /// Begins a name lookup; ends in [`HostInput::Resolved`].
    pub fn resolve(&mut self, name: &str, families: Families) -> QueryId {
        self.net
            .names
            .resolve(&mut self.net.core, self.host, name, families)
    }

    /// Drops a name lookup; its outcome never comes.
    pub fn cancel_resolve(&mut self, query: QueryId) {
        self.net.names.cancel(query);
    }

    /// Sockets of this host that are open, listeners aside.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.net.tcp.open_sockets(self.host) + self.net.udp.open_sockets(self.host)
    }

    /// Checks of byte flows across hosts.
    pub const fn flows(&mut self) -> &mut crate::check::Flows {
        &mut self.net.flows
    }

    /// What machines ended with.
    pub const fn ledger(&mut self) -> &mut Vec<crate::check::Closed> {
        &mut self.net.ledger
    }

    /// Where secrets and logs of connections go, if the world keeps them.
    pub const fn log(&mut self) -> Option<&mut crate::quic::capture::Log> {
        self.net.log.as_mut()
    }

    /// Adds an entry to the transcript.
    pub fn note(&mut self, tag: Tag, number: u64, text: std::fmt::Arguments<'_>) {
        let host = self.host;
        self.net.core.note_text(host, tag, number, text);
        self.check_text(text);
    }

    /// A text that might end in a log holds no secret.
    pub(crate) fn check_text(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(what) = self.net.watch.tells(text) {
            self.violate(Invariant::SecretsUnlogged, what);
        }
    }

    /// Are entries kept for pictures?
    #[must_use]
    pub const fn is_drawn(&self) -> bool {
        self.net.core.transcript.keeps()
    }

    /// Adds an entry for pictures alone; what they need besides the text is in `detail`.
    pub fn sketch(
        &mut self,
        tag: Tag,
        number: u64,
        detail: Option<Detail>,
        text: std::fmt::Arguments<'_>,
    ) {
        let host = self.host;
        let core = &mut self.net.core;
        core.sketch_text(host, (tag, number), detail, text);
    }

    /// An invariant is broken: there is no point in going on.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.net.core.violation.is_some()
    }

    /// Something happened that some run should see.
    pub fn mark(&mut self, name: impl Into<std::borrow::Cow<'static, str>>) {
        self.net.core.marks.hit(name);
    }

    /// Does everything go as written? See [`crate::World::is_exact`].
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.net.core.swarm.is_none()
    }

    /// When faults stop, at the latest.
    pub(crate) fn heals_at(&self) -> Instant {
        let swarm = self.net.core.swarm;
        swarm.map_or(Instant::ZERO, |swarm| Instant::ZERO + swarm.heal_at)
    }

    /// Reports a broken invariant; the world stops at the first. Where a swarm is at work, a
    /// script that does not go as written breaks none.
    pub fn violate(&mut self, invariant: Invariant, detail: impl Into<String>) {
        if invariant == Invariant::ScriptHolds && !self.is_exact() {
            return;
        }
        let violation = Violation {
            at: self.net.core.now,
            host: self.name().into(),
            invariant,
            detail: detail.into(),
        };
        self.net.core.violation.get_or_insert(violation);
    }
}
