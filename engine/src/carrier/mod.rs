//! Carriers: long-lived machines that serve the streams of many sessions, such as a tunnel.
//!
//! A carrier lives in the same thread as the sessions that use it. A session asks for a stream
//! with [`Action::OpenStream`](crate::machine::Action::OpenStream); a carrier that serves clients
//! asks for a session with [`Event::Request`]. Either way a [`Drive`](crate::drive::Drive) has one
//! end of the stream and a [`CarrierDrive`](crate::drive::CarrierDrive) the other.
//!
//! | part | holds |
//! |---|---|
//! | [`paniq`] | both ends of paniq |
//! | [`tun`] | a TUN device |
//! | `echo.rs` | echo requests and their answers |
mod echo;
pub mod paniq;
pub mod tun;

pub use echo::{EchoAnswer, EchoRequest};

use crate::{
    config::model::LogLevel,
    ids::{InboundId, OutboundId},
    machine::{Families, Undelivered, Wanted},
};
use bytes::BytesMut;
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::{Domain, Instant, Pipe, Progress, Refusal, Seed};
use sansbox_stack::{Interface, TxBatch};
use std::sync::Arc;

/// Whose carrier it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// It serves the clients of an inbound.
    Inbound(InboundId),
    /// It reaches the server of an outbound.
    Outbound(OutboundId),
}

/// What a carrier is made from.
#[derive(Clone, Debug)]
pub enum CarrierPlan {
    /// A tunnel to a server.
    PaniqClient(Arc<paniq::ClientPlan>),
    /// All tunnels of a listener.
    PaniqServer(Arc<paniq::ServerPlan>),
}

impl CarrierPlan {
    /// Whether its streams may be for datagrams. A client's other end may refuse them all the same.
    #[must_use]
    pub fn has_datagrams(&self) -> bool {
        match self {
            Self::PaniqClient(plan) => plan.has_datagrams,
            Self::PaniqServer(plan) => plan.settings.shared.has_datagrams,
        }
    }

    /// Makes the carrier. `since_1970` is what the wall clock says at `now`; `seed` must be
    /// uniformly random, since keys come from it. `None` when it cannot be made.
    #[must_use]
    pub fn make(&self, now: Instant, since_1970: Duration, seed: Seed) -> Option<Box<dyn Carrier>> {
        Some(match self {
            Self::PaniqClient(plan) => {
                let plan = Arc::clone(plan);
                Box::new(paniq::Client::new(now, since_1970, plan, seed))
            }
            Self::PaniqServer(plan) => {
                Box::new(paniq::Server::new(now, since_1970, plan, &seed).ok()?)
            }
        })
    }
}

/// A UDP socket, or a socket for echo requests, of a carrier's. Never used again once it was
/// unbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub u64);

impl Path {
    /// The socket of an inbound's listener, which is there from the start and never unbound.
    pub const LISTENER: Self = Self(0);
}

/// A stream of a carrier's. Never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u64);

/// Where datagrams are to be sent, and from which socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The socket.
    pub path: Path,
    /// The destination.
    pub to: SocketAddr,
    /// Bytes of each datagram but the last, which may be shorter.
    pub segment: usize,
}

/// What a carrier wants done, and what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Resolve a name. Answered by [`Carrier::resolved`]; there is one lookup at a time.
    Resolve(Domain, Families),
    /// Open a UDP socket with a new source port; the one that the path had is to be closed.
    /// Answered by [`Carrier::bound`].
    Bind(Path, SocketAddr),
    /// Close the path's socket.
    Unbind(Path),
    /// Open a socket for echo requests to addresses of this one's family, with the dial options of
    /// an outbound. Answered by [`Carrier::bound`]; [`Refusal::Policy`] means that the system lets
    /// this process have none.
    BindEcho(Path, IpAddr, OutboundId),
    /// Send an echo request. What becomes of it comes by [`Carrier::handle_echo`].
    Echo(Path, EchoRequest),
    /// A stream is open: its target is connected, from this address as the other end tells.
    Connected(Stream, SocketAddr),
    /// It is not: the stream is over.
    Refused(Stream, Refusal),
    /// A client at this address wants a stream. Answered by [`Carrier::answer`].
    Request(Stream, SocketAddr, Wanted),
    /// The client gave a request up that was not answered yet: the stream is over.
    Cancelled(Stream),
    /// [`Carrier::exchange`] has something to do.
    Ready(Stream),
    /// Something worth a line in the log happened.
    Log(Note),
}

/// Bytes that a stream holds before its writer pauses; not 0. When something is taken from a stream
/// that holds as many, its writer gets a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// On the way to the session.
    pub received: usize,
    /// On the way to the carrier. Whoever relays may add one read of at most 64 KiB to the last of
    /// them.
    pub to_send: usize,
}

