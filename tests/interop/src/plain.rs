//! QUIC of a tunnel without its envelope, with the requests and replies of a tunnel's streams.
use crate::{
    App,
    host::{self, Told},
};
use bytes::BytesMut;
use sansbox_core::{End, Host, Instant, Pipe, Seed, Target};
use sansbox_protocols::paniq::{
    proxy::wire::{Reply, Request, Status},
    transport::Budget,
    tunnel::{Server, Settings},
};
use sansbox_quic::{ConnectionId, Endpoint, Event, Outgoing, Sources, StreamId};
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

const PIPE: usize = 64 * 1024;

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The client waits for the reply.
    Asking,
    /// The server waits for the request.
    BeingAsked,
    /// The server was asked, and has not answered.
    Asked,
    /// The target was reached.
    Open,
    /// It was not.
    Refused,
}

#[derive(Debug)]
struct Stream {
    stage: Stage,
    received: Pipe,
    to_send: Pipe,
}

/// A QUIC endpoint with the settings of a tunnel. Its one socket is `()`.
#[derive(Debug)]
pub struct Plain {
    quic: Endpoint,
    connection: Option<ConnectionId>,
    streams: BTreeMap<StreamId, Stream>,
    events: VecDeque<Told<(), StreamId>>,
}

/// The time since 1970.
///
/// # Panics
/// When the clock is set to before it.
#[must_use]
pub fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("the clock is past 1970")
}

impl Plain {
    /// A client that begins to connect to `to`.
    ///
    /// # Panics
    /// When QUIC cannot be set up.
    #[must_use]
    pub fn client(settings: &Settings, budget: &Budget, to: SocketAddr) -> Self {
        let sources = Sources::new(Seed::from_u64(1), since_1970(), false);
        let (endpoint, client) = settings.client(&sources, budget, None).expect("a client");
        let mut quic = Endpoint::client(sources, endpoint, client);
        let connection = quic.connect(Instant::ZERO, to, &to.ip().to_string());
        let mut plain = Self::of(quic);
        plain.connection = Some(connection.expect("a connection"));
        plain
    }

    /// A server.
    ///
    /// # Panics
    /// When QUIC cannot be set up.
    #[must_use]
    pub fn server(settings: &Settings, budget: &Budget) -> Self {
        let sources = Sources::new(Seed::from_u64(2), since_1970(), false);
        let identity = Server::identity(&Seed::from_u64(3), since_1970()).expect("an identity");
        let (endpoint, server) = settings
            .server(&sources, budget, &identity)
            .expect("a server");
        Self::of(Endpoint::server(sources, endpoint, server, 8))
    }

    fn of(quic: Endpoint) -> Self {
        Self {
            quic,
            connection: None,
            streams: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    fn add(&mut self, id: StreamId, stage: Stage) -> &mut Stream {
        self.streams.entry(id).or_insert_with(|| Stream {
            stage,
            received: Pipe::new(PIPE),
            to_send: Pipe::new(PIPE),
        })
    }

    /// Asks for a target; `None` while the peer allows no more streams.
    pub fn open(&mut self, now: Instant, port: u16) -> Option<StreamId> {
        let id = self.quic.open(now, self.connection?)?;
        let target = Target::new(Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port);
        let mut request = BytesMut::new();
        Request::from(&target).emit(&mut request);
        self.add(id, Stage::Asking).to_send.push(request);
        Some(id)
    }

    /// Closes the connection with an application code.
    pub fn close(&mut self, now: Instant, code: u32) {
        if let Some(connection) = self.connection {
            self.quic.close(now, connection, code, "");
        }
    }

    fn answer(&mut self, id: StreamId, reply: &Reply<'_>, stage: Stage) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let mut octets = BytesMut::new();
            reply.emit(&mut octets);
            stream.to_send.push(octets);
            stream.stage = stage;
            if stage == Stage::Refused {
                let _ = stream.to_send.finish();
            }
        }
    }

    /// Moves what QUIC has, and reads what is said before an app may speak.
    fn advance(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let (received, to_send) = (&mut stream.received, &mut stream.to_send);
        let _ = self.quic.exchange(now, id, received, to_send);
        match stream.stage {
            Stage::Asking => {
                let parsed = Reply::parse(received.peek(Reply::LEN_MAX)).expect("a reply");
                let Some((status, n)) = parsed.map(|(reply, n)| (reply.status, n)) else {
                    return;
                };
                received.skip(n);
                let (stage, told) = match status {
                    Status::Success => (Stage::Open, Told::Accepted(id)),
                    _ => (Stage::Refused, Told::Refused(id)),
                };
                stream.stage = stage;
                self.events.push_back(told);
            }
            Stage::BeingAsked => {
                let parsed = Request::parse(received.peek(Request::LEN_MAX)).expect("a request");
                let Some((port, n)) = parsed.map(|(request, n)| (request.address.port, n)) else {
                    return;
                };
                received.skip(n);
                stream.stage = Stage::Asked;
                self.events.push_back(Told::Requested(id, port));
            }
            Stage::Asked | Stage::Open | Stage::Refused => {}
        }
    }
}

impl host::End for Plain {
    type Path = ();
    type Stream = StreamId;

