//! Protocols that live on datagrams, and layers that wrap each datagram.
use crate::{Instant, error::ProtocolError};
use bytes::BytesMut;
use core::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
};

/// What a driver knows of a received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// Who sent it.
    pub remote: SocketAddr,
    /// The local address it arrived at, where the socket tells.
    pub local: Option<IpAddr>,
    /// The two ECN bits of the IP header (RFC 3168).
    pub ecn: u8,
}

/// How a driver is to send what `poll_transmit` appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// From which local address; `None` leaves it to the kernel.
    pub source: Option<IpAddr>,
    /// The two ECN bits.
    pub ecn: u8,
    /// Bytes appended.
    pub size: usize,
    /// Size of each datagram but the last, when there are several (GSO).
    pub segment_size: Option<NonZeroUsize>,
}

/// A protocol on datagrams: owns its paths and timers, and no socket.
pub trait DatagramProtocol {
    /// What the machine tells its owner.
    type Event;
    /// Why a datagram was refused or the machine stopped.
    type Error: ProtocolError;

    /// Handles one datagram. `data` is handed over so that it can be decrypted in place.
    ///
    /// # Errors
    /// When the datagram is malformed or not authentic.
    fn handle_datagram(
        &mut self,
        now: Instant,
        meta: PacketMeta,
        data: BytesMut,
    ) -> Result<(), Self::Error>;

    /// Appends up to `max_segments` datagrams of one size to `buf`, which the driver owns and
    /// recycles; `None` when nothing is to be sent.
    fn poll_transmit(
        &mut self,
        now: Instant,
        max_segments: NonZeroUsize,
        buf: &mut BytesMut,
    ) -> Option<Transmit>;

    /// The next event, in order.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When `handle_timeout` wants to be called. Pure.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Handles every deadline at or before `now`; each is cleared or moved.
    fn handle_timeout(&mut self, now: Instant);

    /// Sets the largest datagram in bytes that the path below carries. A layer around the
    /// protocol passes on less, so that its overhead reaches the packet size by construction.
    fn set_max_datagram_size(&mut self, bytes: usize);
}

/// Bytes a layer adds to each datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overhead {
    /// In front.
    pub head: usize,
    /// Behind, at most (padding included).
    pub tail_max: usize,
}

impl Overhead {
    /// Both together.
    #[must_use]
    pub const fn total_max(self) -> usize {
        self.head + self.tail_max
    }
}

/// An envelope around single datagrams, such as the SOCKS5 UDP header.
pub trait DatagramLayer {
    /// Why a datagram cannot be sealed or opened.
    type Error: ProtocolError;

    /// What the layer adds.
    fn overhead(&self) -> Overhead;

    /// Appends the envelope of `plain` to `out`; on error `out` is left as it was.
    ///
    /// # Errors
    /// When `plain` cannot be carried.
    fn seal(&mut self, now: Instant, plain: &[u8], out: &mut BytesMut) -> Result<(), Self::Error>;

    /// Strips the envelope in place. `Ok(false)`: consumed, and nothing for the upper layer
    /// (padding, a replay).
    ///
    /// # Errors
    /// When the envelope is malformed or not authentic.
    fn open(&mut self, now: Instant, datagram: &mut BytesMut) -> Result<bool, Self::Error>;
}
