//! Why datagrams do not arrive.
use core::net::IpAddr;
use sansbox_core::Refusal;
use sansbox_stack::icmp::Kind;

/// What is said of a datagram that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Why.
    pub cause: Cause,
    /// Who says so: a router on the way, or the destination. `None`: this machine, or nobody knows.
    pub reporter: Option<IpAddr>,
}

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody listens there, or what is in between does not carry it.
    PortUnreachable,
    /// The host does not answer.
    HostUnreachable,
    /// There is no route.
    NetUnreachable,
    /// The host does not speak UDP.
    ProtocolUnreachable,
    /// A firewall says no.
    AdminProhibited,
    /// It was longer than the way allows.
    TooBig {
        /// Longest packet in bytes that goes through, headers included.
        mtu: u16,
    },
    /// It went in circles.
    HopLimitExceeded,
    /// Some of its fragments were lost.
    ReassemblyTimeExceeded,
}

impl Cause {
    /// What an ICMP message says, or an ICMPv6 one, that came to a socket of this machine: its type
    /// and code, and the MTU of a packet too big. `None` for what says nothing of use.
    #[must_use]
    pub fn of_message(is_v6: bool, kind: u8, code: u8, mtu: u32) -> Option<Self> {
        Some(match Kind::of_message(is_v6, kind, code, mtu)? {
            Kind::NetUnreachable => Self::NetUnreachable,
            Kind::HostUnreachable => Self::HostUnreachable,
            Kind::ProtocolUnreachable => Self::ProtocolUnreachable,
            Kind::PortUnreachable => Self::PortUnreachable,
            Kind::AdminProhibited => Self::AdminProhibited,
            // A router that does not say how long (RFC 1191 section 5).
            Kind::TooBig { mtu: 0 } => return None,
            Kind::TooBig { mtu } => Self::TooBig { mtu },
            Kind::HopLimitExceeded => Self::HopLimitExceeded,
            Kind::ReassemblyTimeExceeded => Self::ReassemblyTimeExceeded,
            Kind::ParameterProblem(_) => return None,
        })
    }

    /// What the sender of datagrams is told that are refused here, or by what would have carried
    /// them; `None` if nothing. As sing-box, what a rule or an outbound does not take looks like a
    /// closed port.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "that it does not arrive is true of refusals that are added later, too"
    )]
    pub const fn of_refusal(why: Refusal) -> Option<Self> {
        Some(match why {
            Refusal::Dropped => return None,
            Refusal::Policy
            | Refusal::PrivateAddress
            | Refusal::CommandUnsupported
            | Refusal::ConnectionRefused => Self::PortUnreachable,
            Refusal::NetworkUnreachable | Refusal::AddressUnsupported => Self::NetUnreachable,
            Refusal::Prohibited => Self::AdminProhibited,
            _ => Self::HostUnreachable,
        })
    }
}

impl From<Cause> for Kind {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::PortUnreachable => Self::PortUnreachable,
            Cause::HostUnreachable => Self::HostUnreachable,
            Cause::NetUnreachable => Self::NetUnreachable,
            Cause::ProtocolUnreachable => Self::ProtocolUnreachable,
            Cause::AdminProhibited => Self::AdminProhibited,
            Cause::TooBig { mtu } => Self::TooBig { mtu },
            Cause::HopLimitExceeded => Self::HopLimitExceeded,
            Cause::ReassemblyTimeExceeded => Self::ReassemblyTimeExceeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_messages_say_is_said_again() {
        for is_v6 in [false, true] {
            for (kind, code) in (0..=u8::MAX).flat_map(|kind| (0..20).map(move |code| (kind, code)))
            {
                let told = Kind::of_message(is_v6, kind, code, 1400);
                let cause = Cause::of_message(is_v6, kind, code, 1400);
                assert_eq!(cause.map(Kind::from), told, "{is_v6} {kind}/{code}");
            }
        }
        let too_big = |mtu| Cause::of_message(false, 3, 4, mtu);
        assert_eq!(too_big(1300), Some(Cause::TooBig { mtu: 1300 }));
        assert_eq!(too_big(0), None);
        assert_eq!(too_big(u32::MAX), Some(Cause::TooBig { mtu: u16::MAX }));
    }

    #[test]
    fn what_a_rule_forbids_looks_like_a_closed_port() {
        for (why, cause) in [
            (Refusal::Policy, Some(Cause::PortUnreachable)),
            (Refusal::CommandUnsupported, Some(Cause::PortUnreachable)),
            (Refusal::Prohibited, Some(Cause::AdminProhibited)),
            (Refusal::Dropped, None),
            (Refusal::NetworkUnreachable, Some(Cause::NetUnreachable)),
            (Refusal::TimedOut, Some(Cause::HostUnreachable)),
        ] {
            assert_eq!(Cause::of_refusal(why), cause, "{why:?}");
        }
    }
}
