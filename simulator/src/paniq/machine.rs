//! Both sides of a tunnel as the hosts of a world drive them: ours as they are, and those of the
//! personas.
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{Instant, Pipe, Progress, Refusal, Target};
use sansbox_protocols::paniq::tunnel::{
    Client, ClientEvent as Told, Path, Server, ServerEvent, ServerStream, Stream,
};
use std::collections::BTreeMap;

/// Datagrams that are asked for at a time.
const SEGMENTS_MAX: usize = 8;

/// What a client's machine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientTold {
    /// Wants a new socket for this path.
    Socket(u64),
    Up(u64),
    Down(u64, String),
    /// A path's socket is to be closed.
    Closed(u64),
    Accepted(u64),
    Refused(u64, String),
}

impl ClientTold {
    /// For who looks at the run.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Self::Up(_) => Some("the tunnel stands".to_owned()),
            Self::Down(_, why) => Some(format!("tunnel over: {why}")),
            Self::Socket(_) | Self::Closed(_) | Self::Accepted(_) | Self::Refused(..) => None,
        }
    }
}

/// Datagrams to send, all but the last of this length.
pub(crate) struct Sending {
    pub(crate) to: SocketAddr,
    pub(crate) segment: usize,
}

/// The client's side of a tunnel.
pub(crate) trait ClientMachine {
    fn open(&mut self, now: Instant, target: Target) -> u64;
    fn is_open(&self, stream: u64) -> bool;
    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress;
    fn socket(&mut self, now: Instant, path: u64, is_there: bool);
    /// # Errors
    /// Why a datagram was dropped.
    fn handle_datagram(
        &mut self,
        now: Instant,
        path: u64,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String>;
    /// The path to send from.
    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(u64, Sending)>;
    fn poll_event(&mut self) -> Option<ClientTold>;
    fn poll_timeout(&self, now: Instant) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
}

/// What a server's machine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerTold {
    Up(SocketAddr),
    Down(SocketAddr, String),
    Request(u64, Target),
    Cancelled(u64),
    /// The program ended.
    Exited(String),
}

impl ServerTold {
    /// For who looks at the run.
    pub(crate) fn words(&self) -> Option<String> {
        match self {
            Self::Up(_) => Some("a tunnel stands".to_owned()),
            Self::Down(_, why) => Some(format!("tunnel over: {why}")),
            Self::Exited(why) => Some(format!("the program exits: {why}")),
            Self::Request(..) | Self::Cancelled(_) => None,
        }
    }
}

/// The server's side of all tunnels.
pub(crate) trait ServerMachine {
    fn accept(&mut self, now: Instant, stream: u64, bound: SocketAddr);
    fn refuse(&mut self, now: Instant, stream: u64, why: Refusal);
    fn is_open(&self, stream: u64) -> bool;
    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress;
    /// # Errors
    /// Why a datagram was dropped.
    fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String>;
    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<Sending>;
    fn poll_event(&mut self) -> Option<ServerTold>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    /// What it still holds although nobody is there.
    fn residue(&self) -> Option<String>;
}

/// Names of the product's, which nobody else can make, by number.
#[derive(Debug)]
struct Names<T> {
    by_number: BTreeMap<u64, T>,
    numbers: BTreeMap<T, u64>,
    next: u64,
}

impl<T: Copy + Ord> Names<T> {
    const fn new() -> Self {
        Self {
            by_number: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
        }
    }

    fn number(&mut self, name: T) -> u64 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.by_number.insert(number, name);
        self.numbers.insert(name, number);
        number
    }

    fn name(&self, number: u64) -> Option<T> {
        self.by_number.get(&number).copied()
    }
}

/// Our client.
pub(crate) struct OurClient {
    client: Client,
    paths: Names<Path>,
    streams: Names<Stream>,
}

impl OurClient {
    pub(crate) const fn new(client: Client) -> Self {
        Self {
            client,
            paths: Names::new(),
            streams: Names::new(),
        }
    }
}

impl ClientMachine for OurClient {
    fn open(&mut self, now: Instant, target: Target) -> u64 {
        let stream = self.client.open(now, target);
        self.streams.number(stream)
    }

