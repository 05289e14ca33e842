//! Errors about clients' packets.
use super::{ERROR_LEN_MAX_V4, ERROR_LEN_MAX_V6, HEADER_LEN, echo};
use crate::ip::{
    self, Header, IPV4_HEADER_LEN, IPV6_HEADER_LEN, byte, emit_udp, is_many, protocol,
};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::Refusal;

/// Least MTU of IPv4 (RFC 791); hosts pass over a smaller one, and 0 would mean an old router.
const IPV4_MTU_MIN: u16 = 68;

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No route: 3/0, 1/0.
    NetUnreachable,
    /// The host does not answer: 3/1, 1/3.
    HostUnreachable,
    /// Nothing here speaks the protocol: 3/2, and 4/1 in IPv6.
    ProtocolUnreachable,
    /// Nobody listens: 3/3, 1/4.
    PortUnreachable,
    /// A rule says no: 3/13, 1/1.
    AdminProhibited,
    /// Longer than the way allows: 3/4, 2/0.
    TooBig {
        /// Longest packet that goes through. At least 68 is said, over IPv6 at least 1280.
        mtu: u16,
    },
    /// The hop limit ran out: 11/0, 3/0.
    HopLimitExceeded,
    /// Fragments were missing for too long: 11/1, 3/1.
    ReassemblyTimeExceeded,
    /// A header is wrong: 12/0, 4/code.
    ParameterProblem(ip::Problem),
}

impl Kind {
    /// What a client is told when its request was refused; `None` if it is to be told nothing.
    #[must_use]
    pub const fn of_refusal(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::ConnectionRefused => Some(Self::PortUnreachable),
            Refusal::NetworkUnreachable | Refusal::AddressUnsupported => Some(Self::NetUnreachable),
            Refusal::Policy | Refusal::Prohibited => Some(Self::AdminProhibited),
            Refusal::CommandUnsupported => Some(Self::ProtocolUnreachable),
            Refusal::Dropped => None,
            Refusal::HostUnreachable
            | Refusal::NameNotFound
            | Refusal::ResolverFailed
            | Refusal::TimedOut
            | Refusal::TtlExpired
            | Refusal::UpstreamAuth
            | Refusal::UpstreamProtocol
            | Refusal::Loop
            | Refusal::Exhausted
            | Refusal::General
            | _ => Some(Self::HostUnreachable),
        }
    }

    /// What a message says that came to a socket of this machine: its type and code, and the MTU
    /// of a packet too big. `None` for what says nothing that a client could use.
    #[must_use]
    pub fn of_message(is_v6: bool, kind: u8, code: u8, mtu: u32) -> Option<Self> {
        let too_big = Self::TooBig {
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        };
        Some(match (is_v6, kind, code) {
            (false, 3, 0 | 6 | 8 | 11) | (true, 1, 0 | 2) => Self::NetUnreachable,
            (false, 3, 2) | (true, 4, 1) => Self::ProtocolUnreachable,
            (false, 3, 3) | (true, 1, 4) => Self::PortUnreachable,
            (false, 3, 4) | (true, 2, _) => too_big,
            (false, 3, 9 | 10 | 13..=15) | (true, 1, 1 | 5 | 6) => Self::AdminProhibited,
            (false, 3, _) | (true, 1, _) => Self::HostUnreachable,
            (false, 11, 0) | (true, 3, 0) => Self::HopLimitExceeded,
            (false, 11, 1) | (true, 3, 1) => Self::ReassemblyTimeExceeded,
            _ => return None,
        })
    }

    /// Whether it is a router on the way that says this, not the destination.
    pub(super) const fn is_about_the_way(self) -> bool {
        matches!(self, Self::TooBig { .. } | Self::HopLimitExceeded)
    }

    /// The MTU of a packet too big.
    pub(super) const fn mtu(self) -> Option<u16> {
        if let Self::TooBig { mtu } = self {
            Some(mtu)
        } else {
            None
        }
    }

    /// Type, code and the four bytes that follow the checksum.
    fn fields(self, is_v6: bool, packet: &[u8]) -> (u8, u8, [u8; 4]) {
        let none = [0; 4];
        match (self, is_v6) {
            (Self::NetUnreachable, false) => (3, 0, none),
            (Self::NetUnreachable, true) => (1, 0, none),
            (Self::HostUnreachable, false) => (3, 1, none),
            (Self::HostUnreachable, true) => (1, 3, none),
            (Self::ProtocolUnreachable, false) => (3, 2, none),
            (Self::ProtocolUnreachable, true) => (4, 1, next_header_at(packet).to_be_bytes()),
            (Self::PortUnreachable, false) => (3, 3, none),
            (Self::PortUnreachable, true) => (1, 4, none),
            (Self::AdminProhibited, false) => (3, 13, none),
            (Self::AdminProhibited, true) => (1, 1, none),
            (Self::TooBig { mtu }, false) => {
                let [a, b] = mtu.max(IPV4_MTU_MIN).to_be_bytes();
                (3, 4, [0, 0, a, b])
            }
            (Self::TooBig { mtu }, true) => {
                let mtu = u32::from(mtu.max(crate::mtu::IPV6_MTU_MIN));
                (2, 0, mtu.to_be_bytes())
            }
            (Self::HopLimitExceeded, false) => (11, 0, none),
            (Self::HopLimitExceeded, true) => (3, 0, none),
            (Self::ReassemblyTimeExceeded, false) => (11, 1, none),
            (Self::ReassemblyTimeExceeded, true) => (3, 1, none),
            (Self::ParameterProblem(problem), false) => {
                let pointer = u8::try_from(problem.pointer).unwrap_or_default();
                (12, 0, [pointer, 0, 0, 0])
            }
            (Self::ParameterProblem(problem), true) => {
                (4, problem.code, u32::from(problem.pointer).to_be_bytes())
            }
        }
    }
}

