//! Which packets are lost.
use super::{
    hop::HopCx,
    packet::{Body, Packet, Transport},
};
use core::fmt;

/// Packets of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// All.
    All,
    /// UDP datagrams.
    Udp,
    /// TCP segments.
    Tcp,
    /// Requests for a connection, and their grants.
    Syn,
    /// Ends of a direction.
    Fin,
    /// Resets.
    Rst,
    /// Acknowledgements without payload.
    PureAck,
    /// Packets of more octets than this.
    Longer(usize),
    /// Packets to or from this port.
    Port(u16),
}

impl Select {
    /// Is a packet one of them?
    #[must_use]
    pub fn holds(self, packet: &Packet) -> bool {
        let segment = if let Body::Tcp(segment) = &packet.body {
            Some(segment)
        } else {
            None
        };
        match self {
            Self::All => true,
            Self::Udp => matches!(packet.body, Body::Udp(_)),
            Self::Tcp => packet.transport() == Transport::Tcp && segment.is_some(),
            Self::Syn => segment.is_some_and(|s| s.flags.syn),
            Self::Fin => segment.is_some_and(|s| s.flags.fin),
            Self::Rst => segment.is_some_and(|s| s.flags.rst),
            Self::PureAck => segment
                .is_some_and(|s| s.data.is_empty() && !s.flags.syn && !s.flags.fin && !s.flags.rst),
            Self::Longer(octets) => packet.len() > octets,
            Self::Port(port) => packet.source.port() == port || packet.destination.port() == port,
        }
    }
}

/// A rule by which packets are lost. Each loss is a hazard of the hop's stream, so a shrinker can
/// take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Each for itself (Bernoulli), in millionths.
    Random(u32),
    /// In bursts (Gilbert-Elliott); all in millionths per packet.
    Burst {
        /// From the good state to the bad one.
        to_bad: u32,
        /// From the bad state to the good one.
        to_good: u32,
        /// Lost in the good state.
        in_good: u32,
        /// Lost in the bad state.
        in_bad: u32,
    },
    /// Every n-th.
    Every(u64),
    /// The n-th alone, from 1.
    Nth(u64),
    /// Packets of one kind, in millionths.
    Of(Select, u32),
}

/// A loss rule at work in one way of a link.
#[derive(Clone)]
pub(super) struct Losing {
    rule: Loss,
    seen: u64,
    is_bad: bool,
}

impl fmt::Debug for Losing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

/// As often as anything can be.
const ALWAYS: u32 = 1_000_000;

impl Losing {
    pub(super) const fn new(rule: Loss) -> Self {
        Self {
            rule,
            seen: 0,
            is_bad: false,
        }
    }

    pub(super) fn loses(&mut self, cx: &mut HopCx<'_>, packet: &Packet) -> bool {
        self.seen += 1;
        match self.rule {
            Loss::Random(rate) => cx.hazard(rate),
            Loss::Burst {
                to_bad,
                to_good,
                in_good,
                in_bad,
            } => {
                // Into the bad state is a hazard; out of it is not.
                self.is_bad = match self.is_bad {
                    false => cx.hazard(to_bad),
                    true => cx.below(u64::from(ALWAYS)) >= u64::from(to_good),
                };
                cx.hazard(if self.is_bad { in_bad } else { in_good })
            }
            Loss::Every(n) => n > 0 && self.seen.is_multiple_of(n) && cx.hazard(ALWAYS),
            Loss::Nth(n) => self.seen == n && cx.hazard(ALWAYS),
            Loss::Of(select, rate) => select.holds(packet) && cx.hazard(rate),
        }
    }
}
