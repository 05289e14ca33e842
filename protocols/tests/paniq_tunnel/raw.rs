//! A client that does what ours never does, hand in hand with a server.
use super::{
    profile::Profile,
    world::{WALL, server_address},
};
use bytes::{Buf as _, BytesMut};
use sansbox_core::{End, Instant, Pipe, Seed};
use sansbox_protocols::paniq::{
    Draws,
    preamble::{self, ClientEvent},
    transport::{Opener, Sealer},
    tunnel::{ClientConfig, Server, ServerEvent, ServerStream},
};
use sansbox_quic::{ConnectionId, Endpoint, Event, Sources};
use std::{net::SocketAddr, time::Duration};

struct Raw {
    now: Instant,
    server: Server,
    config: ClientConfig,
    quic: Endpoint,
    connection: ConnectionId,
    sealer: Sealer,
    opener: Opener,
    draws: Draws,
    is_connected: bool,
    requests: Vec<(ServerStream, String)>,
    datagram_requests: Vec<ServerStream>,
}

pub(crate) fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 50_000))
}

impl Raw {
    /// A tunnel, and the first datagram of QUIC on its way.
    fn new(profile: &Profile) -> Self {
        let now = Instant::ZERO;
        let seed = Seed::from_u64(1);
        let identity = Server::identity(&seed, WALL).unwrap();
        let mut server = Server::new(now, WALL, profile.server(3), &identity, seed).unwrap();
        let config = profile.client(server_address());
        let now = open(&mut server, &config, now);
        let sources = Sources::new(Seed::from_u64(2), WALL, false);
        let budget = profile.budget();
        let (endpoint, client) = config.settings.client(&sources, &budget, None).unwrap();
        let mut quic = Endpoint::client(sources, endpoint, client);
        let connection = quic.connect(now, server_address(), "10.0.0.2").unwrap();
        Self {
            now,
            server,
            config,
            quic,
            connection,
            sealer: Sealer::default(),
            opener: Opener::default(),
            draws: Draws::new(Seed::from_u64(5)),
            is_connected: false,
            requests: Vec::new(),
            datagram_requests: Vec::new(),
        }
    }

    fn connected(profile: &Profile) -> Self {
        let mut raw = Self::new(profile);
        while !raw.is_connected {
            raw.turn();
        }
        raw
    }

    fn send(&mut self, inner: &[u8]) {
        let mut out = BytesMut::new();
        let codec = &self.config.codec;
        codec
            .seal(&mut self.draws, &mut self.sealer, inner, &mut out)
            .unwrap();
        self.server
            .handle_datagram(self.now, address(), out)
            .unwrap();
    }

    /// Both send all they have, a millisecond after the last time.
    fn turn(&mut self) {
        self.now += Duration::from_millis(1);
        self.quic.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        let mut plain = Vec::new();
        while self.quic.poll_transmit(self.now, 1, &mut plain).is_some() {
            self.send(&plain);
        }
        self.listen();
        while let Some(event) = self.quic.poll_event() {
            self.is_connected |= matches!(event, Event::Connected(_));
        }
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Request(stream, _, target) => {
                    self.requests.push((stream, target.to_string()));
                }
                ServerEvent::DatagramsRequest(stream, peer) => {
                    assert_eq!(peer, address());
                    self.datagram_requests.push(stream);
                }
                ServerEvent::Up(_)
                | ServerEvent::Down(..)
                | ServerEvent::Cancelled(_)
                | ServerEvent::Ready(_) => {}
            }
        }
    }

    /// Takes what the server sends; how many datagrams.
    fn listen(&mut self) -> usize {
        let mut out = BytesMut::new();
        let mut datagrams = 0;
        while let Some(outgoing) = self.server.poll_transmit(self.now, 1, &mut out) {
            assert_eq!(outgoing.to, address());
            let codec = &self.config.codec;
            let inner = codec.open(&mut self.opener, &out).unwrap();
            let mut data = out.split();
            data.truncate(inner.end);
            data.advance(inner.start);
            self.quic
                .handle_datagram(self.now, server_address(), 0, data);
            datagrams += 1;
        }
        datagrams
    }

    /// Says `request` on a new stream, and gives what comes back within `patience`.
    fn say(&mut self, request: &[u8], patience: Duration) -> (Vec<u8>, End) {
        let stream = self.quic.open(self.now, self.connection).unwrap();
        let (mut received, mut to_send) = (Pipe::new(10_000), Pipe::new(10_000));
        to_send.push_slice(request);
        let end = self.now + patience;
        while self.now < end && received.end() == End::Open {
            let (received, to_send) = (&mut received, &mut to_send);
            let _ = self.quic.exchange(self.now, stream, received, to_send);
            self.turn();
        }
        let end = received.end();
        (received.peek(10_000).to_vec(), end)
    }
}

/// Sends a preamble until it is answered.
pub(crate) fn open(server: &mut Server, config: &ClientConfig, mut now: Instant) -> Instant {
    let seed = Seed::from_u64(4);
    let mut client = preamble::Client::new(now, config.preamble.clone(), seed).unwrap();
    while client.poll_event() != Some(ClientEvent::Ready) {
        now = client.poll_timeout().unwrap();
        let mut out = BytesMut::new();
        client.poll_transmit(now, WALL.into(), &mut out).unwrap();
        server.handle_datagram(now, address(), out).unwrap();
        let mut answer = BytesMut::new();
        if server.poll_transmit(now, 1, &mut answer).is_some() {
            client.handle_datagram(&answer);
        }
    }
    now
}

