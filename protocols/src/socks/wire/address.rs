//! ATYP, address and port, as requests, replies and datagrams of SOCKS5 carry them.
use super::Malformed;
use bytes::{BufMut as _, BytesMut};
use sansbox_core::{BadDomain, Domain, Host, Target};
use std::net::{IpAddr, SocketAddr};

/// Up to 255 octets behind a length octet: a domain, a user name, a password, a method list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Short<'a>(&'a [u8]);

impl<'a> Short<'a> {
    /// Most octets that one length octet counts.
    pub const LEN_MAX: usize = 255;

    /// `bytes`, unless they are more than [`Self::LEN_MAX`].
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() <= Self::LEN_MAX).then_some(Self(bytes))
    }

    /// The octets without their length.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Octets that `emit` appends, the length octet included.
    #[must_use]
    pub const fn buffer_len(self) -> usize {
        1 + self.0.len()
    }

    pub(super) fn emit(self, out: &mut BytesMut) {
        out.put_u8(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        out.put_slice(self.0);
    }

    /// The string and what follows it; `None` when it is cut short.
    pub(super) fn split(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (len, rest) = input.split_first()?;
        let (bytes, rest) = rest.split_at_checked(usize::from(*len))?;
        Some((Self(bytes), rest))
    }
}

/// DST.ADDR or BND.ADDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// ATYP 1 or 4.
    Ip(IpAddr),
    /// ATYP 3: whatever the peer calls a name, unchecked and possibly empty.
    Domain(Short<'a>),
}

/// ATYP, address and port (RFC 1928 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The address.
    pub name: Name<'a>,
    /// The port, big-endian on the wire.
    pub port: u16,
}

/// ATYP of an IPv4 address.
const ATYP_IPV4: u8 = 1;
/// ATYP of a domain name.
const ATYP_DOMAIN: u8 = 3;
/// ATYP of an IPv6 address.
const ATYP_IPV6: u8 = 4;

// Every `Domain`, its final dot included, fits behind one length octet.
const _: () = assert!(Domain::LEN_MAX < Short::LEN_MAX);

impl<'a> Address<'a> {
    /// Longest address in octets: ATYP, length, domain, port.
    pub const LEN_MAX: usize = 1 + 1 + Short::LEN_MAX + 2;

    /// Reads from ATYP on.
    ///
    /// # Errors
    /// [`Malformed::AddressType`].
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((atyp, rest)) = input.split_first() else {
            return Ok(None);
        };
        let named = match *atyp {
            ATYP_IPV4 => rest
                .split_first_chunk::<4>()
                .map(|(ip, rest)| (Name::Ip(IpAddr::from(*ip)), rest)),
            ATYP_IPV6 => rest
                .split_first_chunk::<16>()
                .map(|(ip, rest)| (Name::Ip(IpAddr::from(*ip)), rest)),
            ATYP_DOMAIN => Short::split(rest).map(|(name, rest)| (Name::Domain(name), rest)),
            _ => return Err(Malformed::AddressType),
        };
        Ok(named.and_then(|(name, rest)| {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let port = u16::from_be_bytes(*port);
            Some((Self { name, port }, input.len() - rest.len()))
        }))
    }

    /// Octets that [`Self::emit`] appends.
    #[must_use]
    pub const fn buffer_len(&self) -> usize {
        let name = match self.name {
            Name::Ip(IpAddr::V4(_)) => 4,
            Name::Ip(IpAddr::V6(_)) => 16,
            Name::Domain(name) => name.buffer_len(),
        };
        1 + name + 2
    }

    /// Appends ATYP, address and port.
    pub fn emit(&self, out: &mut BytesMut) {
        match self.name {
            Name::Ip(IpAddr::V4(ip)) => {
                out.put_u8(ATYP_IPV4);
                out.put_slice(&ip.octets());
            }
            Name::Ip(IpAddr::V6(ip)) => {
                out.put_u8(ATYP_IPV6);
                out.put_slice(&ip.octets());
            }
            Name::Domain(name) => {
                out.put_u8(ATYP_DOMAIN);
                name.emit(out);
            }
        }
        out.put_u16(self.port);
    }

    /// Where this points. An IP address written as a name becomes an address.
    ///
    /// # Errors
    /// [`BadDomain`] when the name is neither.
    pub fn to_target(&self) -> Result<Target, BadDomain> {
        let host = match self.name {
            Name::Ip(ip) => Host::Ip(ip),
            Name::Domain(name) => Host::parse(name.as_bytes())?,
        };
        Ok(Target::new(host, self.port))
    }
}

impl From<SocketAddr> for Address<'_> {
    fn from(addr: SocketAddr) -> Self {
        Self {
            name: Name::Ip(addr.ip()),
            port: addr.port(),
        }
    }
}

impl<'a> From<&'a Target> for Address<'a> {
    fn from(target: &'a Target) -> Self {
        let name = match &target.host {
            Host::Ip(ip) => Name::Ip(*ip),
            Host::Domain(name) => {
                Name::Domain(Short::new(name.as_str().as_bytes()).unwrap_or_default())
            }
        };
        Self {
            name,
            port: target.port,
        }
    }
}
