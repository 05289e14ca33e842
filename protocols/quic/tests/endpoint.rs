//! Two endpoints and a wire between them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{End, Instant, Pipe, Progress, Seed};
use sansbox_quic::{
    ConnectionId, Endpoint, Event, Identity, Lost, Pin, Sources, StreamId, groups, quinn_proto,
};
use std::{collections::BTreeMap, sync::Arc};

const WALL: Duration = Duration::from_secs(1_750_000_000);
const LATENCY: Duration = Duration::from_millis(10);
const ALPN: &[u8] = b"test";
const PIPE: usize = 64 * 1024;

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 443))
}

fn transport() -> Arc<quinn_proto::TransportConfig> {
    let mut transport = quinn_proto::TransportConfig::default();
    let idle = Duration::from_secs(20).try_into().unwrap();
    transport
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(4_u32.into());
    Arc::new(transport)
}

fn identity(seed: u64) -> Identity {
    Identity::self_signed(&Seed::from_u64(seed), WALL).unwrap()
}

fn server(seed: u64, connections_max: usize) -> Endpoint {
    let sources = Sources::new(Seed::from_u64(seed), WALL, false);
    let mut tls = sources
        .server_tls_of(&identity(1), &[&groups::X25519])
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = sources.server(tls).unwrap();
    config.transport = transport();
    let endpoint = sources.endpoint();
    Endpoint::server(sources, endpoint, config, connections_max)
}

fn client(seed: u64, pin: Option<Pin>) -> Endpoint {
    let sources = Sources::new(Seed::from_u64(seed), WALL, false);
    let mut tls = sources.client_tls_pinned(pin, &[&groups::X25519]).unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = sources.client(tls).unwrap();
    config.transport_config(transport());
    let endpoint = sources.endpoint();
    Endpoint::client(sources, endpoint, config)
}

/// A stream's two pipes.
struct Ends {
    received: Pipe,
    to_send: Pipe,
}

impl Ends {
    fn new() -> Self {
        Self {
            received: Pipe::new(PIPE),
            to_send: Pipe::new(PIPE),
        }
    }
}

/// One endpoint, what it was told, and the streams that the test uses.
struct Side {
    endpoint: Endpoint,
    address: SocketAddr,
    connected: Vec<ConnectionId>,
    opened: Vec<StreamId>,
    lost: Vec<(ConnectionId, Lost)>,
    streams: BTreeMap<StreamId, Ends>,
}

impl Side {
    fn new(endpoint: Endpoint, n: u8) -> Self {
        Self {
            endpoint,
            address: address(n),
            connected: Vec::new(),
            opened: Vec::new(),
            lost: Vec::new(),
            streams: BTreeMap::new(),
        }
    }

    fn open(&mut self, now: Instant) -> StreamId {
        let connection = *self.connected.last().unwrap();
        let stream = self.endpoint.open(now, connection).unwrap();
        self.streams.insert(stream, Ends::new());
        stream
    }

    fn turn(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected(id) => self.connected.push(id),
                Event::Lost(id, _, why) => self.lost.push((id, why)),
                Event::Opened(stream) => {
                    self.opened.push(stream);
                    self.streams.insert(stream, Ends::new());
                }
                Event::Ready(_) | Event::Available(_) | _ => {}
            }
        }
        for (stream, ends) in &mut self.streams {
            let (received, to_send) = (&mut ends.received, &mut ends.to_send);
            let _ = self.endpoint.exchange(now, *stream, received, to_send);
        }
    }
}

struct Wire {
    now: Instant,
    sides: [Side; 2],
    /// When, for whom, what; a number keeps the order.
    flying: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    bytes: Vec<u8>,
    /// Every so many datagrams one is lost.
    loss: u64,
}

impl Wire {
    fn new(client: Endpoint, server: Endpoint) -> Self {
        Self {
            now: Instant::ZERO,
            sides: [Side::new(client, 1), Side::new(server, 2)],
            flying: BTreeMap::new(),
            sent: 0,
            bytes: Vec::new(),
            loss: u64::MAX,
        }
    }

