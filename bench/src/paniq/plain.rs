//! The floor: quinn-proto by itself, in datagrams of the same size, with the same windows. A stream
//! begins as in the tunnel: the client asks in as many bytes, and sends nothing else before the reply,
//! which is as long as there. Otherwise the floor would save a round trip of each stream, in which
//! packets are sent and acknowledged: the share would tell what asking costs, not what the tunnel does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use sansbox_core::{Instant, Seed};
use sansbox_quic::hooks::{from_std, to_std};
use sansbox_quic::quinn_proto::{self as quic, StreamId};
use sansbox_quic::rustls::crypto::SupportedKxGroup;
use sansbox_quic::{Identity, Sources, groups};

use super::end::{CHUNK_BYTES, End, Load, Send, Service};
use super::tunnel::{WALL, inner_bytes};

const GROUPS: &[&'static dyn SupportedKxGroup] = &[&groups::X25519];
const STREAMS_MAX: u32 = 256;
const STREAM_WINDOW: u32 = 3 * 1024 * 1024;
const WINDOW: u32 = 15 * 1024 * 1024;
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
static CHUNK: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
/// Bytes of the tunnel's request for an IPv4 target, and of its reply.
const REQUEST_BYTES: usize = 8;
const REPLY_BYTES: usize = 9;

/// Where randomness comes from; it is entered for as long as ends are used.
pub(crate) fn sources(seed: u64) -> Sources {
    Sources::new(Seed::from_u64(seed), WALL, false)
}

struct Flow {
    service: Option<Service>,
    /// Bytes of the request or the reply that are still to come.
    greeting: usize,
    /// What the peer has no room for yet.
    pending: Bytes,
    /// Bytes of a message that came.
    came: usize,
    ends: bool,
}

impl Flow {
    const fn new(service: Option<Service>) -> Self {
        Self {
            service,
            greeting: match service {
                Some(_) => REPLY_BYTES,
                None => REQUEST_BYTES,
            },
            pending: Bytes::new(),
            came: 0,
            ends: false,
        }
    }

    /// Takes what came: how many bytes behind the greeting, and whether that ended here.
    fn take(&mut self, connection: &mut quic::Connection, id: StreamId) -> (usize, bool) {
        let (mut came, mut is_greeted) = (0, false);
        let mut stream = connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return (came, is_greeted);
        };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(mut chunk)) => {
                    let greeting = self.greeting.min(chunk.bytes.len());
                    let of_greeting = chunk.bytes.split_to(greeting);
                    if self.service.is_none() {
                        let number = of_greeting.first().copied().unwrap_or(0);
                        self.service = Service::find(number.into());
                    }
                    self.greeting -= greeting;
                    is_greeted |= greeting > 0 && self.greeting == 0;
                    came += chunk.bytes.len();
                }
                Ok(None) => {
                    self.ends = true;
                    break;
                }
                Err(_) => break,
            }
        }
        let _ = chunks.finalize();
        (came, is_greeted)
    }
}

/// One end of plain QUIC.
pub(crate) struct Plain {
    endpoint: quic::Endpoint,
    client: Option<(quic::ClientConfig, SocketAddr)>,
    connection: Option<(quic::ConnectionHandle, quic::Connection)>,
    flows: BTreeMap<StreamId, Flow>,
    plain: Vec<u8>,
    /// Datagrams that the endpoint answers with by itself.
    response: Vec<u8>,
    load: Option<Load>,
    count: u64,
    to_open: usize,
}

impl Plain {
    fn new(
        sources: &Sources,
        server: Option<quic::ServerConfig>,
        client: Option<(quic::ClientConfig, SocketAddr)>,
    ) -> Self {
        let config = Arc::new(sources.endpoint());
        Self {
            endpoint: quic::Endpoint::new(config, server.map(Arc::new), true, None),
            client,
            connection: None,
            flows: BTreeMap::new(),
            plain: Vec::new(),
            response: Vec::new(),
            load: None,
            count: 0,
            to_open: 0,
        }
    }

    pub(crate) fn client(sources: &Sources, server: SocketAddr) -> Result<Self> {
        let mut config = sources.client(sources.client_tls_pinned(None, GROUPS)?)?;
        config.transport_config(Arc::new(transport(sources)?));
        Ok(Self::new(sources, None, Some((config, server))))
    }

    pub(crate) fn server(sources: &Sources) -> Result<Self> {
        let identity = Identity::self_signed(&Seed::from_u64(1), WALL)?;
        let mut config = sources.server(sources.server_tls_of(&identity, GROUPS)?)?;
        config.transport_config(Arc::new(transport(sources)?));
        Ok(Self::new(sources, Some(config), None))
    }

    /// Takes what the connection tells.
    fn settle(&mut self) {
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
    }

    fn open(&mut self) {
        let (Some(load), Some((_, connection))) = (self.load, &mut self.connection) else {
            return;
        };
        while self.to_open > 0 {
            let Some(id) = connection.streams().open(quic::Dir::Bi) else {
                return;
            };
            self.to_open -= 1;
            let service = load.service();
            let number = u8::try_from(service as u16).unwrap_or(0);
            let _ = connection.send_stream(id).write(&[number; REQUEST_BYTES]);
            self.flows.insert(id, Flow::new(Some(service)));
        }
    }

