//! The 10 bytes in front of a packet.
use super::{Drop, TCP_SEGMENT_SIZE_MIN};

/// Length of the header, to be set with `TUNSETVNETHDRSZ`.
pub const HEADER_LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What the packet is cut into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    /// One packet.
    #[default]
    None,
    /// TCP segments over IPv4.
    TcpV4,
    /// TCP segments over IPv6.
    TcpV6,
    /// UDP datagrams (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    Udp,
}

/// A `virtio_net_hdr`. The default says: one packet with a complete checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The checksum field holds the folded sum of the pseudo header; who sends it finishes it.
    pub needs_checksum: bool,
    /// The device verified the checksum.
    pub data_valid: bool,
    /// What the packet is cut into.
    pub gso: Gso,
    /// The first segment carries CWR, and only the first may.
    pub ecn: bool,
    /// Length of all headers. A hint: a kernel that forwards fills in more than that.
    pub header_len: u16,
    /// Payload of each segment but the last, in bytes.
    pub segment_size: u16,
    /// Where the bytes under the checksum begin.
    pub checksum_start: u16,
    /// Where the checksum is, from there.
    pub checksum_offset: u16,
}

impl Header {
    /// Reads the header of a frame, and gives the packet behind it.
    ///
    /// # Errors
    /// [`Drop::Truncated`], [`Drop::UnknownGso`] or [`Drop::BadSegmentSize`].
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Drop> {
        let (head, packet) = frame.split_first_chunk().ok_or(Drop::Truncated)?;
        let [flags, kind, words @ ..]: [u8; HEADER_LEN] = *head;
        let [a, b, c, d, e, f, g, h] = words;
        let gso = match kind & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCP_V4 => Gso::TcpV4,
            GSO_TCP_V6 => Gso::TcpV6,
            GSO_UDP => Gso::Udp,
            _ => return Err(Drop::UnknownGso),
        };
        let header = Self {
            needs_checksum: flags & NEEDS_CHECKSUM != 0,
            data_valid: flags & DATA_VALID != 0,
            gso,
            ecn: kind & GSO_ECN != 0,
            header_len: u16::from_ne_bytes([a, b]),
            segment_size: u16::from_ne_bytes([c, d]),
            checksum_start: u16::from_ne_bytes([e, f]),
            checksum_offset: u16::from_ne_bytes([g, h]),
        };
        let size_min = match gso {
            Gso::None => 0,
            Gso::TcpV4 | Gso::TcpV6 => TCP_SEGMENT_SIZE_MIN,
            Gso::Udp => 1,
        };
        if header.segment_size < size_min {
            return Err(Drop::BadSegmentSize);
        }
        Ok((header, packet))
    }

    /// The bytes of the header.
    #[must_use]
    pub const fn emit(&self) -> [u8; HEADER_LEN] {
        let mut flags = 0;
        if self.needs_checksum {
            flags |= NEEDS_CHECKSUM;
        }
        if self.data_valid {
            flags |= DATA_VALID;
        }
        let kind = match self.gso {
            Gso::None => GSO_NONE,
            Gso::TcpV4 => GSO_TCP_V4,
            Gso::TcpV6 => GSO_TCP_V6,
            Gso::Udp => GSO_UDP,
        };
        let kind = if self.ecn { kind | GSO_ECN } else { kind };
        let [a, b] = self.header_len.to_ne_bytes();
        let [c, d] = self.segment_size.to_ne_bytes();
        let [e, f] = self.checksum_start.to_ne_bytes();
        let [g, h] = self.checksum_offset.to_ne_bytes();
        [flags, kind, a, b, c, d, e, f, g, h]
    }

    /// The header of a TCP packet with a deferred checksum: `ip_len` and `tcp_len` are the lengths
    /// of its headers, `payload_len` that of the rest. It is cut into segments of `segment_size`
    /// if it is longer.
    #[must_use]
    pub const fn tcp(
        is_v6: bool,
        ip_len: u16,
        tcp_len: u16,
        payload_len: u16,
        segment_size: u16,
    ) -> Self {
        let is_cut = payload_len > segment_size;
        let gso = match (is_cut, is_v6) {
            (false, _) => Gso::None,
            (true, false) => Gso::TcpV4,
            (true, true) => Gso::TcpV6,
        };
        Self {
            needs_checksum: true,
            data_valid: false,
            gso,
            ecn: false,
            header_len: ip_len.saturating_add(tcp_len),
            segment_size: if is_cut { segment_size } else { 0 },
            checksum_start: ip_len,
            checksum_offset: 16,
        }
    }
}
