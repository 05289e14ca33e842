//! A client with its sockets, a server with its targets, and a wire between them.
use super::profile::Profile;
use bytes::BytesMut;
use sansbox_core::{End, Host, Instant, Pipe, Refusal, Seed, Target};
use sansbox_protocols::paniq::{
    Draws, profile,
    tunnel::{
        Client, ClientConfig, ClientEvent, Failure, Path, Pin, Server, ServerConfig, ServerEvent,
        ServerStream, Stream,
    },
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

pub(crate) const WALL: Duration = Duration::from_secs(1_750_000_000);
pub(crate) const LATENCY: Duration = Duration::from_millis(10);
const PIPE: usize = 64 * 1024;
const SEGMENTS: usize = 44;

/// What is at a target, by its port.
pub(crate) const ECHO: u16 = 7;
pub(crate) const REFUSES: u16 = 9;
pub(crate) const SILENT: u16 = 11;
/// Answers with all that came, once the end of it came.
pub(crate) const AT_END: u16 = 80;
/// Speaks first.
pub(crate) const BANNER: u16 = 25;
/// Says that it will say nothing, and listens.
pub(crate) const LISTENS: u16 = 99;
/// Echoes, and ends only when it is told to.
pub(crate) const KEEPS: u16 = 22;
/// Resets when something comes.
pub(crate) const RESETS: u16 = 66;

pub(crate) fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 443))
}

pub(crate) struct Ends {
    pub(crate) received: Pipe,
    pub(crate) to_send: Pipe,
}

impl Ends {
    fn new() -> Self {
        Self {
            received: Pipe::new(PIPE),
            to_send: Pipe::new(PIPE),
        }
    }
}

/// A stream as the client's owner sees it.
pub(crate) struct App {
    pub(crate) ends: Ends,
    pub(crate) accepted: Option<SocketAddr>,
    pub(crate) refused: Option<(Refusal, Instant)>,
    pub(crate) left: Vec<u8>,
    pub(crate) came: Vec<u8>,
}

impl App {
    /// Both directions ended well.
    pub(crate) fn is_done(&self) -> bool {
        self.ends.received.end() == End::Fin
            && self.ends.received.is_empty()
            && self.ends.to_send.is_eof()
            && self.ends.to_send.end() == End::Fin
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.ends.received.end() == End::Reset
    }
}

struct Upstream {
    ends: Ends,
    port: u16,
    kept: Vec<u8>,
}

/// What happens to datagrams.
pub(crate) struct Wire {
    pub(crate) loss_percent: u64,
    pub(crate) reorder_percent: u64,
    pub(crate) latency: Duration,
    /// Nothing arrives at the server.
    pub(crate) is_cut: bool,
    /// What would arrive is answered by the server's host: nobody listens.
    pub(crate) is_refused: bool,
    draws: Draws,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) profile: Profile,
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) wire: Wire,
    /// The public address of each of the client's sockets.
    pub(crate) paths: BTreeMap<Path, SocketAddr>,
    /// When each socket was made.
    pub(crate) paths_made: Vec<Instant>,
    ports: u16,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    /// What ICMP tells which of the client's addresses.
    refusals: BTreeMap<(Instant, u64), SocketAddr>,
    pub(crate) sent: u64,
    pub(crate) bytes_sent: usize,
    /// Every datagram, in order, where it is kept.
    pub(crate) trace: Option<Vec<(bool, Vec<u8>)>>,
    pub(crate) apps: BTreeMap<Stream, App>,
    upstreams: BTreeMap<ServerStream, Upstream>,
    pub(crate) requests: Vec<Target>,
    pub(crate) ups: usize,
    pub(crate) downs: Vec<(Failure, Instant)>,
    pub(crate) server_downs: usize,
    /// Drops the next datagram of the server's that is not in a batch: a Response.
    pub(crate) drop_answers: usize,
    pub(crate) batches: usize,
    pub(crate) cancelled: usize,
    /// The client's host has no sockets left.
    pub(crate) has_no_sockets: bool,
    /// What targets kept that are over.
    pub(crate) kept: Vec<Vec<u8>>,
}

