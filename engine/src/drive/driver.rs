//! What a driver can do, as a trait: the seam between the engine and an event loop.
use crate::{
    carrier::{EchoAnswer, EchoRequest, Note, Whose},
    ids::OutboundId,
    machine::{Families, Stage, Undelivered},
    record::Record,
};
use bytes::BytesMut;
use core::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    task::Poll,
    time::Duration,
};
use sansbox_core::{Domain, End, Instant, Refusal};
use std::io::{self, IoSlice};

/// The types of things that a driver owns. Dropping one closes it.
pub trait Sockets {
    /// A TCP connection, made or on its way.
    type Stream;
    /// A UDP socket, or what one client has of a listener's UDP socket.
    type Datagrams;
    /// A lookup that runs; dropping it forgets the answer.
    type Lookup;
    /// Something in the kernel that bytes pass through unseen, such as a pipe for splice(2);
    /// [`Infallible`] where there is none.
    type Conduit: Conduit;
    /// A TUN device, or one of its queues; [`Infallible`] where there is none.
    type Device;
    /// A socket for echo requests; [`Infallible`] where there is none.
    type Echo;
}

/// Something in the kernel that bytes pass through unseen.
pub trait Conduit {
    /// Bytes in it.
    fn filled(&self) -> usize;
}

impl Conduit for Infallible {
    fn filled(&self) -> usize {
        match *self {}
    }
}

/// A connection that was begun.
#[derive(Debug)]
pub enum Dialled<T> {
    /// It stands already, from this local address, as it is on loopback.
    Connected(T, SocketAddr),
    /// [`Driver::poll_dial`] will tell.
    Connecting(T),
}

/// What an event loop does for the machine that has its turn.
///
/// A driver is made for one turn of one machine, so it knows whom to wake. Every `poll` function
/// returns [`Poll::Pending`] when the operation would block, and whoever made the driver must then
/// give that machine another [`turn`](super::Drive::turn) once it would not: readiness may be
/// edge-triggered, because a turn goes on until everything would block. A turn that was not needed
/// does no harm. `Interrupted` and `WouldBlock` never come out as errors; any error means that the
/// socket is dead.
pub trait Driver<K: Sockets> {
    /// Begins to resolve a name.
    ///
    /// # Errors
    /// When it cannot even begin.
    fn resolve(&mut self, name: Domain, families: Families) -> Result<K::Lookup, Refusal>;

    /// The addresses, at least one, or why there are none. Not called again after that.
    fn poll_lookup(&mut self, lookup: &mut K::Lookup) -> Poll<Result<Vec<IpAddr>, Refusal>>;

    /// Begins a TCP connection with the dial options of `outbound`.
    ///
    /// # Errors
    /// When it failed at once.
    fn dial(&mut self, to: SocketAddr, outbound: OutboundId)
    -> Result<Dialled<K::Stream>, Refusal>;

    /// How a connection on its way was decided: its local address, or why it failed. Not called
    /// again after that.
    fn poll_dial(&mut self, stream: &mut K::Stream) -> Poll<Result<SocketAddr, Refusal>>;

    /// Opens a UDP socket on `local`, with the dial options of `outbound` unless it faces the
    /// client. Returns where it is bound.
    ///
    /// # Errors
    /// When it could not be opened or bound.
    fn bind(
        &mut self,
        local: SocketAddr,
        outbound: Option<OutboundId>,
    ) -> Result<(K::Datagrams, SocketAddr), Refusal>;

