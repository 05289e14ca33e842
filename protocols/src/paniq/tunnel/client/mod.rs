//! The client's side: a carrier to one server.
//!
//! A generation is a socket with a source port of its own, a preamble and a QUIC connection. New
//! streams go to the newest generation that answers. One that stops answering is replaced while it
//! may still come back: only when its successor stands, which proves that the path works, and it
//! does not answer although it is asked, is it given up.
mod deadlines;
mod dial;
mod generation;
mod liveness;
mod streams;

use super::{
    Settings,
    early::{self, Scratch},
};
use crate::paniq::{
    Draws,
    preamble::{self, ClientError},
    timestamp::WallClock,
    transport::{Codec, OpenError},
};
use bytes::BytesMut;
use deadlines::Deadlines;
use dial::{Dial, Pauses};
use generation::{Generation, Told};
use rustc_hash::FxHashMap;
use sansbox_core::{Instant, Pipe, Progress, Refusal, Seed};
use sansbox_quic::{Lost, Outgoing, Pin};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    net::SocketAddr,
    time::Duration,
};
use streams::{Entry, State};
use thiserror::Error;

/// What a carrier needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the server is; see [`Client::set_server`] for one with several addresses.
    pub server: SocketAddr,
    /// How preambles are made. Its `timeout` is the profile's `handshake_timeout`; that and its
    /// `attempts` say how long a dial takes. Each attempt has a source port of its own.
    pub preamble: preamble::ClientConfig,
    /// How QUIC's datagrams are framed.
    pub codec: Codec,
    /// What QUIC is told.
    pub settings: Settings,
    /// The key that the server must have; `None` for any, as with the Go programs.
    pub pin: Option<Pin>,
    /// How long the server may take to reach a target. It is waited for this long and the
    /// profile's `handshake_timeout`: a Go client waits only for the latter, which is as long as a
    /// Go server may take, and then takes a silent target for a dead server.
    pub dial_timeout: Duration,
    /// How long a stream waits for a tunnel.
    pub open_timeout: Duration,
    /// How many streams may wait for a tunnel.
    pub waiting_max: usize,
}

/// A socket of the carrier's, with a port of its own. The owner has one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub u64);

/// A stream of the carrier's; never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u64);

/// Why there is no tunnel, or no more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// No preamble was answered, or none can be made.
    #[error("preamble: {0}")]
    Preamble(#[from] ClientError),
    /// QUIC's handshake took too long.
    #[error("QUIC handshake timeout")]
    HandshakeTimedOut,
    /// The connection is gone.
    #[error("QUIC: {0}")]
    Quic(Lost),
    /// Whoever answers is not the server that the profile pins.
    #[error("the server's key is not the pinned one")]
    WrongKey,
    /// Nothing answered any more, and a new tunnel stands.
    #[error("no answer over this tunnel, but over a new one")]
    Silent,
    /// All counters are used.
    #[error("counters exhausted")]
    Exhausted,
    /// QUIC cannot be set up with this configuration.
    #[error("{0}")]
    Settings(String),
    /// The owner has no socket for it.
    #[error("no socket")]
    NoSocket,
}

impl Failure {
    /// Is the next dial expected to fail as well?
    const fn is_lasting(&self) -> bool {
        match self {
            Self::Preamble(ClientError::TimedOut)
            | Self::HandshakeTimedOut
            | Self::Quic(_)
            | Self::Silent
            | Self::Exhausted => false,
            Self::Preamble(ClientError::ServerKey(_) | ClientError::TooSlow)
            | Self::WrongKey
            | Self::Settings(_)
            | Self::NoSocket => true,
        }
    }

    /// What streams are told that waited for it.
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Preamble(ClientError::TimedOut) | Self::HandshakeTimedOut => Refusal::TimedOut,
            Self::NoSocket => Refusal::NetworkUnreachable,
            Self::Quic(_) | Self::WrongKey | Self::Silent | Self::Exhausted => {
                Refusal::UpstreamProtocol
            }
            Self::Preamble(ClientError::ServerKey(_) | ClientError::TooSlow)
            | Self::Settings(_) => Refusal::General,
        }
    }
}

/// What the owner of a carrier is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A socket with a new source port is wanted for this path; one that it had is to be closed.
    /// [`Client::source_port_changed`] tells that it is there, [`Client::path_failed`] that it
    /// cannot be.
    NewSourcePort(Path),
    /// The tunnel stands.
    Up(Path),
    /// It does not, or no more.
    Down(Path, Failure),
    /// The path's socket is to be closed.
    Closed(Path),
    /// The target of a stream is connected, from this address as the server tells.
    Accepted(Stream, SocketAddr),
    /// It is not: the stream is over.
    Refused(Stream, Refusal),
    /// [`Client::exchange`] has something to do.
    Ready(Stream),
}

