//! Headers of IP packets: IPv4 (RFC 791), IPv6 with its extension headers (RFC 8200), and UDP
//! (RFC 768) on top. [`Header::parse`] is the gate of everything that comes from outside.
//!
//! Limits: [`EXTENSION_HEADERS_MAX`], [`EXTENSION_LEN_MAX`], [`OPTIONS_MAX`].
mod checksum;
mod extension;
mod header;
#[cfg(test)]
mod tests;
mod udp;

pub use checksum::{Checksum, Field, combine, is_valid, pseudo_header, sum, update};
pub(crate) use checksum::{Sum, pseudo};
pub use header::{Fragment, Header};
pub use udp::{Datagram, emit_udp};
pub(crate) use udp::{emit, udp_head};

use crate::drops::drop_reasons;

/// Length of an IPv4 header without options.
pub const IPV4_HEADER_LEN: usize = 20;
/// Longest IPv4 header.
pub const IPV4_HEADER_LEN_MAX: usize = 60;
/// Length of the fixed IPv6 header.
pub const IPV6_HEADER_LEN: usize = 40;
/// Length of an IPv6 fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// Length of a UDP header.
pub const UDP_HEADER_LEN: usize = 8;
/// Longest IP packet that is not a jumbogram, as both versions' length fields allow for IPv4.
pub const PACKET_LEN_MAX: usize = 65_535;
/// Extension headers of one IPv6 packet.
pub const EXTENSION_HEADERS_MAX: usize = 8;
/// Bytes of extension headers of one IPv6 packet.
pub const EXTENSION_LEN_MAX: usize = 512;
/// Options other than padding in one extension header (RFC 8504 section 5.3).
pub const OPTIONS_MAX: usize = 8;

/// Protocol numbers that the modules of this crate tell apart.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// No next header (RFC 8200 section 4.7).
    pub const NONE: u8 = 59;
}

drop_reasons! {
    "ip";
    /// Why a packet stops at its IP or UDP header.
    pub enum Drop, Drops {
        Truncated => "truncated": "Shorter than its own headers say.",
        BadVersion => "bad_version": "Neither version 4 nor 6.",
        BadHeaderLen => "bad_header_len": "IPv4 header under 20 bytes or longer than the packet.",
        BadHeaderChecksum => "bad_header_checksum": "The IPv4 header does not sum up.",
        BadOption => "bad_option": "An option that is malformed or asks to be refused.",
        SourceRoute => "source_route": "An IPv4 source route (RFC 7126), an IPv6 routing header with hops left (RFC 5095).",
        Martian => "martian": "An address that no packet on the wire carries.",
        BadExtension => "bad_extension": "An IPv6 extension header that is malformed or out of place.",
        TooManyExtensions => "too_many_extensions": "More extension headers, bytes or options than the limits.",
        Jumbogram => "jumbogram": "A jumbo payload (RFC 2675).",
        BadFragment => "bad_fragment": "A fragment whose length or end is impossible.",
        IncompleteFirstFragment => "incomplete_first_fragment": "A first fragment without the whole header chain (RFC 7112).",
        BadUdpLen => "bad_udp_len": "A UDP length that does not fit the packet.",
        BadUdpChecksum => "bad_udp_checksum": "A UDP checksum that is wrong, or absent over IPv6.",
    }
}

/// What an ICMP parameter problem says about a refused packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The code: for ICMPv6, RFC 4443 section 3.4 and RFC 7112; for ICMP always 0.
    pub code: u8,
    /// Which byte of the packet is wrong.
    pub pointer: u16,
}

/// A packet that is not taken, and what to tell its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason, to count.
    pub reason: Drop,
    /// The parameter problem that the RFC asks for, if it asks for one.
    pub problem: Option<Problem>,
}

impl Refused {
    const fn silent(reason: Drop) -> Self {
        Self {
            reason,
            problem: None,
        }
    }

    fn at(reason: Drop, code: u8, pointer: usize) -> Self {
        let pointer = u16::try_from(pointer).unwrap_or(u16::MAX);
        Self {
            reason,
            problem: Some(Problem { code, pointer }),
        }
    }
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.reason.fmt(f)
    }
}

impl core::error::Error for Refused {}

pub(crate) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*word))
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*word))
}

/// Writes `value` at `at`, if there is room; says whether there was.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> bool {
    let place = at
        .checked_add(value.len())
        .and_then(|end| bytes.get_mut(at..end));
    match place {
        Some(place) => {
            place.copy_from_slice(value);
            true
        }
        None => false,
    }
}

/// The low 16 bits of `len`: for lengths that are known to be at most [`PACKET_LEN_MAX`].
pub(crate) fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// Whether an address is that of more than one host.
pub(crate) fn is_many(address: core::net::IpAddr) -> bool {
    match address {
        core::net::IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        core::net::IpAddr::V6(address) => address.is_multicast(),
    }
}
