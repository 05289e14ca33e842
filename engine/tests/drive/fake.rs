//! Sockets that are queues.
use bytes::BytesMut;
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    task::Poll,
    time::Duration,
};
use sansbox_core::{Domain, End, Host, Instant, Refusal, Seed};
use sansbox_engine::{
    Peer, Plan,
    carrier::{EchoAnswer, EchoRequest, Note, Whose},
    config::model::{Config, Inbound, InboundKind, Listen, Networks, Span},
    drive::{Conduit, Dialled, Drive, Driver, Service, Sockets},
    ids::{InboundId, OutboundId},
    machine::{Families, Stage, Undelivered},
    record::Record,
};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    sync::Arc,
};

pub(crate) const NUMBER: usize = 42;
pub(crate) const CLIENT: SocketAddr = address(1);
pub(crate) const TARGET: SocketAddr = address(2);
pub(crate) const LOCAL: SocketAddr = address(3);

const fn address(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

pub(crate) type Session = Drive<sansbox_engine::Session, Net>;
pub(crate) type Association = Drive<sansbox_engine::Association, Net>;

/// A session that forwards to [`TARGET`], and its client.
pub(crate) fn session() -> (Session, Rc<RefCell<Wire>>) {
    let client = Wire::connected();
    let drive = Drive::session(machine(), NUMBER, Rc::clone(&client));
    (drive, client)
}

/// The machine of [`session`].
pub(crate) fn machine() -> sansbox_engine::Session {
    plan().session(InboundId(0), peer(), Seed::from_u64(1), Instant::ZERO)
}

/// An association that forwards to [`TARGET`].
pub(crate) fn association(client: &Rc<RefCell<Udp>>) -> Association {
    let machine = plan().association(InboundId(0), peer(), Seed::from_u64(1), Instant::ZERO);
    Drive::association(machine, NUMBER, Rc::clone(client))
}

fn peer() -> Peer {
    Peer {
        remote: CLIENT,
        local: LOCAL,
    }
}

fn plan() -> Arc<Plan> {
    let config = Config {
        inbounds: vec![Inbound {
            tag: "in".to_owned(),
            span: Span::default(),
            listen: Listen::default(),
            kind: InboundKind::Direct {
                network: Networks::BOTH,
                override_address: Some(Host::from(TARGET.ip())),
                override_port: Some(TARGET.port()),
            },
        }],
        ..Config::default()
    };
    Arc::new(Plan::build(&config).expect("a plan"))
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) incoming: VecDeque<u8>,
    pub(crate) is_ended: bool,
    pub(crate) is_dead: bool,
    pub(crate) is_connected: bool,
    /// Bytes that it still takes.
    pub(crate) room: usize,
    pub(crate) sent: Vec<u8>,
    pub(crate) is_shut: bool,
    pub(crate) closed: Option<End>,
}

impl Wire {
    pub(crate) fn connected() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            incoming: VecDeque::new(),
            is_ended: false,
            is_dead: false,
            is_connected: true,
            room: usize::MAX,
            sent: Vec::new(),
            is_shut: false,
            closed: None,
        }))
    }

    pub(crate) fn receives(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    fn alive(&self) -> io::Result<()> {
        match self.is_dead {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    fn read(&mut self, most: usize) -> Poll<io::Result<Vec<u8>>> {
        self.alive()?;
        if self.incoming.is_empty() && !self.is_ended {
            return Poll::Pending;
        }
        let n = most.min(self.incoming.len());
        Poll::Ready(Ok(self.incoming.drain(..n).collect()))
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.alive()?;
        assert!(!self.is_shut && self.closed.is_none() && !bytes.is_empty());
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Poll::Pending;
        }
        self.sent.extend(&bytes[..n]);
        self.room -= n;
        Poll::Ready(Ok(n))
    }
}

/// A UDP socket.
#[derive(Debug, Default)]
pub(crate) struct Udp {
    pub(crate) incoming: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Where to, how many bytes, in segments of how many.
    pub(crate) runs: Vec<(SocketAddr, usize, usize)>,
    pub(crate) is_watched: bool,
    /// Datagrams that did not arrive.
    pub(crate) errors: VecDeque<(SocketAddr, Undelivered)>,
}

/// A device: frames from clients, and to them.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) incoming: VecDeque<Vec<u8>>,
    pub(crate) written: Vec<Vec<u8>>,
    /// What comes for each frame that is written, while it is.
    pub(crate) answer: Option<Vec<u8>>,
    /// The most that ever waited to be read when a frame was written.
    pub(crate) most_waiting: usize,
}

