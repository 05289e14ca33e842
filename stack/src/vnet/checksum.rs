//! Checksums that the other side of the device finishes.
use super::{Drop, Gso, Header, checksum_offset};
use crate::ip::{self, len16, pseudo_header, put, sum};

/// Finishes the checksum of `packet`, a single packet with the header `ip` that was read with
/// `header`, so that it may go onto a wire. Does nothing if the checksum is complete.
///
/// # Errors
/// [`Drop::Unsplit`] for a super-packet; [`Drop::BadChecksumPlace`] for a checksum that is not
/// inside the payload.
pub fn complete(packet: &mut [u8], ip: &ip::Header, header: &Header) -> Result<(), Drop> {
    if header.gso != Gso::None {
        return Err(Drop::Unsplit);
    }
    if !header.needs_checksum {
        return Ok(());
    }
    let start = usize::from(header.checksum_start);
    let at = usize::from(header.checksum_offset);
    let segment = packet
        .get_mut(start..ip.total_len)
        .ok_or(Drop::BadChecksumPlace)?;
    if start < ip.payload_at || at + 2 > segment.len() {
        return Err(Drop::BadChecksumPlace);
    }
    let mut check = !sum(segment);
    // UDP has its checksum at 6; zero would say that there is none.
    if check == 0 && at == 6 {
        check = 0xffff;
    }
    put(segment, at, &check.to_be_bytes());
    Ok(())
}

/// Leaves the checksum of a whole TCP or UDP packet to the device: the field gets the sum of the
/// pseudo header, whatever it held, and the header that says so is returned. Other protocols keep
/// what they have.
///
/// # Errors
/// [`Drop::Mismatch`] if `ip` is not the header of `packet`.
pub fn defer(packet: &mut [u8], ip: &ip::Header) -> Result<Header, Drop> {
    let offset = checksum_offset(ip.protocol).filter(|_| ip.fragment.is_none());
    let Some(offset) = offset else {
        return Ok(Header::default());
    };
    let segment = packet.get_mut(ip.payload_range()).ok_or(Drop::Mismatch)?;
    let len = segment.len();
    let pseudo = pseudo_header(ip.source, ip.destination, ip.protocol, len);
    if !put(segment, offset, &pseudo.to_be_bytes()) {
        return Err(Drop::Mismatch);
    }
    Ok(Header {
        needs_checksum: true,
        checksum_start: len16(ip.payload_at),
        checksum_offset: len16(offset),
        ..Header::default()
    })
}
