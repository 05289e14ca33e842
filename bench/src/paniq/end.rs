//! One end of a connection and the applications on its streams, whatever carries them.

use std::net::SocketAddr;

use bytes::BytesMut;
use sansbox_core::Instant;

/// Bytes of a request and of its reply.
pub(crate) const MESSAGE_BYTES: usize = 64;
/// Bytes that an application has ready at a time.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

/// What the client's applications do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// One-way bulk over 8 streams, to the server.
    Up,
    /// The same from the server.
    Down,
    /// 64-byte request and reply, one in flight on each of 64 streams.
    Trip,
    /// New streams, 16 at a time: one byte each way, then the end.
    Conn,
}

impl Load {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Up, Self::Down, Self::Trip, Self::Conn];

    /// Streams at the same time.
    pub(crate) const fn streams(self) -> usize {
        match self {
            Self::Up | Self::Down => 8,
            Self::Trip => 64,
            Self::Conn => 16,
        }
    }

    /// What is at the far end.
    pub(crate) const fn service(self) -> Service {
        match self {
            Self::Up => Service::Sink,
            Self::Down => Service::Source,
            Self::Trip | Self::Conn => Service::Echo,
        }
    }

    /// Bytes of a message, where it is about messages.
    pub(crate) const fn message(self) -> usize {
        match self {
            Self::Up | Self::Down => CHUNK_BYTES,
            Self::Trip => MESSAGE_BYTES,
            Self::Conn => 1,
        }
    }

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Trip => "trip",
            Self::Conn => "conn",
        }
    }

    /// The load of this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|load| load.name() == name)
    }
}

/// What a server does with a stream. The number is a port, or the first byte of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Sends back what comes.
    Echo = 7,
    /// Takes what comes.
    Sink = 9,
    /// Sends without end.
    Source = 19,
}

impl Service {
    /// The service with this number.
    pub(crate) fn find(number: u16) -> Option<Self> {
        [Self::Echo, Self::Sink, Self::Source]
            .into_iter()
            .find(|service| *service as u16 == number)
    }
}

/// Takes datagrams for one address, which are as long as the number says, but for the last.
pub(crate) type Send<'a> = dyn FnMut(SocketAddr, usize, &[u8]) + 'a;

/// One end.
pub(crate) trait End {
    /// Takes a datagram.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: BytesMut);

    /// Gives the next datagrams, at most `segments_max`, to `send`; were there any?
    fn transmit(&mut self, now: Instant, segments_max: usize, send: &mut Send<'_>) -> bool;

    /// When `handle_timeout` is to be called.
    fn poll_timeout(&mut self, now: Instant) -> Option<Instant>;

    /// Handles what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// Lets the applications do what they can.
    fn turn(&mut self, now: Instant);

    /// Begins a load: a client's.
    fn start(&mut self, now: Instant, load: Load);

    /// What the load has done so far: bytes, round trips or streams.
    fn count(&self) -> u64;
}