    /// Reads once; 0 is the peer's FIN. `into` is not empty.
    fn poll_read(&mut self, stream: &mut K::Stream, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Whether a read would not block. A relay asks before it takes a buffer or a conduit, so that
    /// a direction in which nothing moves takes none; a driver that cannot know says yes.
    fn poll_readable(&mut self, _stream: &mut K::Stream) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes once. `bytes` are not empty.
    fn poll_write(
        &mut self,
        stream: &mut K::Stream,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Whether a write would not block. A relay asks before it reads, so that what the other side
    /// does not take stays in the kernel; a driver that cannot know says yes.
    fn poll_writable(&mut self, _stream: &mut K::Stream) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends our FIN.
    ///
    /// # Errors
    /// When the connection is dead.
    fn shut(&mut self, stream: &mut K::Stream) -> io::Result<()>;

    /// Closes a connection: with RST after [`End::Reset`], quietly otherwise.
    fn close(&mut self, stream: K::Stream, end: End);

    /// Hands some of what was received to `each`, with who sent it. An error is of an earlier
    /// datagram, and clears when asked again.
    fn poll_receive(
        &mut self,
        socket: &mut K::Datagrams,
        each: impl FnMut(SocketAddr, BytesMut),
    ) -> Poll<io::Result<()>>;

    /// From now on [`Self::poll_errors`] is to tell what became of datagrams that this socket
    /// sends.
    fn watch_errors(&mut self, _socket: &mut K::Datagrams) {}

    /// Hands some of what is said of datagrams that did not arrive to `each`, with where they were
    /// sent. A driver that never learns of it says nothing.
    fn poll_errors(
        &mut self,
        _socket: &mut K::Datagrams,
        _each: impl FnMut(SocketAddr, Undelivered),
    ) -> Poll<()> {
        Poll::Pending
    }

    /// Sends `bytes` as datagrams of `segment` bytes each, the last maybe shorter; no bytes are
    /// one empty datagram. [`datagrams`](super::datagrams) takes a run apart where the kernel
    /// does not. Returns how many datagrams could not be sent.
    fn send(
        &mut self,
        socket: &mut K::Datagrams,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) -> u64;

    /// Reads one frame of a device; its length. `into` has room for any. 0 and any error mean that
    /// the device is gone.
    fn poll_read_frame(
        &mut self,
        _device: &mut K::Device,
        _into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Writes one frame to a device, which takes it or loses it.
    ///
    /// # Errors
    /// When it was lost.
    fn write_frame(&mut self, _device: &mut K::Device, _frame: &[IoSlice<'_>]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a socket for echo requests to addresses of the family of `to`, with the dial options
    /// of `outbound`.
    ///
    /// # Errors
    /// When it could not be opened; [`Refusal::Policy`] when this process may not have one.
    fn bind_echo(&mut self, _to: IpAddr, _outbound: OutboundId) -> Result<K::Echo, Refusal> {
        Err(Refusal::CommandUnsupported)
    }

    /// Sends an echo request.
    ///
    /// # Errors
    /// When it could not be sent.
    fn send_echo(&mut self, _socket: &mut K::Echo, _request: &EchoRequest) -> Result<(), Refusal> {
        Err(Refusal::CommandUnsupported)
    }

    /// What became of a request.
    fn poll_echo(&mut self, _socket: &mut K::Echo) -> Poll<EchoAnswer> {
        Poll::Pending
    }

    /// A machine reached a stage.
    fn log(&mut self, record: &Record, stage: Stage, now: Instant);

    /// Something happened to a carrier. Whoever drives carriers says this and the next.
    fn note(&mut self, _whose: Whose, _note: &Note, _now: Instant) {}

    /// Time since 1970-01-01 as the wall clock says. Only carriers ask for it.
    fn wall_clock(&mut self) -> Duration {
        Duration::ZERO
    }

    /// Leases an empty conduit for a direction that moves bulk. Without one it is copied.
    fn lease_conduit(&mut self) -> Option<K::Conduit> {
        None
    }

    /// Takes a conduit back, whatever is in it.
    fn return_conduit(&mut self, conduit: K::Conduit) {
        drop(conduit);
    }

    /// Moves bytes from a connection into an empty conduit; 0 is the peer's FIN.
    fn poll_splice_in(
        &mut self,
        _from: &mut K::Stream,
        _into: &mut K::Conduit,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Moves bytes from a conduit into a connection.
    fn poll_splice_out(
        &mut self,
        _from: &mut K::Conduit,
        _into: &mut K::Stream,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