/// A socket for echo requests.
#[derive(Debug)]
pub(crate) struct Echoes {
    pub(crate) outbound: OutboundId,
    pub(crate) sent: Vec<EchoRequest>,
    pub(crate) answers: VecDeque<EchoAnswer>,
}

/// What a kernel pipe is elsewhere.
#[derive(Debug, Default)]
pub(crate) struct FakePipe(Vec<u8>);

impl Conduit for Box<FakePipe> {
    fn filled(&self) -> usize {
        self.0.len()
    }
}

impl Conduit for FakePipe {
    fn filled(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Conduits {
    free: usize,
    pub(crate) leased: usize,
    /// The most that were leased at a time.
    pub(crate) most: usize,
    /// Bytes that went through.
    pub(crate) moved: usize,
}

impl Conduits {
    pub(crate) fn of(free: usize) -> Self {
        Self {
            free,
            ..Self::default()
        }
    }
}

/// The types of all that.
pub(crate) struct Net;

impl Sockets for Net {
    type Stream = Rc<RefCell<Wire>>;
    type Datagrams = Rc<RefCell<Udp>>;
    type Lookup = ();
    type Conduit = FakePipe;
    type Device = Rc<RefCell<Frames>>;
    type Echo = Rc<RefCell<Echoes>>;
}

/// The event loop.
#[derive(Debug, Default)]
pub(crate) struct Loop {
    pub(crate) dials_are_slow: bool,
    pub(crate) dialled: Vec<Rc<RefCell<Wire>>>,
    pub(crate) bound: Vec<Rc<RefCell<Udp>>>,
    pub(crate) conduits: Conduits,
    pub(crate) closed: Vec<Record>,
    pub(crate) notes: Vec<String>,
    /// Why there are no sockets for echo requests.
    pub(crate) echo_refusal: Option<Refusal>,
    pub(crate) echoes: Vec<Rc<RefCell<Echoes>>>,
}

impl Loop {
    pub(crate) fn with(conduits: Conduits) -> Self {
        Self {
            conduits,
            ..Self::default()
        }
    }
}

impl Driver<Net> for Loop {
    fn resolve(&mut self, _: Domain, _: Families) -> Result<(), Refusal> {
        Err(Refusal::ResolverFailed)
    }

    fn poll_lookup(&mut self, (): &mut ()) -> Poll<Result<Vec<IpAddr>, Refusal>> {
        unreachable!("no lookup begins")
    }

    fn dial(
        &mut self,
        to: SocketAddr,
        _: OutboundId,
    ) -> Result<Dialled<Rc<RefCell<Wire>>>, Refusal> {
        assert_eq!(to, TARGET);
        let wire = Wire::connected();
        self.dialled.push(Rc::clone(&wire));
        if self.dials_are_slow {
            wire.borrow_mut().is_connected = false;
            return Ok(Dialled::Connecting(wire));
        }
        Ok(Dialled::Connected(wire, LOCAL))
    }

    fn poll_dial(&mut self, stream: &mut Rc<RefCell<Wire>>) -> Poll<Result<SocketAddr, Refusal>> {
        match stream.borrow().is_connected {
            true => Poll::Ready(Ok(LOCAL)),
            false => Poll::Pending,
        }
    }

    fn bind(
        &mut self,
        local: SocketAddr,
        _: Option<OutboundId>,
    ) -> Result<(Rc<RefCell<Udp>>, SocketAddr), Refusal> {
        let socket = Rc::new(RefCell::new(Udp::default()));
        self.bound.push(Rc::clone(&socket));
        Ok((socket, local))
    }

    fn poll_read(
        &mut self,
        stream: &mut Rc<RefCell<Wire>>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = stream.borrow_mut().read(into.len());
        read.map_ok(|bytes| {
            into[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        })
    }

    fn poll_readable(&mut self, stream: &mut Rc<RefCell<Wire>>) -> Poll<io::Result<()>> {
        stream.borrow_mut().read(0).map_ok(drop)
    }

    fn poll_write(
        &mut self,
        stream: &mut Rc<RefCell<Wire>>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = bytes
            .iter()
            .flat_map(|bytes| bytes.iter().copied())
            .collect();
        stream.borrow_mut().write(&bytes)
    }

    fn shut(&mut self, stream: &mut Rc<RefCell<Wire>>) -> io::Result<()> {
        let mut stream = stream.borrow_mut();
        assert!(!stream.is_shut, "shut once");
        stream.is_shut = true;
        stream.alive()
    }

    fn close(&mut self, stream: Rc<RefCell<Wire>>, end: End) {
        stream.borrow_mut().closed = Some(end);
    }

    fn poll_receive(
        &mut self,
        socket: &mut Rc<RefCell<Udp>>,
        mut each: impl FnMut(SocketAddr, BytesMut),
    ) -> Poll<io::Result<()>> {
        let incoming = core::mem::take(&mut socket.borrow_mut().incoming);
        if incoming.is_empty() {
            return Poll::Pending;
        }
        for (from, data) in incoming {
            each(from, BytesMut::from(&data[..]));
        }
        Poll::Ready(Ok(()))
    }

    fn watch_errors(&mut self, socket: &mut Rc<RefCell<Udp>>) {
        socket.borrow_mut().is_watched = true;
    }

    fn poll_errors(
        &mut self,
        socket: &mut Rc<RefCell<Udp>>,
        mut each: impl FnMut(SocketAddr, Undelivered),
    ) -> Poll<()> {
        let errors = core::mem::take(&mut socket.borrow_mut().errors);
        if errors.is_empty() {
            return Poll::Pending;
        }
        for (to, error) in errors {
            each(to, error);
        }
        Poll::Ready(())
    }

    fn send(
        &mut self,
        socket: &mut Rc<RefCell<Udp>>,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) -> u64 {
        socket.borrow_mut().runs.push((to, bytes.len(), segment));
        0
    }

    fn poll_read_frame(
        &mut self,
        device: &mut Rc<RefCell<Frames>>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(frame) = device.borrow_mut().incoming.pop_front() else {
            return Poll::Pending;
        };
        into[..frame.len()].copy_from_slice(&frame);
        Poll::Ready(Ok(frame.len()))
    }

    fn write_frame(
        &mut self,
        device: &mut Rc<RefCell<Frames>>,
        frame: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let frame = frame.iter().flat_map(|part| part.iter().copied());
        let mut device = device.borrow_mut();
        device.written.push(frame.collect());
        let answer = device.answer.clone();
        device.incoming.extend(answer);
        device.most_waiting = device.most_waiting.max(device.incoming.len());
        Ok(())
    }

    fn bind_echo(
        &mut self,
        _: IpAddr,
        outbound: OutboundId,
    ) -> Result<Rc<RefCell<Echoes>>, Refusal> {
        if let Some(why) = self.echo_refusal {
            return Err(why);
        }
        let socket = Rc::new(RefCell::new(Echoes {
            outbound,
            sent: Vec::new(),
            answers: VecDeque::new(),
        }));
        self.echoes.push(Rc::clone(&socket));
        Ok(socket)
    }

    fn send_echo(
        &mut self,
        socket: &mut Rc<RefCell<Echoes>>,
        request: &EchoRequest,
    ) -> Result<(), Refusal> {
        socket.borrow_mut().sent.push(request.clone());
        Ok(())
    }

    fn poll_echo(&mut self, socket: &mut Rc<RefCell<Echoes>>) -> Poll<EchoAnswer> {
        let answer = socket.borrow_mut().answers.pop_front();
        answer.map_or(Poll::Pending, Poll::Ready)
    }

    fn log(&mut self, record: &Record, stage: Stage, _: Instant) {
        if stage == Stage::Closed {
            self.closed.push(record.clone());
        }
    }

    fn note(&mut self, _: Whose, note: &Note, _: Instant) {
        self.notes.push(note.text.clone());
    }

    fn wall_clock(&mut self) -> Duration {
        Duration::from_secs(1_750_000_000)
    }

    fn lease_conduit(&mut self) -> Option<FakePipe> {
        self.conduits.free = self.conduits.free.checked_sub(1)?;
        self.conduits.leased += 1;
        self.conduits.most = self.conduits.most.max(self.conduits.leased);
        Some(FakePipe::default())
    }

    fn return_conduit(&mut self, _: FakePipe) {
        self.conduits.free += 1;
        self.conduits.leased -= 1;
    }

    fn poll_splice_in(
        &mut self,
        from: &mut Rc<RefCell<Wire>>,
        into: &mut FakePipe,
    ) -> Poll<io::Result<usize>> {
        assert_eq!(into.filled(), 0);
        let read = from.borrow_mut().read(200_000);
        read.map_ok(|bytes| {
            into.0 = bytes;
            into.filled()
        })
    }

    fn poll_splice_out(
        &mut self,
        from: &mut FakePipe,
        into: &mut Rc<RefCell<Wire>>,
    ) -> Poll<io::Result<usize>> {
        let written = into.borrow_mut().write(&from.0);
        if let Poll::Ready(Ok(n)) = &written {
            from.0.drain(..n);
            self.conduits.moved += n;
        }
        written
    }
}
