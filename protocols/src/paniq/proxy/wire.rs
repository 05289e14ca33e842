//! The bytes of requests and replies. `X::parse` gives `None` for more bytes, and how many the
//! message took: what follows belongs to the relay. Nothing here allocates.
use crate::socks::wire::{Address, Name};
use bytes::{BufMut as _, BytesMut};
use sansbox_core::Target;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use thiserror::Error;

const VERSION: u8 = 1;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Of another version.
    #[error("unsupported proxy version: {0}")]
    Version(u8),
    /// Neither IPv4 (1), domain (3) nor IPv6 (4).
    #[error("unsupported address type")]
    AddressType,
    /// For something else than datagrams (3).
    #[error("unsupported kind of stream: {0}")]
    Kind(u8),
}

/// What the client wants: a TCP connection to this address.
///
/// The name in it is what the peer calls one, unchecked: [`Address::to_target`] refuses the empty
/// name, with which a Go server dials itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Where to.
    pub address: Address<'a>,
}

impl<'a> Request<'a> {
    /// Longest request in octets.
    pub const LEN_MAX: usize = 1 + Address::LEN_MAX;

    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(rest) = after_version(input)? else {
            return Ok(None);
        };
        let address = address(rest)?;
        Ok(address.map(|(address, n)| (Self { address }, 1 + n)))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        1 + self.address.buffer_len()
    }

    /// Appends the request.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        self.address.emit(out);
    }
}

impl<'a> From<&'a Target> for Request<'a> {
    fn from(target: &'a Target) -> Self {
        Self {
            address: canonical(target.into()),
        }
    }
}

/// What a client of sansbox may want that no Go client does: datagrams to and from many targets,
/// as [records](super::record). The reply is that of a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramsRequest;

impl DatagramsRequest {
    /// The version that only such requests have. A Go server takes it for none and closes.
    pub const VERSION: u8 = 2;
    /// The number of UDP ASSOCIATE in SOCKS5.
    const KIND: u8 = 3;
    /// Octets of a request.
    pub const LEN: usize = 2;

    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed`].
    pub const fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        match input {
            [] | [Self::VERSION] => Ok(None),
            [Self::VERSION, Self::KIND, ..] => Ok(Some((Self, Self::LEN))),
            [Self::VERSION, other, ..] => Err(Malformed::Kind(*other)),
            [other, ..] => Err(Malformed::Version(*other)),
        }
    }

    /// Appends the request.
    pub fn emit(self, out: &mut BytesMut) {
        out.put_slice(&[Self::VERSION, Self::KIND]);
    }
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The target is connected.
    Success,
    /// It is not: refused, unknown, or it took too long.
    Failure,
    /// The request could not be read. Go servers never send it, Go clients take it for a failure.
    BadRequest,
    /// Anything else: a failure.
    Other(u8),
}

impl Status {
    const fn from_octet(octet: u8) -> Self {
        match octet {
            0 => Self::Success,
            1 => Self::Failure,
            2 => Self::BadRequest,
            other => Self::Other(other),
        }
    }

    /// As on the wire.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::BadRequest => 2,
            Self::Other(other) => other,
        }
    }
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// How it went.
    pub status: Status,
    /// From where the target is connected; clients ignore it.
    pub address: Address<'a>,
}

impl Reply<'_> {
    /// Longest reply in octets.
    pub const LEN_MAX: usize = 2 + Address::LEN_MAX;

    /// The target is connected, from `local`. A server that does not want its inner address known
    /// says `0.0.0.0:0`.
    #[must_use]
    pub fn success(local: SocketAddr) -> Self {
        Self {
            status: Status::Success,
            address: canonical(local.into()),
        }
    }

    /// A refusal.
    #[must_use]
    pub fn failure(status: Status) -> Self {
        Self {
            status,
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).into(),
        }
    }
}

impl<'a> Reply<'a> {
    /// Reads a reply.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((status, rest)) = after_version(input)?.and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let status = Status::from_octet(*status);
        let address = address(rest)?;
        Ok(address.map(|(address, n)| (Self { status, address }, 2 + n)))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        2 + self.address.buffer_len()
    }

    /// Appends the reply.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        out.put_u8(self.status.octet());
        self.address.emit(out);
    }
}

/// What follows the version.
const fn after_version(input: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    match input {
        [] => Ok(None),
        [VERSION, rest @ ..] => Ok(Some(rest)),
        [other, ..] => Err(Malformed::Version(*other)),
    }
}

fn address(input: &[u8]) -> Result<Option<(Address<'_>, usize)>, Malformed> {
    // It knows no other error.
    Address::parse(input).map_err(|_| Malformed::AddressType)
}

/// An IPv4 address in an IPv6 one is written as the IPv4 address that it is.
fn canonical(address: Address<'_>) -> Address<'_> {
    match address.name {
        Name::Ip(ip) => Address {
            name: Name::Ip(ip.to_canonical()),
            ..address
        },
        Name::Domain(_) => address,
    }
}