const BAD_REQUEST: [u8; 9] = [1, 2, 1, 0, 0, 0, 0, 0, 0];
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn malformed_requests_are_told_so() {
    let mut raw = Raw::connected(&Profile::new());
    for request in [&[5, 1, 0][..], &[1, 9, 1, 2], &[1, 3, 0, 0, 80]] {
        let (reply, end) = raw.say(request, SECOND);
        assert_eq!((&reply[..], end), (&BAD_REQUEST[..], End::Fin));
    }
    assert!(raw.requests.is_empty());
    let _ = raw.say(&[1, 1, 10, 1, 2, 3, 0, 80], SECOND / 10);
    assert_eq!(raw.requests[0].1, "10.1.2.3:80", "the others are unharmed");
}

#[test]
fn datagrams_are_offered_where_the_profile_says_so() {
    let mut raw = Raw::connected(&Profile::new());
    let (reply, end) = raw.say(&[2, 3], SECOND);
    assert_eq!((&reply[..], end), (&BAD_REQUEST[..], End::Fin));
    assert!(raw.datagram_requests.is_empty());

    let mut profile = Profile::new();
    profile.has_datagrams = true;
    let mut raw = Raw::connected(&profile);
    for request in [&[2, 1][..], &[2, 0], &[3, 3], &[5, 1, 0]] {
        let (reply, end) = raw.say(request, SECOND);
        assert_eq!((&reply[..], end), (&BAD_REQUEST[..], End::Fin));
    }
    let began = raw.now;
    let (reply, end) = raw.say(&[2], 20 * SECOND);
    assert_eq!((&reply[..], end), (&BAD_REQUEST[..], End::Fin));
    assert!(
        raw.now.saturating_duration_since(began) >= 5 * SECOND,
        "it may have been one"
    );
    assert!(raw.datagram_requests.is_empty());
    let _ = raw.say(&[2, 3, 0, 7, 1], SECOND / 10);
    let stream = raw.datagram_requests[0];
    let bound = SocketAddr::from(([0; 4], 0));
    raw.server.accept(raw.now, stream, bound);
    let (mut received, mut to_send) = (Pipe::new(100), Pipe::new(100));
    let (came, goes) = (&mut received, &mut to_send);
    let _ = raw.server.exchange(raw.now, stream, came, goes);
    assert_eq!(received.peek(100), [0, 7, 1], "records follow at once");
    let _ = raw.say(&[1, 1, 10, 1, 2, 3, 0, 80], SECOND / 10);
    assert_eq!(raw.requests[0].1, "10.1.2.3:80", "version 1 is what it was");
}

#[test]
fn a_request_must_be_complete_in_time() {
    let mut raw = Raw::connected(&Profile::new());
    let began = raw.now;
    let (reply, end) = raw.say(&[1, 3, 10, b'a'], 20 * SECOND);
    assert_eq!((&reply[..], end), (&BAD_REQUEST[..], End::Fin));
    let needed = raw.now.saturating_duration_since(began);
    assert!(needed >= 5 * SECOND && needed < 5 * SECOND + SECOND / 10);
    assert_eq!(raw.server.occupancy(), [1, 0]);
}

#[test]
fn payload_right_behind_the_request_is_kept() {
    let mut raw = Raw::connected(&Profile::new());
    let mut said = vec![1, 1, 10, 1, 2, 3, 0, 80];
    said.extend((0..5000_u32).map(|n| (n % 251) as u8));
    let _ = raw.say(&said, SECOND / 2);
    let (stream, _) = raw.requests[0];
    raw.server
        .accept(raw.now, stream, SocketAddr::from(([0; 4], 0)));
    let (mut received, mut to_send) = (Pipe::new(100_000), Pipe::new(100_000));
    for _ in 0..10 {
        let (received, to_send) = (&mut received, &mut to_send);
        let _ = raw.server.exchange(raw.now, stream, received, to_send);
        raw.turn();
    }
    assert_eq!(received.peek(100_000), &said[8..]);
}

#[test]
fn a_datagram_too_long_for_the_go_server_is_dropped_by_ours() {
    let mut raw = Raw::connected(&Profile::new());
    let mut frame = BytesMut::new();
    let inner = vec![0x40; 1453];
    let framer = raw.config.codec.framer().clone();
    let kind = sansbox_protocols::paniq::obf::Kind::Transport;
    framer.begin(&mut raw.draws, kind, &mut frame);
    frame.extend_from_slice(&1453_u16.to_be_bytes());
    frame.extend_from_slice(&inner);
    let dropped = raw.server.handle_datagram(raw.now, address(), frame);
    assert!(dropped.is_err());
    let _ = raw.say(&[1, 1, 10, 1, 2, 3, 0, 80], SECOND / 10);
    assert_eq!(raw.requests.len(), 1, "the tunnel lives");
}

#[test]
fn a_handshake_that_stops_is_forgotten() {
    let profile = Profile::new();
    let mut raw = Raw::new(&profile);
    let mut plain = Vec::new();
    assert!(raw.quic.poll_transmit(raw.now, 1, &mut plain).is_some());
    // As with the Go programs, which pad to all that a datagram may have.
    assert_eq!(plain.len(), profile.budget().inner_len_max());
    raw.send(&plain);
    assert_eq!(raw.server.occupancy(), [1, 0]);
    assert!(raw.server.preamble().is_ready(address()));
    for _ in 0..200 {
        raw.listen();
        let Some(at) = raw.server.poll_timeout() else {
            break;
        };
        raw.now = raw.now.max(at);
        if raw.now > Instant::ZERO + 20 * SECOND {
            break;
        }
        raw.server.handle_timeout(raw.now);
    }
    assert_eq!(raw.server.occupancy(), [0, 0]);
    assert!(!raw.server.preamble().is_ready(address()));
}