    fn follow(&mut self, id: StreamId) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let is_client = self.client.is_some();
        let (came, is_greeted) = flow.take(connection, id);
        if flow.greeting > 0 {
            return;
        }
        let mut stream = connection.send_stream(id);
        if is_greeted {
            match (is_client, self.load) {
                (false, _) => {
                    let _ = stream.write(zeros(REPLY_BYTES));
                }
                (true, Some(load @ (Load::Trip | Load::Conn))) => {
                    let _ = stream.write(zeros(load.message()));
                }
                (true, _) => {}
            }
        }
        match (is_client, self.load, flow.service) {
            (true, Some(Load::Up), _) | (false, _, Some(Service::Source)) => loop {
                if flow.pending.is_empty() {
                    flow.pending = Bytes::from_static(&CHUNK);
                }
                match stream.write_chunks(std::slice::from_mut(&mut flow.pending)) {
                    Ok(written) if is_client => self.count += written.bytes as u64,
                    Ok(_) => {}
                    Err(_) => break,
                }
            },
            (true, Some(Load::Down), _) => self.count += came as u64,
            (true, Some(load @ Load::Trip), _) => {
                flow.came += came;
                if flow.came >= load.message() {
                    flow.came = 0;
                    self.count += 1;
                    let _ = stream.write(zeros(load.message()));
                }
            }
            (true, Some(Load::Conn), _) => {
                if came > 0 {
                    let _ = stream.finish();
                }
                if flow.ends {
                    self.count += 1;
                    self.flows.remove(&id);
                    self.to_open += 1;
                }
            }
            (false, _, Some(Service::Echo)) => {
                // Small messages alone are echoed: they always have room.
                if came > 0 {
                    let _ = stream.write(zeros(came));
                }
                if flow.ends {
                    let _ = stream.finish();
                    self.flows.remove(&id);
                }
            }
            _ => {}
        }
    }
}

/// At most a chunk.
fn zeros(len: usize) -> &'static [u8] {
    CHUNK.get(..len).unwrap_or(&CHUNK)
}

fn transport(sources: &Sources) -> Result<quic::TransportConfig> {
    let mut transport = quic::TransportConfig::default();
    transport
        .initial_mtu(u16::try_from(inner_bytes()?)?)
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    sources.congestion(&mut transport);
    Ok(transport)
}

impl End for Plain {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        let event = self
            .endpoint
            .handle(to_std(now), from, None, None, data, &mut self.response);
        match event {
            Some(quic::DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(quic::DatagramEvent::NewConnection(incoming)) => {
                let accepted =
                    self.endpoint
                        .accept(incoming, to_std(now), &mut self.response, None);
                self.connection = accepted.ok();
            }
            Some(quic::DatagramEvent::Response(_)) | None => {}
        }
        self.settle();
    }

    fn transmit(&mut self, now: Instant, segments_max: usize, send: &mut Send<'_>) -> bool {
        self.plain.clear();
        let Some((_, connection)) = &mut self.connection else {
            return false;
        };
        let sent = connection.poll_transmit(to_std(now), segments_max, &mut self.plain);
        if let Some(sent) = &sent {
            let segment = sent.segment_size.unwrap_or(sent.size);
            send(sent.destination, segment, &self.plain);
        }
        sent.is_some()
    }

    fn poll_timeout(&mut self, _: Instant) -> Option<Instant> {
        let (_, connection) = self.connection.as_mut()?;
        connection.poll_timeout().map(from_std)
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection
            && connection
                .poll_timeout()
                .is_some_and(|at| from_std(at) <= now)
        {
            connection.handle_timeout(to_std(now));
            self.settle();
        }
    }

    fn turn(&mut self, _: Instant) {
        use quic::StreamEvent::{Opened, Readable, Writable};
        self.open();
        while let Some((_, connection)) = &mut self.connection {
            let Some(event) = connection.poll() else {
                break;
            };
            match event {
                quic::Event::Connected => self.open(),
                quic::Event::ConnectionLost { reason } => {
                    panic!("the connection is gone: {reason}")
                }
                quic::Event::Stream(Opened { dir }) => {
                    while let Some((_, connection)) = &mut self.connection
                        && let Some(id) = connection.streams().accept(dir)
                    {
                        self.flows.insert(id, Flow::new(None));
                        self.follow(id);
                    }
                }
                quic::Event::Stream(Readable { id } | Writable { id }) => {
                    self.follow(id);
                    self.open();
                }
                quic::Event::HandshakeDataReady
                | quic::Event::Stream(_)
                | quic::Event::DatagramReceived
                | quic::Event::DatagramsUnblocked => {}
            }
        }
        self.settle();
    }

    fn start(&mut self, now: Instant, load: Load) {
        if self.connection.is_none()
            && let Some((config, server)) = self.client.clone()
        {
            let name = server.ip().to_string();
            let connected = self.endpoint.connect(to_std(now), config, server, &name);
            self.connection = connected.ok();
        }
        self.load = Some(load);
        self.to_open = load.streams();
        self.open();
    }

    fn count(&self) -> u64 {
        self.count
    }
}