impl Default for StreamLimits {
    /// Two buffers of a relay, so that one can be filled while the other is sent.
    fn default() -> Self {
        Self {
            received: 128 * 1024,
            to_send: 128 * 1024,
        }
    }
}

/// Something that happened to a carrier, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How severe it is.
    pub level: LogLevel,
    /// The client at the other end, for a carrier that serves clients.
    pub peer: Option<SocketAddr>,
    /// What happened; without names of users and without keys.
    pub text: String,
}

/// A long-lived machine that serves streams. Whoever drives it calls a function for what happened,
/// then drains [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit) until
/// neither has more, and asks for the next deadline.
pub trait Carrier: fmt::Debug {
    /// The wall clock says `since_1970` at `now`. Told before anything else, and from time to time.
    fn set_wall_clock(&mut self, now: Instant, since_1970: Duration);

    /// How a lookup ended; addresses are in the resolver's order.
    fn resolved(&mut self, now: Instant, answer: Result<&[IpAddr], Refusal>);

    /// A path has a new socket, or cannot have one.
    fn bound(&mut self, now: Instant, path: Path, result: Result<(), Refusal>);

    /// Handles a datagram that came to the socket of `path`. False: it was nothing of this
    /// carrier's, and was dropped.
    fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        from: SocketAddr,
        data: BytesMut,
    ) -> bool;

    /// The system says that a datagram which was sent to `to` from the socket of `path` did not
    /// arrive. Only carriers of outbounds are told.
    fn undelivered(&mut self, _now: Instant, _path: Path, _to: SocketAddr, _error: Undelivered) {}

    /// Handles what became of an echo request from the socket of `path`. Only for carriers that
    /// send such.
    fn handle_echo(&mut self, _now: Instant, _path: Path, _answer: EchoAnswer) {}

    /// A datagram that came by a stream of datagrams was sent to `to`, and did not arrive. Only for
    /// carriers that can tell their clients.
    fn datagram_error(
        &mut self,
        _now: Instant,
        _stream: Stream,
        _to: SocketAddr,
        _error: Undelivered,
    ) {
    }

    /// Fills `out`, which is cleared first, with datagrams of one size but for the last, at most
    /// `segments_max`.
    fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Transmit>;

    /// Handles frames that came from the device, in order; takes them out of `frames`, which holds
    /// at most [`BATCH_SIZE`](sansbox_stack::config::BATCH_SIZE). Only for carriers with a device.
    fn handle_packets(&mut self, _now: Instant, frames: &mut Vec<BytesMut>) {
        frames.clear();
    }

    /// Adds packets for the device to `out`, and says whether there were any. To be asked once all
    /// events were followed: a batch that came is given up with it.
    fn poll_packets(&mut self, _now: Instant, _out: &mut TxBatch) -> bool {
        false
    }

    /// Serves the device in another way from the next packet on. Only for carriers with a device,
    /// and only with settings whose [`check`](tun::Settings::check) finds nothing.
    fn set_device(&mut self, _now: Instant, _settings: &tun::Settings) {}

    /// Datagrams that were dropped because a stream had no room for them, since the last call.
    fn take_lost(&mut self) -> u64 {
        0
    }

    /// The machine for the packets of its device, for counters. Only carriers with a device have one.
    fn interface(&self) -> Option<&Interface> {
        None
    }

    /// The next event, in order.
    fn poll_event(&mut self) -> Option<Event>;

    /// When to call [`handle_timeout`](Self::handle_timeout). Valid once everything was
    /// transmitted.
    fn poll_timeout(&self, now: Instant) -> Option<Instant>;

    /// Handles every deadline at or before `now`.
    fn handle_timeout(&mut self, now: Instant);

    /// What a stream holds before its writer pauses. Asked once for each stream.
    fn stream_limits(&self) -> StreamLimits {
        StreamLimits::default()
    }

    /// Begins a stream for what is `wanted`: [`Event::Connected`] or [`Event::Refused`] follows.
    fn open(&mut self, now: Instant, wanted: Wanted) -> Stream;

    /// Answers a request: the target is connected from this address, or why it is not.
    fn answer(&mut self, now: Instant, stream: Stream, answer: Result<SocketAddr, Refusal>);

    /// Moves octets and ends of a connected stream: what came into `received`, and what `to_send`
    /// holds on its way. A reset of either is passed on; when the other end is gone both are reset.
    fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress;

    /// Is the stream not over? The pipes are kept until it is: what `to_send` held may still wait
    /// for room.
    fn is_open(&self, stream: Stream) -> bool;

    /// Gives a stream up in both directions; no event follows.
    fn abandon(&mut self, now: Instant, stream: Stream);

    /// Tells the other ends that this one is gone. What is to be said is in
    /// [`poll_transmit`](Self::poll_transmit) afterwards; nothing else is called any more.
    fn close(&mut self, now: Instant);
}
