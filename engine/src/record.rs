//! What is known of a session or association, for logs and counters.
use crate::ids::{InboundId, OutboundId, UserId};
use core::net::SocketAddr;
use sansbox_core::{Instant, Refusal, Target};

/// What is known of a session or association.
#[derive(Clone, Debug)]
pub struct Record {
    /// Number of the log lines, drawn from the session's seed.
    pub id: u32,
    /// Where it came in.
    pub inbound: InboundId,
    /// Who is served.
    pub peer: SocketAddr,
    /// Who authenticated, if anybody.
    pub user: Option<UserId>,
    /// The last request's destination.
    pub target: Option<Target>,
    /// The rule that decided; `None`: the final outbound.
    pub rule: Option<u16>,
    /// The outbound in use.
    pub outbound: Option<OutboundId>,
    /// Payload bytes from the client.
    pub bytes_up: u64,
    /// Payload bytes to the client.
    pub bytes_down: u64,
    /// When it was accepted.
    pub opened: Instant,
    /// Why it ended; `None` while it runs.
    pub closed: Option<CloseReason>,
}

/// Why a session or association ended: exactly one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both directions ended in order.
    Completed,
    /// The client left before its request was complete.
    ClientLeft,
    /// The client reset the connection.
    ClientReset,
    /// The upstream reset the connection.
    UpstreamReset,
    /// The client's handshake took too long.
    HandshakeTimeout,
    /// The client broke the protocol.
    ClientProtocol,
    /// The client's credentials were missing or wrong.
    AuthFailed,
    /// A public source reached an inbound without users.
    PublicSource,
    /// The request was refused.
    Refused(Refusal),
    /// No byte moved for too long.
    IdleTimeout,
    /// The daemon stops.
    Stopped,
}

impl CloseReason {
    /// A short phrase for the log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientLeft => "client left during the handshake",
            Self::ClientReset => "reset by the client",
            Self::UpstreamReset => "reset by the upstream",
            Self::HandshakeTimeout => "handshake timeout",
            Self::ClientProtocol => "client broke the protocol",
            Self::AuthFailed => "authentication failed",
            Self::PublicSource => "public source refused by protected mode",
            Self::Refused(why) => why.reason(),
            Self::IdleTimeout => "idle timeout",
            Self::Stopped => "stopped",
        }
    }
}