/// A carrier to one server.
pub struct Client {
    config: ClientConfig,
    wall: WallClock,
    seed: Seed,
    draws: Draws,
    generations: BTreeMap<Path, Generation>,
    paths_made: u64,
    streams: FxHashMap<Stream, Entry>,
    scratch: Scratch,
    waiting: BTreeSet<Stream>,
    deadlines: Deadlines,
    streams_made: u64,
    pauses: Pauses,
    /// The attempts that are made now.
    dial: Option<Dial>,
    /// When the last dial began.
    dialed_at: Instant,
    /// Dials that failed in a row.
    failures: u32,
    /// No dial before it.
    retry_at: Instant,
    events: VecDeque<Event>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.config.server)
            .field("generations", &self.generations.len())
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A carrier without a tunnel: the first stream makes one. `since_1970` is what the wall clock
    /// says at `now`; `seed` must be uniformly random: keys come from it.
    #[must_use]
    pub fn new(now: Instant, since_1970: Duration, mut config: ClientConfig, seed: Seed) -> Self {
        config.codec = config.codec.needing_proof();
        Self {
            wall: WallClock::new(now, since_1970),
            draws: Draws::new(seed.derive("paniq/carrier")),
            pauses: Pauses::new(&config.preamble),
            dial: None,
            dialed_at: Instant::ZERO,
            seed,
            config,
            generations: BTreeMap::new(),
            paths_made: 0,
            streams: FxHashMap::default(),
            scratch: Scratch::default(),
            waiting: BTreeSet::new(),
            deadlines: Deadlines::default(),
            streams_made: 0,
            failures: 0,
            retry_at: Instant::ZERO,
            events: VecDeque::new(),
        }
    }

    /// The wall clock was set: it says `since_1970` at `now`.
    pub const fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.wall = WallClock::new(now, since_1970);
    }

    /// Datagrams of `path` go to another address of the server's, as long as its preamble is not
    /// answered: of several addresses each attempt may try another one.
    pub fn set_server(&mut self, path: Path, server: SocketAddr) {
        let generation = self.generations.get_mut(&path);
        if let Some(generation) = generation.filter(|generation| generation.is_before_quic()) {
            generation.server = server;
        }
    }

    /// The owner has a new socket for `path`, with another source port than before.
    pub fn source_port_changed(&mut self, now: Instant, path: Path) {
        if let Some(generation) = self.generations.get_mut(&path) {
            generation.source_port_changed(now, &self.config);
            self.expect_answer(now, path);
        }
        self.drive(now);
    }

    /// The owner cannot have a socket for `path`, or cannot send from the one it has. A tunnel that
    /// stands is left to find out by itself whether it is dead: routes may come back.
    pub fn path_failed(&mut self, now: Instant, path: Path) {
        let generation = self.generations.get_mut(&path);
        if let Some(generation) = generation.filter(|generation| generation.is_dialing()) {
            generation.fail(now, Failure::NoSocket);
        }
        self.drive(now);
    }

    /// Handles a datagram that came to the socket of `path`. What is not the server's is ignored.
    ///
    /// # Errors
    /// [`OpenError`], to be counted: no envelope of this tunnel's.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), OpenError> {
        let generation = self.generations.get_mut(&path);
        let Some(generation) = generation.filter(|generation| generation.server == from) else {
            return Ok(());
        };
        let result = generation.handle_datagram(now, &self.config, &self.wall, data);
        self.drive(now);
        result
    }

    /// Fills `out`, which is cleared first, with datagrams that are to be sent from the socket of
    /// the path returned: one, or up to `segments_max` of one size but for the last.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<(Path, Outgoing)> {
        loop {
            let (config, wall) = (&self.config, &self.wall);
            let found = self.generations.values_mut().find_map(|generation| {
                let outgoing = generation.poll_transmit(now, config, wall, segments_max, out)?;
                Some((generation.path, outgoing))
            });
            if found.is_some() || !self.generations.values().any(Generation::has_told) {
                return found;
            }
            self.drive(now);
        }
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] is to be called. Valid once everything was transmitted.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let generations = self.generations.values();
        let silent = generations.clone().filter_map(|g| g.silent_after(now));
        let timers = generations.filter_map(Generation::poll_timeout);
        let deadline = self.deadlines.first();
        timers
            .chain(silent)
            .chain(deadline)
            .chain(self.dials_at(now))
            .min()
    }

    /// Handles every deadline at or before `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for generation in self.generations.values_mut() {
            generation.handle_timeout(now, &self.config, &self.wall);
        }
        self.end_trials(now);
        self.expire(now);
        self.drive(now);
    }

    /// Tells the server that this end is gone. Nothing but [`Client::poll_transmit`] is to be called
    /// any more.
    pub fn close(&mut self, now: Instant) {
        self.waiting.clear();
        self.dial = None;
        for generation in self.generations.values_mut() {
            generation.close(now);
        }
    }

    /// How many generations there are, and how many streams.
    #[must_use]
    pub fn occupancy(&self) -> [usize; 2] {
        [self.generations.len(), self.streams.len()]
    }

    /// The newest generation that takes streams.
    fn usable(&self, now: Instant) -> Option<Path> {
        let mut newest_first = self.generations.values().rev();
        let usable = newest_first.find(|g| g.is_usable(now, &self.config));
        usable.map(|generation| generation.path)
    }

    /// Takes what generations tell, until nothing more follows of it.
    fn drive(&mut self, now: Instant) {
        for generation in self.generations.values_mut() {
            generation.follow_events(now);
        }
        while let Some((path, told)) = self
            .generations
            .values_mut()
            .find_map(|generation| Some((generation.path, generation.poll()?)))
        {
            self.hear(now, path, told);
        }
        self.place_waiting(now);
        self.go_on_dialing(now);
        self.retire(now);
    }

    fn hear(&mut self, now: Instant, path: Path, told: Told) {
        match told {
            Told::Ready => {
                self.failures = 0;
                self.events.push_back(Event::Up(path));
                let silent = self.generations.values().filter(|g| g.is_silent(now));
                let silent: Vec<Path> = silent.map(|g| g.path).collect();
                for old in silent {
                    self.ask_again(now, old);
                }
                self.judge(now);
            }
            Told::Answered => {
                self.end_dial(now);
                self.judge(now);
            }
            Told::Failed(why) if self.survives(now, path, &why) => {}
            Told::Failed(why) => {
                if !self.lose_streams(now, path) {
                    self.fail_dial(now, &why);
                }
                self.events.push_back(Event::Down(path, why));
            }
            Told::Stream(stream) => self.follow_stream(now, stream),
            Told::Available => {}
        }
    }

    /// There is a way to the server: who is silent is asked, and given up when a newer one stands
    /// and no answer came.
    fn judge(&mut self, now: Instant) {
        let newest = self.usable(now);
        for old in self.generations.values_mut() {
            if newest.is_some_and(|newest| old.path < newest) && old.is_condemned(now) {
                old.fail(now, Failure::Silent);
            } else {
                old.suspect(now);
            }
        }
    }

    /// The time of those that were asked may be over.
    fn end_trials(&mut self, now: Instant) {
        if self.generations.values().any(|g| g.is_condemned(now)) {
            self.judge(now);
        }
    }

    /// Closes generations that a newer one has replaced and nobody uses, and forgets what is gone.
    fn retire(&mut self, now: Instant) {
        let newest = self.usable(now);
        for generation in self.generations.values_mut() {
            let is_replaced = newest.is_some_and(|newest| generation.path < newest);
            if is_replaced
                && generation.stage == generation::Stage::Ready
                && !generation.is_needed()
            {
                generation.close(now);
            }
        }
        if !self.generations.values().any(Generation::is_gone) {
            return;
        }
        let gone = self.generations.extract_if(.., |_, g| g.is_gone());
        for (path, _) in gone {
            self.events.push_back(Event::Closed(path));
        }
    }

    /// Moves octets and ends of a stream: what came into `received`, and what `to_send` holds on
    /// its way. Nothing moves before [`Event::Accepted`]. When the tunnel is gone, both pipes are
    /// reset.
    pub fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return Progress::NONE;
        };
        let (progress, is_over, has_events) = match &mut entry.state {
            State::Waiting { .. } | State::Requested { .. } => return Progress::NONE,
            State::Lost => (early::lose(received, to_send), true, false),
            State::Open { path, early } => {
                let generation = self.generations.get_mut(path);
                match generation.and_then(Generation::endpoint) {
                    Some(endpoint) => {
                        let progress = early.exchange(now, endpoint, received, to_send);
                        let is_over = early.is_over(endpoint, received, to_send);
                        (progress, is_over, endpoint.has_events())
                    }
                    None => (early::lose(received, to_send), true, false),
                }
            }
        };
        if is_over {
            self.forget(stream);
        }
        // Its place may be wanted, or its tunnel not any more.
        let is_awaited = !self.waiting.is_empty() || self.generations.len() > 1;
        if has_events || is_over && is_awaited {
            self.drive(now);
        }
        progress
    }
}
