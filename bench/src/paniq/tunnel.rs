//! Both ends of a tunnel.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::BytesMut;
use sansbox_core::{End as Fin, Host, Instant, Pipe, Seed, Target};
use sansbox_protocols::paniq::Draws;
use sansbox_protocols::paniq::obf::{Framer, Kind, Params, Spec};
use sansbox_protocols::paniq::preamble::{self, ClientAuth, Rules, SourcePort, Window};
use sansbox_protocols::paniq::timestamp::ServerKey;
use sansbox_protocols::paniq::transport::{Budget, Codec, Counting, Padding, PaddingSpec, Sizes};
use sansbox_protocols::paniq::tunnel::{
    Client, ClientConfig, ClientEvent, Limits, Path, Server, ServerConfig, ServerEvent,
    ServerStream, Settings, Stream,
};

use super::end::{CHUNK_BYTES, End, Load, MESSAGE_BYTES, Send, Service};

/// The wall clock at zero: any time will do.
pub(crate) const WALL: Duration = Duration::from_secs(1_750_000_000);
/// Bytes that wait in one direction of a stream.
const PIPE_BYTES: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);
const SKEW: Duration = Duration::from_secs(30);
/// `max_packet_size` of the profile in the documents of the Go programs.
const PACKET_BYTES: i64 = 1350;

/// A profile as the Go programs document it, with envelopes of at most `packet` bytes.
pub(crate) fn codec(packet: i64) -> Result<Codec> {
    let params = Params::parse(&Spec {
        jc: 4,
        jmin: 500,
        jmax: 1202,
        s: [339, 432, 215, 37],
        h: ["100-611", "1000-1511", "2000-2511", "3000-3511"],
        i: ["<t>", "", "", "", ""],
    })
    .map_err(|error| anyhow!("the profile: {error:?}"))?;
    let padding = Padding::resolve(&PaddingSpec::default())?;
    let sizes = Sizes {
        max_packet_size: packet,
        max_payload: 0,
        prefix: params.prefix_len(Kind::Transport),
        has_counter: false,
    };
    let budget = Budget::new(&sizes, &padding)?;
    let framer = Framer::new(Arc::new(params));
    Ok(Codec::new(framer, budget, padding, Counting::default()))
}

/// The longest QUIC datagram in such a tunnel: what the floor has as well.
pub(crate) fn inner_bytes() -> Result<usize> {
    Ok(codec(PACKET_BYTES)?.budget().inner_len_max())
}

/// A key that both ends know.
const KEY: [u8; 32] = [7; 32];

struct Ends {
    received: Pipe,
    to_send: Pipe,
}

impl Ends {
    fn boxed() -> Box<Self> {
        Box::new(Self {
            received: Pipe::new(PIPE_BYTES),
            to_send: Pipe::new(PIPE_BYTES),
        })
    }

    /// Sends as much as there is room for; was there any?
    fn fill(&mut self) -> bool {
        let waited = self.to_send.len();
        while self.to_send.room() >= CHUNK_BYTES && self.to_send.end() == Fin::Open {
            self.to_send.push(BytesMut::zeroed(CHUNK_BYTES));
        }
        self.to_send.len() > waited
    }

    /// Takes all that came; how many bytes.
    fn drain(&mut self) -> u64 {
        let came = self.received.len();
        self.received.skip(came);
        came as u64
    }
}

/// What is echoed.
fn message(load: Load) -> &'static [u8] {
    static MESSAGE: [u8; MESSAGE_BYTES] = [7; MESSAGE_BYTES];
    MESSAGE.get(..load.message()).unwrap_or(&MESSAGE)
}

/// The client's end.
pub(crate) struct ClientEnd {
    client: Client,
    path: Option<Path>,
    streams: BTreeMap<Stream, Box<Ends>>,
    load: Option<Load>,
    count: u64,
    out: BytesMut,
}

impl ClientEnd {
    pub(crate) fn new(now: Instant, server: SocketAddr, seed: u64) -> Result<Self> {
        let codec = codec(PACKET_BYTES)?;
        let config = ClientConfig {
            server,
            preamble: preamble::ClientConfig {
                framer: codec.framer().clone(),
                auth: ClientAuth::EncryptedTimestamp(ServerKey::new(KEY).public()),
                attempts: 3,
                timeout: TIMEOUT,
                delay: Duration::ZERO,
                jitter: Duration::ZERO,
                source_port: SourcePort::Fresh,
            },
            codec,
            settings: Settings::default(),
            pin: None,
            dial_timeout: TIMEOUT,
            open_timeout: TIMEOUT,
            waiting_max: 1000,
        };
        Ok(Self {
            client: Client::new(now, WALL, config, Seed::from_u64(seed)),
            path: None,
            streams: BTreeMap::new(),
            load: None,
            count: 0,
            out: BytesMut::new(),
        })
    }

    fn open(&mut self, now: Instant, load: Load) {
        let target = Target::new(
            Host::Ip(Ipv4Addr::new(192, 0, 2, 7).into()),
            load.service() as u16,
        );
        let stream = self.client.open(now, target);
        let mut ends = Ends::boxed();
        match load {
            Load::Up => {
                ends.fill();
            }
            Load::Down => {}
            Load::Trip | Load::Conn => ends.to_send.push_slice(message(load)),
        }
        self.streams.insert(stream, ends);
    }

