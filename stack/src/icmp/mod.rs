//! ICMP and ICMPv6: echo, errors that this stack sends, errors that concern its sessions.
//!
//! [`Icmp::handle`] takes what clients send; [`Icmp::error`] tells a client why its packet went
//! nowhere, within rate limits; [`translate`] passes an error from upstream on to the client whose
//! datagram caused it, and [`Icmp::error_for`] makes one where only its meaning is known.
//!
//! No error is sent about an error, about a fragment other than the first, or about a packet to
//! many (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)). Neighbour discovery and multicast
//! listeners have no place on a TUN and are passed over.
mod echo;
mod error;
mod limit;
mod quote;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_error;
#[cfg(test)]
mod tests_translate;
mod translate;

pub use echo::{Echo, EchoMode, emit_echo_reply};
pub use error::{Kind, Subject};
pub use limit::RateLimit;
pub use quote::{Quoted, Report, Transport};
pub use translate::translate;

use crate::drops::drop_reasons;
use crate::ip::{self, Header, be16, byte, is_many, protocol, sum};
use bytes::BytesMut;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sansbox_core::Instant;

/// Errors in a second, of all kinds together.
pub const ERRORS_PER_SECOND: u64 = 1000;
/// Errors at once.
pub const ERRORS_BURST: u64 = 50;
/// Packets too big that are remembered, so as to say each only once a second.
pub const TOO_BIG_RECENT_MAX: usize = 256;
/// Longest ICMP error over IPv4 (RFC 1812 section 4.3.2.3).
pub const ERROR_LEN_MAX_V4: usize = 576;
/// Longest ICMPv6 error (RFC 4443 section 2.4 (c)).
pub const ERROR_LEN_MAX_V6: usize = 1280;
/// Length of the header of every message here.
pub const HEADER_LEN: usize = 8;

drop_reasons! {
    "icmp";
    /// Why a message is dropped, or not sent.
    pub enum Drop, Drops {
        Truncated => "truncated": "Shorter than its own header.",
        BadChecksum => "bad_checksum": "It does not sum up.",
        EchoOff => "echo_off": "An echo request, and echo is off.",
        ToMany => "to_many": "An echo request to a multicast or broadcast address.",
        Unsolicited => "unsolicited": "An echo reply, though nobody asks clients.",
        NeighborDiscovery => "neighbor_discovery": "Neighbour and router discovery.",
        Ignored => "ignored": "A type that nothing here has a use for.",
        BadQuote => "bad_quote": "An error about a packet that cannot be read.",
        NotAllowed => "not_allowed": "An error would be about what no error may be about.",
        RateLimited => "rate_limited": "More errors than `ERRORS_PER_SECOND`.",
        TooBigRepeated => "too_big_repeated": "The same packet too big within a second.",
        NoSource => "no_source": "There is no address of the family to send from.",
        TooLong => "too_long": "A reply longer than a packet.",
    }
}

/// What a client's message comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// A packet of this length was appended for the client.
    Answered(usize),
    /// An echo request to carry upstream.
    Echo(Echo),
    /// The client refuses a packet that was sent to it.
    Report(Report),
}

/// ICMP of one stack.
#[derive(Debug)]
pub struct Icmp {
    echo: EchoMode,
    gateway_v4: Ipv4Addr,
    gateway_v6: Option<Ipv6Addr>,
    limit: RateLimit,
    scratch: BytesMut,
    drops: Drops,
}

impl Icmp {
    /// `gateway_v4` and `gateway_v6` are the addresses of the TUN: what the stack says for itself
    /// comes from there. Without one for IPv6 it comes from where the client's packet went.
    #[must_use]
    pub fn new(echo: EchoMode, gateway_v4: Ipv4Addr, gateway_v6: Option<Ipv6Addr>) -> Self {
        Self {
            echo,
            gateway_v4,
            gateway_v6,
            limit: RateLimit::new(),
            scratch: BytesMut::new(),
            drops: Drops::new(),
        }
    }

    /// What was dropped, or not sent, so far.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Changes what becomes of echo requests.
    pub const fn set_echo(&mut self, echo: EchoMode) {
        self.echo = echo;
    }

    /// Takes a whole packet of a client whose protocol is ICMP or ICMPv6. Answers are appended to
    /// `out`.
    ///
    /// # Errors
    /// A [`Drop`], counted already.
    pub fn handle(
        &mut self,
        now: Instant,
        packet: &[u8],
        header: &Header,
        out: &mut BytesMut,
    ) -> Result<Handled, Drop> {
        match classify(packet, header) {
            Ok(Message::Request) => self.request(now, packet, header, out),
            Ok(Message::Error) => Report::parse(packet, header)
                .map(Handled::Report)
                .map_err(|reason| self.counted(reason)),
            Err(reason) => Err(self.counted(reason)),
        }
    }

    fn request(
        &mut self,
        now: Instant,
        packet: &[u8],
        header: &Header,
        out: &mut BytesMut,
    ) -> Result<Handled, Drop> {
        if is_many(header.destination) {
            return Err(self.counted(Drop::ToMany));
        }
        match self.echo {
            EchoMode::Off => Err(self.counted(Drop::EchoOff)),
            EchoMode::Reply => match echo::reply(packet, header, out) {
                Some(len) => Ok(Handled::Answered(len)),
                None => Err(self.counted(Drop::TooLong)),
            },
            EchoMode::Relay => Echo::parse(packet, header)
                .map(Handled::Echo)
                .ok_or_else(|| self.counted(Drop::Truncated)),
            EchoMode::Reject => self
                .error(now, Kind::AdminProhibited, packet, header, out)
                .map(Handled::Answered),
        }
    }

