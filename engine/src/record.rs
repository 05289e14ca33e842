//! What is known of a session or association, for logs and counters.
use crate::{
    config::model::LogLevel,
    ids::{InboundId, OutboundId, UserId},
    machine::Stage,
};
use core::{fmt, net::SocketAddr};
use sansbox_core::{Instant, Refusal, Seed, Target};

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
    /// Datagrams that were dropped, once one was.
    pub drops: Option<Box<Drops>>,
}

impl Record {
    /// What is known at the start: who came, where and when. `seed` is the session's.
    #[must_use]
    pub fn new(inbound: InboundId, peer: SocketAddr, seed: Seed, now: Instant) -> Self {
        let [a, b, c, d, ..] = seed.derive("connection id").bytes();
        Self {
            id: u32::from_le_bytes([a, b, c, d]),
            inbound,
            peer,
            user: None,
            target: None,
            rule: None,
            outbound: None,
            bytes_up: 0,
            bytes_down: 0,
            opened: now,
            closed: None,
            drops: None,
        }
    }

    /// From where to where, for a log.
    #[must_use]
    pub const fn way(&self) -> Way<'_> {
        Way(self)
    }

    /// How severe it is that `stage` was reached.
    #[must_use]
    pub fn severity(&self, stage: Stage) -> LogLevel {
        match stage {
            Stage::AuthFailed => LogLevel::Warn,
            Stage::Opened | Stage::Routed => LogLevel::Info,
            // The line before names the rule or the outbound that wants it so.
            Stage::Connected | Stage::Refused(Refusal::Policy | Refusal::Dropped) => {
                LogLevel::Debug
            }
            // The client asked for what it may not have, or what there is not.
            Stage::Refused(Refusal::PrivateAddress) => LogLevel::Info,
            Stage::Refused(_) if self.outbound.is_none() => LogLevel::Info,
            Stage::Refused(_) => LogLevel::Warn,
            Stage::Closed if self.closed == Some(CloseReason::PublicSource) => LogLevel::Warn,
            Stage::Closed => LogLevel::Info,
        }
    }

    pub(crate) fn drop_datagram(&mut self, why: Drop) {
        let count = self.drops.get_or_insert_default().counter(why);
        *count = count.saturating_add(1);
    }
}

/// `from PEER to TARGET`, or without the target while it is not known. See [`Record::way`].
#[derive(Clone, Copy, Debug)]
pub struct Way<'a>(&'a Record);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", self.0.peer)?;
        match &self.0.target {
            Some(target) => write!(f, " to {target}"),
            None => Ok(()),
        }
    }
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// Its source is not the association's client, or not one the client talks to.
    Stranger,
    /// `FRAG` is not 0 (RFC 1928 section 7: reassembly is optional).
    Fragment,
    /// No valid header.
    Malformed,
    /// A rule or the outbound refuses its target.
    Policy,
    /// No address or no way to it.
    Unreachable,
    /// Too many wait already.
    Overflow,
}

/// Datagrams dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Drop")]
pub struct Drops {
    pub stranger: u32,
    pub fragment: u32,
    pub malformed: u32,
    pub policy: u32,
    pub unreachable: u32,
    pub overflow: u32,
}

impl Drops {
    const fn counter(&mut self, why: Drop) -> &mut u32 {
        match why {
            Drop::Stranger => &mut self.stranger,
            Drop::Fragment => &mut self.fragment,
            Drop::Malformed => &mut self.malformed,
            Drop::Policy => &mut self.policy,
            Drop::Unreachable => &mut self.unreachable,
            Drop::Overflow => &mut self.overflow,
        }
    }

    /// All that were dropped, whatever the reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            stranger,
            fragment,
            malformed,
            policy,
            unreachable,
            overflow,
        } = *self;
        let counts = [stranger, fragment, malformed, policy, unreachable, overflow];
        counts.map(u64::from).iter().sum()
    }

    /// Adds another's counts.
    pub const fn add(&mut self, other: &Self) {
        self.stranger = self.stranger.saturating_add(other.stranger);
        self.fragment = self.fragment.saturating_add(other.fragment);
        self.malformed = self.malformed.saturating_add(other.malformed);
        self.policy = self.policy.saturating_add(other.policy);
        self.unreachable = self.unreachable.saturating_add(other.unreachable);
        self.overflow = self.overflow.saturating_add(other.overflow);
    }
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

    /// A number for the reason that never changes its meaning, and the refusal that goes with it.
    #[must_use]
    pub const fn code(self) -> (u8, Option<Refusal>) {
        match self {
            Self::Completed => (0, None),
            Self::ClientLeft => (1, None),
            Self::ClientReset => (2, None),
            Self::UpstreamReset => (3, None),
            Self::HandshakeTimeout => (4, None),
            Self::ClientProtocol => (5, None),
            Self::AuthFailed => (6, None),
            Self::PublicSource => (7, None),
            Self::Refused(why) => (8, Some(why)),
            Self::IdleTimeout => (9, None),
            Self::Stopped => (10, None),
        }
    }

    /// The reason that has this [`code`](Self::code).
    #[must_use]
    pub const fn from_code(code: u8, refusal: Option<Refusal>) -> Option<Self> {
        Some(match (code, refusal) {
            (0, None) => Self::Completed,
            (1, None) => Self::ClientLeft,
            (2, None) => Self::ClientReset,
            (3, None) => Self::UpstreamReset,
            (4, None) => Self::HandshakeTimeout,
            (5, None) => Self::ClientProtocol,
            (6, None) => Self::AuthFailed,
            (7, None) => Self::PublicSource,
            (8, Some(why)) => Self::Refused(why),
            (9, None) => Self::IdleTimeout,
            (10, None) => Self::Stopped,
            (..) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_to_their_reasons() {
        let codes = (0..=u8::MAX).flat_map(|code| {
            let refusals = Refusal::ALL.map(Some).into_iter().chain([None]);
            refusals.map(move |refusal| (code, refusal))
        });
        let known = codes.filter_map(|(code, refusal)| {
            let reason = CloseReason::from_code(code, refusal)?;
            assert_eq!(reason.code(), (code, refusal));
            Some(reason)
        });
        let known: std::collections::BTreeSet<_> = known.collect();
        assert_eq!(known.len(), 10 + Refusal::ALL.len());
    }
}
