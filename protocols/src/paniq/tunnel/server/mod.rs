//! The server's side: all tunnels of one socket, and what their streams ask for.
//!
//! Whoever is no client learns nothing: only preambles that pass every check are answered, and
//! QUIC speaks only inside the tunnels they lead to.
mod streams;

use super::{
    HANDSHAKE_TIMEOUT, Settings, SettingsError,
    batch::{Batch, Lengths},
    early::Scratch,
    settings::WINDOWS,
};
use crate::paniq::{
    preamble::{self, Dropped, Rules, Taken, UnknownPeer},
    timestamp::WallClock,
    transport::SealError,
};
use bytes::{Buf as _, BytesMut};
use rustc_hash::FxHashMap;
use sansbox_core::{Instant, Seed, Target};
use sansbox_quic::{ConnectionId, Endpoint, Event as QuicEvent, Identity, Outgoing, Pin, Sources};
use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    net::SocketAddr,
    time::Duration,
};
use streams::Entry;

/// Responses that wait to be sent; more are dropped, as datagrams may be.
const ANSWERS_MAX: usize = 64;

/// How much a server does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// QUIC connections.
    pub connections: usize,
    /// QUIC connections of one IP address.
    pub connections_per_host: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_host: 256,
        }
    }
}

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How preambles are judged, and how QUIC's datagrams are framed. Its `timeout` is the
    /// profile's `handshake_timeout`, and how long a stream's request may take.
    pub preamble: preamble::ServerConfig,
    /// Where the server decides otherwise than the Go programs.
    pub rules: Rules,
    /// What QUIC is told.
    pub settings: Settings,
    /// How much is done at a time.
    pub limits: Limits,
    /// Whether clients may ask for streams of datagrams; otherwise that is no request.
    pub has_datagrams: bool,
}

/// A stream of a client's; never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u64);

/// What the owner of a server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client has a tunnel.
    Up(SocketAddr),
    /// It has no more; the text says why.
    Down(SocketAddr, String),
    /// A client wants a connection to a target: [`Server::accept`] or [`Server::refuse`] answers.
    Request(Stream, SocketAddr, Target),
    /// A client wants to exchange datagrams with many targets over one stream, as
    /// [records](crate::paniq::proxy::record): answered likewise.
    DatagramsRequest(Stream, SocketAddr),
    /// The client gave a request up that was not answered yet, or lost its tunnel: the stream is
    /// over.
    Cancelled(Stream),
    /// [`Server::exchange`] has something to do.
    Ready(Stream),
}