    /// Appends to `out` the error `kind` about a client's packet, and returns its length.
    ///
    /// # Errors
    /// [`Drop::NotAllowed`], [`Drop::RateLimited`], [`Drop::TooBigRepeated`] or
    /// [`Drop::NoSource`]: nothing was appended, and it is counted already.
    pub fn error(
        &mut self,
        now: Instant,
        kind: Kind,
        packet: &[u8],
        header: &Header,
        out: &mut BytesMut,
    ) -> Result<usize, Drop> {
        let result = self.checked_error(now, kind, None, (packet, header), out);
        result.map_err(|reason| self.counted(reason))
    }

    /// Appends to `out` the error `kind` about a datagram that is not at hand any more: what a
    /// socket's error says about a session.
    ///
    /// # Errors
    /// As [`Self::error`].
    pub fn error_for(
        &mut self,
        now: Instant,
        kind: Kind,
        subject: Subject,
        out: &mut BytesMut,
    ) -> Result<usize, Drop> {
        self.error_by(now, kind, None, subject, out)
    }

    /// The same, as `reporter` said it, who is known: a router on the way stays who it is (RFC 5508
    /// REQ-4). Passed over where it cannot be the source of a packet to the client.
    ///
    /// # Errors
    /// As [`Self::error`].
    pub fn error_by(
        &mut self,
        now: Instant,
        kind: Kind,
        reporter: Option<IpAddr>,
        subject: Subject,
        out: &mut BytesMut,
    ) -> Result<usize, Drop> {
        let mut packet = core::mem::take(&mut self.scratch);
        packet.clear();
        let result = match subject.emit(&mut packet).map(|_| Header::parse(&packet)) {
            Some(Ok(header)) => {
                let source = reporter.filter(|reporter| {
                    reporter.is_ipv4() == header.source.is_ipv4()
                        && *reporter != header.source
                        && !reporter.is_unspecified()
                        && !is_many(*reporter)
                });
                self.checked_error(now, kind, source, (&packet, &header), out)
                    .map_err(|reason| self.counted(reason))
            }
            // An address that no client has.
            Some(Err(_)) => Err(self.counted(Drop::NotAllowed)),
            None => Err(self.counted(Drop::NoSource)),
        };
        self.scratch = packet;
        result
    }

    fn checked_error(
        &mut self,
        now: Instant,
        kind: Kind,
        source: Option<IpAddr>,
        (packet, header): (&[u8], &Header),
        out: &mut BytesMut,
    ) -> Result<usize, Drop> {
        if !error::is_allowed(kind, packet, header) {
            return Err(Drop::NotAllowed);
        }
        let source = source.or_else(|| self.source_of(kind, header));
        let source = source.ok_or(Drop::NoSource)?;
        let too_big = kind
            .mtu()
            .map(|mtu| (header.source, header.destination, mtu));
        self.limit.take(now, too_big)?;
        error::emit(kind, source, packet, header, out).ok_or(Drop::NoSource)
    }

    /// Unreachable is what the destination says; what is about the way, the gateway says.
    fn source_of(&self, kind: Kind, header: &Header) -> Option<IpAddr> {
        let gateway = match header.destination {
            IpAddr::V4(_) => Some(IpAddr::V4(self.gateway_v4)),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        };
        // A host takes nothing from its own address that comes from outside, and the device's
        // address is mostly that of the client itself.
        let gateway = gateway.filter(|gateway| *gateway != header.source);
        let destination = Some(header.destination).filter(|address| !is_many(*address));
        if kind.is_about_the_way() {
            gateway.or(destination)
        } else {
            destination.or(gateway)
        }
    }

    fn counted(&mut self, reason: Drop) -> Drop {
        self.drops.count(reason);
        reason
    }
}

/// A message that something is done about.
enum Message {
    Request,
    Error,
}

fn classify(packet: &[u8], header: &Header) -> Result<Message, Drop> {
    let message = header.payload(packet);
    if message.len() < HEADER_LEN {
        return Err(Drop::Truncated);
    }
    let is_v6 = header.is_v6();
    let expected = if is_v6 {
        protocol::ICMPV6
    } else {
        protocol::ICMP
    };
    if header.protocol != expected || !header.has_upper_header() {
        return Err(Drop::Ignored);
    }
    if !sums_up(packet, header) {
        return Err(Drop::BadChecksum);
    }
    let (kind, code) = (byte(message, 0), byte(message, 1));
    match (is_v6, kind, code) {
        (false, Some(8), Some(0)) | (true, Some(128), Some(0)) => Ok(Message::Request),
        (false, Some(0), _) | (true, Some(129), _) => Err(Drop::Unsolicited),
        (_, Some(kind), _) if quote::is_error(header, kind) => Ok(Message::Error),
        (true, Some(133..=137), _) => Err(Drop::NeighborDiscovery),
        _ => Err(Drop::Ignored),
    }
}

/// Whether the checksum of a message is right.
fn sums_up(packet: &[u8], header: &Header) -> bool {
    let message = header.payload(packet);
    if !header.is_v6() {
        return sum(message) == 0xffff;
    }
    ip::is_valid(header.source, header.destination, protocol::ICMPV6, message)
}

/// Identifier and sequence number of an echo message.
fn echo_fields(message: &[u8]) -> Option<(u16, u16)> {
    Some((be16(message, 4)?, be16(message, 6)?))
}
