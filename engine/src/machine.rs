//! The contract between a machine of the engine and whoever drives it.
//!
//! A driver owns sockets and the clock; the machine owns everything else. The driver calls
//! [`Machine::apply`] with what happened, then drains [`Machine::poll_action`] and does what it
//! says, writes what the transmit pipes hold, and asks for the next deadline. `apply` is the only
//! door in, so a recorder in front of it sees all that a machine ever knows.
//!
//! ```text
//!   driver                               machine
//!     | apply(now, Received(slot, bytes))   |
//!     |------------------------------------>|
//!     | poll_action() -> Dial, Close, ...   |
//!     |<------------------------------------|
//!     | pipes(slot) -> bytes to write       |
//!     |<------------------------------------|
//!     | apply(now, Drained(slot, n))        |
//!     |------------------------------------>|
//!     | poll_timeout() -> deadline          |
//!     |<------------------------------------|
//! ```
mod undelivered;

pub use undelivered::{Cause, Undelivered};

use crate::ids::{ActionId, OutboundId, Slot};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{Domain, End, Instant, Pipe, Refusal, Target};

/// What the outside world did to a machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time passed; a deadline may have come. Also the first input of every machine.
    Tick,
    /// Bytes came in on a stream slot. At most `pipes(slot).rx.room()` plus one read.
    Received(Slot, BytesMut),
    /// The kernel took so many bytes of a stream slot's transmit pipe.
    Drained(Slot, usize),
    /// The peer of a stream slot ended its direction; [`End::Reset`] means that the socket is
    /// dead in both directions (a failed write counts).
    Ended(Slot, End),
    /// A datagram came in on a UDP slot.
    Datagram {
        /// The UDP slot.
        slot: Slot,
        /// Who sent it.
        from: SocketAddr,
        /// Its payload.
        data: BytesMut,
    },
    /// A datagram that was sent from a UDP slot did not arrive. Only told where the client can be
    /// told of it.
    DatagramError {
        /// The UDP slot.
        slot: Slot,
        /// Where it was sent.
        to: SocketAddr,
        /// What is said of it.
        error: Undelivered,
    },
    /// An effect that [`Action`] asked for is done. Never comes after the action was cancelled.
    Done(ActionId, Outcome<'a>),
    /// In passthrough, the driver moved so many more bytes that came from this slot.
    Relayed(Slot, u64),
    /// Somebody outside wants the machine to end.
    Stop,
}

/// How an effect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// `Resolve`: the addresses, in the resolver's order; never empty.
    Resolved(&'a [IpAddr]),
    /// `Dial` and `OpenStream`: connected from this address; the slot is live.
    Connected(SocketAddr),
    /// `Bind`: bound to this address; the slot is live.
    Bound(SocketAddr),
    /// It failed; the slot, where there was one, never lived.
    Failed(Refusal),
}

/// What a machine wants done.
#[derive(Debug)]
pub enum Action {
    /// Resolve a name. Answered by `Resolved` or `Failed`.
    Resolve {
        /// Names the answer.
        id: ActionId,
        /// What to look up.
        name: Domain,
        /// Which records to ask for.
        families: Families,
    },
    /// Open a TCP connection with the dial options of an outbound. Answered by `Connected` or
    /// `Failed`.
    Dial {
        /// Names the answer.
        id: ActionId,
        /// The slot that the connection becomes.
        slot: Slot,
        /// Where to.
        to: SocketAddr,
        /// Whose dial options.
        outbound: OutboundId,
    },
    /// Open a stream through the carrier of an outbound. Answered by `Connected` or `Failed`.
    OpenStream {
        /// Names the answer.
        id: ActionId,
        /// The slot that the stream becomes.
        slot: Slot,
        /// Whose carrier.
        outbound: OutboundId,
        /// What for.
        wanted: Wanted,
    },
    /// What became of the stream that the machine was made for, by a carrier: its target is
    /// connected from this address, or why it is not. Said once.
    Answer(Result<SocketAddr, Refusal>),
    /// Open a UDP socket. Answered by `Bound` or `Failed`.
    Bind {
        /// Names the answer.
        id: ActionId,
        /// The slot that the socket becomes.
        slot: Slot,
        /// Address to bind; port 0 lets the system choose.
        local: SocketAddr,
        /// Whose dial options; `None` for a socket that faces the client.
        outbound: Option<OutboundId>,
    },
    /// The answer is no longer wanted and must not come; a connection on its way is dropped.
    Cancel(ActionId),
    /// Send a datagram from a UDP slot. May be lost, as datagrams may.
    Send {
        /// The UDP slot.
        slot: Slot,
        /// Where to.
        to: SocketAddr,
        /// Its payload.
        data: BytesMut,
    },
    /// Tell the client that a datagram of its did not arrive. Only where the carrier that offered
    /// its stream can.
    DatagramError {
        /// Where the client sent it.
        to: SocketAddr,
        /// What is said of it.
        error: Undelivered,
    },
    /// Drop the slot's socket: with RST after [`End::Reset`], quietly otherwise. Nothing more is
    /// reported for it.
    Close(Slot, End),
    /// All that is left is to move bytes between these stream slots, both ways, until they end.
    /// The driver does so without showing the bytes, forwards a FIN as a FIN behind the last
    /// byte, and reports counts ([`Input::Relayed`], at the latest before each `Tick` and
    /// `Ended`) and ends. All pipes are empty; `Close` ends it.
    Passthrough(Slot, Slot),
    /// Something worth a line in the log happened; the machine's record has the facts.
    Log(Stage),
}

/// What a stream through a carrier is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The bytes of a connection to this target, as the carrier's other end sees it.
    Connection(Target),
    /// Datagrams to and from any targets, as
    /// [records](sansbox_protocols::paniq::proxy::record).
    Datagrams,
}

/// Which address families of a name are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Families {
    #[default]
    Any,
    V4,
    V6,
}

/// What happened to a session or association, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Accepted.
    Opened,
    /// The client's credentials were wrong; it may try again where its protocol allows that.
    AuthFailed,
    /// A request was understood and a rule chose what to do with it.
    Routed,
    /// The request was refused, for this reason.
    Refused(Refusal),
    /// The target is connected.
    Connected,
    /// Over; the record has the reason.
    Closed,
}

/// Both pipes of a stream slot, as the driver sees them.
#[derive(Clone, Copy, Debug)]
pub struct SlotPipes<'a> {
    /// What was received and is not consumed yet. Read from the socket while it has room.
    pub rx: &'a Pipe,
    /// What is to be written. [`End::Fin`] behind the last byte: then shut the socket's write
    /// side down.
    pub tx: &'a Pipe,
}

/// A session or association, as a driver sees it.
pub trait Machine {
    /// Handles one thing that happened. The only way in.
    fn apply(&mut self, now: Instant, input: Input<'_>);

    /// The next thing to do, in order.
    fn poll_action(&mut self) -> Option<Action>;

    /// The pipes of a live stream slot; `None` for UDP slots, in passthrough and after `Close`.
    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>>;

    /// When to apply [`Input::Tick`] next. Pure.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Nothing more will happen; all slots are closed and the machine may be dropped.
    fn is_finished(&self) -> bool;
}

impl<M: Machine + ?Sized> Machine for Box<M> {
    fn apply(&mut self, now: Instant, input: Input<'_>) {
        (**self).apply(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        (**self).poll_action()
    }

    fn pipes(&self, slot: Slot) -> Option<SlotPipes<'_>> {
        (**self).pipes(slot)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn is_finished(&self) -> bool {
        (**self).is_finished()
    }
}
