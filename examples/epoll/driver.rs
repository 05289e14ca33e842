//! The system calls: what a drive asks of its event loop.
use bytes::BytesMut;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::{fd::AsFd, fd::OwnedFd, io::Errno};
use sansbox_core::{Domain, End, Instant, Refusal};
use sansbox_engine::drive::{Dialled, Driver, Sockets};
use sansbox_engine::machine::{Families, Stage};
use sansbox_engine::{ids::OutboundId, record::Record};
use socket2::{SockRef, Socket, Type};
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::{convert::Infallible, sync::mpsc, task::Poll, thread, time::Duration};

/// What `connect` says of a connection that was begun.
const ON_ITS_WAY: i32 = Errno::INPROGRESS.raw_os_error();

/// An epoll instance.
pub(crate) struct Epoll(pub(crate) OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Tells about what can be accepted for as long as something can.
    pub(crate) fn watch_listener(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        let data = EventData::new_u64(number);
        Ok(epoll::add(&self.0, fd, data, EventFlags::IN)?)
    }

    /// Tells drive `number` when something changes. A drive reads and writes until it would block,
    /// so edges are enough and nothing is ever registered twice. Closing a socket takes it off.
    pub(crate) fn watch(&self, fd: impl AsFd, number: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(number as u64);
        Ok(epoll::add(&self.0, fd, data, flags)?)
    }
}

/// A lookup that a thread does. It rings by closing its end of a pair of sockets, of which epoll
/// watches the other.
pub(crate) struct Lookup {
    answer: mpsc::Receiver<io::Result<Vec<IpAddr>>>,
    _bell: UnixStream,
}

/// What things are on this loop. Dropping any of them closes it.
impl Sockets for Epoll {
    type Stream = TcpStream;
    type Lookup = Lookup;
    /// No UDP, which SOCKS tells its clients, and no splice(2): relays copy.
    type Datagrams = Infallible;
    type Conduit = Infallible;
    type Device = Infallible;
    type Echo = Infallible;
}

/// The driver of one turn: it knows whose turn it is.
pub(crate) struct Turns<'a> {
    pub(crate) epoll: &'a Epoll,
    pub(crate) number: usize,
    pub(crate) log: &'a mut dyn io::Write,
}

/// What would block is pending: an edge will tell.
fn poll<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

/// What the client is told of an error.
fn refusal(error: &io::Error) -> Refusal {
    [
        (ErrorKind::ConnectionRefused, Refusal::ConnectionRefused),
        (ErrorKind::NetworkUnreachable, Refusal::NetworkUnreachable),
        (ErrorKind::HostUnreachable, Refusal::HostUnreachable),
        (ErrorKind::TimedOut, Refusal::TimedOut),
    ]
    .into_iter()
    .find_map(|(kind, why)| (kind == error.kind()).then_some(why))
    .unwrap_or(Refusal::General)
}

impl Driver<Epoll> for Turns<'_> {
    /// The system's resolver blocks, so a thread asks it.
    fn resolve(&mut self, name: Domain, families: Families) -> Result<Lookup, Refusal> {
        let (sender, answer) = mpsc::channel();
        let begin = || {
            let (bell, ringing) = UnixStream::pair()?;
            self.epoll.watch(&bell, self.number)?;
            thread::Builder::new().spawn(move || {
                let found = (name.as_str(), 0).to_socket_addrs().map(|found| {
                    let ips = found.map(|address| address.ip());
                    let wanted = ips.filter(|ip| match families {
                        Families::Any => true,
                        Families::V4 => ip.is_ipv4(),
                        Families::V6 => ip.is_ipv6(),
                    });
                    wanted.collect()
                });
                // Nobody waits any more when the session was closed meanwhile.
                let _ = sender.send(found);
                drop(ringing);
            })?;
            Ok(bell)
        };
        let bell = begin().map_err(|_: io::Error| Refusal::Exhausted)?;
        Ok(Lookup {
            answer,
            _bell: bell,
        })
    }

    fn poll_lookup(&mut self, lookup: &mut Lookup) -> Poll<Result<Vec<IpAddr>, Refusal>> {
        Poll::Ready(match lookup.answer.try_recv() {
            Err(mpsc::TryRecvError::Empty) => return Poll::Pending,
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(_) => Err(Refusal::NameNotFound),
            Err(mpsc::TryRecvError::Disconnected) => Err(Refusal::ResolverFailed),
        })
    }

    fn dial(&mut self, to: SocketAddr, _: OutboundId) -> Result<Dialled<TcpStream>, Refusal> {
        let dial = || {
            let socket = Socket::new(socket2::Domain::for_address(to), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            self.epoll.watch(&socket, self.number)?;
            match socket.connect(&to.into()) {
                Err(e) if e.raw_os_error() != Some(ON_ITS_WAY) => Err(e),
                Ok(()) | Err(_) => Ok(Dialled::Connecting(socket.into())),
            }
        };
        dial().map_err(|e| refusal(&e))
    }

    fn poll_dial(&mut self, stream: &mut TcpStream) -> Poll<Result<SocketAddr, Refusal>> {
        let connected = || match stream.take_error()? {
            Some(error) => Err(error),
            None => stream.peer_addr().and_then(|_| stream.local_addr()),
        };
        match connected() {
            Err(e) if e.kind() == ErrorKind::NotConnected => Poll::Pending,
            decided => Poll::Ready(decided.map_err(|e| refusal(&e))),
        }
    }

    fn poll_read(&mut self, stream: &mut TcpStream, into: &mut [u8]) -> Poll<io::Result<usize>> {
        poll(|| stream.read(into))
    }

    fn poll_write(
        &mut self,
        stream: &mut TcpStream,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll(|| stream.write_vectored(bytes))
    }

    fn shut(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        stream.shutdown(Shutdown::Write)
    }

    fn close(&mut self, stream: TcpStream, end: End) {
        if end == End::Reset {
            // Closing with a linger time of zero sends RST.
            let _closed_either_way = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn bind(
        &mut self,
        _: SocketAddr,
        _: Option<OutboundId>,
    ) -> Result<(Infallible, SocketAddr), Refusal> {
        Err(Refusal::CommandUnsupported)
    }

    fn poll_receive(
        &mut self,
        socket: &mut Infallible,
        _: impl FnMut(SocketAddr, BytesMut),
    ) -> Poll<io::Result<()>> {
        match *socket {}
    }

    fn send(&mut self, socket: &mut Infallible, _: SocketAddr, _: &[u8], _: usize) -> u64 {
        match *socket {}
    }

    fn log(&mut self, Record { id, peer, .. }: &Record, stage: Stage, now: Instant) {
        let _ = writeln!(self.log, "{now} {id:08x} {stage:?} {peer}");
    }
}
