//! A client of the terminator: packets of IPv4 and TCP, made in place.
#![expect(clippy::indexing_slicing, reason = "places in headers of fixed length")]

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use sansbox_stack::FlowId;

/// Bytes of IPv4 and TCP headers without options.
pub(super) const HEADER_BYTES: usize = 40;
/// Payload of a full packet.
pub(super) const PAYLOAD_BYTES: usize = 1400;
/// A SYN with its option.
pub(super) const SYN_BYTES: usize = HEADER_BYTES + 4;
/// A buffer for any packet.
pub(super) type Buffer = [u8; HEADER_BYTES + PAYLOAD_BYTES];

pub(super) const FLAG_SYN: u8 = 0x02;
pub(super) const FLAG_RST: u8 = 0x04;
pub(super) const FLAG_ACK: u8 = 0x10;

const PORT_FIRST: u32 = 1024;
/// Ports of one address.
const PORTS: u32 = 60_000;
const SEQUENCE_FIRST: u32 = 1000;

/// The address of the first client.
const ADDRESS_FIRST: u32 = 0x0a00_0001;
/// The address of the first client that nobody answers to.
const ADDRESS_SPOOFED: u32 = 0x0b00_0001;
/// A handle that no flow has.
const NO_FLOW: u64 = u64::MAX;

/// What changes of a client: little, so that the cache misses at many flows are the stack's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    flow: u64,
    pub(super) seq: u32,
    pub(super) ack: u32,
}

const _: () = assert!(size_of::<Client>() == 16);

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    address: u32,
    port: u32,
}

impl Place {
    /// The client with that number has an address and a port of its own.
    pub(super) const fn of(n: u32) -> Self {
        Self {
            address: ADDRESS_FIRST + n / PORTS,
            port: PORT_FIRST + n % PORTS,
        }
    }

    /// One that nobody answers to: each has another address.
    pub(super) const fn spoofed(n: u32) -> Self {
        Self {
            address: ADDRESS_SPOOFED + n,
            port: PORT_FIRST + n % PORTS,
        }
    }

    /// The number of the client there.
    pub(super) fn number(at: SocketAddr) -> Option<u32> {
        let IpAddr::V4(address) = at.ip() else {
            return None;
        };
        let row = address.to_bits().checked_sub(ADDRESS_FIRST)?;
        let n = row.checked_mul(PORTS)? + u32::from(at.port()).checked_sub(PORT_FIRST)?;
        (Self::of(n).port == u32::from(at.port())).then_some(n)
    }
}

/// Sum of 16-bit words (RFC 1071). An odd byte at the end is left out.
pub(in super::super) fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

/// The checksum of a sum.
pub(in super::super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let [.., high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

fn low_half(n: u32) -> [u8; 2] {
    let [_, _, high, low] = n.to_be_bytes();
    [high, low]
}

impl Client {
    /// Before its SYN.
    pub(super) const NEW: Self = Self {
        flow: NO_FLOW,
        seq: SEQUENCE_FIRST,
        ack: 0,
    };

    /// Its connection, when it is open.
    pub(super) fn flow(&self) -> Option<FlowId> {
        (self.flow != NO_FLOW).then(|| FlowId::from_bits(self.flow))
    }

    /// Its connection is open.
    pub(super) const fn open(&mut self, flow: FlowId) {
        self.flow = flow.to_bits();
    }

    /// Writes the headers of a packet with `len` bytes of zeros behind them.
    pub(super) fn packet(&self, place: Place, to: &mut [u8], flags: u8, len: u16) {
        let header = &mut to[..HEADER_BYTES];
        header[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0]);
        header[2..4].copy_from_slice(&(40 + len).to_be_bytes());
        header[12..16].copy_from_slice(&place.address.to_be_bytes());
        header[16..20].copy_from_slice(&[192, 0, 2, 9]);
        let ip = fold(sum(&header[..20]));
        header[10..12].copy_from_slice(&ip.to_be_bytes());
        header[20..22].copy_from_slice(&low_half(place.port));
        header[22..24].copy_from_slice(&[1, 187]);
        header[24..28].copy_from_slice(&self.seq.to_be_bytes());
        header[28..32].copy_from_slice(&self.ack.to_be_bytes());
        header[32..].copy_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let tcp = fold(sum(&header[12..]) + 6 + 20 + u64::from(len));
        header[36..38].copy_from_slice(&tcp.to_be_bytes());
    }

    /// A SYN whose one option says that segments of 1400 bytes are welcome.
    pub(super) fn syn(&self, place: Place, to: &mut [u8]) {
        let packet = &mut to[..SYN_BYTES];
        self.packet(place, packet, FLAG_SYN, 4);
        packet[32] = 0x60;
        packet[36..38].copy_from_slice(&[0, 0]);
        packet[40..42].copy_from_slice(&[2, 4]);
        packet[42..44].copy_from_slice(&low_half(PAYLOAD_BYTES as u32));
        let tcp = fold(sum(&packet[12..]) + 6 + 24);
        packet[36..38].copy_from_slice(&tcp.to_be_bytes());
    }

    /// Takes the headers of the answer to its SYN.
    pub(super) fn answered(&mut self, place: Place, header: &[u8]) -> Result<()> {
        let header: &[u8; HEADER_BYTES] = header.first_chunk().context("a short answer")?;
        let is_ours = header[22..24] == low_half(place.port);
        if !is_ours || header[33] & 0x3f != FLAG_SYN | FLAG_ACK {
            bail!("no answer to the SYN");
        }
        let [_, _, _, _, a, b, c, d, ..] = header[20..] else {
            bail!("a short answer");
        };
        self.seq = SEQUENCE_FIRST.wrapping_add(1);
        self.ack = u32::from_be_bytes([a, b, c, d]).wrapping_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_found_by_its_place() {
        for n in [0, 1, PORTS - 1, PORTS, 130_007] {
            let Place { address, port } = Place::of(n);
            let at = SocketAddr::from((address.to_be_bytes(), u16::try_from(port).unwrap()));
            assert_eq!(Place::number(at), Some(n));
        }
        assert_eq!(Place::number(([10, 0, 0, 1], 80).into()), None);
        assert_eq!(Place::number(([10, 0, 0, 1], 62_000).into()), None);
    }
}
