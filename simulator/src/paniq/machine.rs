//! Both sides of a tunnel as the hosts of a world drive them: ours as they are, and those of the
//! personas.
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{Instant, Pipe, Progress, Refusal, Target};
use sansbox_protocols::paniq::tunnel::{
    Client, ClientEvent as Told, Path, Server, ServerEvent, ServerStream, Stream,
};

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

/// Our client.
pub(crate) struct OurClient {
    client: Client,
}

impl OurClient {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }
}

impl ClientMachine for OurClient {
    fn open(&mut self, now: Instant, target: Target) -> u64 {
        self.client.open(now, target).0
    }

    fn is_open(&self, stream: u64) -> bool {
        self.client.is_open(Stream(stream))
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let stream = Stream(stream);
        self.client.exchange(now, stream, received, to_send)
    }

    fn socket(&mut self, now: Instant, path: u64, is_there: bool) {
        if is_there {
            self.client.source_port_changed(now, Path(path));
        } else {
            self.client.path_failed(now, Path(path));
        }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        path: u64,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String> {
        let handled = self.client.handle_datagram(now, Path(path), from, data);
        handled.map_err(|why| why.to_string())
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(u64, Sending)> {
        let (path, outgoing) = self.client.poll_transmit(now, SEGMENTS_MAX, out)?;
        let (to, segment) = (outgoing.to, outgoing.segment);
        Some((path.0, Sending { to, segment }))
    }

    fn poll_event(&mut self) -> Option<ClientTold> {
        loop {
            return Some(match self.client.poll_event()? {
                Told::NewSourcePort(path) => ClientTold::Socket(path.0),
                Told::Up(path) => ClientTold::Up(path.0),
                Told::Down(path, why) => ClientTold::Down(path.0, why.to_string()),
                Told::Closed(path) => ClientTold::Closed(path.0),
                Told::Accepted(stream, _) => ClientTold::Accepted(stream.0),
                Told::Refused(stream, why) => ClientTold::Refused(stream.0, why.to_string()),
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
}

impl OurServer {
    pub(crate) const fn new(server: Server) -> Self {
        Self { server }
    }
}

impl ServerMachine for OurServer {
    fn accept(&mut self, now: Instant, stream: u64, bound: SocketAddr) {
        self.server.accept(now, ServerStream(stream), bound);
    }

    fn refuse(&mut self, now: Instant, stream: u64, why: Refusal) {
        self.server.refuse(now, ServerStream(stream), why);
    }

    fn is_open(&self, stream: u64) -> bool {
        self.server.is_open(ServerStream(stream))
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let stream = ServerStream(stream);
        self.server.exchange(now, stream, received, to_send)
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
                ServerEvent::Request(stream, _, target) => ServerTold::Request(stream.0, target),
                ServerEvent::Cancelled(stream) => ServerTold::Cancelled(stream.0),
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