    fn bound(&mut self, _: Instant, (): ()) {}

    fn receive(&mut self, now: Instant, (): (), from: SocketAddr, data: BytesMut) {
        self.quic.handle_datagram(now, from, 0, data);
    }

    fn transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<((), Outgoing)> {
        let mut datagram = Vec::new();
        let outgoing = self.quic.poll_transmit(now, 1, &mut datagram)?;
        out.clear();
        out.extend_from_slice(&datagram);
        Some(((), outgoing))
    }

    fn deadline(&self, _: Instant) -> Option<Instant> {
        self.quic.poll_timeout()
    }

    fn expire(&mut self, now: Instant) {
        self.quic.handle_timeout(now);
    }

    fn poll(&mut self, now: Instant) -> Option<Told<(), StreamId>> {
        while let Some(event) = self.quic.poll_event() {
            match event {
                Event::Connected(connection) => {
                    self.connection = Some(connection);
                    self.events.push_back(Told::Up);
                }
                Event::Lost(_, _, why) => self.events.push_back(Told::Down(why.to_string())),
                Event::Opened(id) => {
                    self.add(id, Stage::BeingAsked);
                    self.advance(now, id);
                }
                Event::Ready(id) => self.advance(now, id),
                _ => {}
            }
        }
        self.events.pop_front()
    }

    fn accept(&mut self, now: Instant, id: StreamId) {
        let bound = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
        self.answer(id, &Reply::success(bound), Stage::Open);
        self.advance(now, id);
    }

    fn refuse(&mut self, now: Instant, id: StreamId) {
        self.answer(id, &Reply::failure(Status::Failure), Stage::Refused);
        self.advance(now, id);
    }

    fn exchange(&mut self, now: Instant, id: StreamId, from: &mut Pipe, to: &mut Pipe) {
        self.advance(now, id);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.stage != Stage::Open {
            return;
        }
        if from.end() == End::Reset {
            let _ = stream.received.reset();
        } else {
            let _ = stream.received.transfer(from);
        }
        if stream.to_send.end() == End::Reset {
            let _ = to.reset();
        } else {
            let _ = to.transfer(&mut stream.to_send);
        }
        self.advance(now, id);
    }
}

impl host::Host<Plain> {
    /// Opens a stream for `app` once the peer allows one.
    pub fn ask(&mut self, port: u16, app: App) -> StreamId {
        let mut opened = None;
        self.run("a stream", |host| {
            let now = host.now();
            opened = opened.or_else(|| host.end.open(now, port));
            opened.is_some()
        });
        let id = opened.expect("it was waited for");
        self.apps.insert(id, app);
        id
    }
}