impl World {
    pub(crate) fn new(profile: Profile, seed: u64) -> Self {
        let now = Instant::ZERO;
        let client = profile.client(server_address());
        Self {
            now,
            client: Client::new(now, WALL, client, Seed::from_u64(seed)),
            server: new_server(now, &profile, seed + 1),
            profile,
            wire: Wire {
                loss_percent: 0,
                reorder_percent: 0,
                latency: LATENCY,
                is_cut: false,
                is_refused: false,
                draws: Draws::new(Seed::from_u64(seed + 2)),
            },
            paths: BTreeMap::new(),
            ports: 40_000,
            flying: BTreeMap::new(),
            refusals: BTreeMap::new(),
            paths_made: Vec::new(),
            sent: 0,
            bytes_sent: 0,
            trace: None,
            apps: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            requests: Vec::new(),
            ups: 0,
            downs: Vec::new(),
            server_downs: 0,
            drop_answers: 0,
            batches: 0,
            cancelled: 0,
            has_no_sockets: false,
            kept: Vec::new(),
        }
    }

    /// A client that trusts one key alone.
    pub(crate) fn pinned(seed: u64, pin: impl FnOnce(&Server) -> Pin) -> Self {
        let mut world = Self::new(Profile::new(), seed);
        let mut config = world.profile.client(server_address());
        config.pin = Some(pin(&world.server));
        world.client = Client::new(world.now, WALL, config, Seed::from_u64(seed));
        world
    }

    /// Both ends of a profile as it is written.
    pub(crate) fn of_profile(written: &profile::Profile, seed: u64) -> Self {
        let mut world = Self::new(Profile::new(), seed);
        let client = ClientConfig::from_profile(&written.for_clients(), server_address()).unwrap();
        world.client = Client::new(world.now, WALL, client, Seed::from_u64(seed));
        let draws = Draws::new(Seed::from_u64(9));
        let server = ServerConfig::from_profile(written, WALL, draws).unwrap();
        let seed = Seed::from_u64(seed + 1);
        let identity = Server::identity(&seed.derive("identity"), WALL).unwrap();
        world.server = Server::new(world.now, WALL, server, &identity, seed).unwrap();
        world
    }

    /// How many targets are connected.
    pub(crate) fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// The server loses all that it knows.
    pub(crate) fn restart_server(&mut self, seed: u64) {
        self.server = new_server(self.now, &self.profile, seed);
        self.upstreams.clear();
    }

    /// Targets that keep their streams end them.
    pub(crate) fn finish_kept(&mut self) {
        for upstream in self.upstreams.values_mut() {
            if upstream.port == KEEPS {
                upstream.port = ECHO;
            }
        }
    }