    fn connected() -> Self {
        let mut wire = Self::new(client(1, None), server(2, 8));
        wire.connect();
        wire.run(|wire| wire.sides.iter().all(|side| !side.connected.is_empty()));
        wire
    }

    fn connect(&mut self) -> ConnectionId {
        let to = self.sides[1].address;
        let client = &mut self.sides[0].endpoint;
        client.connect(self.now, to, "server.example").unwrap()
    }

    fn flush(&mut self) {
        let mut out = Vec::new();
        for n in 0..2 {
            self.sides[n].turn(self.now);
            while let Some(outgoing) = self.sides[n].endpoint.poll_transmit(self.now, 4, &mut out) {
                assert_eq!(outgoing.to, self.sides[1 - n].address);
                for datagram in out.chunks(outgoing.segment) {
                    self.sent += 1;
                    self.bytes.extend_from_slice(datagram);
                    if self.sent.is_multiple_of(self.loss) {
                        continue;
                    }
                    let at = self.now + LATENCY;
                    self.flying
                        .insert((at, self.sent), (1 - n, datagram.to_vec()));
                }
            }
        }
    }

    /// Goes on until `is_done`, for two minutes of its own time at most.
    fn run(&mut self, is_done: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(120);
        loop {
            self.flush();
            if is_done(self) {
                return;
            }
            let timers = self
                .sides
                .iter()
                .filter_map(|side| side.endpoint.poll_timeout());
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let next = timers.chain(arrival).min();
            self.now = next.filter(|at| *at <= end).expect("not done in time");
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, data) = entry.remove();
                let from = self.sides[1 - to].address;
                let data = BytesMut::from(&data[..]);
                self.sides[to]
                    .endpoint
                    .handle_datagram(self.now, from, 0, data);
            }
            for side in &mut self.sides {
                side.endpoint.handle_timeout(self.now);
            }
        }
    }
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + seed) % 251) as u8).collect()
}

/// Sends `up` and `down` over one stream through pipes with little room.
fn transfer(wire: &mut Wire, up: &[u8], down: &[u8]) {
    let stream = wire.sides[0].open(wire.now);
    let mut left = [up, down];
    let mut came = [Vec::new(), Vec::new()];
    loop {
        wire.flush();
        let answer = wire.sides[1].opened.last().copied();
        let mut is_over = answer.is_some();
        for (n, stream) in [Some(stream), answer].into_iter().enumerate() {
            let Some(stream) = stream else { continue };
            let ends = wire.sides[n].streams.get_mut(&stream).unwrap();
            let room = ends.to_send.room().min(left[n].len());
            let (now, later) = left[n].split_at(room);
            if ends.to_send.end() == End::Open {
                ends.to_send.push(BytesMut::from(now));
                left[n] = later;
                if later.is_empty() {
                    let _ = ends.to_send.finish();
                }
            }
            while let Some(bytes) = ends.received.take(usize::MAX) {
                came[n].extend_from_slice(&bytes);
            }
            assert_ne!(ends.received.end(), End::Reset);
            is_over &= ends.received.is_eof() && ends.to_send.is_eof();
        }
        if is_over {
            break;
        }
        let before = wire.sent;
        wire.flush();
        if wire.sent == before {
            let (now, arrivals) = (wire.now, wire.flying.len());
            wire.run(|wire| wire.now > now || wire.flying.len() < arrivals);
        }
    }
    assert!(came[0] == down && came[1] == up, "bytes were changed");
}

#[test]
fn bytes_and_ends_go_both_ways_whatever_is_lost() {
    for loss in [u64::MAX, 13, 5] {
        let mut wire = Wire::connected();
        wire.loss = loss;
        transfer(&mut wire, &pattern(1, 400_000), &pattern(2, 300_000));
        transfer(&mut wire, &pattern(3, 10), &[]);
    }
}

#[test]
fn the_same_seeds_give_the_same_datagrams() {
    let run = || {
        let mut wire = Wire::connected();
        wire.loss = 7;
        transfer(&mut wire, &pattern(1, 50_000), &pattern(2, 50_000));
        wire.bytes
    };
    let first = run();
    assert!(first.len() > 100_000 && first == run());
}

