//! quinn-proto by itself under the load of a tunnel: what it takes from the heap is not ours.
use super::net::{Line, WALL};
use bytes::{Bytes, BytesMut};
use core::time::Duration;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    transport::Budget,
    tunnel::{Server, Settings},
};
use sansbox_quic::{
    Sources,
    hooks::{from_std, to_std},
    quinn_proto::{self as quic, StreamId},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

const SEGMENTS: usize = 8;
const CHUNK: usize = 16 * 1024;
const WINDOW: u32 = 15 * 1024 * 1024;
const SEND_WINDOW: u64 = 8 * 1024 * 1024;

struct End {
    address: SocketAddr,
    endpoint: quic::Endpoint,
    connection: Option<(quic::ConnectionHandle, quic::Connection)>,
    /// What a stream has no room for yet.
    streams: BTreeMap<StreamId, Bytes>,
    echoes: bool,
    came: usize,
}

/// A client, a server that sends back what comes, and a path between them.
pub(crate) struct Floor {
    now: Instant,
    ends: [End; 2],
    lines: [Line; 2],
    flying: VecDeque<(Instant, usize, BytesMut)>,
    buffer: BytesMut,
    out: Vec<u8>,
    pub(crate) datagrams: u64,
    pub(crate) allocations: u64,
}

fn counted<T>(allocations: &mut u64, what: impl FnOnce() -> T) -> T {
    let before = sansbox_heap::heap();
    let result = what();
    *allocations += sansbox_heap::heap().since(before).allocations;
    result
}

impl End {
    fn new(n: u8, endpoint: quic::Endpoint) -> Self {
        Self {
            address: SocketAddr::from(([10, 0, 0, n], 443)),
            endpoint,
            connection: None,
            streams: BTreeMap::new(),
            echoes: n == 2,
            came: 0,
        }
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        let (now, mut response) = (to_std(now), Vec::new());
        let event = self
            .endpoint
            .handle(now, from, None, None, data, &mut response);
        match event {
            Some(quic::DatagramEvent::ConnectionEvent(_, event)) => {
                self.connection.as_mut().unwrap().1.handle_event(event);
            }
            Some(quic::DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, now, &mut response, None);
                self.connection = Some(accepted.ok().unwrap());
            }
            Some(quic::DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Takes what came, sends it back or something else, and settles with the endpoint.
    fn turn(&mut self, allocations: &mut u64) {
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        while let Some(event) = counted(allocations, || connection.poll()) {
            if let quic::Event::Stream(quic::StreamEvent::Opened { dir }) = event {
                while let Some(id) = connection.streams().accept(dir) {
                    self.streams.insert(id, Bytes::new());
                }
            }
        }
        for (id, pending) in &mut self.streams {
            loop {
                if pending.is_empty() && self.echoes {
                    // As the tunnel does, or a packet would hold pieces of many.
                    let mut gathered = BytesMut::with_capacity(CHUNK);
                    while let Some(bytes) = counted(allocations, || {
                        read(connection, *id, CHUNK - gathered.len())
                    }) {
                        gathered.extend_from_slice(&bytes);
                    }
                    *pending = gathered.freeze();
                } else if pending.is_empty() {
                    *pending = BytesMut::zeroed(CHUNK).freeze();
                }
                let chunks = core::slice::from_mut(pending);
                let sent = counted(allocations, || {
                    connection.send_stream(*id).write_chunks(chunks)
                });
                if sent.is_ok_and(|sent| sent.bytes > 0) {
                    continue;
                }
                break;
            }
            while !self.echoes
                && let Some(bytes) = counted(allocations, || read(connection, *id, CHUNK))
            {
                self.came += bytes.len();
            }
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
    }
}

fn read(connection: &mut quic::Connection, id: StreamId, max: usize) -> Option<Bytes> {
    if max == 0 {
        return None;
    }
    let mut stream = connection.recv_stream(id);
    let mut chunks = stream.read(true).ok()?;
    let chunk = chunks.next(max).ok().flatten();
    let _ = chunks.finalize();
    chunk.map(|chunk| chunk.bytes)
}

impl Floor {
    /// Both ends, of which `sources` are entered as long as this is used.
    pub(crate) fn new(sources: &Sources, budget: &Budget, line: Line) -> Self {
        let settings = Settings::default();
        let identity = Server::identity(&Seed::from_u64(1), WALL).unwrap();
        let mut transport = settings.transport(sources, budget).unwrap();
        transport
            .receive_window(WINDOW.into())
            .send_window(SEND_WINDOW);
        let transport = Arc::new(transport);
        let (endpoint, mut client) = settings.client(sources, budget, None).unwrap();
        client.transport_config(Arc::clone(&transport));
        let endpoint = quic::Endpoint::new(Arc::new(endpoint), None, true, None);
        let mut from = End::new(1, endpoint);
        let (endpoint, mut server) = settings.server(sources, budget, &identity).unwrap();
        server.transport_config(transport);
        let server = Some(Arc::new(server));
        let to = End::new(
            2,
            quic::Endpoint::new(Arc::new(endpoint), server, true, None),
        );
        let begin = to_std(Instant::ZERO);
        let made = from
            .endpoint
            .connect(begin, client, to.address, "floor.example");
        from.connection = Some(made.unwrap());
        Self {
            now: Instant::ZERO,
            ends: [from, to],
            lines: [line; 2],
            flying: VecDeque::new(),
            buffer: BytesMut::new(),
            out: Vec::new(),
            datagrams: 0,
            allocations: 0,
        }
    }

    /// Opens streams on which the client sends without an end; there may be as many when the
    /// handshake is over.
    pub(crate) fn open(&mut self, streams: usize) {
        self.run(|floor| {
            let [client, _] = &floor.ends;
            let connection = client.connection.as_ref();
            connection.is_some_and(|(_, connection)| !connection.is_handshaking())
        });
        let [client, _] = &mut self.ends;
        let (_, connection) = client.connection.as_mut().unwrap();
        for _ in 0..streams {
            let id = connection.streams().open(quic::Dir::Bi).unwrap();
            client.streams.insert(id, Bytes::new());
        }
    }

    /// Octets that came back.
    pub(crate) fn came(&self) -> usize {
        self.ends[0].came
    }

    pub(crate) fn run(&mut self, is_done: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while self.now < end {
            self.flush();
            if is_done(self) {
                return;
            }
            let timers = self.ends.iter_mut();
            let timers = timers.filter_map(|end| end.connection.as_mut()?.1.poll_timeout());
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let next = timers.map(from_std).chain(arrival).min().unwrap();
            self.now = self.now.max(next);
            self.arrive();
            for end in &mut self.ends {
                if let Some((_, connection)) = &mut end.connection {
                    let now = to_std(self.now);
                    counted(&mut self.allocations, || connection.handle_timeout(now));
                }
            }
        }
        panic!("not done in time");
    }

    fn flush(&mut self) {
        for nth in 0..2 {
            let (now, end) = (self.now, &mut self.ends[nth]);
            end.turn(&mut self.allocations);
            while let Some((_, connection)) = &mut end.connection {
                self.out.clear();
                let (out, at) = (&mut self.out, to_std(now));
                let sent = counted(&mut self.allocations, || {
                    connection.poll_transmit(at, SEGMENTS, out)
                });
                let Some(sent) = sent else { break };
                let segment = sent.segment_size.unwrap_or(sent.size);
                for datagram in self.out[..sent.size].chunks(segment) {
                    if self.buffer.capacity() < datagram.len() {
                        self.buffer = BytesMut::with_capacity(64 * 1024);
                    }
                    self.buffer.extend_from_slice(datagram);
                    let data = self.buffer.split_to(datagram.len());
                    let at = self.lines[nth].arrival(now, datagram.len());
                    let behind = self.flying.partition_point(|(other, ..)| *other <= at);
                    self.flying.insert(behind, (at, 1 - nth, data));
                }
            }
        }
    }

    fn arrive(&mut self) {
        while self.flying.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, to, data) = self.flying.pop_front().unwrap();
            self.datagrams += 1;
            let from = self.ends[1 - to].address;
            let (now, end) = (self.now, &mut self.ends[to]);
            counted(&mut self.allocations, || end.receive(now, from, data));
        }
    }
}