    pub(crate) fn new_port(&mut self) -> SocketAddr {
        self.ports += 1;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), self.ports)
    }

    /// All sockets look as if they had other ports, and what is sent to the old ones is lost.
    pub(crate) fn rebind(&mut self) {
        for path in self.paths.keys().copied().collect::<Vec<_>>() {
            let address = self.new_port();
            self.paths.insert(path, address);
        }
    }

    pub(crate) fn open(&mut self, port: u16, data: &[u8]) -> Stream {
        let host = Host::parse(b"target.example").unwrap();
        let stream = self.client.open(self.now, Target::new(host, port));
        self.follow(stream, data)
    }

    /// Asks for a stream of datagrams, which the server takes for an echo.
    pub(crate) fn open_datagrams(&mut self, data: &[u8]) -> Stream {
        let stream = self.client.open_datagrams(self.now);
        self.follow(stream, data)
    }

    fn follow(&mut self, stream: Stream, data: &[u8]) -> Stream {
        let app = App {
            ends: Ends::new(),
            accepted: None,
            refused: None,
            left: data.to_vec(),
            came: Vec::new(),
        };
        self.apps.insert(stream, app);
        stream
    }

    fn client_turn(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::NewSourcePort(path) if self.has_no_sockets => {
                    self.client.path_failed(self.now, path);
                }
                ClientEvent::NewSourcePort(path) => {
                    let address = self.new_port();
                    self.paths.insert(path, address);
                    self.paths_made.push(self.now);
                    self.client.source_port_changed(self.now, path);
                }
                ClientEvent::Up(_) => self.ups += 1,
                ClientEvent::Down(_, why) => self.downs.push((why, self.now)),
                ClientEvent::Closed(path) => {
                    self.paths.remove(&path);
                }
                ClientEvent::Accepted(stream, bound) => {
                    let app = self.apps.get_mut(&stream).unwrap();
                    assert!(app.accepted.replace(bound).is_none(), "accepted twice");
                }
                ClientEvent::Refused(stream, why) => {
                    let app = self.apps.get_mut(&stream).unwrap();
                    assert!(app.accepted.is_none() && app.refused.is_none());
                    app.refused = Some((why, self.now));
                }
                ClientEvent::Ready(_) => {}
            }
        }
        for (stream, app) in &mut self.apps {
            let ends = &mut app.ends;
            let n = ends.to_send.room().min(app.left.len());
            if n > 0 {
                ends.to_send.push_slice(&app.left[..n]);
                app.left.drain(..n);
            }
            if app.left.is_empty() && ends.to_send.end() == End::Open {
                let _ = ends.to_send.finish();
            }
            let (received, to_send) = (&mut ends.received, &mut ends.to_send);
            let _ = self.client.exchange(self.now, *stream, received, to_send);
            while let Some(bytes) = ends.received.take(usize::MAX) {
                app.came.extend_from_slice(&bytes);
            }
        }
    }

    fn server_turn(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Up(_) => {}
                ServerEvent::Down(..) => self.server_downs += 1,
                ServerEvent::Request(stream, _, target) => {
                    self.requests.push(target.clone());
                    match target.port {
                        REFUSES => {
                            let why = Refusal::ConnectionRefused;
                            self.server.refuse(self.now, stream, why);
                        }
                        SILENT => {}
                        port => self.accept(stream, port),
                    }
                }
                ServerEvent::Ready(_) => {}
                ServerEvent::DatagramsRequest(stream, _) => self.accept(stream, ECHO),
                ServerEvent::Cancelled(_) => self.cancelled += 1,
            }
        }
        for (stream, upstream) in &mut self.upstreams {
            let Ends { received, to_send } = &mut upstream.ends;
            let _ = self.server.exchange(self.now, *stream, received, to_send);
            upstream.turn();
            let Ends { received, to_send } = &mut upstream.ends;
            let _ = self.server.exchange(self.now, *stream, received, to_send);
        }
        let server = &self.server;
        let over = self
            .upstreams
            .extract_if(.., |stream, _| !server.is_open(*stream));
        self.kept.extend(over.map(|(_, upstream)| upstream.kept));
    }

    fn accept(&mut self, stream: ServerStream, port: u16) {
        let bound = SocketAddr::from(([127, 0, 0, 1], 5000));
        self.server.accept(self.now, stream, bound);
        let mut ends = Ends::new();
        if port == BANNER {
            ends.to_send.push_slice(b"220 hello\r\n");
        }
        let kept = Vec::new();
        self.upstreams.insert(stream, Upstream { ends, port, kept });
    }

    fn launch(&mut self, is_up: bool, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        assert!(!datagram.is_empty(), "an empty datagram");
        self.sent += 1;
        self.bytes_sent += datagram.len();
        if let Some(trace) = &mut self.trace {
            trace.push((is_up, datagram.to_vec()));
        }
        let wire = &mut self.wire;
        if is_up && wire.is_cut || wire.draws.below(100) < wire.loss_percent {
            return;
        }
        if is_up && wire.is_refused {
            let back = (self.now + 2 * wire.latency, self.sent);
            self.refusals.insert(back, from);
            return;
        }
        let mut at = self.now + wire.latency;
        if wire.draws.below(100) < wire.reorder_percent {
            at += Duration::from_micros(wire.draws.below(5_000));
        }
        self.flying
            .insert((at, self.sent), (from, to, datagram.to_vec()));
    }

    pub(crate) fn flush(&mut self) {
        let mut out = BytesMut::new();
        let packet_max = self.profile.budget().packet_len_max();
        loop {
            let before = self.sent;
            self.client_turn();
            while let Some((path, outgoing)) =
                self.client.poll_transmit(self.now, SEGMENTS, &mut out)
            {
                assert_eq!(outgoing.to, server_address());
                let from = self.paths.get(&path).copied();
                self.batches += usize::from(outgoing.segment < out.len());
                for datagram in out.to_vec().chunks(outgoing.segment) {
                    let Some(from) = from else { continue };
                    let is_preamble = self.ups == 0;
                    assert!(is_preamble || datagram.len() <= packet_max.max(1300));
                    self.launch(true, from, outgoing.to, datagram);
                }
            }
            self.server_turn();
            while let Some(outgoing) = self.server.poll_transmit(self.now, SEGMENTS, &mut out) {
                self.batches += usize::from(outgoing.segment < out.len());
                for datagram in out.to_vec().chunks(outgoing.segment) {
                    if self.drop_answers > 0 {
                        self.drop_answers -= 1;
                        continue;
                    }
                    self.launch(false, server_address(), outgoing.to, datagram);
                }
            }
            if self.sent == before {
                return;
            }
        }
    }

    /// Goes on until `is_done`, or `patience` is over; was it done?
    pub(crate) fn run_for(&mut self, patience: Duration, is_done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + patience;
        loop {
            self.flush();
            if is_done(self) {
                return true;
            }
            let timers = [
                self.client.poll_timeout(self.now),
                self.server.poll_timeout(),
            ];
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let refusal = self.refusals.first_key_value().map(|((at, _), _)| *at);
            let arrivals = arrival.into_iter().chain(refusal);
            let next = timers.into_iter().flatten().chain(arrivals).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            self.arrive();
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
    }

    fn path_of(&self, address: SocketAddr) -> Option<Path> {
        let mut paths = self.paths.iter();
        let found = paths.find(|(_, of)| **of == address);
        found.map(|(path, _)| *path)
    }

    fn arrive(&mut self) {
        while let Some(entry) = self.refusals.first_entry()
            && entry.key().0 <= self.now
        {
            let to = entry.remove();
            if let Some(path) = self.path_of(to) {
                self.client
                    .path_unreachable(self.now, path, server_address());
            }
        }
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let (from, to, datagram) = entry.remove();
            let data = BytesMut::from(&datagram[..]);
            if to == server_address() {
                let _ = self.server.handle_datagram(self.now, from, data);
                continue;
            }
            if let Some(path) = self.path_of(to) {
                let _ = self.client.handle_datagram(self.now, path, from, data);
            }
        }
    }

    pub(crate) fn run(&mut self, is_done: impl Fn(&Self) -> bool) {
        assert!(
            self.run_for(Duration::from_secs(120), is_done),
            "not done in time: {:?}, {:?}",
            self.client,
            self.downs,
        );
    }

    pub(crate) fn all_done(&self) -> bool {
        self.apps.values().all(App::is_done)
    }
}