    /// Something happened to a stream.
    fn follow(&mut self, now: Instant, stream: Stream) {
        let (Some(load), Some(ends)) = (self.load, self.streams.get_mut(&stream)) else {
            return;
        };
        loop {
            let waited = ends.to_send.len() as u64;
            let (received, to_send) = (&mut ends.received, &mut ends.to_send);
            let _ = self.client.exchange(now, stream, received, to_send);
            let taken = waited.saturating_sub(ends.to_send.len() as u64);
            match load {
                Load::Up => {
                    self.count += taken;
                    ends.fill();
                }
                Load::Down => {
                    let came = ends.drain();
                    self.count += came;
                    // There may be more than the pipe has room for, of which nothing tells again.
                    if came > 0 {
                        continue;
                    }
                }
                Load::Trip if ends.received.len() >= load.message() => {
                    ends.drain();
                    self.count += 1;
                    ends.to_send.push_slice(message(load));
                    continue;
                }
                Load::Conn if !ends.received.is_empty() => {
                    ends.drain();
                    let _ = ends.to_send.finish();
                    continue;
                }
                Load::Conn if ends.received.end() != Fin::Open => {
                    self.count += 1;
                    self.streams.remove(&stream);
                    return self.open(now, load);
                }
                Load::Trip | Load::Conn => {}
            }
            if taken == 0 || load != Load::Up {
                return;
            }
        }
    }
}

impl End for ClientEnd {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        if let Some(path) = self.path {
            // What is none of the tunnel's is dropped.
            let _ = self.client.handle_datagram(now, path, from, data);
        }
    }

    fn transmit(&mut self, now: Instant, segments_max: usize, send: &mut Send<'_>) -> bool {
        let sent = self.client.poll_transmit(now, segments_max, &mut self.out);
        if let Some((_, sent)) = sent {
            send(sent.to, sent.segment, &self.out);
        }
        sent.is_some()
    }

    fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        self.client.poll_timeout(now)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
    }

    fn turn(&mut self, now: Instant) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::NewSourcePort(path) => {
                    self.path = Some(path);
                    self.client.source_port_changed(now, path);
                }
                ClientEvent::Ready(stream) => self.follow(now, stream),
                ClientEvent::Refused(_, why) => panic!("a stream is refused: {why:?}"),
                ClientEvent::Down(_, why) => panic!("the tunnel is gone: {why}"),
                ClientEvent::Up(_) | ClientEvent::Closed(_) | ClientEvent::Accepted(..) => {}
            }
        }
    }

    fn start(&mut self, now: Instant, load: Load) {
        self.load = Some(load);
        for _ in 0..load.streams() {
            self.open(now, load);
        }
    }

    fn count(&self) -> u64 {
        self.count
    }
}

/// The server's end.
pub(crate) struct ServerEnd {
    server: Server,
    streams: BTreeMap<ServerStream, (Service, Box<Ends>)>,
    out: BytesMut,
}

impl ServerEnd {
    pub(crate) fn new(now: Instant, seed: u64) -> Result<Self> {
        let codec = codec(PACKET_BYTES)?;
        let config = ServerConfig {
            has_datagrams: false,
            preamble: preamble::ServerConfig {
                codec,
                key: Some(ServerKey::new(KEY)),
                draws: Draws::new(Seed::from_u64(seed)),
                encrypted_timestamp: true,
                require_encrypted_timestamp: true,
                require_timestamp: true,
                legacy_until: None,
                signature_validate: true,
                timestamp_window: Window {
                    past: SKEW,
                    future: SKEW,
                },
                timeout: TIMEOUT,
                replays_max: 4096,
                rate_limit: None,
            },
            rules: Rules::new(Window::new(SKEW, TIMEOUT, 3)),
            settings: Settings::default(),
            limits: Limits::default(),
        };
        let seed = Seed::from_u64(seed);
        let identity = Server::identity(&seed, WALL)?;
        Ok(Self {
            server: Server::new(now, WALL, config, &identity, seed)?,
            streams: BTreeMap::new(),
            out: BytesMut::new(),
        })
    }

    fn follow(&mut self, now: Instant, stream: ServerStream) {
        let Some((service, ends)) = self.streams.get_mut(&stream) else {
            return;
        };
        loop {
            let (received, to_send) = (&mut ends.received, &mut ends.to_send);
            let _ = self.server.exchange(now, stream, received, to_send);
            let goes_on = match service {
                Service::Echo => ends.received.transfer(&mut ends.to_send).0,
                // There may be more than the pipe has room for.
                Service::Sink => ends.drain() > 0,
                Service::Source => ends.fill(),
            };
            if !goes_on {
                break;
            }
        }
        if !self.server.is_open(stream) {
            self.streams.remove(&stream);
        }
    }
}

impl End for ServerEnd {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        // What is no client's is dropped.
        let _ = self.server.handle_datagram(now, from, data);
    }

    fn transmit(&mut self, now: Instant, segments_max: usize, send: &mut Send<'_>) -> bool {
        let sent = self.server.poll_transmit(now, segments_max, &mut self.out);
        if let Some(sent) = sent {
            send(sent.to, sent.segment, &self.out);
        }
        sent.is_some()
    }

    fn poll_timeout(&mut self, _: Instant) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
    }

    fn turn(&mut self, now: Instant) {
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Request(stream, _, target) => {
                    let Some(service) = Service::find(target.port) else {
                        self.server.abandon(now, stream);
                        continue;
                    };
                    let nowhere = SocketAddr::from(([0; 4], 0));
                    self.server.accept(now, stream, nowhere);
                    self.streams.insert(stream, (service, Ends::boxed()));
                }
                ServerEvent::Ready(stream) => self.follow(now, stream),
                ServerEvent::Cancelled(stream) => {
                    self.streams.remove(&stream);
                }
                ServerEvent::Up(_) | ServerEvent::Down(..) | ServerEvent::DatagramsRequest(..) => {}
            }
        }
    }

    fn start(&mut self, _: Instant, _: Load) {}

    fn count(&self) -> u64 {
        0
    }
}