#[test]
fn a_pinned_key_is_the_only_one_accepted() {
    let right = identity(1).pin();
    let mut wire = Wire::new(client(1, Some(right)), server(2, 8));
    wire.connect();
    wire.run(|wire| !wire.sides[0].connected.is_empty());
    let mut wire = Wire::new(client(1, Some(identity(9).pin())), server(2, 8));
    let id = wire.connect();
    wire.run(|wire| !wire.sides[0].lost.is_empty());
    let (lost, why) = &wire.sides[0].lost[0];
    assert_eq!(*lost, id);
    assert_eq!(*why, Lost::WrongKey);
    assert!(wire.sides[0].connected.is_empty());
}

#[test]
fn a_close_reaches_the_peer_and_the_pipes() {
    let mut wire = Wire::connected();
    let stream = wire.sides[0].open(wire.now);
    let ends = wire.sides[0].streams.get_mut(&stream).unwrap();
    ends.to_send.push_slice(b"hello");
    wire.run(|wire| !wire.sides[1].opened.is_empty());
    let (now, id) = (wire.now, wire.sides[0].connected[0]);
    wire.sides[0].endpoint.close(now, id, 7, "done");
    wire.run(|wire| !wire.sides[1].lost.is_empty());
    assert_eq!(wire.sides[0].lost, [(id, Lost::Locally)]);
    assert_eq!(wire.sides[1].lost[0].1, Lost::Closed(7));
    wire.flush();
    for side in &wire.sides {
        let ends = side.streams.values().next().unwrap();
        assert_eq!(ends.received.end(), End::Reset);
        assert_eq!(ends.to_send.end(), End::Reset);
    }
    assert_eq!(wire.sides[0].endpoint.open(now, id), None);
    wire.run(|wire| wire.sides.iter().all(|side| side.endpoint.is_empty()));
    for side in &wire.sides {
        assert_eq!(side.endpoint.poll_timeout(), None);
    }
}

#[test]
fn an_abandoned_stream_is_reset_and_its_neighbour_goes_on() {
    let mut wire = Wire::connected();
    let [gone, stays] = [0; 2].map(|_| {
        let stream = wire.sides[0].open(wire.now);
        let ends = wire.sides[0].streams.get_mut(&stream).unwrap();
        ends.to_send.push_slice(b"hello");
        stream
    });
    wire.run(|wire| wire.sides[1].opened.len() == 2);
    let now = wire.now;
    wire.sides[0].streams.remove(&gone);
    wire.sides[0].endpoint.abandon(now, gone);
    let is_reset = |wire: &Wire| {
        let mut ends = wire.sides[1].streams.values();
        ends.any(|ends| ends.received.end() == End::Reset && ends.to_send.end() == End::Reset)
    };
    wire.run(is_reset);
    let ends = wire.sides[0].streams.get_mut(&stays).unwrap();
    ends.to_send.push_slice(b" again");
    wire.run(|wire| {
        let mut ends = wire.sides[1].streams.values();
        ends.any(|ends| ends.received.len() == 11)
    });
}

#[test]
fn what_a_forgotten_stream_was_given_is_unacknowledged_until_the_peer_has_it() {
    let mut wire = Wire::connected();
    let id = wire.sides[0].connected[0];
    assert!(!wire.sides[0].endpoint.has_unacknowledged(id));
    let stream = wire.sides[0].open(wire.now);
    let ends = wire.sides[0].streams.get_mut(&stream).unwrap();
    ends.to_send.push_slice(b"hello");
    wire.run(|wire| !wire.sides[1].opened.is_empty());
    let answer = wire.sides[1].opened[0];
    let ends = wire.sides[1].streams.get_mut(&answer).unwrap();
    let _ = ends.to_send.finish();
    wire.run(|wire| wire.sides[0].streams[&stream].received.is_eof());
    let ends = wire.sides[0].streams.get_mut(&stream).unwrap();
    ends.to_send.push_slice(&[7; 1000]);
    let _ = ends.to_send.finish();
    wire.flush();
    assert!(
        !wire.sides[0].endpoint.is_open(stream),
        "nobody waits for it"
    );
    assert!(wire.sides[0].endpoint.has_unacknowledged(id));
    wire.run(|wire| wire.sides[1].streams[&answer].received.len() == 1005);
    // An acknowledgement may wait (RFC 9000 section 13.2.1).
    let later = wire.now + Duration::from_millis(100);
    wire.run(|wire| wire.now > later);
    assert!(!wire.sides[0].endpoint.has_unacknowledged(id));
}