/// All tunnels of one socket.
pub struct Server {
    preamble: preamble::Server,
    /// Counters wait for QUIC's word.
    needs_proof: bool,
    timeout: Duration,
    has_datagrams: bool,
    wall: WallClock,
    endpoint: Endpoint,
    lengths: Lengths,
    batch: Batch,
    /// When handshakes must be complete, in order.
    handshakes: VecDeque<(Instant, ConnectionId)>,
    streams: FxHashMap<Stream, Entry>,
    scratch: Scratch,
    /// When requests must be complete.
    deadlines: BTreeSet<(Instant, Stream)>,
    streams_made: u64,
    answers: VecDeque<(SocketAddr, BytesMut)>,
    events: VecDeque<Event>,
    pin: Pin,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("connections", &self.endpoint.len())
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server without tunnels, which takes no preamble that is older than itself. `since_1970` is what the wall clock says at `now`; `identity` is
    /// its certificate, which clients of the Go programs do not look at; `seed` must be uniformly
    /// random.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        now: Instant,
        since_1970: Duration,
        mut config: ServerConfig,
        identity: &Identity,
        seed: Seed,
    ) -> Result<Self, SettingsError> {
        config.preamble.codec = config.preamble.codec.needing_proof();
        let epoch = since_1970.saturating_sub(Duration::from_nanos(now.as_nanos()));
        let sources = Sources::new(seed.derive("paniq/quic"), epoch, false);
        let budget = *config.preamble.codec.budget();
        let (endpoint, server) = config.settings.server(&sources, &budget, identity)?;
        let limits = config.limits;
        let endpoint = Endpoint::server(sources, endpoint, server, limits.connections)
            .with_connections_per_host(limits.connections_per_host)
            .with_windows(WINDOWS)
            .with_streams_growing_to(config.settings.streams_max)
            .without_answers_to_strangers()
            .without_spare_ids();
        let needs_proof = config.preamble.codec.needs_proof();
        let lengths = Lengths::new(&budget, config.preamble.codec.padding());
        let timeout = config.preamble.timeout;
        let has_datagrams = config.has_datagrams;
        let mut preamble = preamble::Server::new(config.preamble, config.rules);
        preamble.begin(since_1970.into());
        Ok(Self {
            needs_proof,
            timeout,
            has_datagrams,
            lengths,
            preamble,
            wall: WallClock::new(now, since_1970),
            endpoint,
            batch: Batch::new(),
            handshakes: VecDeque::new(),
            streams: FxHashMap::default(),
            scratch: Scratch::default(),
            deadlines: BTreeSet::new(),
            streams_made: 0,
            answers: VecDeque::new(),
            events: VecDeque::new(),
            pin: identity.pin(),
        })
    }

    /// A certificate as the Go programs make one at each start: self-signed, on P-256, without any
    /// name. `since_1970` is the wall clock's time; `seed` must be uniformly random, and the same
    /// seed keeps the key that clients may pin.
    ///
    /// # Errors
    /// [`SettingsError::Certificate`].
    pub fn identity(seed: &Seed, since_1970: Duration) -> Result<Identity, SettingsError> {
        Identity::self_signed(seed, since_1970)
            .map_err(|error| SettingsError::Certificate(error.to_string()))
    }

    /// What clients may pin.
    #[must_use]
    pub const fn pin(&self) -> Pin {
        self.pin
    }

    /// The wall clock was set: it says `since_1970` at `now`.
    pub const fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.wall = WallClock::new(now, since_1970);
    }

    /// Handles a datagram.
    ///
    /// # Errors
    /// [`Dropped`], to be counted. Nothing answers it.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        mut data: BytesMut,
    ) -> Result<(), Dropped> {
        let mut answer = BytesMut::new();
        let wall = self.wall.at(now);
        let taken = self
            .preamble
            .handle_datagram(now, wall, from, &data, &mut answer)?;
        match taken {
            Taken::Junk { .. } => {}
            Taken::Answered { .. } => {
                if self.answers.len() < ANSWERS_MAX {
                    self.answers.push_back((from, answer));
                }
            }
            Taken::Inner(inner) => {
                data.truncate(inner.end);
                data.advance(inner.start);
                if !self.needs_proof {
                    self.endpoint.handle_datagram(now, from, 0, data);
                } else if self.endpoint.judge_datagram(now, from, 0, data) {
                    self.preamble.prove(from);
                }
                self.drive(now);
            }
        }
        Ok(())
    }

    /// Fills `out`, which is cleared first, with datagrams for one address: one, or up to
    /// `segments_max` of one size but for the last.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Outgoing> {
        if let Some((to, answer)) = self.answers.pop_front() {
            let segment = answer.len();
            out.clear();
            out.extend_from_slice(&answer);
            return Some(Outgoing {
                to,
                ecn: 0,
                segment,
            });
        }
        let mut exhausted = None;
        let preamble = &mut self.preamble;
        let seal = |to, inner: &[u8], padding, out: &mut BytesMut| {
            let result = preamble.seal(to, inner, padding, out);
            if result == Err(UnknownPeer::Seal(SealError::Exhausted)) {
                exhausted = Some(to);
            }
            result
        };
        let outgoing = self.batch.poll(
            now,
            &self.lengths,
            &mut self.endpoint,
            segments_max,
            out,
            seal,
        );
        if let Some(peer) = exhausted {
            self.give_up(now, peer);
        }
        outgoing
    }

    /// Nothing can be sent to a peer any more: its counters are used up.
    fn give_up(&mut self, now: Instant, peer: SocketAddr) {
        self.close_those(now, |_, address| address == peer);
        self.drive(now);
    }

    /// Peers whose tunnels are forgotten are never heard again. QUIC may take much longer to see
    /// it: who stood still for a while takes that for the round trip, and waits for three of them
    /// (RFC 9000 section 10.1).
    fn give_up_forgotten(&mut self, now: Instant) {
        self.close_those(now, |preamble, peer| !preamble.is_ready(peer));
        self.drive(now);
    }

    /// Closes the connected connections of some peers.
    fn close_those(&mut self, now: Instant, which: impl Fn(&preamble::Server, SocketAddr) -> bool) {
        let connected = self.endpoint.connected();
        let those = connected.filter(|(_, peer)| which(&self.preamble, *peer));
        let those: Vec<ConnectionId> = those.map(|(connection, _)| connection).collect();
        for connection in those {
            self.endpoint.close(now, connection, 0, "");
        }
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Server::handle_timeout`] is to be called. Valid once everything was transmitted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let timers = [
            deadline,
            self.handshakes.front().map(|(at, _)| *at),
            self.endpoint.poll_timeout(),
            self.preamble.poll_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Handles every deadline at or before `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let tunnels = self.preamble.occupancy()[1];
        self.preamble.handle_timeout(now);
        self.endpoint.handle_timeout(now);
        if self.preamble.occupancy()[1] < tunnels {
            self.give_up_forgotten(now);
        }
        while let Some((at, connection)) = self.handshakes.front().copied() {
            if at > now {
                break;
            }
            self.handshakes.pop_front();
            if !self.endpoint.is_connected(connection) {
                self.endpoint.close(now, connection, 0, "");
            }
        }
        self.drive(now);
        self.expire(now);
    }

    /// Tells all clients that this end is gone. Nothing but [`Server::poll_transmit`] is to be called
    /// any more.
    pub fn close(&mut self, now: Instant) {
        self.close_those(now, |_, _| true);
    }

    /// How many QUIC connections there are, and how many streams.
    #[must_use]
    pub fn occupancy(&self) -> [usize; 2] {
        [self.endpoint.len(), self.streams.len()]
    }

    /// The judge of preambles, for its counts.
    #[must_use]
    pub const fn preamble(&self) -> &preamble::Server {
        &self.preamble
    }

    /// Takes what QUIC tells.
    fn drive(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                QuicEvent::Incoming(connection) => {
                    let deadline = now + HANDSHAKE_TIMEOUT;
                    self.handshakes.push_back((deadline, connection));
                }
                QuicEvent::Connected(connection) => {
                    if let Some(peer) = self.endpoint.peer(connection) {
                        self.events.push_back(Event::Up(peer));
                    }
                }
                // Its streams were told before.
                QuicEvent::Lost(_, Some(peer), why) => {
                    self.events.push_back(Event::Down(peer, why.to_string()));
                }
                QuicEvent::Forgotten(_, peer) => {
                    if !self.endpoint.has_peer(peer) {
                        self.preamble.forget(peer);
                    }
                }
                QuicEvent::Opened(stream) => self.begin(now, stream),
                QuicEvent::LabelReady(label) => self.follow(now, Stream(label)),
                QuicEvent::Ready(_) | QuicEvent::Available(_) | _ => {}
            }
        }
    }
}
