//! [`Endpoint`]: QUIC connections of a client or a server, and their streams, without a socket.
//!
//! Datagrams go in by [`Endpoint::handle_datagram`] and come out of [`Endpoint::poll_transmit`];
//! what happened is told by [`Endpoint::poll_event`]; bytes of a stream cross by
//! [`Endpoint::exchange`].
mod activity;
mod limits;
mod told;
mod types;
mod windows;

pub use activity::Activity;
pub use types::{ConnectionId, Event, Lost, Outgoing, StreamId};
pub use windows::Windows;

use crate::{
    arena::Arena,
    hooks::{Sources, from_std, to_std},
    streams::Stream,
    turn::Turn,
};
use bytes::{Bytes, BytesMut};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use quinn_proto as quic;
use rustc_hash::FxHashMap;
use sansbox_core::{End, Instant, Pipe, Progress};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    sync::Arc,
};
use windows::Tuned;

/// Datagrams that the endpoint answers with by itself (version negotiation, Retry, stateless
/// reset) and that wait to be sent; more are dropped, as datagrams may be.
const RESPONSES_MAX: usize = 64;

struct Connection {
    quic: quic::Connection,
    handle: quic::ConnectionHandle,
    /// Where its peer was when it began.
    host: IpAddr,
    streams: FxHashMap<quic::StreamId, Stream>,
    /// When its timer fires, as `timers` knows it.
    armed: Option<Instant>,
    /// It stands in `to_send`.
    is_queued: bool,
    is_lost: bool,
    /// Its handshake is complete.
    is_connected: bool,
    /// Frames received when a datagram was judged last.
    judged: u64,
    /// Its windows, where they grow.
    windows: Option<Tuned>,
}

/// Connections of one local end.
pub struct Endpoint {
    sources: Sources,
    quic: quic::Endpoint,
    client: Option<quic::ClientConfig>,
    /// Boxed: they are large, and a node of the tree has room for many.
    connections: BTreeMap<ConnectionId, Box<Connection>>,
    /// By quinn-proto's handles, which are small numbers; of one that is not used (any more), it may
    /// be any that is gone.
    by_handle: Vec<ConnectionId>,
    /// Connections that may have something to send.
    to_send: VecDeque<ConnectionId>,
    timers: BTreeSet<(Instant, ConnectionId)>,
    responses: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    connections_made: u64,
    connections_max: usize,
    connections_per_host_max: usize,
    /// How many connections each host has, where it has any.
    hosts: BTreeMap<IpAddr, usize>,
    answers_strangers: bool,
    gives_ids: bool,
    /// Streams that a peer may have open at a time, where that grows with those it opens.
    streams_max: Option<u32>,
    arena: Arena,
    /// Something was read since the last timer.
    was_read: bool,
    windows: Option<Windows>,
    /// What is left of `windows.budget`.
    budget: u64,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A client, which only connects.
    #[must_use]
    pub fn client(
        sources: Sources,
        config: quic::EndpointConfig,
        client: quic::ClientConfig,
    ) -> Self {
        Self::new(sources, config, Some(client), None, usize::MAX)
    }

    /// A server, which only accepts, and at most `connections_max` connections at a time.
    #[must_use]
    pub fn server(
        sources: Sources,
        config: quic::EndpointConfig,
        server: quic::ServerConfig,
        connections_max: usize,
    ) -> Self {
        Self::new(sources, config, None, Some(server), connections_max)
    }

    fn new(
        sources: Sources,
        config: quic::EndpointConfig,
        client: Option<quic::ClientConfig>,
        server: Option<quic::ServerConfig>,
        connections_max: usize,
    ) -> Self {
        let quic = {
            let _turn = sources.enter(Instant::ZERO);
            quic::Endpoint::new(Arc::new(config), server.map(Arc::new), true, None)
        };
        Self {
            sources,
            quic,
            client,
            connections: BTreeMap::new(),
            by_handle: Vec::new(),
            to_send: VecDeque::new(),
            timers: BTreeSet::new(),
            responses: VecDeque::new(),
            events: VecDeque::new(),
            connections_made: 0,
            connections_max,
            connections_per_host_max: usize::MAX,
            hosts: BTreeMap::new(),
            answers_strangers: true,
            gives_ids: true,
            streams_max: None,
            arena: Arena::default(),
            was_read: false,
            windows: None,
            budget: 0,
        }
    }

