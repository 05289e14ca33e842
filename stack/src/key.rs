//! What identifies a connection: addresses and ports, and the handle that callers hold.
use std::hash::Hasher;
#[expect(
    deprecated,
    reason = "a keyed hash whose algorithm, SipHash-2-4, is fixed; sansbox-core uses it as well"
)]
use std::hash::SipHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sansbox_core::{Instant, Seed};

/// A connection of a [`crate::Stack`]. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// The handle as a number, for logs and foreign interfaces.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The handle that [`FlowId::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            index: (bits & 0xffff_ffff) as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

/// Both ends of a connection, 36 bytes. IPv4 addresses are kept mapped into IPv6; packets of IPv6
/// with such addresses are martians and never make a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    source: [u8; 16],
    destination: [u8; 16],
    source_port: u16,
    destination_port: u16,
}

impl FlowKey {
    /// The connection from the client `source` to `destination`.
    #[must_use]
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        Self {
            source: mapped(source.ip()),
            destination: mapped(destination.ip()),
            source_port: source.port(),
            destination_port: destination.port(),
        }
    }

    /// The connection between two addresses of IPv6, and their ports.
    pub(crate) const fn v6(source: (Ipv6Addr, u16), destination: (Ipv6Addr, u16)) -> Self {
        Self {
            source: source.0.octets(),
            destination: destination.0.octets(),
            source_port: source.1,
            destination_port: destination.1,
        }
    }

    /// The client's end.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(unmapped(self.source), self.source_port)
    }

    /// The end that the client wants to reach.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(unmapped(self.destination), self.destination_port)
    }

    /// Is it a connection over IPv4?
    #[must_use]
    pub fn is_v4(&self) -> bool {
        ipv4(&self.source).is_some()
    }

    /// Feeds what differs between keys in one piece: 12 bytes with IPv4, else 36. The hash takes
    /// in how many there were, so that no key of one kind stands for one of the other. The same on
    /// every platform.
    fn write(&self, hasher: &mut impl Hasher) {
        let [a, b] = self.source_port.to_be_bytes();
        let [c, d] = self.destination_port.to_be_bytes();
        if let (Some(source), Some(destination)) = (ipv4(&self.source), ipv4(&self.destination)) {
            let [e, f, g, h] = source;
            let [i, j, k, l] = destination;
            hasher.write(&[e, f, g, h, i, j, k, l, a, b, c, d]);
            return;
        }
        let mut bytes = [0; 36];
        let (source, rest) = bytes.split_at_mut(16);
        let (destination, ports) = rest.split_at_mut(16);
        source.copy_from_slice(&self.source);
        destination.copy_from_slice(&self.destination);
        ports.copy_from_slice(&[a, b, c, d]);
        hasher.write(&bytes);
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The IPv4 address that is mapped.
const fn ipv4(octets: &[u8; 16]) -> Option<[u8; 4]> {
    let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4 @ ..] = octets else {
        return None;
    };
    Some(*v4)
}

fn unmapped(octets: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(octets);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// The stack's secrets: the hash of its table, and initial sequence numbers.
pub(crate) struct Secrets {
    #[expect(deprecated, reason = "see the import")]
    table: SipHasher,
    #[expect(deprecated, reason = "see the import")]
    isn: SipHasher,
}

impl Secrets {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            table: keyed(&seed.derive("stack/table")),
            isn: keyed(&seed.derive("stack/isn")),
        }
    }

    /// The place of `key` in the table.
    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        let mut hasher = self.table.clone();
        key.write(&mut hasher);
        hasher.finish()
    }

    /// The client's address, as the limits per source count it.
    pub(crate) fn hash_source(&self, key: &FlowKey) -> u64 {
        let mut hasher = self.table.clone();
        hasher.write(&key.source);
        hasher.finish()
    }

    /// An initial sequence number (RFC 6528): a clock of 4 us plus a keyed hash of both ends.
    pub(crate) fn isn(&self, key: &FlowKey, now: Instant) -> u32 {
        let mut hasher = self.isn.clone();
        key.write(&mut hasher);
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        let [e, f, g, h, ..] = (now.as_nanos() / 4000).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]).wrapping_add(u32::from_le_bytes([e, f, g, h]))
    }
}

#[expect(deprecated, reason = "see the import")]
fn keyed(seed: &Seed) -> SipHasher {
    let bytes = seed.bytes();
    let word = |at: usize| {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(bytes.iter().skip(at)) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    };
    SipHasher::new_with_keys(word(0), word(8))
}