    fn is_open(&self, stream: u64) -> bool {
        let name = self.streams.name(stream);
        name.is_some_and(|name| self.client.is_open(name))
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        match self.streams.name(stream) {
            Some(name) => self.client.exchange(now, name, received, to_send),
            None => Progress::NONE,
        }
    }

    fn socket(&mut self, now: Instant, path: u64, is_there: bool) {
        match self.paths.name(path) {
            Some(name) if is_there => self.client.source_port_changed(now, name),
            Some(name) => self.client.path_failed(now, name),
            None => {}
        }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        path: u64,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String> {
        let Some(name) = self.paths.name(path) else {
            return Ok(());
        };
        let handled = self.client.handle_datagram(now, name, from, data);
        handled.map_err(|why| why.to_string())
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(u64, Sending)> {
        let (path, outgoing) = self.client.poll_transmit(now, SEGMENTS_MAX, out)?;
        let (to, segment) = (outgoing.to, outgoing.segment);
        Some((self.paths.number(path), Sending { to, segment }))
    }

    fn poll_event(&mut self) -> Option<ClientTold> {
        loop {
            return Some(match self.client.poll_event()? {
                Told::NewSourcePort(path) => ClientTold::Socket(self.paths.number(path)),
                Told::Up(path) => ClientTold::Up(self.paths.number(path)),
                Told::Down(path, why) => ClientTold::Down(self.paths.number(path), why.to_string()),
                Told::Closed(path) => ClientTold::Closed(self.paths.number(path)),
                Told::Accepted(stream, _) => ClientTold::Accepted(self.streams.number(stream)),
                Told::Refused(stream, why) => {
                    ClientTold::Refused(self.streams.number(stream), why.to_string())
                }
                Told::Ready(_) => continue,
            });
        }
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.client.poll_timeout(now)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
    }
}

/// Our server.
pub(crate) struct OurServer {
    server: Server,
    streams: Names<ServerStream>,
}

impl OurServer {
    pub(crate) const fn new(server: Server) -> Self {
        Self {
            server,
            streams: Names::new(),
        }
    }
}

impl ServerMachine for OurServer {
    fn accept(&mut self, now: Instant, stream: u64, bound: SocketAddr) {
        if let Some(name) = self.streams.name(stream) {
            self.server.accept(now, name, bound);
        }
    }

    fn refuse(&mut self, now: Instant, stream: u64, why: Refusal) {
        if let Some(name) = self.streams.name(stream) {
            self.server.refuse(now, name, why);
        }
    }

    fn is_open(&self, stream: u64) -> bool {
        let name = self.streams.name(stream);
        name.is_some_and(|name| self.server.is_open(name))
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        match self.streams.name(stream) {
            Some(name) => self.server.exchange(now, name, received, to_send),
            None => Progress::NONE,
        }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String> {
        let handled = self.server.handle_datagram(now, from, data);
        handled.map_err(|why| why.to_string())
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<Sending> {
        let outgoing = self.server.poll_transmit(now, SEGMENTS_MAX, out)?;
        Some(Sending {
            to: outgoing.to,
            segment: outgoing.segment,
        })
    }

    fn poll_event(&mut self) -> Option<ServerTold> {
        loop {
            return Some(match self.server.poll_event()? {
                ServerEvent::Up(peer) => ServerTold::Up(peer),
                ServerEvent::Down(peer, why) => ServerTold::Down(peer, why),
                ServerEvent::Request(stream, _, target) => {
                    ServerTold::Request(self.streams.number(stream), target)
                }
                ServerEvent::Cancelled(stream) => {
                    ServerTold::Cancelled(self.streams.number(stream))
                }
                // No profile here has datagrams.
                ServerEvent::DatagramsRequest(..) | ServerEvent::Ready(_) => continue,
            });
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
    }

    fn residue(&self) -> Option<String> {
        let [connections, streams] = self.server.occupancy();
        let [half_open, ready, limited, _] = self.server.preamble().occupancy();
        let all = [connections, streams, half_open, ready, limited];
        let what = "connections, streams, preambles, tunnels and limits";
        all.iter()
            .any(|n| *n > 0)
            .then(|| format!("{all:?} {what} are left"))
    }
}