fn new_server(now: Instant, profile: &Profile, seed: u64) -> Server {
    let seed = Seed::from_u64(seed);
    let wall = WALL + now.saturating_duration_since(Instant::ZERO);
    let identity = Server::identity(&seed.derive("identity"), wall).unwrap();
    Server::new(now, wall, profile.server(9), &identity, seed).unwrap()
}

impl Upstream {
    fn turn(&mut self) {
        let Ends { received, to_send } = &mut self.ends;
        match self.port {
            RESETS if !received.is_empty() => {
                let _ = received.reset();
                let _ = to_send.reset();
            }
            LISTENS => {
                let _ = to_send.finish();
                while let Some(bytes) = received.take(usize::MAX) {
                    self.kept.extend_from_slice(&bytes);
                }
            }
            AT_END => {
                while let Some(bytes) = received.take(usize::MAX) {
                    self.kept.extend_from_slice(&bytes);
                }
                if received.end() == End::Fin && to_send.end() == End::Open {
                    to_send.push_slice(&self.kept);
                    let _ = to_send.finish();
                }
                if received.end() == End::Reset {
                    let _ = to_send.reset();
                }
            }
            KEEPS => {
                while let Some(bytes) = received.take(to_send.room()) {
                    to_send.push(bytes);
                }
            }
            _ => {
                let _ = received.transfer(to_send);
            }
        }
    }
}
