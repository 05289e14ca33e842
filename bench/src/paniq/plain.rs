//! The floor: quinn-proto by itself, in datagrams of the same size, with the same windows.

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

/// Where randomness comes from; it is entered for as long as ends are used.
pub(crate) fn sources(seed: u64) -> Sources {
    Sources::new(Seed::from_u64(seed), WALL, false)
}

struct Flow {
    service: Option<Service>,
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
            pending: Bytes::new(),
            came: 0,
            ends: false,
        }
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
            let mut first = vec![u8::try_from(service as u16).unwrap_or(0)];
            if service == Service::Echo {
                first.extend(std::iter::repeat_n(7, load.message()));
            }
            let _ = connection.send_stream(id).write(&first);
            self.flows.insert(id, Flow::new(Some(service)));
            if load == Load::Up {
                self.follow(id);
                return self.open();
            }
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
        let mut came = 0;
        if let Ok(mut chunks) = connection.recv_stream(id).read(true) {
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(mut chunk)) => {
                        if flow.service.is_none() {
                            let first = chunk.bytes.split_to(1);
                            let number = first.first().copied().unwrap_or(0);
                            flow.service = Service::find(number.into());
                        }
                        came += chunk.bytes.len();
                    }
                    Ok(None) => {
                        flow.ends = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            let _ = chunks.finalize();
        }
        let mut stream = connection.send_stream(id);
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
                let _ = stream.write(zeros(came));
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
