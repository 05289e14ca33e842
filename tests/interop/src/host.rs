//! Sockets and a clock around a machine.
use crate::{App, app::port};
use bytes::BytesMut;
use sansbox_core::{Instant, Pipe};
use sansbox_quic::Outgoing;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

/// Longer than any of these tests takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nobody looks where nothing happens.
const NAP: Duration = Duration::from_micros(300);
/// How often somebody asks whether it is over.
const GLANCE: Duration = Duration::from_millis(5);
/// Datagrams taken from a socket before anything else is done.
const BURST: usize = 64;

/// What a machine tells its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<P, S> {
    /// It wants a socket.
    NewSocket(P),
    /// It needs one no more.
    NoSocket(P),
    /// There is a connection.
    Up,
    /// There is none any more; why.
    Down(String),
    /// The peer asks for the target with this port.
    Requested(S, u16),
    /// What was asked for was reached.
    Accepted(S),
    /// It was not.
    Refused(S),
}

/// One end of a tunnel, or of its QUIC.
pub trait End {
    /// Names a socket.
    type Path: Copy + Ord + Debug;
    /// Names a stream.
    type Stream: Copy + Ord + Debug;

    /// A socket that was asked for is there.
    fn bound(&mut self, now: Instant, path: Self::Path);
    /// Takes a datagram.
    fn receive(&mut self, now: Instant, path: Self::Path, from: SocketAddr, data: BytesMut);
    /// Fills `out` with datagrams to send.
    fn transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(Self::Path, Outgoing)>;
    /// When [`End::expire`] is due.
    fn deadline(&self, now: Instant) -> Option<Instant>;
    /// Time has passed.
    fn expire(&mut self, now: Instant);
    /// What happened.
    fn poll(&mut self, now: Instant) -> Option<Told<Self::Path, Self::Stream>>;
    /// The target of a stream is there.
    fn accept(&mut self, now: Instant, stream: Self::Stream);
    /// It is not.
    fn refuse(&mut self, now: Instant, stream: Self::Stream);
    /// Moves octets of a stream.
    fn exchange(&mut self, now: Instant, stream: Self::Stream, from: &mut Pipe, to: &mut Pipe);
}

/// Datagrams in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub datagrams: usize,
    /// Octets of the first.
    pub first: usize,
    /// Octets of the longest.
    pub longest: usize,
}

impl Count {
    fn add(&mut self, octets: usize) {
        if self.datagrams == 0 {
            self.first = octets;
        }
        self.datagrams += 1;
        self.longest = self.longest.max(octets);
    }
}

/// An [`End`] with its sockets, and an [`App`] for each stream.
#[derive(Debug)]
pub struct Host<E: End> {
    /// The machine.
    pub end: E,
    /// Who is at the ends of its streams.
    pub apps: BTreeMap<E::Stream, App>,
    /// How often it told of a connection.
    pub ups: usize,
    /// Why connections ended, and when.
    pub downs: Vec<(String, Instant)>,
    /// What was sent.
    pub sent: Count,
    /// What came.
    pub came: Count,
    /// When the last datagram came.
    pub heard_at: Instant,
    began: std::time::Instant,
    sockets: BTreeMap<E::Path, UdpSocket>,
}

impl<E: End> Host<E> {
    /// A host that has no sockets but what the machine asks for.
    #[must_use]
    pub fn new(end: E) -> Self {
        Self {
            end,
            apps: BTreeMap::new(),
            ups: 0,
            downs: Vec::new(),
            sent: Count::default(),
            came: Count::default(),
            heard_at: Instant::ZERO,
            began: std::time::Instant::now(),
            sockets: BTreeMap::new(),
        }
    }

    /// A host with one socket; where it is.
    #[must_use]
    pub fn with_socket(end: E, path: E::Path) -> (Self, SocketAddr) {
        let mut host = Self::new(end);
        let at = host.bind(path);
        (host, at)
    }

