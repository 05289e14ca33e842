//! Tunnels as they are.
use crate::{
    App,
    host::{End, Host, Told},
    plain::since_1970,
};
use bytes::BytesMut;
use sansbox_core::{Host as Name, Instant, Pipe, Refusal, Seed, Target};
use sansbox_protocols::paniq::{
    Draws,
    preamble::{Dropped, Rules, SourcePort, Window},
    profile::{Profile, Shared},
    transport::OpenError,
    tunnel::{
        Client, ClientConfig, ClientEvent, Limits, Path, Server, ServerConfig, ServerEvent,
        ServerStream, Settings, Stream,
    },
};
use sansbox_quic::Outgoing;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Datagrams of one size that are taken at once.
const SEGMENTS: usize = 8;
/// How long a stream waits, for a tunnel or for its target.
const TIMEOUT: Duration = Duration::from_secs(60);

fn settings(shared: &Shared) -> Settings {
    Settings {
        keepalive: shared.keepalive,
        idle_timeout: shared.idle_timeout,
        streams_max: shared.max_streams,
    }
}

/// A client.
#[derive(Debug)]
pub struct TunnelClient {
    machine: Client,
    /// Why datagrams of the server's were dropped, apart from its Responses.
    pub dropped: Vec<OpenError>,
}

impl TunnelClient {
    /// A client of the profile's, for a server at `server`.
    ///
    /// # Panics
    /// When the profile is none for a client.
    #[must_use]
    pub fn new(profile: &Profile, server: SocketAddr, seed: u64) -> Self {
        let client = profile.for_clients().client();
        let client = client.expect("a profile for clients").settings;
        let shared = &client.shared;
        let config = ClientConfig {
            server,
            preamble: client.preamble(SourcePort::Fresh),
            codec: shared.codec(),
            settings: settings(shared),
            pin: None,
            dial_timeout: TIMEOUT,
            open_timeout: TIMEOUT,
            waiting_max: 1000,
        };
        Self {
            machine: Client::new(Instant::ZERO, since_1970(), config, Seed::from_u64(seed)),
            dropped: Vec::new(),
        }
    }
}

impl End for TunnelClient {
    type Path = Path;
    type Stream = Stream;

    fn bound(&mut self, now: Instant, path: Path) {
        self.machine.source_port_changed(now, path);
    }

    fn receive(&mut self, now: Instant, path: Path, from: SocketAddr, data: BytesMut) {
        let taken = self.machine.handle_datagram(now, path, from, data);
        self.dropped.extend(taken.err());
    }

    fn transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(Path, Outgoing)> {
        self.machine.poll_transmit(now, SEGMENTS, out)
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        self.machine.poll_timeout(now)
    }

    fn expire(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn poll(&mut self, _: Instant) -> Option<Told<Path, Stream>> {
        loop {
            return Some(match self.machine.poll_event()? {
                ClientEvent::NewSourcePort(path) => Told::NewSocket(path),
                ClientEvent::Closed(path) => Told::NoSocket(path),
                ClientEvent::Up(_) => Told::Up,
                ClientEvent::Down(_, why) => Told::Down(why.to_string()),
                ClientEvent::Accepted(stream, _) => Told::Accepted(stream),
                ClientEvent::Refused(stream, _) => Told::Refused(stream),
                ClientEvent::Ready(_) => continue,
            });
        }
    }

    fn accept(&mut self, _: Instant, _: Stream) {}

    fn refuse(&mut self, _: Instant, _: Stream) {}

    fn exchange(&mut self, now: Instant, stream: Stream, from: &mut Pipe, to: &mut Pipe) {
        let _ = self.machine.exchange(now, stream, from, to);
    }
}

impl Host<TunnelClient> {
    /// Opens a stream for `app`.
    pub fn ask(&mut self, port: u16, app: App) -> Stream {
        let target = Target::new(Name::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port);
        let stream = self.end.machine.open(self.now(), target);
        self.apps.insert(stream, app);
        stream
    }
}

/// A server. Its one socket is `()`.
#[derive(Debug)]
pub struct TunnelServer {
    machine: Server,
    /// Why datagrams were dropped.
    pub dropped: Vec<Dropped>,
}

impl TunnelServer {
    /// A server of the profile's.
    ///
    /// # Panics
    /// When the profile is none for a server.
    #[must_use]
    pub fn new(profile: &Profile, seed: u64) -> Self {
        Self {
            machine: server(profile, since_1970(), seed),
            dropped: Vec::new(),
        }
    }
}

/// The machine for a profile, begun when the wall clock says `wall`.
///
/// # Panics
/// When the profile is none for a server.
#[must_use]
pub fn server(profile: &Profile, wall: Duration, seed: u64) -> Server {
    let server = profile.server(wall.as_secs());
    let server = server.expect("a profile for servers").settings;
    let shared = &server.shared;
    let window = Window::new(server.skew_hard, shared.handshake_timeout, 3);
    let seed = Seed::from_u64(seed);
    let config = ServerConfig {
        preamble: server.preamble(Draws::new(seed.derive("draws"))),
        rules: Rules::new(window),
        settings: settings(shared),
        limits: Limits::default(),
        has_datagrams: false,
    };
    let identity = Server::identity(&seed.derive("identity"), wall).expect("an identity");
    Server::new(Instant::ZERO, wall, config, &identity, seed).expect("a server")
}

impl End for TunnelServer {
    type Path = ();
    type Stream = ServerStream;

    fn bound(&mut self, _: Instant, (): ()) {}

    fn receive(&mut self, now: Instant, (): (), from: SocketAddr, data: BytesMut) {
        let taken = self.machine.handle_datagram(now, from, data);
        self.dropped.extend(taken.err());
    }

    fn transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<((), Outgoing)> {
        let outgoing = self.machine.poll_transmit(now, SEGMENTS, out)?;
        Some(((), outgoing))
    }

    fn deadline(&self, _: Instant) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn expire(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
    }

    fn poll(&mut self, _: Instant) -> Option<Told<(), ServerStream>> {
        loop {
            return Some(match self.machine.poll_event()? {
                ServerEvent::Up(_) => Told::Up,
                ServerEvent::Down(_, why) => Told::Down(why),
                ServerEvent::Request(stream, _, target) => Told::Requested(stream, target.port),
                ServerEvent::DatagramsRequest(..)
                | ServerEvent::Cancelled(_)
                | ServerEvent::Ready(_) => continue,
            });
        }
    }

    fn accept(&mut self, now: Instant, stream: ServerStream) {
        let bound = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
        self.machine.accept(now, stream, bound);
    }

    fn refuse(&mut self, now: Instant, stream: ServerStream) {
        let why = Refusal::ConnectionRefused;
        self.machine.refuse(now, stream, why);
    }

    fn exchange(&mut self, now: Instant, stream: ServerStream, from: &mut Pipe, to: &mut Pipe) {
        let _ = self.machine.exchange(now, stream, from, to);
    }
}
