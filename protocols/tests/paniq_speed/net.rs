//! Many clients, one server, and a path between them with a latency and a rate.
use super::profile::Profile;
use bytes::BytesMut;
use sansbox_core::{End, Host, Instant, Pipe, Seed, Target};
use sansbox_protocols::paniq::tunnel::{
    Client, ClientEvent, Path, Server, ServerEvent, ServerStream, Stream,
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

pub(crate) const WALL: Duration = Duration::from_secs(1_750_000_000);
const PIPE: usize = 64 * 1024;
const SEGMENTS: usize = 8;
/// What is at a target, by its port.
pub(crate) const ECHO: u16 = 7;
pub(crate) const SINK: u16 = 9;
pub(crate) const SOURCE: u16 = 19;

fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 443))
}

/// One direction of the path. Its queue has no end: nothing is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) latency: Duration,
    /// Nanoseconds that each octet takes; 0 for none.
    pub(crate) octet_nanos: u64,
    free_at: Instant,
}

impl Line {
    pub(crate) const fn new(latency: Duration, octet_nanos: u64) -> Self {
        Self {
            latency,
            octet_nanos,
            free_at: Instant::ZERO,
        }
    }

    pub(crate) fn arrival(&mut self, now: Instant, len: usize) -> Instant {
        let begin = self.free_at.max(now);
        self.free_at = begin + Duration::from_nanos(self.octet_nanos * len as u64);
        self.free_at + self.latency
    }
}

pub(crate) struct Ends {
    pub(crate) received: Pipe,
    pub(crate) to_send: Pipe,
    /// Octets that came.
    pub(crate) came: usize,
    /// Octets that are still to be sent.
    pub(crate) left: usize,
    /// The application does nothing.
    pub(crate) is_stalled: bool,
}

impl Ends {
    fn new(left: usize) -> Self {
        Self {
            received: Pipe::new(PIPE),
            to_send: Pipe::new(PIPE),
            came: 0,
            left,
            is_stalled: false,
        }
    }

    /// What the application does: it takes all that came and sends what it has.
    fn turn(&mut self, echoes: bool) {
        if self.is_stalled {
            return;
        }
        if echoes {
            let _ = self.received.transfer(&mut self.to_send);
            return;
        }
        while let Some(bytes) = self.received.take(usize::MAX) {
            self.came += bytes.len();
        }
        while self.left > 0 && self.to_send.room() > 0 && self.to_send.end() == End::Open {
            let n = self.left.min(16 * 1024);
            self.to_send.push(BytesMut::zeroed(n));
            self.left -= n;
        }
    }
}

pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) path: Option<Path>,
    pub(crate) streams: BTreeMap<Stream, Ends>,
    pub(crate) accepted: usize,
    pub(crate) ups: usize,
}

impl Peer {
    /// Octets that came over all of its streams.
    pub(crate) fn came(&self) -> usize {
        self.streams.values().map(|ends| ends.came).sum()
    }
}

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) profile: Profile,
    pub(crate) server: Server,
    pub(crate) peers: Vec<Peer>,
    pub(crate) targets: BTreeMap<ServerStream, (u16, Ends)>,
    pub(crate) up: Line,
    pub(crate) down: Line,
    flying: VecDeque<(Instant, SocketAddr, SocketAddr, BytesMut)>,
    /// Where datagrams are received to, as a runtime does it.
    buffer: BytesMut,
    out: BytesMut,
    /// Datagrams that reached a machine.
    pub(crate) datagrams: u64,
    /// How often the machines asked for memory.
    pub(crate) allocations: u64,
}

impl Net {
    pub(crate) fn new(profile: Profile, latency: Duration, octet_nanos: u64) -> Self {
        let now = Instant::ZERO;
        let line = Line::new(latency, octet_nanos);
        Self {
            now,
            server: new_server(now, &profile),
            profile,
            peers: Vec::new(),
            targets: BTreeMap::new(),
            up: line,
            down: line,
            flying: VecDeque::new(),
            buffer: BytesMut::new(),
            out: BytesMut::new(),
            datagrams: 0,
            allocations: 0,
        }
    }

    /// One more client.
    pub(crate) fn add(&mut self) -> usize {
        let nth = u16::try_from(self.peers.len()).unwrap();
        let [high, low] = nth.to_be_bytes();
        let config = self.profile.client(server_address());
        let seed = Seed::from_u64(u64::from(nth) + 100);
        self.peers.push(Peer {
            client: Client::new(self.now, WALL, config, seed),
            address: SocketAddr::from(([10, 1, high, low], 1000)),
            path: None,
            streams: BTreeMap::new(),
            accepted: 0,
            ups: 0,
        });
        usize::from(nth)
    }

    /// A stream of a client's to what is at `port`, which sends `left` octets.
    pub(crate) fn open(&mut self, peer: usize, port: u16, left: usize) -> Stream {
        let host = Host::parse(b"target.example").unwrap();
        let peer = &mut self.peers[peer];
        let stream = peer.client.open(self.now, Target::new(host, port));
        peer.streams.insert(stream, Ends::new(left));
        stream
    }

    /// Leaves nothing but the server.
    pub(crate) fn forget_clients(&mut self) {
        self.peers = Vec::new();
        self.targets = BTreeMap::new();
        self.flying = VecDeque::new();
        self.buffer = BytesMut::new();
        self.out = BytesMut::new();
    }

    fn counted<T>(allocations: &mut u64, what: impl FnOnce() -> T) -> T {
        let before = sansbox_heap::heap();
        let result = what();
        *allocations += sansbox_heap::heap().since(before).allocations;
        result
    }