    /// Begins to connect to `to`, whose certificate is asked for as `name`.
    ///
    /// # Errors
    /// When this is no client, or `to` or `name` cannot be used.
    pub fn connect(
        &mut self,
        now: Instant,
        to: SocketAddr,
        name: &str,
    ) -> Result<ConnectionId, quic::ConnectError> {
        let config = self.client.clone();
        let config = config.ok_or(quic::ConnectError::NoDefaultClientConfig)?;
        let (handle, connection) = {
            let _turn = self.sources.enter(now);
            self.quic.connect(to_std(now), config, to, name)?
        };
        let id = self.add(handle, connection);
        self.settle(now, id);
        Ok(id)
    }

    /// Handles one datagram, and tells whose it was. What is not authentic is dropped.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        ecn: u8,
        data: BytesMut,
    ) -> Option<ConnectionId> {
        let mut response = Vec::new();
        let turn = self.sources.enter(now);
        let ecn = quic::EcnCodepoint::from_bits(ecn);
        let event = self
            .quic
            .handle(to_std(now), from, None, ecn, data, &mut response);
        match event? {
            quic::DatagramEvent::ConnectionEvent(handle, event) => {
                let id = *self.by_handle.get(handle.0)?;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.quic.handle_event(event);
                }
                self.settle_in(turn, now, id);
                Some(id)
            }
            quic::DatagramEvent::NewConnection(incoming) => {
                drop(turn);
                self.admit(now, incoming)
            }
            quic::DatagramEvent::Response(transmit) => {
                if self.answers_strangers {
                    self.respond(transmit, response);
                }
                None
            }
        }
    }

    fn admit(&mut self, now: Instant, incoming: quic::Incoming) -> Option<ConnectionId> {
        let mut response = Vec::new();
        let of_host = self.hosts.get(&incoming.remote_address().ip());
        let has_room = self.connections.len() < self.connections_max
            && of_host.copied().unwrap_or(0) < self.connections_per_host_max;
        if !has_room {
            let transmit = {
                let _turn = self.sources.enter(now);
                self.quic.refuse(incoming, &mut response)
            };
            self.respond(transmit, response);
            return None;
        }
        let accepted = {
            let _turn = self.sources.enter(now);
            self.quic.accept(incoming, to_std(now), &mut response, None)
        };
        match accepted {
            Ok((handle, connection)) => {
                let id = self.add(handle, connection);
                self.events.push_back(Event::Incoming(id));
                self.settle(now, id);
                Some(id)
            }
            // A damaged first packet, or one that nothing can be made of.
            Err(refused) => {
                if let Some(transmit) = refused.response {
                    self.respond(transmit, response);
                }
                None
            }
        }
    }

    fn respond(&mut self, transmit: quic::Transmit, mut response: Vec<u8>) {
        if self.responses.len() < RESPONSES_MAX {
            response.truncate(transmit.size);
            self.responses.push_back((transmit.destination, response));
        }
    }

    fn add(&mut self, handle: quic::ConnectionHandle, quic: quic::Connection) -> ConnectionId {
        let id = ConnectionId(self.connections_made);
        self.connections_made += 1;
        if self.by_handle.len() <= handle.0 {
            self.by_handle.resize(handle.0 + 1, id);
        }
        if let Some(of_handle) = self.by_handle.get_mut(handle.0) {
            *of_handle = id;
        }
        let host = quic.remote_address().ip();
        *self.hosts.entry(host).or_default() += 1;
        let connection = Connection {
            quic,
            handle,
            host,
            streams: FxHashMap::default(),
            armed: None,
            is_queued: false,
            is_lost: false,
            is_connected: false,
            judged: 0,
            windows: self.windows.as_ref().map(Tuned::new),
        };
        self.connections.insert(id, Box::new(connection));
        id
    }

    /// Opens a stream; `None` when the connection is gone or the peer allows no more now.
    pub fn open(&mut self, now: Instant, connection: ConnectionId) -> Option<StreamId> {
        self.open_stream(now, connection, Stream::default())
    }

    /// As [`Endpoint::open`], with [a label](Endpoint::set_label).
    pub fn open_labelled(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        label: u64,
    ) -> Option<StreamId> {
        let mut stream = Stream::default();
        stream.set_label(label);
        self.open_stream(now, connection, stream)
    }

    fn open_stream(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        stream: Stream,
    ) -> Option<StreamId> {
        let entry = self.connections.get_mut(&connection)?;
        if entry.is_lost {
            return None;
        }
        let id = {
            let _turn = self.sources.enter(now);
            entry.quic.streams().open(quic::Dir::Bi)?
        };
        entry.streams.insert(id, stream);
        Some(StreamId { connection, id })
    }

    /// Lets events of a stream name it by `label`, so that its owner need not look it up. Returns
    /// whether there is such a stream.
    pub fn set_label(&mut self, stream: StreamId, label: u64) -> bool {
        let connection = self.connections.get_mut(&stream.connection);
        let state = connection.and_then(|connection| connection.streams.get_mut(&stream.id));
        match state {
            Some(state) => {
                state.set_label(label);
                true
            }
            None => false,
        }
    }

    /// Moves bytes and ends of a stream: what came into `received`, and what `to_send` holds on
    /// its way. When the connection is gone, both pipes are reset.
    pub fn exchange(
        &mut self,
        now: Instant,
        stream: StreamId,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let connection = self.connections.get_mut(&stream.connection);
        let Some(connection) = connection.filter(|connection| !connection.is_lost) else {
            return lose(received, to_send);
        };
        let Some(state) = connection.streams.get_mut(&stream.id) else {
            return Progress::NONE;
        };
        let (receives, sends) = (state.has_to_receive(received), state.has_to_send(to_send));
        if !receives && !sends {
            return Progress::NONE;
        }
        let before = received.len();
        let mut progress = Progress::NONE;
        let turn = self.sources.enter(now);
        let quic = &mut connection.quic;
        if receives {
            progress |= state.receive(quic, stream.id, received, &mut self.arena);
        }
        if sends {
            progress |= state.send(quic, stream.id, to_send);
        }
        drop(turn);
        let is_over = state.is_over();
        if is_over {
            connection.forget(stream.id);
        }
        // A reset takes out what waited.
        let read = received.len().saturating_sub(before);
        if read > 0 {
            connection.note_read(now, read as u64);
            self.was_read = true;
            if let Some(windows) = &self.windows {
                self.budget = connection.tune(now, windows, self.budget);
            }
        }
        if progress == Progress::MADE {
            if !connection.is_queued {
                connection.is_queued = true;
                self.to_send.push_back(stream.connection);
            }
            if [received.end(), to_send.end()].contains(&End::Reset) {
                // What it held may leave room for others, who are told.
                self.settle(now, stream.connection);
            }
        }
        progress
    }

    /// Gives a stream up in both directions.
    pub fn abandon(&mut self, now: Instant, stream: StreamId) {
        let Some(connection) = self.connections.get_mut(&stream.connection) else {
            return;
        };
        if let Some(mut state) = connection.forget(stream.id)
            && !connection.is_lost
        {
            let _turn = self.sources.enter(now);
            state.abandon(&mut connection.quic, stream.id);
        }
        self.settle(now, stream.connection);
    }

    /// Closes a connection with an application error code and a reason that the peer may show.
    pub fn close(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        code: u32,
        reason: &'static str,
    ) {
        if let Some(entry) = self.connections.get_mut(&connection)
            && !entry.is_lost
        {
            let _turn = self.sources.enter(now);
            let reason = Bytes::from_static(reason.as_bytes());
            entry.quic.close(to_std(now), code.into(), reason);
            entry.is_lost = true;
            entry.lose_streams(&mut self.events);
            self.events.push_back(entry.lost(connection, Lost::Locally));
        }
        self.settle(now, connection);
    }

    /// Has the connection a future?
    #[must_use]
    pub fn is_alive(&self, connection: ConnectionId) -> bool {
        self.connections
            .get(&connection)
            .is_some_and(|connection| !connection.is_lost)
    }

    /// Connections that are not forgotten yet, closing ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Fills `out`, which is cleared first, with at most `segments_max` datagrams for one address.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut Vec<u8>,
    ) -> Option<Outgoing> {
        out.clear();
        if let Some((to, response)) = self.responses.pop_front() {
            out.extend_from_slice(&response);
            let segment = response.len();
            return Some(Outgoing {
                to,
                ecn: 0,
                segment,
            });
        }
        while let Some(&id) = self.to_send.front() {
            if let Some(connection) = self.connections.get_mut(&id) {
                let transmit = {
                    let _turn = self.sources.enter(now);
                    connection
                        .quic
                        .poll_transmit(to_std(now), segments_max, out)
                };
                if let Some(transmit) = transmit {
                    return Some(Outgoing {
                        to: transmit.destination,
                        ecn: transmit.ecn.map_or(0, |ecn| ecn as u8),
                        segment: transmit.segment_size.unwrap_or(transmit.size),
                    });
                }
                connection.is_queued = false;
            }
            self.to_send.pop_front();
            self.rearm(id);
        }
        None
    }

    /// When [`Endpoint::handle_timeout`] is to be called. Valid once everything was transmitted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = self.timers.first().map(|(at, _)| *at);
        [first, self.sources.cools_at()].into_iter().flatten().min()
    }

    /// Handles every deadline at or before `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.sources.cool(now);
        let is_due = self.timers.first().is_some_and(|(at, _)| *at <= now);
        if is_due && !core::mem::take(&mut self.was_read) {
            self.arena.clear();
        }
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                return;
            }
            self.timers.pop_first();
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.armed = None;
                {
                    let _turn = self.sources.enter(now);
                    connection.quic.handle_timeout(to_std(now));
                }
                self.relax(now, id);
                self.settle(now, id);
            }
        }
    }

    /// After anything happened to a connection: tells its events, and queues it to be sent for.
    fn settle(&mut self, now: Instant, id: ConnectionId) {
        let turn = self.sources.enter(now);
        self.settle_in(turn, now, id);
    }

    /// The same in a turn that has begun.
    fn settle_in(&mut self, turn: Turn, now: Instant, id: ConnectionId) {
        self.tune(now, id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        while let Some(event) = connection.quic.poll() {
            connection.tell(id, event, &mut self.events);
        }
        if let Some(max) = self.streams_max {
            connection.allow_streams(max);
        }
        let mut is_drained = false;
        while let Some(event) = connection.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            // What quinn-proto's endpoint has to say here is nothing but new ids.
            let ids = self.quic.handle_event(connection.handle, event);
            if let Some(ids) = ids.filter(|_| self.gives_ids) {
                connection.quic.handle_event(ids);
            }
        }
        drop(turn);
        if !connection.is_queued {
            connection.is_queued = true;
            self.to_send.push_back(id);
        }
        if is_drained {
            if let Some(at) = connection.armed {
                self.timers.remove(&(at, id));
            }
            if let Entry::Occupied(mut of_host) = self.hosts.entry(connection.host) {
                *of_host.get_mut() -= 1;
                if *of_host.get() == 0 {
                    of_host.remove();
                }
            }
            let peer = connection.quic.remote_address();
            self.events.push_back(Event::Forgotten(id, peer));
            if let Some(connection) = self.connections.remove(&id) {
                self.untune(&connection);
                // Its keys are forgotten with it.
                let _turn = self.sources.enter(now);
                drop(connection);
            }
        }
    }

    fn rearm(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let wanted = connection.quic.poll_timeout().map(from_std);
        if wanted == connection.armed {
            return;
        }
        if let Some(at) = connection.armed {
            self.timers.remove(&(at, id));
        }
        self.timers.extend(wanted.map(|at| (at, id)));
        connection.armed = wanted;
    }
}

/// The connection of a stream is gone.
fn lose(received: &mut Pipe, to_send: &mut Pipe) -> Progress {
    let told = match received.end() {
        End::Open => received.reset(),
        End::Fin | End::Reset => Progress::NONE,
    };
    told | to_send.reset()
}
