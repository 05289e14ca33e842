//! What happened, and what the caller may answer.
use std::net::SocketAddr;

use sansbox_core::Refusal;

use crate::key::FlowId;

/// News of a connection. Each kind is told once until the caller acted on it, however many
/// packets brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client wants a connection. With `answered` it has it already ([`crate::Handshake::Fast`])
    /// and bytes may follow; otherwise it waits for [`crate::Stack::accept`] or
    /// [`crate::Stack::reject`].
    Open {
        /// The connection.
        flow: FlowId,
        /// The client's end.
        source: SocketAddr,
        /// The end it wants to reach.
        destination: SocketAddr,
        /// Was the SYN answered without asking?
        answered: bool,
    },
    /// Bytes can be read: see [`crate::Stack::pieces`] and [`crate::Stack::consumed`].
    Data(FlowId),
    /// After [`crate::Stack::write`] handed a chunk back: there is room again. Also when the
    /// handshake of an accepted connection is done.
    Writable(FlowId),
    /// The client sends no more, and all that it sent was taken or consumed. The other direction stays
    /// open until [`crate::Stack::shutdown`].
    Fin(FlowId),
    /// The connection broke, and with this event its handle is void. Bytes that were not
    /// consumed before are lost.
    Reset(FlowId, ResetReason),
    /// The client gave up, or a deadline passed, before the handshake was done: drop the dial.
    /// The handle is void.
    Cancelled(FlowId, CancelReason),
    /// Both directions ended in order and all bytes were delivered. The handle is void.
    Closed(FlowId),
}

/// Why a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The client sent RST.
    Peer,
    /// The client did not acknowledge for too long.
    Timeout,
    /// It answered no keep-alive probe.
    Silent,
}

/// Why a connection ended before it was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The client sent RST.
    Peer,
    /// The client began anew with another sequence number.
    Restarted,
    /// Neither [`crate::Stack::accept`] nor [`crate::Stack::reject`] came in time.
    DialDeadline,
    /// The client did not answer the SYN-ACK.
    HandshakeTimeout,
}

/// How a connection is refused. What a client sees was measured with `connect()` on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The destination refused: RST. Clients see "connection refused".
    Refused,
    /// The destination was not reached, or did not answer in time: ICMP host (v4) or address (v6)
    /// unreachable.
    HostUnreachable,
    /// There is no way to the destination: ICMP network unreachable (v4), no route (v6).
    NoRoute,
    /// A rule forbids it: ICMP administratively prohibited.
    Policy,
    /// A rule forbids it, and the client shall see no more than "connection refused": RST.
    PolicyReset,
    /// Say nothing: the client waits for its own timeout.
    Silent,
}

/// What a client is told of a dial that failed. The codes of SOCKS5 replies come out as they went
/// in: 2 prohibited, 3 no route, 4 host unreachable, 5 refused.
impl From<Refusal> for Reject {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "RST is understood everywhere, also for refusals that are added later"
    )]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NetworkUnreachable | Refusal::AddressUnsupported => Self::NoRoute,
            Refusal::HostUnreachable
            | Refusal::NameNotFound
            | Refusal::ResolverFailed
            | Refusal::TimedOut
            | Refusal::TtlExpired => Self::HostUnreachable,
            Refusal::Policy | Refusal::Prohibited => Self::Policy,
            Refusal::Dropped => Self::Silent,
            _ => Self::Refused,
        }
    }
}