    fn client_turn(&mut self, nth: usize) {
        let (now, peer) = (self.now, &mut self.peers[nth]);
        let allocations = &mut self.allocations;
        while let Some(event) = Self::counted(allocations, || peer.client.poll_event()) {
            match event {
                ClientEvent::NewSourcePort(path) => {
                    peer.path = Some(path);
                    peer.client.source_port_changed(now, path);
                }
                ClientEvent::Up(_) => peer.ups += 1,
                ClientEvent::Accepted(..) => peer.accepted += 1,
                ClientEvent::Refused(_, why) => panic!("refused: {why:?}"),
                ClientEvent::Down(_, why) => panic!("down: {why:?}"),
                ClientEvent::Closed(_) | ClientEvent::Ready(_) => {}
            }
        }
        for (stream, ends) in &mut peer.streams {
            ends.turn(false);
            let (received, to_send) = (&mut ends.received, &mut ends.to_send);
            let client = &mut peer.client;
            let _ = Self::counted(allocations, || {
                client.exchange(now, *stream, received, to_send)
            });
        }
    }

    fn server_turn(&mut self) {
        let (now, server) = (self.now, &mut self.server);
        let allocations = &mut self.allocations;
        while let Some(event) = Self::counted(allocations, || server.poll_event()) {
            match event {
                ServerEvent::Request(stream, _, target) => {
                    let bound = SocketAddr::from(([127, 0, 0, 1], 5000));
                    server.accept(now, stream, bound);
                    let left = if target.port == SOURCE { usize::MAX } else { 0 };
                    let ends = Ends::new(left);
                    self.targets.insert(stream, (target.port, ends));
                }
                ServerEvent::Cancelled(stream) => {
                    self.targets.remove(&stream);
                }
                ServerEvent::DatagramsRequest(..)
                | ServerEvent::Up(_)
                | ServerEvent::Down(..)
                | ServerEvent::Ready(_) => {}
            }
        }
        for (stream, (port, ends)) in &mut self.targets {
            for _ in 0..2 {
                let (received, to_send) = (&mut ends.received, &mut ends.to_send);
                let _ = Self::counted(allocations, || {
                    server.exchange(now, *stream, received, to_send)
                });
                ends.turn(*port == ECHO);
            }
        }
    }

    /// Sends all that the machines have now.
    pub(crate) fn flush(&mut self) {
        for nth in 0..self.peers.len() {
            self.client_turn(nth);
        }
        self.server_turn();
        let mut out = core::mem::take(&mut self.out);
        for nth in 0..self.peers.len() {
            loop {
                let (now, peer) = (self.now, &mut self.peers[nth]);
                let sent = Self::counted(&mut self.allocations, || {
                    peer.client.poll_transmit(now, SEGMENTS, &mut out)
                });
                let Some((_, outgoing)) = sent else { break };
                let from = peer.address;
                self.launch(from, outgoing.to, outgoing.segment, &out);
            }
        }
        loop {
            let (now, server) = (self.now, &mut self.server);
            let sent = Self::counted(&mut self.allocations, || {
                server.poll_transmit(now, SEGMENTS, &mut out)
            });
            let Some(outgoing) = sent else { break };
            self.launch(server_address(), outgoing.to, outgoing.segment, &out);
        }
        self.out = out;
    }

    fn launch(&mut self, from: SocketAddr, to: SocketAddr, segment: usize, datagrams: &[u8]) {
        for datagram in datagrams.chunks(segment) {
            if self.buffer.capacity() < datagram.len() {
                self.buffer = BytesMut::with_capacity(64 * 1024);
            }
            self.buffer.extend_from_slice(datagram);
            let data = self.buffer.split_to(datagram.len());
            let line = if to == server_address() {
                &mut self.up
            } else {
                &mut self.down
            };
            let at = line.arrival(self.now, datagram.len());
            let behind = self.flying.partition_point(|(other, ..)| *other <= at);
            self.flying.insert(behind, (at, from, to, data));
        }
    }

    fn arrive(&mut self) {
        while self.flying.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, from, to, data) = self.flying.pop_front().unwrap();
            self.datagrams += 1;
            let (now, server) = (self.now, &mut self.server);
            if to == server_address() {
                let _ = Self::counted(&mut self.allocations, || {
                    server.handle_datagram(now, from, data)
                });
                continue;
            }
            let peer = self.peers.iter_mut().find(|peer| peer.address == to);
            if let Some(Peer {
                client,
                path: Some(path),
                ..
            }) = peer
            {
                let _ = Self::counted(&mut self.allocations, || {
                    client.handle_datagram(now, *path, from, data)
                });
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
            let clients = self.peers.iter();
            let timers = clients.filter_map(|peer| peer.client.poll_timeout(self.now));
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let next = timers
                .chain(self.server.poll_timeout())
                .chain(arrival)
                .min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            self.arrive();
            let (now, server) = (self.now, &mut self.server);
            for peer in &mut self.peers {
                Self::counted(&mut self.allocations, || peer.client.handle_timeout(now));
            }
            Self::counted(&mut self.allocations, || server.handle_timeout(now));
        }
    }

    pub(crate) fn run(&mut self, is_done: impl Fn(&Self) -> bool) {
        let patience = Duration::from_secs(120);
        assert!(self.run_for(patience, is_done), "not done in time");
    }
}

pub(crate) fn new_server(now: Instant, profile: &Profile) -> Server {
    let seed = Seed::from_u64(1);
    let identity = Server::identity(&seed.derive("identity"), WALL).unwrap();
    Server::new(now, WALL, profile.server(9), &identity, seed).unwrap()
}
