//! Errors that come in, and the packet they are about.
use super::{Drop, HEADER_LEN};
use crate::ip::{
    EXTENSION_HEADERS_MAX, Header, IPV4_HEADER_LEN, IPV6_HEADER_LEN, be16, be32, byte, protocol,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An error about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who says so.
    pub reporter: IpAddr,
    /// Type of the message.
    pub kind: u8,
    /// Code of the message.
    pub code: u8,
    /// What follows the checksum: MTU or pointer.
    pub rest: [u8; 4],
    /// The packet.
    pub quoted: Quoted,
    /// Where in the message's packet it begins.
    pub quoted_at: usize,
}

/// The packet that an error is about, as far as it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its source.
    pub source: IpAddr,
    /// Its destination.
    pub destination: IpAddr,
    /// Its transport.
    pub transport: Transport,
    /// Where its transport header begins, from its own start.
    pub transport_at: usize,
}

/// What of a transport header tells sessions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// TCP.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Sequence number, to be checked against what is in flight (RFC 5927).
        sequence: u32,
    },
    /// An echo request or reply.
    Echo {
        /// Identifier.
        identifier: u16,
        /// Sequence number.
        sequence: u16,
    },
}

impl Report {
    /// Reads the error in `packet`, whose checksum was verified.
    ///
    /// # Errors
    /// [`Drop::BadQuote`] if it is no error, or about a packet that cannot be read.
    pub fn parse(packet: &[u8], header: &Header) -> Result<Self, Drop> {
        let message = header.payload(packet);
        let fields = || Some((byte(message, 0)?, byte(message, 1)?, be32(message, 4)?));
        let (kind, code, rest) = fields().ok_or(Drop::BadQuote)?;
        if !is_error(header, kind) {
            return Err(Drop::BadQuote);
        }
        let quote = message.get(HEADER_LEN..).ok_or(Drop::BadQuote)?;
        let quoted = Quoted::parse(quote).ok_or(Drop::BadQuote)?;
        if quoted.source.is_ipv6() != header.is_v6() {
            return Err(Drop::BadQuote);
        }
        Ok(Self {
            reporter: header.source,
            kind,
            code,
            rest: rest.to_be_bytes(),
            quoted,
            quoted_at: header.payload_at + HEADER_LEN,
        })
    }

    /// Next-hop MTU of a packet too big; 0 if an old router did not say (RFC 1191 section 4).
    #[must_use]
    pub fn mtu(&self) -> Option<u32> {
        let value = u32::from_be_bytes(self.rest);
        match (self.reporter, self.kind, self.code) {
            (IpAddr::V4(_), 3, 4) => Some(value & 0xffff),
            (IpAddr::V6(_), 2, _) => Some(value),
            (IpAddr::V4(_) | IpAddr::V6(_), _, _) => None,
        }
    }

    /// A client's error about a packet that was sent to it: the client's address and port, which
    /// a mapping is found by, and the remote's. `None` unless the packet went to who reports it.
    #[must_use]
    pub fn session(&self) -> Option<(SocketAddr, SocketAddr)> {
        if self.quoted.destination != self.reporter {
            return None;
        }
        let (client, remote) = match self.quoted.transport {
            Transport::Udp {
                source,
                destination,
            }
            | Transport::Tcp {
                source,
                destination,
                ..
            } => (destination, source),
            Transport::Echo { identifier, .. } => (identifier, 0),
        };
        Some((
            SocketAddr::new(self.quoted.destination, client),
            SocketAddr::new(self.quoted.source, remote),
        ))
    }
}

/// Whether a type is that of an error about a packet.
pub(super) const fn is_error(header: &Header, kind: u8) -> bool {
    match (header.is_v6(), header.protocol) {
        // Unreachable, time exceeded, parameter problem.
        (false, protocol::ICMP) => matches!(kind, 3 | 11 | 12),
        // The same, and packet too big.
        (true, protocol::ICMPV6) => matches!(kind, 1..=4),
        _ => false,
    }
}

impl Quoted {
    /// Reads as much as is there: quotes are cut, and routers change what they quote.
    fn parse(quote: &[u8]) -> Option<Self> {
        let (source, destination, number, transport_at) = match byte(quote, 0)? >> 4 {
            4 => {
                let len = usize::from(byte(quote, 0)? & 15) * 4;
                let is_later = be16(quote, 6)? & 0x1fff != 0;
                if len < IPV4_HEADER_LEN || is_later {
                    return None;
                }
                let source = Ipv4Addr::from_bits(be32(quote, 12)?);
                let destination = Ipv4Addr::from_bits(be32(quote, 16)?);
                (source.into(), destination.into(), byte(quote, 9)?, len)
            }
            6 => {
                let source: [u8; 16] = *quote.get(8..)?.first_chunk()?;
                let destination: [u8; 16] = *quote.get(24..)?.first_chunk()?;
                let (number, at) = upper_v6(quote)?;
                let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
                (source.into(), destination.into(), number, at)
            }
            _ => return None,
        };
        let upper = quote.get(transport_at..)?;
        Some(Self {
            source,
            destination,
            transport: Transport::parse(number, upper)?,
            transport_at,
        })
    }
}

/// Number and place of the upper layer.
fn upper_v6(quote: &[u8]) -> Option<(u8, usize)> {
    let (mut number, mut at) = (byte(quote, 6)?, IPV6_HEADER_LEN);
    for _ in 0..=EXTENSION_HEADERS_MAX {
        let len = match number {
            0 | 43 | 60 => usize::from(byte(quote, at + 1)?) * 8 + 8,
            44 if be16(quote, at + 2)? & 0xfff8 == 0 => 8,
            44 => return None,
            _ => return Some((number, at)),
        };
        number = byte(quote, at)?;
        at += len;
    }
    None
}

impl Transport {
    fn parse(number: u8, upper: &[u8]) -> Option<Self> {
        let (first, second) = (be16(upper, 0)?, be16(upper, 2)?);
        let is_echo = matches!((number, byte(upper, 0)?), (1, 0 | 8) | (58, 128 | 129));
        match number {
            protocol::UDP => Some(Self::Udp {
                source: first,
                destination: second,
            }),
            protocol::TCP => Some(Self::Tcp {
                source: first,
                destination: second,
                sequence: be32(upper, 4)?,
            }),
            protocol::ICMP | protocol::ICMPV6 if is_echo => Some(Self::Echo {
                identifier: be16(upper, 4)?,
                sequence: be16(upper, 6)?,
            }),
            _ => None,
        }
    }
}