/// Where the number of the upper layer stands in an IPv6 packet.
fn next_header_at(packet: &[u8]) -> u32 {
    let (mut at, mut next_at) = (IPV6_HEADER_LEN, 6_usize);
    // The chain was walked before: its length is bounded.
    while let Some(kind @ (0 | 43 | 44 | 60)) = byte(packet, next_at) {
        let units = if kind == 44 {
            0
        } else {
            byte(packet, at + 1).unwrap_or_default()
        };
        next_at = at;
        at += usize::from(units) * 8 + 8;
    }
    u32::try_from(next_at).unwrap_or_default()
}

/// Whether an error may be sent about the packet at all.
pub(super) fn is_allowed(kind: Kind, packet: &[u8], header: &Header) -> bool {
    // The sender must be one host, and the packet must not be an error itself.
    if is_many(header.source) || !header.has_upper_header() {
        return false;
    }
    let message = byte(header.payload(packet), 0);
    let is_error = match header.protocol {
        // Everything but questions and answers, redirect among it.
        protocol::ICMP => !matches!(message, Some(0 | 8 | 13..=18)),
        // RFC 4443: errors have types below 128; redirect counts as one.
        protocol::ICMPV6 => message.is_none_or(|kind| kind < 128 || kind == 137),
        _ => false,
    };
    if is_error {
        return false;
    }
    if !is_many(header.destination) {
        return true;
    }
    // RFC 4443 section 2.4 (e.3): these two may be about packets to many.
    let is_excepted = matches!(
        kind,
        Kind::TooBig { .. } | Kind::ParameterProblem(ip::Problem { code: 2, .. })
    );
    header.is_v6() && is_excepted
}

/// Appends the error, with as much of the packet as there may be.
pub(super) fn emit(
    kind: Kind,
    source: IpAddr,
    packet: &[u8],
    header: &Header,
    out: &mut BytesMut,
) -> Option<usize> {
    let is_v6 = header.is_v6();
    let (kind, code, rest) = kind.fields(is_v6, packet);
    let packet = packet.get(..header.total_len).unwrap_or(packet);
    emit_raw([source, header.source], (kind, code, rest), packet, out)
}

/// Appends an error with the given fields about `quote`, which is cut to what fits.
pub(super) fn emit_raw(
    [source, destination]: [IpAddr; 2],
    (kind, code, rest): (u8, u8, [u8; 4]),
    quote: &[u8],
    out: &mut BytesMut,
) -> Option<usize> {
    let (protocol, len_max) = if source.is_ipv6() {
        (
            protocol::ICMPV6,
            ERROR_LEN_MAX_V6 - IPV6_HEADER_LEN - HEADER_LEN,
        )
    } else {
        (
            protocol::ICMP,
            ERROR_LEN_MAX_V4 - IPV4_HEADER_LEN - HEADER_LEN,
        )
    };
    let [a, b, c, d] = rest;
    let head = [kind, code, 0, 0, a, b, c, d];
    let quote = quote.get(..len_max).unwrap_or(quote);
    ip::emit([source, destination], protocol, 0, [&head, quote], 2, out)
}

/// What an error is about when the packet is not at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A UDP datagram.
    Udp {
        /// Who sent it.
        client: SocketAddr,
        /// Where it went.
        remote: SocketAddr,
    },
    /// An echo request.
    Echo {
        /// Who sent it.
        client: IpAddr,
        /// Where it went.
        remote: IpAddr,
        /// The identifier that the client used.
        identifier: u16,
        /// The number of the request.
        sequence: u16,
    },
}

impl Subject {
    /// Appends the shortest packet that the client recognises as its own.
    pub(super) fn emit(self, out: &mut BytesMut) -> Option<usize> {
        match self {
            Self::Udp { client, remote } => emit_udp(client, remote, 0, &[], out),
            Self::Echo {
                client,
                remote,
                identifier,
                sequence,
            } => echo::emit_request(client, remote, (identifier, sequence), out),
        }
    }
}
