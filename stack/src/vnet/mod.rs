//! `virtio_net_hdr`: how a TUN device hands over packets larger than the MTU and checksums that
//! are not finished (Linux `IFF_VNET_HDR`, header of 10 bytes in the host's byte order).
//!
//! * A terminator of TCP takes a super-packet as it is: [`Header::parse`], then one segment of up
//!   to 64 KiB. It writes one the same way: [`Header::tcp`].
//! * What forwards packets (WireGuard, DERP) needs packets as a wire carries them: [`split`] cuts
//!   a super-packet, [`complete`] finishes the checksum of a single one. On the way back
//!   [`Coalescer`] joins packets of a batch, and [`defer`] leaves the checksum to the device.
//!
//! UDP segmentation can be switched off in [`Coalescer::new`]: some kernels get it wrong.
mod checksum;
mod coalesce;
mod header;
mod split;
#[cfg(test)]
mod tests;

pub use checksum::{complete, defer};
pub use coalesce::{Coalescer, Full};
pub use header::{Gso, HEADER_LEN, Header};
pub use split::{Segments, split};

use crate::drops::drop_reasons;
use crate::ip::{self, IPV4_HEADER_LEN, IPV6_HEADER_LEN, len16, put};

/// Least size of a TCP segment (Linux `TCP_MIN_GSO_SIZE`): bounds what one packet is cut into.
pub const TCP_SEGMENT_SIZE_MIN: u16 = 8;
/// UDP segments in one packet that is read (Linux `UDP_MAX_SEGMENTS` of today).
pub const UDP_SEGMENTS_MAX: usize = 128;
/// UDP segments in one packet that is written: what older kernels take as well.
pub const UDP_SEGMENTS_SENT_MAX: usize = 64;

drop_reasons! {
    "vnet";
    /// Why a packet with a `virtio_net_hdr` is dropped.
    pub enum Drop, Drops {
        Truncated => "truncated": "Shorter than the header.",
        UnknownGso => "unknown_gso": "A kind of segmentation that was not asked for.",
        BadSegmentSize => "bad_segment_size": "Segments of no bytes, or under 8 bytes of TCP.",
        TooManySegments => "too_many_segments": "More than 128 UDP segments.",
        BadChecksumPlace => "bad_checksum_place": "The checksum would be outside the payload.",
        Mismatch => "mismatch": "The packet is not what the header says it is.",
        Unsplit => "unsplit": "A super-packet where a single packet is needed.",
    }
}

const TCP_HEADER_LEN: usize = 20;
const FLAG_FIN: u8 = 0x01;
const FLAG_PSH: u8 = 0x08;
const FLAG_ACK: u8 = 0x10;
const FLAG_ECE: u8 = 0x40;
const FLAG_CWR: u8 = 0x80;

/// Where TCP and UDP keep their checksum.
const fn checksum_offset(protocol: u8) -> Option<usize> {
    match protocol {
        ip::protocol::TCP => Some(16),
        ip::protocol::UDP => Some(6),
        _ => None,
    }
}

/// Sets the length in the IP header of `packet` to the packet's length, and the checksum of an
/// IPv4 header of `head_len` bytes.
fn set_ip_len(packet: &mut [u8], is_v6: bool, head_len: usize) {
    let len = packet.len();
    if is_v6 {
        put(
            packet,
            4,
            &len16(len - IPV6_HEADER_LEN.min(len)).to_be_bytes(),
        );
        return;
    }
    put(packet, 2, &len16(len).to_be_bytes());
    put(packet, 10, &[0; 2]);
    let head = packet
        .get(..head_len.max(IPV4_HEADER_LEN))
        .unwrap_or_default();
    let check = (!ip::sum(head)).to_be_bytes();
    put(packet, 10, &check);
}
