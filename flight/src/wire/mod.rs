//! Records as bytes: parse and emit, no state.
//!
//! Integers are LEB128 (seven bits in each byte, the lowest first), so that a small record of a
//! ring is four to eight bytes.
mod action;
mod device;
mod entry;
mod event;
mod parts;
mod record;
#[cfg(test)]
mod tests;
mod undelivered;

pub use action::put_action;
pub use device::{DeviceEntry, Way};
pub use entry::Entry;
pub use event::put_event;
pub use parts::{Answer, Asked, Begin, Content, MachineKind};
pub(crate) use record::put as put_record;
pub use record::{Chunk, Record, Records};

use bytes::BufMut as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use sansbox_core::{Domain, End, Host, Refusal, Target};

/// Bytes that no recorder writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends in the middle of something.
    #[error("ends in the middle of {0}")]
    Short(&'static str),
    /// A number means nothing.
    #[error("{value} is no {what}")]
    Value {
        /// What it should be.
        what: &'static str,
        /// What is there.
        value: u64,
    },
    /// Text that is not UTF-8.
    #[error("{0} is not text")]
    Text(&'static str),
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes left.
    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, n: u64, what: &'static str) -> Result<&'a [u8], Malformed> {
        let n = usize::try_from(n).map_err(|_| Malformed::Short(what))?;
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(Malformed::Short(what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn fixed<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed::Short(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.fixed::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(Malformed::Value { what, value: bits });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Value { what, value })
    }

    pub(crate) fn number_as<T: TryFrom<u64>>(
        &mut self,
        what: &'static str,
    ) -> Result<T, Malformed> {
        let value = self.number(what)?;
        T::try_from(value).map_err(|_| Malformed::Value { what, value })
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let n = self.number(what)?;
        self.take(n, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let bytes = self.bytes(what)?;
        core::str::from_utf8(bytes).map_err(|_| Malformed::Text(what))
    }

    pub(crate) fn ip(&mut self) -> Result<IpAddr, Malformed> {
        self.ip_or_none()?.ok_or_else(|| no("address family", 0))
    }

    /// An address, or a 0 in its place.
    pub(crate) fn ip_or_none(&mut self) -> Result<Option<IpAddr>, Malformed> {
        Ok(match self.byte("address")? {
            0 => None,
            4 => Some(Ipv4Addr::from(self.fixed::<4>("address")?).into()),
            6 => Some(Ipv6Addr::from(self.fixed::<16>("address")?).into()),
            value => return Err(no("address family", value)),
        })
    }

    pub(crate) fn target(&mut self) -> Result<Target, Malformed> {
        let host = match self.byte("host")? {
            0 => Host::Ip(self.ip()?),
            1 => {
                let name = Domain::parse(self.bytes("domain")?);
                Host::Domain(name.map_err(|_| Malformed::Text("domain"))?)
            }
            value => return Err(no("host", value)),
        };
        let port = u16::from_le_bytes(self.fixed("port")?);
        Ok(Target::new(host, port))
    }

    pub(crate) fn socket_addr(&mut self) -> Result<SocketAddr, Malformed> {
        let ip = self.ip()?;
        let port = u16::from_le_bytes(self.fixed("port")?);
        match ip {
            IpAddr::V4(_) => Ok(SocketAddr::new(ip, port)),
            IpAddr::V6(ip) => {
                let flow = self.number_as("flow label")?;
                let scope = self.number_as("scope")?;
                Ok(SocketAddrV6::new(ip, port, flow, scope).into())
            }
        }
    }

    pub(crate) fn end(&mut self) -> Result<End, Malformed> {
        match self.byte("end")? {
            0 => Ok(End::Open),
            1 => Ok(End::Fin),
            2 => Ok(End::Reset),
            value => Err(no("end", value)),
        }
    }

    pub(crate) fn refusal(&mut self) -> Result<Refusal, Malformed> {
        let code = self.byte("refusal")?;
        let refusal = Refusal::ALL.get(usize::from(code));
        refusal.copied().ok_or_else(|| no("refusal", code))
    }
}

pub(crate) fn no(what: &'static str, value: u8) -> Malformed {
    let value = value.into();
    Malformed::Value { what, value }
}

#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(crate) fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
}

fn put_target(out: &mut Vec<u8>, target: &Target) {
    match &target.host {
        Host::Ip(ip) => {
            out.put_u8(0);
            put_ip(out, *ip);
        }
        Host::Domain(name) => {
            out.put_u8(1);
            put_bytes(out, name.as_str().as_bytes());
        }
    }
    out.put_u16_le(target.port);
}

pub(crate) fn put_socket_addr(out: &mut Vec<u8>, address: SocketAddr) {
    put_ip(out, address.ip());
    out.put_u16_le(address.port());
    if let SocketAddr::V6(v6) = address {
        put_number(out, v6.flowinfo().into());
        put_number(out, v6.scope_id().into());
    }
}

pub(crate) fn put_end(out: &mut Vec<u8>, end: End) {
    out.put_u8(match end {
        End::Open => 0,
        End::Fin => 1,
        End::Reset => 2,
    });
}

pub(crate) fn put_refusal(out: &mut Vec<u8>, refusal: Refusal) {
    let code = Refusal::ALL.iter().position(|known| *known == refusal);
    // Every refusal is in the list; its place is what other builds know it by.
    out.put_u8(
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(u8::MAX),
    );
}