#[test]
fn streams_that_were_given_up_make_place_for_others() {
    let mut wire = Wire::connected();
    // Four at a time are allowed.
    for n in 0..40 {
        let now = wire.now;
        let stream = wire.sides[0].open(now);
        let request = BytesMut::from(&b"request"[..]);
        wire.sides[0]
            .streams
            .get_mut(&stream)
            .unwrap()
            .to_send
            .push(request);
        wire.run(|wire| wire.sides[1].opened.len() == n + 1);
        let accepted = wire.sides[1].opened[n];
        if n % 2 == 0 {
            // Its reader is gone, which the other end, that says nothing, hears of in time.
            let _ = wire.sides[0]
                .streams
                .get_mut(&stream)
                .unwrap()
                .received
                .reset();
        } else {
            let now = wire.now;
            wire.sides[0].endpoint.abandon(now, stream);
        }
        wire.run(|wire| wire.sides[1].streams[&accepted].to_send.end() == End::Reset);
        let _ = wire.sides[0]
            .streams
            .get_mut(&stream)
            .unwrap()
            .to_send
            .reset();
        wire.run(|wire| wire.flying.is_empty());
    }
}

#[test]
fn a_full_server_refuses_and_a_silent_one_times_out() {
    let mut wire = Wire::new(client(1, None), server(2, 1));
    wire.connect();
    wire.run(|wire| !wire.sides[0].connected.is_empty());
    let second = wire.connect();
    wire.run(|wire| !wire.sides[0].lost.is_empty());
    assert_eq!(wire.sides[0].lost[0].0, second);
    assert!(matches!(wire.sides[0].lost[0].1, Lost::Failed(_)));
    wire.loss = 1;
    wire.run(|wire| wire.sides[0].lost.len() == 2);
    assert_eq!(wire.sides[0].lost[1].1, Lost::TimedOut);
}

#[test]
fn what_is_not_quic_changes_nothing() {
    let mut wire = Wire::connected();
    let before = wire.sides[1].endpoint.len();
    for len in [0, 1, 20, 1200] {
        let data = BytesMut::from(&pattern(len, len)[..]);
        wire.sides[1]
            .endpoint
            .handle_datagram(wire.now, address(9), 3, data);
    }
    assert_eq!(wire.sides[1].endpoint.len(), before);
    let mut pipes = Ends::new();
    let stream = wire.sides[0].open(wire.now);
    let (received, to_send) = (&mut pipes.received, &mut pipes.to_send);
    let other = &mut wire.sides[1].endpoint;
    assert_eq!(
        other.exchange(wire.now, stream, received, to_send),
        Progress::NONE,
        "the other side does not know it yet"
    );
}

#[test]
fn only_what_is_authentic_and_new_is_judged_so() {
    let mut wire = Wire::connected();
    let stream = wire.sides[0].open(wire.now);
    let ends = wire.sides[0].streams.get_mut(&stream).unwrap();
    ends.to_send.push_slice(b"hello");
    wire.flush();
    let mut up = wire.flying.values().filter(|(to, _)| *to == 1);
    let good = up.next().unwrap().1.clone();
    let (now, client) = (wire.now, wire.sides[0].address);
    let server = &mut wire.sides[1].endpoint;
    let mut judge = |from, data: &[u8]| server.judge_datagram(now, from, 0, BytesMut::from(data));
    // What came before the first judgement counts with it.
    let mut last = good.clone();
    *last.last_mut().unwrap() ^= 1;
    judge(client, &last);
    for n in 0..good.len() {
        let mut changed = good.clone();
        changed[n] ^= 0x04;
        assert!(!judge(client, &changed), "octet {n}");
    }
    assert!(!judge(client, &[0x40; 60]));
    assert!(judge(client, &good));
    assert!(!judge(client, &good), "once");
}
