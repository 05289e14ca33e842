//! A super-packet as the packets that a wire carries.
use super::{
    Drop, FLAG_CWR, FLAG_FIN, FLAG_PSH, Gso, Header, TCP_HEADER_LEN, UDP_SEGMENTS_MAX,
    checksum_offset, complete, set_ip_len,
};
use crate::ip::{self, UDP_HEADER_LEN, be16, be32, byte, combine, len16, pseudo_header, put, sum};
use bytes::BytesMut;

/// The packets of one super-packet, made one at a time.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    header: Header,
    ip: ip::Header,
    /// Length of all headers.
    head_len: usize,
    size: usize,
    /// Segments made so far.
    made: usize,
    count: usize,
}

/// Cuts `packet`, whose header is `ip` and which was read with `header`. A packet that is not segmented is one segment;
/// its checksum comes out complete as well.
///
/// # Errors
/// [`Drop::Mismatch`] if the packet is not what `header` says, [`Drop::TooManySegments`],
/// [`Drop::BadChecksumPlace`].
pub fn split<'a>(packet: &'a [u8], ip: &ip::Header, header: &Header) -> Result<Segments<'a>, Drop> {
    let packet = packet.get(..ip.total_len).ok_or(Drop::Mismatch)?;
    let fits = match header.gso {
        Gso::None => true,
        Gso::TcpV4 => !ip.is_v6() && ip.protocol == ip::protocol::TCP,
        Gso::TcpV6 => ip.is_v6() && ip.protocol == ip::protocol::TCP,
        Gso::Udp => ip.protocol == ip::protocol::UDP,
    };
    let is_touched = header.gso != Gso::None || header.needs_checksum;
    if !fits || ip.fragment.is_some() && is_touched {
        return Err(Drop::Mismatch);
    }
    if header.gso == Gso::None && header.needs_checksum {
        let start = usize::from(header.checksum_start);
        let end = start + usize::from(header.checksum_offset) + 2;
        if start < ip.payload_at || end > packet.len() {
            return Err(Drop::BadChecksumPlace);
        }
    }
    let head_len = match header.gso {
        Gso::None => ip.payload_at,
        Gso::TcpV4 | Gso::TcpV6 | Gso::Udp => ip.payload_at + upper_len(packet, ip)?,
    };
    let len = packet.len().checked_sub(head_len).ok_or(Drop::Mismatch)?;
    let size = match header.gso {
        Gso::None => len.max(1),
        Gso::TcpV4 | Gso::TcpV6 | Gso::Udp => usize::from(header.segment_size).max(1),
    };
    let count = len.div_ceil(size).max(1);
    if header.gso == Gso::Udp && count > UDP_SEGMENTS_MAX {
        return Err(Drop::TooManySegments);
    }
    Ok(Segments {
        packet,
        header: *header,
        ip: *ip,
        head_len,
        size,
        made: 0,
        count,
    })
}

/// Length of the transport header.
fn upper_len(packet: &[u8], ip: &ip::Header) -> Result<usize, Drop> {
    if ip.protocol == ip::protocol::UDP {
        return Ok(UDP_HEADER_LEN);
    }
    let offset = byte(packet, ip.payload_at + 12).ok_or(Drop::Mismatch)?;
    let len = usize::from(offset >> 4) * 4;
    (len >= TCP_HEADER_LEN).then_some(len).ok_or(Drop::Mismatch)
}

impl Segments<'_> {
    /// How many there are in all.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Appends the next packet to `out` and returns its length; `None` after the last.
    pub fn next_into(&mut self, out: &mut BytesMut) -> Option<usize> {
        if self.made >= self.count {
            return None;
        }
        let (start, index) = (out.len(), self.made);
        let from = self.head_len + index * self.size;
        let to = (from + self.size).min(self.packet.len());
        self.made += 1;
        out.extend_from_slice(self.packet.get(..self.head_len)?);
        out.extend_from_slice(self.packet.get(from..to)?);
        let packet = out.get_mut(start..)?;
        if self.header.gso == Gso::None {
            // A wrong checksum stays wrong: only one that was deferred is made here.
            complete(packet, &self.ip, &self.header).ok()?;
        } else {
            self.set_headers(packet, index);
            self.set_checksum(packet);
        }
        Some(packet.len())
    }

    /// What differs between segments.
    fn set_headers(&self, packet: &mut [u8], index: usize) {
        if !self.ip.is_v6() {
            let id = be16(packet, 4).unwrap_or_default();
            put(packet, 4, &id.wrapping_add(len16(index)).to_be_bytes());
        }
        set_ip_len(packet, self.ip.is_v6(), self.ip.payload_at);
        let Some(upper) = packet.get_mut(self.ip.payload_at..) else {
            return;
        };
        if self.ip.protocol == ip::protocol::UDP {
            put(upper, 4, &len16(upper.len()).to_be_bytes());
            return;
        }
        let passed = u32::try_from(index * self.size).unwrap_or_default();
        let sequence = be32(upper, 4).unwrap_or_default().wrapping_add(passed);
        put(upper, 4, &sequence.to_be_bytes());
        let mut flags = byte(upper, 13).unwrap_or_default();
        if index > 0 {
            flags &= !FLAG_CWR;
        }
        if index + 1 < self.count {
            flags &= !(FLAG_FIN | FLAG_PSH);
        }
        put(upper, 13, &[flags]);
    }

    fn set_checksum(&self, packet: &mut [u8]) {
        let protocol = self.ip.protocol;
        let upper = packet.get_mut(self.ip.payload_at..);
        let (Some(offset), Some(upper)) = (checksum_offset(protocol), upper) else {
            return;
        };
        let is_udp = protocol == ip::protocol::UDP;
        if is_udp && !self.ip.is_v6() && be16(upper, offset) == Some(0) {
            return;
        }
        put(upper, offset, &[0; 2]);
        let (a, b) = (self.ip.source, self.ip.destination);
        let mut check = !combine(&[pseudo_header(a, b, protocol, upper.len()), sum(upper)]);
        if is_udp && check == 0 {
            check = 0xffff;
        }
        put(upper, offset, &check.to_be_bytes());
    }
}
