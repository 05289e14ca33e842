//! UDP datagrams (RFC 768; RFC 8200 section 8.1 for IPv6).
use super::{
    Checksum, Drop, Field, Header, IPV4_HEADER_LEN, IPV6_HEADER_LEN, PACKET_LEN_MAX,
    UDP_HEADER_LEN, be16, combine, is_valid, len16, protocol, pseudo_header, put, sum,
};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

/// Ports and payload of a UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Where in the packet the payload is.
    pub payload: Range<usize>,
}

impl Datagram {
    /// Reads the datagram in `packet`, which is whole and has the header `header`.
    ///
    /// # Errors
    /// [`Drop::Truncated`], [`Drop::BadUdpLen`] or [`Drop::BadUdpChecksum`].
    pub fn parse(packet: &[u8], header: &Header, checksum: Checksum) -> Result<Self, Drop> {
        let segment = header.payload(packet);
        let field = |at| be16(segment, at).ok_or(Drop::Truncated);
        let (source_port, destination_port) = (field(0)?, field(2)?);
        let (len, sum) = (usize::from(field(4)?), field(6)?);
        if len < UDP_HEADER_LEN {
            return Err(Drop::BadUdpLen);
        }
        let segment = segment.get(..len).ok_or(Drop::BadUdpLen)?;
        // Zero: no checksum, which only IPv4 allows.
        let is_absent = sum == 0 && !header.is_v6();
        let ok = checksum == Checksum::Trusted
            || is_absent
            || sum != 0 && is_valid(header.source, header.destination, protocol::UDP, segment);
        if !ok {
            return Err(Drop::BadUdpChecksum);
        }
        Ok(Self {
            source_port,
            destination_port,
            payload: header.payload_at + UDP_HEADER_LEN..header.payload_at + len,
        })
    }
}

/// Time to live of packets that this stack makes.
pub(crate) const HOP_LIMIT: u8 = 64;

/// The header of a packet without options that holds `len` bytes of `protocol`, and its length.
/// `None` if addresses do not match or it is too long.
fn ip_head(
    [source, destination]: [IpAddr; 2],
    protocol: u8,
    id: u16,
    len: usize,
) -> Option<([u8; IPV6_HEADER_LEN], usize)> {
    let mut head = [0; IPV6_HEADER_LEN];
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = IPV4_HEADER_LEN + len;
            if total > PACKET_LEN_MAX {
                return None;
            }
            put(&mut head, 0, &[0x45, 0]);
            put(&mut head, 2, &len16(total).to_be_bytes());
            put(&mut head, 4, &id.to_be_bytes());
            put(&mut head, 8, &[HOP_LIMIT, protocol]);
            put(&mut head, 12, &source.octets());
            put(&mut head, 16, &destination.octets());
            let check = !sum(head.get(..IPV4_HEADER_LEN)?);
            put(&mut head, 10, &check.to_be_bytes());
            Some((head, IPV4_HEADER_LEN))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            if len > PACKET_LEN_MAX {
                return None;
            }
            put(&mut head, 0, &[0x60]);
            put(&mut head, 4, &len16(len).to_be_bytes());
            put(&mut head, 6, &[protocol, HOP_LIMIT]);
            put(&mut head, 8, &source.octets());
            put(&mut head, 24, &destination.octets());
            Some((head, IPV6_HEADER_LEN))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// Appends a packet without options: `protocol` between two addresses with `segments` as payload;
/// `checksum_at` says where in the payload its checksum field is, over the pseudo header unless
/// it is ICMP. Returns the length, or `None` if addresses do not match or it is too long.
pub(crate) fn emit(
    [source, destination]: [IpAddr; 2],
    protocol: u8,
    id: u16,
    segments: [&[u8]; 2],
    checksum_at: usize,
    out: &mut BytesMut,
) -> Option<usize> {
    let len = segments.iter().map(|segment| segment.len()).sum::<usize>();
    let start = out.len();
    let (head, head_len) = ip_head([source, destination], protocol, id, len)?;
    out.extend_from_slice(head.get(..head_len)?);
    for segment in segments {
        out.extend_from_slice(segment);
    }
    let segment = out.get_mut(start + head_len..)?;
    let pseudo = match protocol {
        protocol::ICMP => 0,
        _ => pseudo_header(source, destination, protocol, len),
    };
    put(segment, checksum_at, &[0; 2]);
    let check = !combine(&[pseudo, sum(segment)]);
    put(segment, checksum_at, &check.to_be_bytes());
    Some(head_len + len)
}

/// IP and UDP header.
pub(crate) type UdpHead = [u8; IPV6_HEADER_LEN + UDP_HEADER_LEN];

/// The headers before `payload`, and their length. With [`Field::Partial`] the sum over the
/// payload is left to the device. `None` as for [`emit_udp`].
pub(crate) fn udp_head(
    source: SocketAddr,
    destination: SocketAddr,
    id: u16,
    payload: &[u8],
    field: Field,
) -> Option<(UdpHead, usize)> {
    let ends = [source.ip(), destination.ip()];
    let len = payload.len().checked_add(UDP_HEADER_LEN)?;
    if len > PACKET_LEN_MAX {
        return None;
    }
    let (ip, at) = ip_head(ends, protocol::UDP, id, len)?;
    let mut head = [0; IPV6_HEADER_LEN + UDP_HEADER_LEN];
    put(&mut head, 0, &ip);
    put(&mut head, at, &source.port().to_be_bytes());
    put(&mut head, at + 2, &destination.port().to_be_bytes());
    put(&mut head, at + 4, &len16(len).to_be_bytes());
    put(&mut head, at + 6, &[0; 2]);
    let [source, destination] = ends;
    let pseudo = pseudo_header(source, destination, protocol::UDP, len);
    let check = match field {
        Field::Partial => pseudo,
        Field::Complete => {
            let udp = sum(head.get(at..at + UDP_HEADER_LEN)?);
            match !combine(&[pseudo, udp, sum(payload)]) {
                // Zero would say that there is none.
                0 => 0xffff,
                check => check,
            }
        }
    };
    put(&mut head, at + 6, &check.to_be_bytes());
    Some((head, at + UDP_HEADER_LEN))
}

/// Appends to `out` a UDP packet, whole and with its checksum; `id` is the identification of an
/// IPv4 packet. Returns its length.
///
/// `None`, and nothing appended, if the addresses are of different families or the payload is
/// longer than 65,507 (IPv4) or 65,527 (IPv6) bytes.
pub fn emit_udp(
    source: SocketAddr,
    destination: SocketAddr,
    id: u16,
    payload: &[u8],
    out: &mut BytesMut,
) -> Option<usize> {
    let (head, head_len) = udp_head(source, destination, id, payload, Field::Complete)?;
    out.extend_from_slice(head.get(..head_len)?);
    out.extend_from_slice(payload);
    Some(head_len + payload.len())
}
