//! Datagrams on a stream: what follows a [`DatagramsRequest`](super::wire::DatagramsRequest) and its
//! reply, in both directions. Nothing here allocates.
use crate::socks::wire::{Address, Name};
use bytes::{BufMut as _, BytesMut};
use std::net::IpAddr;
use thiserror::Error;

/// Why octets are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Longer than [`Record::BODY_LEN_MAX`].
    #[error("record of {0} octets is too long")]
    TooLong(u16),
    /// No whole address within its length.
    #[error("record without an address")]
    Address,
}

/// A datagram and its other end: where a client's goes to, where a server's came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The other end.
    pub address: Address<'a>,
    /// The payload, which may be empty.
    pub data: &'a [u8],
}

impl<'a> Record<'a> {
    /// Octets of the length.
    const HEAD_LEN: usize = 2;
    /// Most octets behind the length: the longest payload of UDP over IPv4 with an IPv6 address.
    pub const BODY_LEN_MAX: usize = 1 + 16 + 2 + 65_507;
    /// Longest record in octets: a pipe that parses records must hold as many.
    pub const LEN_MAX: usize = Self::HEAD_LEN + Self::BODY_LEN_MAX;

    /// Octets of the record that `input` begins with, once its length is there.
    ///
    /// # Errors
    /// [`Malformed::TooLong`].
    pub fn len_of(input: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(head) = input.first_chunk() else {
            return Ok(None);
        };
        let body = u16::from_be_bytes(*head);
        if usize::from(body) > Self::BODY_LEN_MAX {
            return Err(Malformed::TooLong(body));
        }
        Ok(Some(Self::HEAD_LEN + usize::from(body)))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(len) = Self::len_of(input)? else {
            return Ok(None);
        };
        let Some(body) = input.get(Self::HEAD_LEN..len) else {
            return Ok(None);
        };
        let parsed = Address::parse(body).map_err(|_| Malformed::Address)?;
        let (address, n) = parsed.ok_or(Malformed::Address)?;
        let data = body.get(n..).unwrap_or_default();
        Ok(Some((Self { address, data }, len)))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        Self::HEAD_LEN + self.address.buffer_len() + self.data.len()
    }

    /// Appends the record. False, and nothing is appended, when it would be longer than
    /// [`Self::LEN_MAX`]. An IPv4 address in an IPv6 one is written as the IPv4 address that it is.
    #[must_use]
    pub fn emit(&self, out: &mut BytesMut) -> bool {
        let address = match self.address.name {
            Name::Ip(ip @ IpAddr::V6(_)) => Address {
                name: Name::Ip(ip.to_canonical()),
                ..self.address
            },
            Name::Ip(IpAddr::V4(_)) | Name::Domain(_) => self.address,
        };
        let body = address.buffer_len() + self.data.len();
        let Ok(len) = u16::try_from(body) else {
            return false;
        };
        if body > Self::BODY_LEN_MAX {
            return false;
        }
        out.reserve(Self::HEAD_LEN + body);
        out.put_u16(len);
        address.emit(out);
        out.put_slice(self.data);
        true
    }
}
