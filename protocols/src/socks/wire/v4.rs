//! SOCKS4 (Ying-Da Lee, "SOCKS: A protocol for TCP proxy across firewalls") and its extension
//! SOCKS4a, which carries a domain name behind the marker address 0.0.0.x.
use super::{Malformed, after_version};
use bytes::{BufMut as _, BytesMut};
use sansbox_core::{BadDomain, Host};
use std::net::{Ipv4Addr, SocketAddrV4};

/// VN of requests.
pub const VERSION: u8 = 4;
/// CD of a request for an outgoing connection.
pub const CONNECT: u8 = 1;
/// CD of a request for an incoming connection.
pub const BIND: u8 = 2;

/// CD of replies.
pub mod code {
    /// Request granted.
    pub const GRANTED: u8 = 0x5a;
    /// Request rejected or failed.
    pub const REJECTED: u8 = 0x5b;
    /// The server cannot reach identd on the client.
    pub const NO_IDENTD: u8 = 0x5c;
    /// The user id is not one that the server lets in.
    pub const USER_ID: u8 = 0x5d;
}

/// Up to 255 octets, none of them NUL, with a NUL behind: USERID and the name of SOCKS4a.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Most octets before the NUL that this end reads or sends; the protocol sets no limit.
    pub const LEN_MAX: usize = 255;

    /// `bytes`, unless they are too long or hold a NUL.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() <= Self::LEN_MAX && !bytes.contains(&0)).then_some(Self(bytes))
    }

    /// The octets without the NUL.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Octets that `emit` appends, the NUL included.
    #[must_use]
    pub const fn buffer_len(self) -> usize {
        self.0.len() + 1
    }

    fn emit(self, out: &mut BytesMut) {
        out.put_slice(self.0);
        out.put_u8(0);
    }

    /// The string and what follows its NUL.
    fn split(input: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, Malformed> {
        let nul = input.iter().take(Self::LEN_MAX + 1).position(|b| *b == 0);
        match nul.and_then(|at| input.split_at_checked(at)) {
            Some((text, [_, rest @ ..])) => Ok(Some((Self(text), rest))),
            _ if input.len() > Self::LEN_MAX => Err(Malformed::Unterminated),
            _ => Ok(None),
        }
    }
}

/// DSTIP, or the name of SOCKS4a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// An address. One for which [`is_marker`] holds cannot be sent: it reads as SOCKS4a.
    Ip(Ipv4Addr),
    /// Whatever the peer calls a name, unchecked and possibly empty.
    Domain(Text<'a>),
}

/// 0.0.0.x with x other than 0: says that a domain name follows USERID.
#[must_use]
pub const fn is_marker(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [0, 0, 0, x] if x != 0)
}

/// The marker this end sends.
const MARKER: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

impl Destination<'_> {
    /// Where this points. An IP address written as a name becomes an address.
    ///
    /// # Errors
    /// [`BadDomain`] when the name is neither.
    pub fn to_host(self) -> Result<Host, BadDomain> {
        match self {
            Self::Ip(ip) => Ok(Host::Ip(ip.into())),
            Self::Domain(name) => Host::parse(name.as_bytes()),
        }
    }
}

/// VN, CD, DSTPORT, DSTIP, USERID, NUL; for SOCKS4a also the name and another NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// CD, known or not.
    pub command: u8,
    /// DSTPORT.
    pub port: u16,
    /// DSTIP or the name.
    pub destination: Destination<'a>,
    /// USERID: a claim, not a secret.
    pub user_id: Text<'a>,
}

impl<'a> Request<'a> {
    /// Longest request in octets.
    pub const LEN_MAX: usize = 8 + 2 * (Text::LEN_MAX + 1);

    /// Reads a request from VN on.
    ///
    /// # Errors
    /// [`Malformed::Version`] or [`Malformed::Unterminated`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some(rest) = after_version(input, VERSION)? else {
            return Ok(None);
        };
        let Some(([command, p0, p1, a, b, c, d], rest)) = rest.split_first_chunk::<7>() else {
            return Ok(None);
        };
        let ip = Ipv4Addr::new(*a, *b, *c, *d);
        let Some((user_id, rest)) = Text::split(rest)? else {
            return Ok(None);
        };
        let (destination, rest) = if is_marker(ip) {
            let Some((name, rest)) = Text::split(rest)? else {
                return Ok(None);
            };
            (Destination::Domain(name), rest)
        } else {
            (Destination::Ip(ip), rest)
        };
        let request = Self {
            command: *command,
            port: u16::from_be_bytes([*p0, *p1]),
            destination,
            user_id,
        };
        Ok(Some((request, input.len() - rest.len())))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        let name = match self.destination {
            Destination::Ip(_) => 0,
            Destination::Domain(name) => name.buffer_len(),
        };
        8 + self.user_id.buffer_len() + name
    }

    /// Appends the request.
    pub fn emit(&self, out: &mut BytesMut) {
        let (ip, name) = match self.destination {
            Destination::Ip(ip) => (ip, None),
            Destination::Domain(name) => (MARKER, Some(name)),
        };
        out.put_slice(&[VERSION, self.command]);
        out.put_u16(self.port);
        out.put_slice(&ip.octets());
        self.user_id.emit(out);
        if let Some(name) = name {
            name.emit(out);
        }
    }
}

/// VN, CD, DSTPORT, DSTIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// CD: one of [`code`], or another.
    pub code: u8,
    /// DSTIP and DSTPORT: for CONNECT without meaning.
    pub bound: SocketAddrV4,
}

impl Reply {
    /// Length of a reply in octets.
    pub const LEN: usize = 8;

    /// Reads a reply. Its VN is 0 by the book, and 4 from servers that did not read the book.
    ///
    /// # Errors
    /// [`Malformed::Version`].
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        if !matches!(input, [] | [0 | VERSION, ..]) {
            return Err(Malformed::Version);
        }
        Ok(input.first_chunk().map(|[_, code, p0, p1, a, b, c, d]| {
            let (ip, port) = (
                Ipv4Addr::new(*a, *b, *c, *d),
                u16::from_be_bytes([*p0, *p1]),
            );
            let reply = Self {
                code: *code,
                bound: SocketAddrV4::new(ip, port),
            };
            (reply, Self::LEN)
        }))
    }

    /// Appends the reply.
    pub fn emit(&self, out: &mut BytesMut) {
        out.put_slice(&[0, self.code]);
        out.put_u16(self.bound.port());
        out.put_slice(&self.bound.ip().octets());
    }
}