    fn bind(&mut self, path: E::Path) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        socket.set_nonblocking(true).expect("a socket may not wait");
        let at = socket.local_addr().expect("a bound socket is somewhere");
        self.sockets.insert(path, socket);
        at
    }

    /// What the machine's clock says.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }

    /// Goes on until `is_over`, which is asked every few milliseconds.
    ///
    /// # Panics
    /// When it never is; `what` is what was waited for.
    pub fn run(&mut self, what: &str, mut is_over: impl FnMut(&mut Self) -> bool) {
        let end = self.now() + PATIENCE;
        let mut next_glance = self.now();
        loop {
            let is_idle = !self.turn();
            let now = self.now();
            if now >= next_glance {
                if is_over(self) {
                    return;
                }
                next_glance = now + GLANCE;
            }
            assert!(now < end, "not yet: {what}; {:?}", self.downs);
            if is_idle {
                thread::sleep(NAP);
            }
        }
    }

    /// Goes on for a while.
    pub fn linger(&mut self, time: Duration) {
        let end = self.now() + time;
        self.run("the time", |host| host.now() >= end);
    }

    /// Does what there is to do; was there anything that came from outside?
    fn turn(&mut self) -> bool {
        let has_come = self.listen();
        let now = self.now();
        if self.end.deadline(now).is_some_and(|at| at <= now) {
            self.end.expire(now);
        }
        self.hear(now);
        for (stream, app) in &mut self.apps {
            let (from, to) = (&mut app.received, &mut app.to_send);
            self.end.exchange(now, *stream, from, to);
            app.turn();
            let (from, to) = (&mut app.received, &mut app.to_send);
            self.end.exchange(now, *stream, from, to);
            app.note_end();
        }
        self.hear(now);
        self.speak(now);
        has_come
    }

    fn listen(&mut self) -> bool {
        let mut buffer = [0; 1 << 16];
        let mut has_come = false;
        let paths: Vec<E::Path> = self.sockets.keys().copied().collect();
        for path in paths {
            for _ in 0..BURST {
                let Some(socket) = self.sockets.get(&path) else {
                    break;
                };
                // An error is what ICMP said, or that nothing is there: the machines need neither.
                let Ok((n, from)) = socket.recv_from(&mut buffer) else {
                    break;
                };
                has_come = true;
                self.came.add(n);
                let now = self.now();
                self.heard_at = now;
                let data = BytesMut::from(&buffer[..n]);
                self.end.receive(now, path, from, data);
            }
        }
        has_come
    }

    fn hear(&mut self, now: Instant) {
        while let Some(told) = self.end.poll(now) {
            match told {
                Told::NewSocket(path) => {
                    self.bind(path);
                    self.end.bound(now, path);
                }
                Told::NoSocket(path) => {
                    self.sockets.remove(&path);
                }
                Told::Up => self.ups += 1,
                Told::Down(why) => self.downs.push((why, now)),
                Told::Requested(stream, port::REFUSES) => self.end.refuse(now, stream),
                Told::Requested(stream, port) => {
                    self.end.accept(now, stream);
                    self.apps.insert(stream, App::is_asked(port));
                }
                Told::Accepted(stream) => self.app(stream).is_accepted = true,
                Told::Refused(stream) => self.app(stream).is_refused = true,
            }
        }
    }

    /// The app of a stream.
    ///
    /// # Panics
    /// When there is none.
    pub fn app(&mut self, stream: E::Stream) -> &mut App {
        self.apps.get_mut(&stream).expect("a stream has an app")
    }

    fn speak(&mut self, now: Instant) {
        let mut out = BytesMut::new();
        while let Some((path, outgoing)) = self.end.transmit(now, &mut out) {
            let Some(socket) = self.sockets.get(&path) else {
                continue;
            };
            for datagram in out.chunks(outgoing.segment) {
                self.sent.add(datagram.len());
                send(socket, outgoing.to, datagram);
            }
        }
    }
}

/// Sends once there is room; anything else is as if it were lost.
fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
    while let Err(error) = socket.send_to(datagram, to) {
        if error.kind() != ErrorKind::WouldBlock {
            return;
        }
        thread::sleep(NAP);
    }
}
